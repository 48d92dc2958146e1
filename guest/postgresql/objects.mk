# Read in src/backend of a configured tree: makes the backend's object files without linking a program.
include Makefile
pgcell-objects: submake-libpgport submake-catalog-headers submake-utils-headers $(OBJS)
	@echo $(call expand_subsys,$(OBJS)) | tr ' ' '\n' > pgcell-objects.txt
