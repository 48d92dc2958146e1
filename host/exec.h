/*
 * The command `pgcell exec`: SQL in a new cell, without a server; what comes back goes to standard output in one of rows.h's forms.
 *
 * Each -c and the file are one simple query each: its statements are one transaction unless they say otherwise, as with psql -c. Notices
 * and errors go to standard error as psql prints them. Returns 0; 1 after the first error, or when the session was lost; 2 for usage.
 */
#ifndef PGCELL_EXEC_H
#define PGCELL_EXEC_H

#include "options.h"

int exec_main(const struct config *config);

#endif
