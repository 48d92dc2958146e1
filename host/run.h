/*
 * The command `pgcell run`: a server on a free port and in a private folder, a command that finds its address in the environment, and
 * nothing left of either when the command is over.
 *
 * The command shares our terminal, standard input and output. SIGINT, SIGTERM, SIGHUP and SIGQUIT are passed on to it; it decides.
 * Returns its exit status, 128 and the signal that killed it, 127 if it was not found, 126 if it cannot be run.
 */
#ifndef PGCELL_RUN_H
#define PGCELL_RUN_H

#include "options.h"

int run_main(const struct config *config);

#endif
