/*
 * Errors and notices of a server as psql prints them, SQLSTATE included:
 *
 *	ERROR:  42703: column "x" does not exist
 *	LINE 1: select x
 *	               ^
 *	HINT:  ...
 *
 * `sql` is the query that was sent, for the LINE; NULL for none. One write to a buffered stream; nothing is retained.
 */
#ifndef PGCELL_SQLERROR_H
#define PGCELL_SQLERROR_H

#include <stdio.h>

#include "pgclient.h"

void sqlerror_print(FILE *out, const struct pgclient_message *message, const char *sql);

#endif
