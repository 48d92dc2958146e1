#ifndef PGCELL_ERRNO_H
#define PGCELL_ERRNO_H
#include_next <errno.h>
/* WASI lacks it; PostgreSQL only names it in messages */
#ifndef EHOSTDOWN
#define EHOSTDOWN 1112
#endif
#endif
