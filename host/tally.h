/*
 * What a session's process tells the supervisor while it runs, and hears from the fork server: a page of shared memory each.
 *
 * Calling sequence:
 *	tally_open()	once, in the supervisor, before the fork server is forked
 *	tally_take()	in the supervisor, before a session's start; tally_give_back() after its end
 *	tally_begin()	in the session's process, before any code of the guest runs: every page but its own is gone, for good
 *	tally_own	in the session's process; before tally_begin() and without it, a page that nobody reads
 *
 * The page of a session can hold anything once its guest has got out of hand: whoever reads one takes each number once, and for
 * what it is. Numbers are added without atomics, as only the session writes them; a reader may see one that is a moment old.
 */
#ifndef PGCELL_TALLY_H
#define PGCELL_TALLY_H

#include <stdatomic.h>
#include <stdint.h>

#define TALLY_SQLSTATES_MAX 64 /* different ones in a session, then "other" */

struct tally {
	_Atomic uint32_t is_idle; /* waits for the next message of its client; the session's */
	_Atomic uint32_t must_end; /* when it is idle; the fork server's */
	uint32_t statements; /* so many times it has ceased to be idle */
	uint64_t ready_ns; /* CLOCK_MONOTONIC when it could take its first query, 0 before */
	uint64_t bytes_in, bytes_out; /* from and to the client */
	uint32_t errors_other;
	uint32_t sqlstate_count;
	struct {
		uint32_t sqlstate; /* as PostgreSQL packs it, see tally_sqlstate_text() */
		uint32_t count;
	} sqlstates[TALLY_SQLSTATES_MAX];
};

#define TALLY_NONE 0 /* the number of no page */

extern struct tally *tally_own;

/* `count`: most sessions at a time. Returns 0 or -errno. */
int tally_open(uint32_t count) __attribute__((warn_unused_result));

/* The number of a page of zeros, TALLY_NONE when there is none. */
uint32_t tally_take(void);
void tally_give_back(uint32_t number);

/* NULL for TALLY_NONE. */
struct tally *tally_at(uint32_t number);

/* Returns 0 or -errno. */
int tally_begin(uint32_t number) __attribute__((warn_unused_result));

/* To tally_own. */
void tally_error(uint32_t sqlstate);
void tally_ready(void); /* the first time counts */

/* Unpacks; "other" for what no SQLSTATE can be. `text` has six bytes. */
void tally_sqlstate_text(uint32_t sqlstate, char text[6]);

#endif
