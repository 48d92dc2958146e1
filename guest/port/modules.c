/*
 * modules.c
 *	  dlopen() for modules that are linked in.
 *
 * The table of their symbols is made by guest/extensions/link.py, which gives each module a scope of its own.  dfmgr.c also wants the file
 * to exist: the image has an empty one for each.
 */
#include <dlfcn.h>
#include <stdio.h>
#include <string.h>

#include "modules.h"
#include "tables.h"

static char last_error[200];

/* A handle is the table entry of the module. */
void *
dlopen(const char *path, int flags)
{
	const char *name = strrchr(path, '/');
	size_t		len;

	(void) flags;
	name = name ? name + 1 : path;
	len = strlen(name);
	if (len > 3 && strcmp(name + len - 3, ".so") == 0)
		len -= 3;
	for (const struct pgcell_module *m = pgcell_modules; m->name; m++)
		if (strlen(m->name) == len && memcmp(m->name, name, len) == 0)
		{
#ifdef PGCELL_PORTABLE
			if (m->is_conversion && !pgcell_load_tables())
			{
				snprintf(last_error, sizeof last_error, "%s: could not be read", PGCELL_TABLES_FILE);
				return NULL;
			}
#endif
			return (void *) m;
		}
	snprintf(last_error, sizeof last_error, "%.100s: not linked into this cell (modules can't be loaded at run time)", path);
	return NULL;
}

void *
dlsym(void *handle, const char *symbol)
{
	const struct pgcell_module *module = handle;

	for (const struct pgcell_symbol *s = module->symbols; s->name; s++)
		if (strcmp(s->name, symbol) == 0)
			return s->address;
	snprintf(last_error, sizeof last_error, "%s: undefined symbol: %.100s", module->name, symbol);
	return NULL;
}

int
dlclose(void *handle)
{
	(void) handle;
	return 0;
}

char *
dlerror(void)
{
	return last_error;
}
