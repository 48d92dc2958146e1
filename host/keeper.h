/*
 * Cells as things: what can be done with them without SQL. Every call answers once through `done`, at once or when the work is over.
 *
 * A copy (clone, snapshot) is of one moment: sessions of the source are stopped while it is made, and go on. The copy of a cell in use
 * starts with recovery, as after a crash; the copy of an idle one does not.
 */
#ifndef PGCELL_KEEPER_H
#define PGCELL_KEEPER_H

#include "copies.h"
#include "supervisor.h"

enum keeper_op { KEEPER_CREATE, KEEPER_CLONE, KEEPER_DROP, KEEPER_SNAPSHOT, KEEPER_RESTORE };

struct keeper_request {
	enum keeper_op op;
	const char *name; /* the cell that is made, dropped or saved */
	const char *source; /* CREATE: the template, or NULL for the server's; CLONE */
	int file_fd; /* SNAPSHOT, RESTORE: taken in every case; else -1 */
	bool is_forced; /* DROP: also with sessions, which end with 57P01 */
	copy_done *done;
	void *data;
};

void keeper_request(struct supervisor *sv, const struct keeper_request *request);

/* One line a cell: name, state, sessions, memory in bytes; tab separated. Returns 0 or -errno. */
int keeper_list(struct supervisor *sv, int fd) __attribute__((warn_unused_result));

#endif
