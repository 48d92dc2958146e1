/* The command `pgcell serve`: a server, and nothing beside it but the leash of --exit-with-stdin. Returns the exit status. */
#ifndef PGCELL_SERVE_H
#define PGCELL_SERVE_H

#include "options.h"

int serve_main(const struct config *config);

#endif
