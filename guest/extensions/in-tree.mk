# Stands in for PGXS: a third-party extension is made as if it were in contrib/.
undefine PGXS
subdir = contrib/$(notdir $(CURDIR))
top_builddir = ../..
include $(top_builddir)/src/Makefile.global
include $(top_srcdir)/contrib/contrib-global.mk
