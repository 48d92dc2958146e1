/*
 * The supervisor's side of TLS. Handshakes and encryption are done by one process beside the supervisor, the gateway
 * (tls_gateway.h), so that neither the supervisor nor sessions hold the key or run OpenSSL, and a session's socket is a plain one
 * whether its client uses TLS or not.
 *
 *	client ==TLS==> gateway ==socket pair==> supervisor's conn, then the session
 *
 * Calling sequence:
 *	tls_start()	before the event loop exists; after the fork server, which then never sees the key
 *	tls_watch()	with the event loop
 *	tls_accept()	hands a client over
 *	tls_reload()	new files, for handshakes from then on; what is wrong with them goes to the log, and the old ones stay
 *	tls_unwatch(), tls_stop()	when sessions have ended: the gateway gets a moment to send what they said last
 *
 * A gateway that dies takes its connections along. It is said in the log, and the next client that asks for TLS starts another
 * one, once a second at most; there is never an answer in plain text in its stead.
 */
#ifndef PGCELL_TLS_H
#define PGCELL_TLS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/queue.h>
#include <sys/types.h>
#include <uv.h>

#define TLS_OUTBOX_MAX 4096 /* clients that the gateway did not take yet */

struct tls_unsent;

struct tls {
	const char *cert_path, *key_path; /* NULL: no TLS; not owned */
	pid_t pid; /* -1: none */
	int fd;
	uint64_t started_ms; /* of the monotonic clock */
	uv_loop_t *loop; /* NULL unless watched */
	uv_poll_t *poll; /* its own heap: closing it outlasts the gateway */
	STAILQ_HEAD(, tls_unsent) outbox;
	size_t outbox_len;
};

/* cert_path NULL: no TLS, and nothing is done. Returns 0, or -1 with a message for the user in err. */
int tls_start(struct tls *tls, const char *cert_path, const char *key_path, char *err, size_t err_len)
	__attribute__((warn_unused_result));

/* Returns 0 or a libuv error. */
int tls_watch(struct tls *tls, uv_loop_t *loop) __attribute__((warn_unused_result));
void tls_unwatch(struct tls *tls);

/*
 * The gateway greets the client on client_fd and passes on, decrypted, to inner_fd. Both are copied. is_direct: the client begins
 * with TLS and has to name the protocol (ALPN). Returns 0, or -errno: then drop the client.
 */
int tls_accept(struct tls *tls, int client_fd, int inner_fd, bool is_direct) __attribute__((warn_unused_result));

void tls_reload(struct tls *tls);

void tls_stop(struct tls *tls, bool is_immediate);

#endif
