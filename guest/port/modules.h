/* modules.h: the table of modules that are linked in; made by guest/extensions/link.py, used by modules.c. */
#ifndef PGCELL_MODULES_H
#define PGCELL_MODULES_H
struct pgcell_symbol { const char *name; void *address; };
struct pgcell_module { const char *name; const struct pgcell_symbol *symbols; int is_conversion; };
/* ends with a NULL name, as does each list of symbols */
extern const struct pgcell_module pgcell_modules[];
#endif
