#define _GNU_SOURCE
#include "conn.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "log.h"

static void on_handle_closed(uv_handle_t *handle)
{
	struct conn *conn = handle->data;

	if (--conn->open_handles == 0)
		free(conn);
}

void conn_free(struct conn *conn)
{
	if (conn->state == CONN_CLOSED)
		BUG("a connection is freed twice");
	conn->owner->on_free(conn);
	conn->state = CONN_CLOSED;
	/* The poll handle first: libuv must forget the descriptor before its number can be used again. */
	uv_close((uv_handle_t *)&conn->poll, on_handle_closed);
	uv_close((uv_handle_t *)&conn->timer, on_handle_closed);
	close(conn->fd);
	conn->fd = -1;
}

static void refuse(struct conn *conn, const char *sqlstate, const char *message, const char *detail, const char *hint)
{
	uint8_t packet[1024];
	uint8_t dropped[1024];
	size_t len = wire_error_encode(packet, sizeof(packet), "FATAL", sqlstate, message, detail, hint);

	if (len == 0)
		BUG("the error \"%s\" is too long", message);
	conn->owner->on_refuse(conn, sqlstate);
	log_info(NULL, 0, "refused: %s", message);
	/* What does not fit into a fresh socket's buffer was not wanted anyway. */
	if (send(conn->fd, packet, len, MSG_DONTWAIT | MSG_NOSIGNAL) < 0)
		log_info(NULL, 0, "the client did not hear it: %s", strerror(errno));
	/* Closing with unread input would reset the connection, and the client might never see the error. */
	shutdown(conn->fd, SHUT_WR);
	for (int i = 0; i < 16 && recv(conn->fd, dropped, sizeof(dropped), MSG_DONTWAIT) > 0; i++)
		;
	conn_free(conn);
}

void conn_refuse(struct conn *conn, const char *sqlstate, const char *message, const char *hint)
{
	refuse(conn, sqlstate, message, NULL, hint);
}

static void on_parse_error(struct conn *conn, enum wire_error error)
{
	const char *sqlstate;
	char text[WIRE_TEXT_MAX];

	wire_error_text(error, &conn->startup, &sqlstate, text, sizeof(text));
	if (sqlstate[0] != '\0') {
		refuse(conn, sqlstate, text, NULL, NULL);
		return;
	}
	log_info(NULL, 0, "connection closed: %s", text);
	conn_free(conn);
}

/* Answers SSLRequest or GSSENCRequest. False if the connection is gone. */
static bool decline_encryption(struct conn *conn, bool *has_asked, const char *what)
{
	if (*has_asked) { /* PostgreSQL takes the repeated request for a protocol version it does not know */
		on_parse_error(conn, WIRE_E_PROTOCOL);
		return false;
	}
	*has_asked = true;
	if (send(conn->fd, "N", 1, MSG_DONTWAIT | MSG_NOSIGNAL) != 1) {
		conn_free(conn);
		return false;
	}
	if (conn->len > conn->startup.packet_len) {
		refuse(conn, "08P01", what,
		       "This could be either a client-software bug or evidence of an attempted man-in-the-middle attack.",
		       NULL);
		return false;
	}
	conn->len = 0;
	return true;
}

static void on_readable(uv_poll_t *handle, int status, int events);

static bool can_have_tls(const struct conn *conn)
{
	return conn->owner->start_tls != NULL && conn->peer.ss_family != AF_UNIX && !conn->is_encrypted;
}

/*
 * The gateway gets the client, and we get the end of a socket pair under the client's old number. Nothing of what the client
 * encrypts was read by us. False if the connection is gone.
 */
static bool start_tls(struct conn *conn, bool is_direct)
{
	socklen_t server_len = sizeof(conn->server);
	int pair[2] = {-1, -1};
	int rc = 0;

	if (getsockname(conn->fd, (struct sockaddr *)&conn->server, &server_len) != 0 ||
	    socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, pair) != 0)
		rc = -errno;
	if (rc == 0)
		rc = conn->owner->start_tls(conn, pair[1], is_direct);
	if (rc == 0) {
		uv_poll_stop(&conn->poll); /* libuv and epoll forget the client's socket */
		if (dup3(pair[0], conn->fd, O_CLOEXEC) < 0)
			rc = -errno;
	}
	for (int i = 0; i < 2; i++) {
		if (pair[i] >= 0)
			close(pair[i]);
	}
	if (rc != 0) {
		log_warn(NULL, 0, "connection closed: no TLS: %s", strerror(-rc));
		conn_free(conn);
		return false;
	}
	conn->is_encrypted = true;
	uv_poll_start(&conn->poll, UV_READABLE, on_readable);
	return true;
}

/* As ProcessStartupPacket(): the answer comes first, and bytes that came in plain text after the request are an attack or a bug. */
static void on_ssl_request(struct conn *conn)
{
	static const char unencrypted[] = "received unencrypted data after SSL request";

	if (!can_have_tls(conn) || conn->has_asked_ssl) {
		(void)decline_encryption(conn, &conn->has_asked_ssl, unencrypted);
		return;
	}
	conn->has_asked_ssl = true;
	if (send(conn->fd, "S", 1, MSG_DONTWAIT | MSG_NOSIGNAL) != 1) {
		conn_free(conn);
		return;
	}
	if (conn->len > conn->startup.packet_len) {
		refuse(conn, "08P01", unencrypted,
		       "This could be either a client-software bug or evidence of an attempted man-in-the-middle attack.", NULL);
		return;
	}
	conn->len = 0;
	(void)start_tls(conn, false);
}

/* A TLS handshake begins with this byte, and no start-up packet does: its length would be 369 MB. */
static bool begins_with_tls(const struct conn *conn)
{
	uint8_t first;

	return conn->len == 0 && can_have_tls(conn) && !conn->has_asked_ssl && !conn->has_asked_gssenc &&
	       recv(conn->fd, &first, 1, MSG_PEEK | MSG_DONTWAIT) == 1 && first == 0x16;
}

static void parse(struct conn *conn)
{
	switch (wire_startup_parse(conn->buf, conn->len, &conn->startup)) {
	case WIRE_NEED_MORE:
		break;
	case WIRE_SSL_REQUEST:
		on_ssl_request(conn);
		break;
	case WIRE_GSSENC_REQUEST:
		(void)decline_encryption(conn, &conn->has_asked_gssenc,
					 "received unencrypted data after GSSAPI encryption request");
		break;
	case WIRE_CANCEL:
	case WIRE_STARTUP:
		uv_timer_stop(&conn->timer);
		uv_poll_stop(&conn->poll);
		conn->owner->on_packet(conn);
		break;
	case WIRE_ERROR:
		on_parse_error(conn, conn->startup.error);
		break;
	}
}

static void on_readable(uv_poll_t *handle, int status, int events)
{
	struct conn *conn = handle->data;
	ssize_t got;

	(void)events;
	if (status < 0) {
		conn_free(conn);
		return;
	}
	if (begins_with_tls(conn)) {
		(void)start_tls(conn, true);
		return;
	}
	got = recv(conn->fd, conn->buf + conn->len, sizeof(conn->buf) - conn->len, MSG_DONTWAIT);
	if (got < 0 && (errno == EAGAIN || errno == EINTR))
		return;
	if (got <= 0) {
		if (conn->len > 0)
			log_info(NULL, 0, "connection closed: incomplete startup packet");
		conn_free(conn);
		return;
	}
	conn->len += (uint32_t)got;
	parse(conn);
}

static void on_hang_up(uv_poll_t *handle, int status, int events)
{
	struct conn *conn = handle->data;

	if (status < 0 || (events & UV_DISCONNECT) != 0)
		conn->owner->on_gone(conn);
}

static void on_startup_timeout(uv_timer_t *timer)
{
	log_info(NULL, 0, "connection closed: the client did not say in time what it wants");
	conn_free(timer->data);
}

static void on_wait_timeout(uv_timer_t *timer)
{
	struct conn *conn = timer->data;

	conn->owner->on_timeout(conn);
}

struct conn *conn_new(uv_loop_t *loop, int fd, const struct sockaddr_storage *peer, const struct conn_owner *owner,
		      void *owner_data, uint64_t timeout_ms)
{
	struct conn *conn = calloc(1, sizeof(*conn));

	/* uv_poll_init() fails before it registers the handle, so that there is nothing to uv_close() then. */
	if (conn == NULL || uv_poll_init(loop, &conn->poll, fd) != 0) {
		free(conn);
		close(fd);
		return NULL;
	}
	uv_timer_init(loop, &conn->timer);
	conn->open_handles = 2;
	conn->poll.data = conn;
	conn->timer.data = conn;
	conn->state = CONN_READING;
	conn->fd = fd;
	conn->peer = *peer;
	conn->owner = owner;
	conn->owner_data = owner_data;
	uv_poll_start(&conn->poll, UV_READABLE, on_readable);
	uv_timer_start(&conn->timer, on_startup_timeout, timeout_ms, 0);
	return conn;
}

void conn_wait(struct conn *conn, uint64_t timeout_ms)
{
	conn->state = CONN_WAITING;
	uv_poll_start(&conn->poll, UV_DISCONNECT, on_hang_up);
	uv_timer_start(&conn->timer, on_wait_timeout, timeout_ms, 0);
}

void conn_park(struct conn *conn)
{
	conn->state = CONN_PARKED;
	uv_poll_stop(&conn->poll);
	uv_timer_stop(&conn->timer);
}
