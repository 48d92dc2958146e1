/*
 * `pgcell cell`: the client of a running server's control socket. Files are opened here and handed over, so that the server reaches
 * no path that its caller could not. Returns the program's exit status: 0, 1 after an error (said on standard error), 2 for usage.
 */
#ifndef PGCELL_CELL_CMD_H
#define PGCELL_CELL_CMD_H

#include "options.h"

int cell_cmd(const struct config *config) __attribute__((warn_unused_result));

#endif
