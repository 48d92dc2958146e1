/*
 * A listener in the event loop: accepts clients and hands them over.
 *
 * Calling sequence: gate_init(); open .listener with listener_open_*(); gate_watch(); gate_close(), which may come at
 * any point after gate_init(). When descriptors run out, clients are turned away with an error instead of being left
 * hanging.
 */
#ifndef PGCELL_GATE_H
#define PGCELL_GATE_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/socket.h>
#include <uv.h>

#include "listener.h"

/* Takes fd: a blocking, close-on-exec socket. */
typedef void gate_accept_fn(void *data, int fd, const struct sockaddr_storage *peer);

struct gate {
	struct listener listener;
	uv_poll_t poll;
	bool is_watched;
	bool has_run_out_of_fds; /* said so already */
	uint64_t shed_count; /* clients that were turned away for it, with SQLSTATE 53300 */
	int spare_fd; /* given up to accept and drop a client when descriptors run out */
	gate_accept_fn *on_accept;
	void *data;
};

void gate_init(struct gate *gate, gate_accept_fn *on_accept, void *data);

/* Returns 0 or a libuv error. */
int gate_watch(struct gate *gate, uv_loop_t *loop) __attribute__((warn_unused_result));

/* The gate's memory must outlive the loop's next turn. */
void gate_close(struct gate *gate);

/* Says "too many clients" without having read anything, and closes. Takes fd. */
void gate_turn_away(int fd);

#endif
