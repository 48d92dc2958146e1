/*
 * `pgcell serve`: accepts connections, finds each one's cell, has the fork server start its session, and is then out
 * of the data path.
 *
 *	client --accept--> conn (start-up packet) --route--> cell (room? else its queue) --START--> fork server
 *
 * supervisor_run() forks the fork server, waits until the image is mapped, opens the listeners, says so on standard
 * output and returns the program's exit status when told to stop: 0 after SIGINT or SIGTERM, 1 after an
 * error (said on standard error) or a second signal. It leaves no process and no socket file behind.
 */
#ifndef PGCELL_SUPERVISOR_H
#define PGCELL_SUPERVISOR_H

#include "options.h"

int supervisor_run(const struct config *config) __attribute__((warn_unused_result));

#endif
