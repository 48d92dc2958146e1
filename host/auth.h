/*
 * Passwords, which PostgreSQL itself checks: a cell is prepared before anybody is let in, with the password of role postgres and a
 * pg_hba.conf that asks for it, and every new cell is a copy of that one.
 *
 * PostgreSQL makes the SCRAM verifier as well, in a cell that is thrown away: the one that is copied never sees the password.
 *
 * Calling sequence: auth_begin() when the loop exists; on_done() comes once, unless auth_cancel() does.
 */
#ifndef PGCELL_AUTH_H
#define PGCELL_AUTH_H

#include "probe.h"

struct supervisor;
struct cell;

/* `reason` NULL: auth->prepared is the cell to be copied; else a line for the user. */
typedef void auth_done_fn(struct supervisor *sv, const char *reason);

struct auth {
	struct supervisor *sv;
	struct cell *prepared; /* NULL: not yet, or no authentication */
	struct cell *preparing;
	struct probe probe;
	char sql[PROBE_SQL_MAX];
	char next_sql[PROBE_SQL_MAX];
	uv_timer_t pause; /* a probe's handles are closed in the loop's next turn */
	auth_done_fn *on_done;
};

/* Returns 0, or -1 with a message for the user: then on_done() does not come. */
int auth_begin(struct auth *auth, struct supervisor *sv, auth_done_fn *on_done, char *err, size_t err_len)
	__attribute__((warn_unused_result));

/* Also without auth_begin(), and more than once. */
void auth_cancel(struct auth *auth);

#endif
