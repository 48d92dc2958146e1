# Read in the folder of a loadable module of a configured tree: makes its object files, with the two symbols that every module
# has renamed (guest/port/modules.c), and lists them in pgcell-objects.txt.
include $(if $(wildcard GNUmakefile),GNUmakefile,Makefile)
pgcell-module: $(OBJS)
	@echo $(addprefix $(CURDIR)/,$(OBJS)) | tr ' ' '\n' > pgcell-objects.txt
