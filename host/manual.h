/*
 * The manual page pgcell(1) in mdoc, made of the tables that the program itself uses.
 *
 * Calling sequence: manual_begin(); manual_command() for each command; manual_end(). Errors of `out` are the caller's.
 */
#ifndef PGCELL_MANUAL_H
#define PGCELL_MANUAL_H

#include <stdio.h>

void manual_begin(FILE *out);

/* `help`: what the command does, as `pgcell --help` has it. Its options, if it has any in options.h, follow. */
void manual_command(FILE *out, const char *name, const char *help);

void manual_end(FILE *out);

#endif
