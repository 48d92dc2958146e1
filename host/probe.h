/*
 * One query on a connection of our own, for what the server has to know or to set up itself: whether it answers (readiness), passwords.
 *
 * Calling sequence:
 *	probe_start()	takes the descriptor; on_done is called exactly once, later, after which .is_running is false
 *	probe_cancel()	ends it without on_done
 *
 * Speaks the protocol as a client: start-up packet for database postgres, a simple query, Terminate. The memory must outlive the loop's next
 * turn after the end.
 */
#ifndef PGCELL_PROBE_H
#define PGCELL_PROBE_H

#include <stdbool.h>
#include <stdint.h>
#include <uv.h>

#define PROBE_SQL_MAX 4096 /* bytes, with the terminator */

/*
 * `reason` NULL: the query was completed, and `value` is the first column of its last row, cut to a few hundred bytes, "" if there is
 * none; else a line that says what went wrong. Both valid during the call.
 */
typedef void probe_done_fn(const char *reason, const char *value, void *data);

struct probe {
	bool is_running;
	int fd;
	uv_poll_t poll;
	uv_timer_t timer;
	unsigned open_handles;
	uint8_t message[512]; /* type, length, and as much of the body as fits */
	uint32_t message_len; /* bytes of it so far, those that did not fit included */
	const char *sql; /* the caller's */
	char value[400];
	bool has_asked; /* the query is out */
	bool is_completed; /* and CommandComplete came */
	char reason[200];
	probe_done_fn *on_done;
	void *data;
};

/*
 * fd: connected to the server, taken in every case. sql: shorter than PROBE_SQL_MAX, valid until the end. Returns 0 or a libuv error,
 * without on_done.
 */
int probe_start(struct probe *probe, uv_loop_t *loop, int fd, const char *sql, uint64_t timeout_ms, probe_done_fn *on_done, void *data)
	__attribute__((warn_unused_result));

void probe_cancel(struct probe *probe);

/* May it be started again? Its handles are closed in the loop's next turn. */
bool probe_is_idle(const struct probe *probe);

#endif
