/*
 * The command `pgcell port`: one cell for a parent process, over standard input and output or a Unix socket. docs/commands.md has what
 * parents must know.
 */
#ifndef PGCELL_PORT_H
#define PGCELL_PORT_H

#include "options.h"

/* Exit statuses of `pgcell port`; 0: the parent left, or said Terminate; 2 is every command's for usage. */
enum port_status { PORT_FAILED = 1, PORT_NOT_STARTED = 3, PORT_SESSION_ENDED = 4 };

int port_main(const struct config *config);

#endif
