# Read in the folder of a module of a configured tree: makes its object files, and tells what its Makefile says of it.
include $(if $(wildcard GNUmakefile),GNUmakefile,Makefile)
# one module of many objects, or some of one object each
pgcell_names := $(or $(MODULE_big),$(MODULES),$(NAME))
pgcell_objects := $(or $(OBJS),$(MODULES:%=%.o))
# sources from elsewhere that belong to the module
pgcell_others := $(patsubst %.c,pgcell-others/%.o,$(notdir $(PGCELL_SOURCES)))
vpath %.c $(sort $(dir $(PGCELL_SOURCES)))
pgcell-others/%.o: %.c
	@mkdir -p pgcell-others
	$(CC) $(CFLAGS) $(CPPFLAGS) -c $< -o $@
pgcell-module: $(pgcell_objects) $(pgcell_others) $(DATA_built)
	@: $(foreach n,$(pgcell_names),$(file >$(n).pgcell-objects,$(if $(MODULES),$(CURDIR)/$(n).o,$(addprefix $(CURDIR)/,$(OBJS) $(pgcell_others)))))
	@echo $(pgcell_names) >pgcell-names
	@echo $(EXTENSION) >pgcell-extensions
	@# as "make install" has them
	@rm -rf pgcell-share && mkdir -p pgcell-share/extension pgcell-share/tsearch_data
	@for f in $(EXTENSION:%=%.control) $(DATA) $(DATA_built); do [ -e $$f ] || f=$(srcdir)/$$f; cp $$f pgcell-share/extension/ || exit 1; done
	@for f in $(DATA_TSEARCH); do [ -e $$f ] || f=$(srcdir)/$$f; cp $$f pgcell-share/tsearch_data/ || exit 1; done
# what tests/extensions/run.sh asks: tests, those with several sessions, options, the encoding, settings, options of the second kind
pgcell-tests:
	@echo '$(REGRESS)|$(ISOLATION)|$(filter-out --temp-config %.conf,$(REGRESS_OPTS))|$(ENCODING)|$(wildcard $(filter %.conf,$(REGRESS_OPTS)))|$(ISOLATION_OPTS)'
