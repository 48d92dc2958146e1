/*
 * The TLS gateway's own life: a single-threaded process that does handshakes and moves bytes between clients and socket pairs. Used by
 * tls.c only.
 *
 * It is sandboxed like a session (sandbox_enter_gateway()): it opens no files, and gets those of the certificate and its key as
 * descriptors. Every connection has one buffer each way; nothing is read while the other side does not take what was read before.
 *
 *	HANDSHAKE --done--> OPEN --client's end: passed on by shutdown()--> OPEN --session's end: close_notify--> closed
 *	    `--failure, or the other end of the pair is closed (the supervisor's time limit)--> closed
 *
 * TLS is set up as in PostgreSQL 18 with its default settings: TLS 1.2 at least, no tickets, no compression, no renegotiation.
 */
#ifndef PGCELL_TLS_GATEWAY_H
#define PGCELL_TLS_GATEWAY_H

#include <stdint.h>
#include <sys/types.h>

#define TLS_STOP_GRACE_MS 1000 /* for what is still to be sent, when the supervisor is gone */

enum tls_order_type {
	TLS_ORDER_ACCEPT = 1, /* with the client's descriptor and the socket pair's end */
	TLS_ORDER_LOAD, /* with the certificate's and the key's descriptor; answered by a report */
};

struct tls_order {
	uint32_t type; /* enum tls_order_type */
	uint32_t is_direct; /* ACCEPT */
};

struct tls_report {
	uint32_t is_loaded;
	char message[256]; /* unless loaded */
};

/* In the forked child. `fd` is its end of the pair; `supervisor` its parent's process id. */
_Noreturn void tls_gateway_main(int fd, pid_t supervisor);

#endif
