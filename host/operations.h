/*
 * What operators see of a server: its metrics, whether it lives, whether it answers queries. Between the supervisor, which counts and
 * knows, and http.h, which shows.
 *
 * Calling sequence:
 *	operations_init();  .metrics may be counted from now on
 *	operations_open()	with a configuration that wants HTTP: serves it in the loop
 *	operations_close()	closes the handles in the loop; then the loop's next turns
 *
 * Readiness is a completed query on a private cell; its result is good for READY_CACHE_MS, so that probes cannot flood the server.
 */
#ifndef PGCELL_OPERATIONS_H
#define PGCELL_OPERATIONS_H

#include <stdbool.h>
#include <stdint.h>
#include <uv.h>

#include "http.h"
#include "metrics.h"
#include "options.h"
#include "probe.h"

#define READY_CACHE_MS 1000
#define READY_TIMEOUT_MS 5000

/* The server, as it is asked. */
struct operations_server {
	void (*sample)(struct metrics_now *now, void *data); /* *now is all zeros */
	const char *(*health)(void *data); /* NULL: well; else a constant text */
	bool (*is_stopping)(void *data);
	int (*connect)(void *data); /* supervisor_connect() */
	void *data;
};

struct operations {
	struct metrics metrics;
	const struct operations_server *server;
	uv_loop_t *loop;
	int passed_fd; /* a socket for HTTP, -1 for none */
	struct http http;
	struct http_handlers handlers;
	struct probe probe;
	uint64_t probed_ns; /* uv_hrtime() of the last result, 0 before any */
	bool was_ready;
	char reason[256]; /* if it was not */
};

void operations_init(struct operations *ops);

/* `server` is retained. Nothing without a metrics_host or a passed_fd, which is taken. Returns 0, or -1 with a line in err. */
int operations_open(struct operations *ops, uv_loop_t *loop, const struct config *config,
		    const struct operations_server *server, char *err, size_t err_len) __attribute__((warn_unused_result));

/* Of /metrics and its siblings, NULL when there is none. */
const char *operations_address(const struct operations *ops);

void operations_close(struct operations *ops);

#endif
