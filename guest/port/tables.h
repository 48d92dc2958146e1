/*
 * tables.h
 *	  The tables of PostgreSQL's encoding conversions in the portable module.
 *
 *	  They are 1.8 MB that hardly any session uses, and a sixth of what a Worker's upload may weigh: the image has them as a file, in a
 *	  form that compresses to two thirds, and no memory until a conversion is loaded.  A library on disk, as they are natively.
 *
 *	  The file has the bytes between pgcell_tables_start and pgcell_tables_end in four planes: every fourth byte from the first on, then
 *	  from the second, and so on.  Tables are of 2- and 4-byte numbers whose high bytes repeat.
 */
#ifndef PGCELL_TABLES_H
#define PGCELL_TABLES_H

#define PGCELL_TABLES_FILE "/pgcell/conversions"
#define PGCELL_TABLES_PLANES 4

#ifdef __wasm__
#include <stdbool.h>

/* Once a session.  false if the file can't be read. */
extern bool pgcell_load_tables(void);
#endif

#endif
