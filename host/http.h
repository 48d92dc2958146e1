/*
 * HTTP for operators: /metrics, /healthz, /readyz; GET and HEAD, in the server's event loop (libmicrohttpd does the protocol).
 * There is no authentication and no TLS: whoever reaches the address may read.
 *
 * Calling sequence:
 *	http_open()	listens; requests come to the handlers from now on
 *	http_answer_ready()	once for each time on_ready() was called
 *	http_close()	who still waits is answered 503. The memory must outlive the loop's next turn
 */
#ifndef PGCELL_HTTP_H
#define PGCELL_HTTP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/queue.h>
#include <uv.h>

struct http_handlers {
	/* The exposition, from malloc(); NULL when memory ran out. */
	char *(*metrics)(void *data, size_t *len_bytes);
	/* NULL: healthy; else why not, a constant text. */
	const char *(*health)(void *data);
	/* Find out whether queries are answered, and tell http_answer_ready(), which may be called from inside of this. */
	void (*ready)(void *data);
	void *data;
};

struct MHD_Daemon;
struct http_request;

struct http {
	struct MHD_Daemon *daemon; /* NULL: not open */
	const struct http_handlers *handlers;
	uv_poll_t poll;
	uv_timer_t timer;
	TAILQ_HEAD(, http_request) waiting; /* for http_answer_ready() */
	bool is_asking; /* on_ready() was called, and not yet answered */
	bool has_answered; /* since MHD_run() */
	bool is_closing;
	char name[96]; /* ADDRESS:PORT it listens on */
	bool is_public; /* other machines can reach it */
};

/*
 * `handlers` is retained. Port 0: any free one, see .name. passed_fd: a socket that listens already, taken in every case, host and port
 * are not looked at then; -1 for none. Returns 0, or -1 with a line in err.
 */
int http_open(struct http *http, uv_loop_t *loop, const char *host, int64_t port, int passed_fd,
	      const struct http_handlers *handlers, char *err, size_t err_len) __attribute__((warn_unused_result));

/* `reason` NULL: ready; else why not. Copied. */
void http_answer_ready(struct http *http, const char *reason);

/* May be called without http_open() and more than once. */
void http_close(struct http *http);

#endif
