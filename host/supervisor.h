/*
 * The server inside `pgcell serve` and every other command that runs cells: accepts connections, finds each one's cell, has the fork server start its session, and is then out
 * of the data path.
 *
 *	client --accept--> conn (start-up packet) --route--> cell (room? else its queue) --START--> fork server
 *
 * supervisor_run() forks the fork server, waits until the image is mapped, opens the listeners, calls on_ready() (without one: says so on
 * standard output) and returns the program's exit status when told to stop: 0 after SIGINT or SIGTERM, 1 after an
 * error (said on standard error) or a second signal. It leaves no process and no socket file behind.
 *
 * SIGINT ends sessions at once. `serve` drains on SIGTERM (statements that run may finish within the drain timeout) and reads its
 * configuration again on SIGHUP; to other commands SIGTERM is as SIGINT, and SIGHUP nothing of ours.
 */
#ifndef PGCELL_SUPERVISOR_H
#define PGCELL_SUPERVISOR_H

#include <stdbool.h>
#include <stdint.h>
#include <uv.h>

#include "options.h"

struct supervisor;

/* What a command does beside serving clients, in the server's event loop. Any may be NULL. */
struct supervisor_hooks {
	/* the listeners, if any, are open and supervisor_connect() works */
	void (*on_ready)(struct supervisor *sv, void *data);
	/* nothing is served any more: close your handles, the loop ends when none is left; called once, also without on_ready() */
	void (*on_finish)(struct supervisor *sv, void *data);
	/* SIGINT or SIGTERM came: returns true if that is no reason to stop */
	bool (*on_signal)(struct supervisor *sv, int signal_number, void *data);
	void *data;
};

int supervisor_run(const struct config *config, const struct supervisor_hooks *hooks) __attribute__((warn_unused_result));

uv_loop_t *supervisor_loop(struct supervisor *sv);
/* As it is now: another one after SIGHUP, so ask again in each turn of the loop. */
const struct config *supervisor_config(const struct supervisor *sv);

/* The port in use, also when any free one was asked for; the number in the socket file's name without TCP. */
int64_t supervisor_port(const struct supervisor *sv);

/*
 * A client of this server without a listener: one end of a socket pair (blocking, close-on-exec, the caller's), on which the caller
 * speaks the protocol from the start-up packet on. Returns -errno if there is none.
 */
int supervisor_connect(struct supervisor *sv) __attribute__((warn_unused_result));

bool supervisor_is_stopping(const struct supervisor *sv);

/* What standard output hears if there is no on_ready(). */
void supervisor_say_ready(const struct supervisor *sv);

/* In good order, as after SIGINT; what is under way has FORKSERVER_STOP_GRACE_MS. supervisor_run() returns exit_status. */
void supervisor_stop(struct supervisor *sv, int exit_status);

#endif
