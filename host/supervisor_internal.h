/*
 * What the parts of the server share: supervisor.c (clients, sessions, life and death), keeper.c (cells as
 * things), observe.c (what operators ask). Nobody else
 * includes this.
 */
#ifndef PGCELL_SUPERVISOR_INTERNAL_H
#define PGCELL_SUPERVISOR_INTERNAL_H

#include <stdbool.h>
#include <uv.h>

#include "auth.h"
#include "backend.h"
#include "cell.h"
#include "conn.h"
#include "control.h"
#include "forkserver.h"
#include "gate.h"
#include "operations.h"
#include "supervisor.h"
#include "tls.h"
#include "vacuum.h"

#define SIGNAL_COUNT 3 /* SIGINT, SIGTERM, SIGHUP */

enum { TCP, LOCAL, LISTENER_COUNT };

struct supervisor {
	const struct config *config; /* the caller's at first, then .reloaded */
	struct config reloaded;
	const struct supervisor_hooks *hooks;
	uv_loop_t loop;
	struct forkserver fs;
	uv_poll_t fs_poll;
	struct tls tls;
	struct gate gates[LISTENER_COUNT];
	uv_signal_t signals[SIGNAL_COUNT];
	uv_timer_t watchdog_timer;
	uv_timer_t drain_timer;
	uv_timer_t stop_timer;
	struct cell_table cells;
	struct backend_table backends;
	struct vacuum vacuum;
	struct operations ops;
	struct operations_server server; /* what they may ask, observe.c */
	TAILQ_HEAD(, conn) conns; /* all that are not closed */
	size_t conn_count;
	double rate_left; /* connections that may still come, refilled by --connection-rate */
	uint64_t rate_at_ns;
	uv_timer_t sweep_timer; /* keeper.c */
	uint64_t sweep_at_ms; /* the next one, in the loop's time */
	bool is_fair;
	size_t warm_count;
	uint64_t client_at_ms; /* when the last one was let in, in the loop's time */
	uint64_t memory_bytes; /* of all cells, when last looked at; only with --total-memory */
	struct auth auth;
	struct control control;
	bool is_stopping; /* nobody is let in any more */
	bool is_draining; /* and what runs may finish */
	bool is_finished;
	bool is_immediate;
	int exit_status;
};

/* ---- supervisor.c ---- */

/* Returns 0, or -errno with nothing changed. */
int supervisor_send_order(struct supervisor *sv, struct order *order, int client_fd, int cell_fd) __attribute__((warn_unused_result));

/* To one of the cell's processes, or says in the log why not. */
void supervisor_signal(struct supervisor *sv, struct backend *backend, int signal_number);

/* A process without a client. Returns 0, or -errno with nothing changed. */
int supervisor_start(struct supervisor *sv, enum session_kind kind, struct cell *cell) __attribute__((warn_unused_result));

/* After any event: does whatever the cell's state now allows. May remove the cell. */
void supervisor_advance(struct supervisor *sv, struct cell *cell);

/*
 * As supervisor_connect(), into this cell, which is private and ends with the connection unless it is kept. Returns -errno if there is
 * no connection.
 */
int supervisor_connect_to(struct supervisor *sv, struct cell *cell) __attribute__((warn_unused_result));

/* Everybody who waits for the cell. */
void supervisor_refuse_waiting(struct cell *cell, const char *sqlstate, const char *message, const char *hint);

/* ---- observe.c ---- */

/* Before operations_open(). */
void observe_init(struct supervisor *sv);

/* Counts what there is left to say of a process that has ended. */
void observe_end(struct supervisor *sv, struct backend *backend, int wait_status);

/* ---- keeper.c ---- */

void keeper_open(struct supervisor *sv);
void keeper_close(struct supervisor *sv);

/* A cell that does not exist yet, for a client: a warm one, a copy of the template, or an empty one. name NULL: private. NULL with errno. */
struct cell *keeper_new_cell(struct supervisor *sv, const char *name) __attribute__((warn_unused_result));

/* Starts the copies that are wanted of the cell, if it can be copied now. */
void keeper_advance(struct supervisor *sv, struct cell *cell);

/* A copying process has ended, or could not be started: status -1. Frees the backend's copy. */
void keeper_copy_ended(struct supervisor *sv, struct backend *backend, int status);

/* A client's. May remove cells, but not this one. */
void keeper_session_ended(struct supervisor *sv, struct cell *cell);

/* No client may come in any more: "out of memory" in PostgreSQL's terms. */
bool keeper_is_full(const struct supervisor *sv);

#endif
