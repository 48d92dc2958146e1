#define _GNU_SOURCE
#include "probe.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define HEAD_BYTES 5 /* a message's type and length word */

/* Its length, protocol 3.0, the parameters, and a zero. */
static const char startup[] = "\0\0\0\x41\0\3\0\0user\0postgres\0database\0postgres\0application_name\0pgcell\0";
static const char terminate[] = "X\0\0\0\4";
_Static_assert(sizeof(startup) == 0x41, "as its first word says; the last zero is the literal's");

static void on_closed(uv_handle_t *handle)
{
	((struct probe *)handle->data)->open_handles--;
}

static void end(struct probe *probe)
{
	uv_close((uv_handle_t *)&probe->poll, on_closed);
	uv_close((uv_handle_t *)&probe->timer, on_closed);
	close(probe->fd);
	probe->fd = -1;
	probe->is_running = false;
}

static void finish(struct probe *probe, const char *reason)
{
	end(probe);
	probe->on_done(reason, probe->value, probe->data);
}

void probe_cancel(struct probe *probe)
{
	if (probe->is_running)
		end(probe);
}

bool probe_is_idle(const struct probe *probe)
{
	return !probe->is_running && probe->open_handles == 0;
}

/* Small, on a fresh socket: what does not fit at once is a server that is not well. */
static int say(struct probe *probe, const void *what, size_t len)
{
	return send(probe->fd, what, len, MSG_DONTWAIT | MSG_NOSIGNAL) == (ssize_t)len ? 0 : -1;
}

static int ask(struct probe *probe)
{
	uint8_t message[HEAD_BYTES + PROBE_SQL_MAX] = {'Q'};
	size_t len = strlen(probe->sql) + 1;
	uint32_t word = htonl((uint32_t)(len + 4));

	if (len > PROBE_SQL_MAX)
		return -1;
	memcpy(message + 1, &word, sizeof(word));
	memcpy(message + HEAD_BYTES, probe->sql, len);
	return say(probe, message, HEAD_BYTES + len);
}

/* The first column of a DataRow, of which the beginning is there. */
static void keep_value(struct probe *probe)
{
	uint32_t len = probe->message_len < sizeof(probe->message) ? probe->message_len : sizeof(probe->message);
	uint32_t start = HEAD_BYTES + 2 + 4;
	uint32_t word, n;

	if (len < start)
		return;
	memcpy(&word, probe->message + HEAD_BYTES + 2, sizeof(word));
	n = ntohl(word);
	if (n > len - start) /* NULL, too long, or a lie */
		n = 0;
	snprintf(probe->value, sizeof(probe->value), "%.*s", (int)n, (const char *)probe->message + start);
}

/* The text of an ErrorResponse, of which the beginning is there. */
static void keep_error(struct probe *probe)
{
	uint32_t len = probe->message_len < sizeof(probe->message) ? probe->message_len : sizeof(probe->message);
	uint32_t at = HEAD_BYTES;

	snprintf(probe->reason, sizeof(probe->reason), "the query failed");
	while (at < len && probe->message[at] != '\0') {
		const uint8_t *field = probe->message + at;
		const uint8_t *stop = memchr(field, '\0', len - at);

		if (stop == NULL)
			return;
		if (field[0] == 'M')
			snprintf(probe->reason, sizeof(probe->reason), "the query failed: %.150s", (const char *)field + 1);
		at += (uint32_t)(stop - field) + 1;
	}
}

/* A whole message. False when the probe is over. */
static bool on_message(struct probe *probe)
{
	switch (probe->message[0]) {
	case 'E':
		keep_error(probe);
		finish(probe, probe->reason);
		return false;
	case 'R':
		if (memcmp(probe->message + HEAD_BYTES, "\0\0\0\0", 4) != 0) {
			finish(probe, "the server asks for a password");
			return false;
		}
		return true;
	case 'D':
		keep_value(probe);
		return true;
	case 'C':
		probe->is_completed = probe->has_asked;
		return true;
	case 'Z':
		if (probe->has_asked) {
			(void)say(probe, terminate, sizeof(terminate) - 1);
			finish(probe, probe->is_completed ? NULL : "the query was not completed");
			return false;
		}
		probe->has_asked = true;
		if (ask(probe) == 0)
			return true;
		finish(probe, "the query could not be sent");
		return false;
	default:
		return true;
	}
}

/* False when the probe is over. */
static bool take(struct probe *probe, const uint8_t *bytes, size_t len)
{
	while (len > 0) {
		uint32_t want = HEAD_BYTES, word;
		size_t n, room;

		if (probe->message_len >= HEAD_BYTES) {
			memcpy(&word, probe->message + 1, sizeof(word));
			word = ntohl(word);
			if (word < 4 || word > 1u << 24) {
				finish(probe, "the server talks nonsense");
				return false;
			}
			want = word + 1;
		}
		n = want - probe->message_len < len ? want - probe->message_len : len;
		room = probe->message_len < sizeof(probe->message) ? sizeof(probe->message) - probe->message_len : 0;
		memcpy(probe->message + (sizeof(probe->message) - room), bytes, n < room ? n : room);
		probe->message_len += (uint32_t)n;
		bytes += n;
		len -= n;
		if (probe->message_len < HEAD_BYTES)
			continue;
		memcpy(&word, probe->message + 1, sizeof(word));
		if (ntohl(word) >= 4 && probe->message_len == ntohl(word) + 1) {
			if (!on_message(probe))
				return false;
			memset(probe->message, 0, sizeof(probe->message));
			probe->message_len = 0;
		}
	}
	return true;
}

static void on_readable(uv_poll_t *poll, int status, int events)
{
	struct probe *probe = poll->data;
	uint8_t bytes[4096];
	ssize_t got;

	(void)events;
	got = status < 0 ? 0 : recv(probe->fd, bytes, sizeof(bytes), MSG_DONTWAIT);
	if (got < 0 && (errno == EAGAIN || errno == EINTR))
		return;
	if (got <= 0)
		finish(probe, "the connection was closed");
	else
		(void)take(probe, bytes, (size_t)got);
}

static void on_timeout(uv_timer_t *timer)
{
	finish(timer->data, "no answer in time");
}

int probe_start(struct probe *probe, uv_loop_t *loop, int fd, const char *sql, uint64_t timeout_ms, probe_done_fn *on_done, void *data)
{
	int rc;

	memset(probe, 0, sizeof(*probe));
	rc = uv_poll_init(loop, &probe->poll, fd);
	if (rc != 0) {
		close(fd);
		return rc;
	}
	uv_timer_init(loop, &probe->timer);
	probe->open_handles = 2;
	probe->poll.data = probe;
	probe->timer.data = probe;
	probe->is_running = true;
	probe->fd = fd;
	probe->sql = sql;
	probe->on_done = on_done;
	probe->data = data;
	if (say(probe, startup, sizeof(startup)) != 0) {
		end(probe);
		return UV_EPIPE;
	}
	uv_poll_start(&probe->poll, UV_READABLE, on_readable);
	uv_timer_start(&probe->timer, on_timeout, timeout_ms, 0);
	return 0;
}
