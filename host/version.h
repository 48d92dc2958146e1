/*
 * Which program this is. PGCELL_POSTGRES_VERSION comes from the build, where there is one.
 */
#ifndef PGCELL_VERSION_H
#define PGCELL_VERSION_H

#ifndef PGCELL_VERSION
#define PGCELL_VERSION "0.1.0"
#endif

#ifndef PGCELL_POSTGRES_VERSION
#define PGCELL_POSTGRES_VERSION "none"
#endif

#endif
