/*
 * A connection between accept() and its session's start: reads the start-up packet, answers SSLRequest and
 * GSSENCRequest, drops silent and lying clients. Knows the event loop and the wire, but no cells.
 *
 * Calling sequence:
 *	conn_new()	takes the descriptor; from now on the conn frees itself at the end of each path below
 *	owner->on_packet(conn): the packet is complete, conn->startup says what it is; the owner then calls one of
 *		conn_wait()	stand in a queue; owner->on_gone() if the client hangs up, owner->on_timeout() in time
 *		conn_park()	its START is on the way: leave the socket alone
 *		conn_refuse()	a FATAL error, then the end
 *		conn_free()	the end, without a word
 *	owner->start_tls(conn)	when the client asks for it, or begins with it: from then on conn->fd is one end of a socket pair
 *	owner->on_free(conn)	in conn_free(), so in conn_refuse() too: the last chance to unlink it; must not call back
 *
 * Every state ends in conn_free(); it closes the descriptor at once, the memory follows when libuv lets go.
 *
 *	READING --packet--> (owner) --> WAITING --> PARKED --> closed
 *	   `--timeout, lie, hang-up--> closed <--'
 */
#ifndef PGCELL_CONN_H
#define PGCELL_CONN_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/queue.h>
#include <sys/socket.h>
#include <uv.h>

#include "wire.h"

struct conn;
struct cell;

struct conn_owner {
	void (*on_packet)(struct conn *conn);
	void (*on_gone)(struct conn *conn);
	void (*on_timeout)(struct conn *conn);
	void (*on_free)(struct conn *conn);
	void (*on_refuse)(struct conn *conn, const char *sqlstate); /* an error is on its way out; conn_free() follows */
	/*
	 * Hands the client on conn->fd over to the TLS gateway, with inner_fd, the end of a socket pair on which the rest comes decrypted;
	 * both are copied. Returns 0 or -errno. NULL: there is no TLS.
	 */
	int (*start_tls)(struct conn *conn, int inner_fd, bool is_direct);
};

enum conn_state { CONN_READING, CONN_WAITING, CONN_PARKED, CONN_CLOSED };

struct conn {
	enum conn_state state;
	int fd;
	struct sockaddr_storage peer;
	const struct conn_owner *owner;
	uv_poll_t poll;
	uv_timer_t timer;
	unsigned open_handles;
	bool has_asked_ssl, has_asked_gssenc;
	bool is_encrypted; /* by the TLS gateway, whose socket pair fd is then */
	struct sockaddr_storage server; /* encrypted only: the address that the client connected to */

	/* buf[0..len) was read; once on_packet() is called, buf[0..startup.packet_len) is the packet. */
	uint32_t len;
	struct wire_startup startup;
	struct wire_route route; /* the owner's */

	/* the owner's: */
	void *owner_data;
	uint64_t accepted_ns; /* uv_hrtime() */
	struct cell *cell; /* whose queue it stands in, or NULL */
	struct cell *given; /* for a client of our own: its cell, whatever it asks for */
	TAILQ_ENTRY(conn) cell_link;
	TAILQ_ENTRY(conn) all_link;

	uint8_t buf[WIRE_PACKET_MAX];
};

/* Takes fd in every case. Returns NULL when memory or descriptors ran out. */
struct conn *conn_new(uv_loop_t *loop, int fd, const struct sockaddr_storage *peer, const struct conn_owner *owner,
		      void *owner_data, uint64_t timeout_ms) __attribute__((warn_unused_result));

void conn_wait(struct conn *conn, uint64_t timeout_ms);
void conn_park(struct conn *conn);
void conn_refuse(struct conn *conn, const char *sqlstate, const char *message, const char *hint);
void conn_free(struct conn *conn);

#endif
