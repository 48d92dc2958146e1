/*
 * The cell table: which cells exist, in what state, how full, and who waits for them. No I/O but the memfd itself.
 *
 * Calling sequence:
 *	cell_table_init(); cell_find() or cell_add(); then by events: cell_become(), cell_slot_take()/_give_back();
 *	cell_remove() when it is empty; cell_table_release()
 *
 * A cell's memory is the memfd `fd`, sized and filled by the engine at the first session's start (state NEW says that
 * this is still to be done). It lives as long as a process or this table holds it.
 *
 *	            first START            STARTED
 *	    NEW ---------------> POPULATING -------> READY <-----------------.
 *	     ^                       |                 |                     |
 *	     `-----------------------'                 | a session           | recovery
 *	        FAILED: cell_reset_memory()            | ended abnormally    | succeeded
 *	                                               v   last one gone     |
 *	                                            CRASHED -----------> RECOVERING
 *	                                               |                     |
 *	                                               |    no recovery      | recovery
 *	                                               `------> DEAD <-------' failed
 *
 * A copy of another cell, or of a snapshot, goes from NEW to COPYING, and from there to READY, or to CRASHED if its source was in
 * use; to DEAD if the copying failed. A recovery that was killed or could not be forked starts over: from RECOVERING back to CRASHED. Only NEW and READY take sessions. DEAD is final: the data cannot be trusted, and we do not replace it silently.
 */
#ifndef PGCELL_CELL_H
#define PGCELL_CELL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/queue.h>

#include "copies.h"
#include "wire.h"

/*
 * As many child slots as PostgreSQL has for backends with max_connections = 100: twice that, so that those it refuses can be told
 * (InitPostmasterChildSlots() in src/backend/postmaster/pmchild.c).
 */
#define CELL_SLOTS_MAX 200
#define CELL_DEFAULT_NAME "default"

enum cell_state { CELL_NEW, CELL_POPULATING, CELL_COPYING, CELL_READY, CELL_CRASHED, CELL_RECOVERING, CELL_DEAD, CELL_STATE_COUNT };

struct conn; /* conn.h */
struct backend; /* supervisor.c */

struct cell {
	char name[WIRE_CELL_NAME_MAX + 1];
	uint64_t id; /* of no other cell, past or present */
	enum cell_state state;
	bool is_private; /* ends with its connection; its name is ours and no client can ask for it */
	int fd;
	int64_t created_us; /* since 1970 */
	uint64_t slots_taken[(CELL_SLOTS_MAX + 63) / 64]; /* bit n: slot n + 1 */
	uint32_t slots_taken_count;
	TAILQ_HEAD(, conn) waiting;
	LIST_HEAD(, backend) backends; /* every process that has the cell's memory, sessions or not */
	LIST_ENTRY(cell) all_link;
	struct copies copies; /* that read from it; no session starts meanwhile */
	bool is_kept; /* also before its first use: made on request */
	bool is_warm; /* private, and waits for a client; keeper.h */
	uint64_t idle_since_ms; /* in the loop's time: since when there is no client's session */
	TAILQ_ENTRY(cell) vacuum_link; /* vacuum.h */
	bool is_used; /* is in that list */
	unsigned recoveries_killed; /* in a row */
};

struct cell_table {
	void *by_name; /* tsearch(3) tree */
	LIST_HEAD(, cell) all;
	size_t count;
	uint64_t next_private;
	uint64_t next_id;
};

void cell_table_init(struct cell_table *table);
void cell_table_release(struct cell_table *table);

struct cell *cell_find(const struct cell_table *table, const char *name);

/* name NULL: a private cell. Returns NULL with errno set. */
struct cell *cell_add(struct cell_table *table, const char *name) __attribute__((warn_unused_result));

/* To a name that no other has; NULL makes it a private cell, which ends with its last session. */
void cell_rename(struct cell_table *table, struct cell *cell, const char *name);

/* Nobody may wait for it, run in it or copy it. */
void cell_remove(struct cell_table *table, struct cell *cell);

/* What its memfd holds; 0 when it cannot be told. */
uint64_t cell_memory_bytes(const struct cell *cell);

const char *cell_state_name(enum cell_state state);

/* BUG() if the diagram above does not allow it. */
void cell_become(struct cell *cell, enum cell_state state);

/* A fresh memfd for a cell whose population failed. Returns 0 or -errno. */
int cell_reset_memory(struct cell *cell) __attribute__((warn_unused_result));

/* Could a session start now, given at most `limit` at a time? */
bool cell_has_room(const struct cell *cell, uint32_t limit);

/* The smallest free slot, from 1. */
uint32_t cell_slot_take(struct cell *cell);
void cell_slot_give_back(struct cell *cell, uint32_t slot);

#endif
