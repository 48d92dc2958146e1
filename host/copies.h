/*
 * The copies that are made of a cell, from the wish to the end; what copies the memory is copy.h.
 *
 * Calling sequence:
 *	copies_init()
 *	copies_add()	from now on the cell starts no session; the copy waits until every process of the cell is known
 *	copies_next()	takes one that is to be started; it counts as running
 *	copies_end()	one that ran has ended; the cell's processes may go on when none runs, and new ones start when .count is 0
 *	copies_release()	with those that were never started; nobody is told
 */
#ifndef PGCELL_COPIES_H
#define PGCELL_COPIES_H

#include <sys/queue.h>

#include "copy.h"

struct cell;

/* sqlstate NULL: it is done. Else why not, in the user's words. */
typedef void copy_done(void *data, const char *sqlstate, const char *message);

struct copy {
	enum copy_kind kind;
	struct cell *source; /* NULL: RESTORE */
	struct cell *target; /* NULL: SNAPSHOT */
	int file_fd; /* the snapshot, owned; -1: CLONE */
	copy_done *done; /* or NULL */
	void *data;
	TAILQ_ENTRY(copy) link;
};

struct copies {
	TAILQ_HEAD(, copy) waiting;
	unsigned count; /* waiting and running */
	unsigned running;
};

void copies_init(struct copies *copies);
void copies_release(struct copies *copies);

/* Takes file_fd in every case. Returns NULL when memory ran out. */
struct copy *copy_new(enum copy_kind kind, struct cell *source, struct cell *target, int file_fd) __attribute__((warn_unused_result));
void copy_free(struct copy *copy);

void copies_add(struct copies *copies, struct copy *copy);
struct copy *copies_next(struct copies *copies);
void copies_end(struct copies *copies);

#endif
