/*
 * When cells are vacuumed. PostgreSQL has a launcher that stays and starts workers; thousands of cells would have thousands of
 * them. Here a cell in which clients have been since the last time gets, once every naptime, the launcher's emergency mode (it
 * chooses a database and ends) and then a worker for that.
 *
 *	vacuum_open();  vacuum_note_use() at the start of a client's session;  vacuum_ended() when a process ends that `start` has
 *	started;  vacuum_close()
 *
 * No I/O but the timer. At most VACUUMS_AT_ONCE processes run at a time, whatever the number of cells.
 */
#ifndef PGCELL_VACUUM_H
#define PGCELL_VACUUM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/queue.h>
#include <uv.h>

#include "cell.h"
#include "session.h"

#define VACUUMS_AT_ONCE 4

/* Returns 0, or -errno when no process was started. */
typedef int vacuum_start(void *data, struct cell *cell, enum session_kind kind);

struct vacuum {
	uv_timer_t timer;
	TAILQ_HEAD(, cell) used; /* since they were vacuumed */
	size_t due; /* so many of the first ones, in this round */
	unsigned running;
	vacuum_start *start;
	void *data;
};

/* naptime_s 0: never. Returns 0 or a libuv error. */
int vacuum_open(struct vacuum *vacuum, uv_loop_t *loop, uint64_t naptime_s, vacuum_start *start, void *data)
	__attribute__((warn_unused_result));
void vacuum_close(struct vacuum *vacuum);

/* Private cells are not vacuumed: they last as long as one session. */
void vacuum_note_use(struct vacuum *vacuum, struct cell *cell);

/* The cell goes, or gets another name. */
void vacuum_forget(struct vacuum *vacuum, struct cell *cell);

/* kind: which of the two. is_success: exit status 0; without it a launcher gets no worker. */
void vacuum_ended(struct vacuum *vacuum, struct cell *cell, enum session_kind kind, bool is_success);

#endif
