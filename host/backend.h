/*
 * The supervisor's list of processes that run in cells (sessions of every kind), found by the
 * cookie we gave and by the process id that clients send in cancel requests.
 *
 * Calling sequence: backend_add() before its START, backend_set_pid() at STARTED, backend_remove() at FAILED or ENDED.
 */
#ifndef PGCELL_BACKEND_H
#define PGCELL_BACKEND_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/queue.h>
#include <sys/types.h>

#include "cell.h"
#include "conn.h"
#include "session.h"

struct backend {
	uint64_t cookie;
	enum session_kind kind;
	pid_t pid; /* 0 until STARTED */
	uint32_t slot; /* 0: none */
	uint32_t tally; /* the number of its page, TALLY_NONE without a client */
	uint64_t accepted_ns; /* uv_hrtime() when its client came, 0 without one */
	bool is_ready_observed; /* the time to its first query is in the metrics */
	struct cell *cell;
	struct conn *conn; /* until STARTED or FAILED; NULL without a client */
	struct copy *copy; /* of kind COPY: owned */
	int nice; /* as it was set (fair.h) */
	uint32_t statement; /* the one that was seen last (tally.h) */
	uint64_t statement_since_ms; /* when it was seen first, in the loop's time */
	LIST_ENTRY(backend) cell_link;
};

struct backend_table {
	void *by_cookie, *by_pid; /* tsearch(3) trees */
	uint64_t next_cookie;
	size_t count;
	size_t client_count; /* of kind SESSION_CLIENT */
};

void backend_table_init(struct backend_table *table);

/* Frees every backend that is left, and its copy, without a look at its cell. */
void backend_table_release(struct backend_table *table);

/* Puts it into the cell's list; a client session takes a slot. Returns NULL when memory ran out. */
struct backend *backend_add(struct backend_table *table, enum session_kind kind, struct cell *cell)
	__attribute__((warn_unused_result));

/* Returns 0 or -ENOMEM: then no cancel request will find it, nothing else. */
int backend_set_pid(struct backend_table *table, struct backend *backend, pid_t pid)
	__attribute__((warn_unused_result));

void backend_remove(struct backend_table *table, struct backend *backend);

void backend_each(const struct backend_table *table, void (*visit)(struct backend *backend, void *data), void *data);

struct backend *backend_find_cookie(const struct backend_table *table, uint64_t cookie);
struct backend *backend_find_pid(const struct backend_table *table, pid_t pid);

#endif
