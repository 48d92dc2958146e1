#define _GNU_SOURCE
#include "relay.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "channel.h"
#include "log.h"
#include "pgclient.h"
#include "pgscan.h"

#define ROUNDS_PER_TURN 16 /* of one buffer each way; then the rest of the loop gets its turn */
#define STARTUP_MESSAGE_MAX 32768 /* bytes that a message before the first ReadyForQuery may have; a buffer holds it with room to spare */

struct relay {
	struct supervisor *sv;
	struct relay_config config;
	struct channel in, out, session;
	struct channel *writer; /* &out, or &in if both are the same socket */
	uv_timer_t timer; /* runs when in_ended */
	unsigned open_handles;
	bool has_session; /* was asked for */
	bool is_starting; /* our own start-up is not over */
	bool in_ended; /* nothing more will come from the parent */
	bool in_hung_up; /* the parent has closed its side, but not all of it was read */
	bool out_half_closed; /* the parent will not send on the socket that is our output: no news */
	bool session_told; /* that the input has ended */
	bool session_ended;
	bool is_over; /* on_end() was called */
	bool is_freed;
	struct framing_reader reader;
	struct pgscan scan;

	/* from[from_used..from_len) was read from the parent; span is the part of it that goes to the session next */
	uint8_t from[RELAY_BUFFER_LEN];
	size_t from_used, from_len;
	struct framing_span span;

	/* to[to_used..to_len) is framed and goes to the parent */
	uint8_t to[RELAY_BUFFER_LEN];
	size_t to_used, to_len;

	/* while is_starting: an incomplete message of the session's */
	uint8_t startup[STARTUP_MESSAGE_MAX];
	size_t startup_len;
};

static void relay_run(struct relay *relay);

/* ---- the end ---- */

static void on_handle_closed(uv_handle_t *handle)
{
	struct channel *channel = handle->data;
	struct relay *relay = channel->data;

	if (--relay->open_handles == 0)
		free(relay);
}

static void on_timer_closed(uv_handle_t *handle)
{
	struct relay *relay = handle->data;

	if (--relay->open_handles == 0)
		free(relay);
}

static void end(struct relay *relay, enum relay_end how)
{
	if (relay->is_over)
		return;
	relay->is_over = true;
	relay->config.on_end(relay, how, relay->config.data);
}

static void on_linger_timeout(uv_timer_t *timer)
{
	end(timer->data, RELAY_PARENT_LEFT);
}

/* A byte was moved, or the parent has just left. */
static void linger(struct relay *relay)
{
	if (relay->in_ended || relay->in_hung_up)
		uv_timer_start(&relay->timer, on_linger_timeout, RELAY_LINGER_MS, 0);
}

/* ---- the session ---- */

static void on_session_event(struct channel *channel, int events)
{
	(void)events;
	relay_run(channel->data);
}

/* False: the relay is over. */
static bool ask_for_session(struct relay *relay)
{
	int fd;
	int rc;

	if (relay->has_session)
		return true;
	fd = supervisor_connect(relay->sv);
	rc = fd < 0 ? fd : channel_open(&relay->session, supervisor_loop(relay->sv), fd, on_session_event, relay);
	if (rc != 0) {
		log_error(NULL, 0, "no connection to the server: %s", uv_strerror(rc));
		end(relay, RELAY_FAILED);
		return false;
	}
	relay->has_session = true;
	relay->open_handles += relay->session.can_wait;
	return true;
}

/* A fresh socket takes it whole. Nothing is said to the parent, as the protocol has it: the query's own error tells. */
static void send_cancel(struct relay *relay, const struct framing_span *packet)
{
	int fd = supervisor_connect(relay->sv);

	if (fd < 0 || send(fd, packet->bytes, packet->len, MSG_DONTWAIT | MSG_NOSIGNAL) != (ssize_t)packet->len)
		log_warn(NULL, 0, "a cancel request was lost: %s", strerror(fd < 0 ? -fd : errno));
	if (fd >= 0)
		close(fd);
}

static bool send_startup(struct relay *relay)
{
	const char *pairs[] = {"user", relay->config.user, "database", relay->config.database, "application_name",
			       "pgcell port", NULL};
	uint8_t packet[2048];
	size_t len = pgclient_put_startup(packet, sizeof(packet), pairs);
	ssize_t written;

	if (len == 0) {
		log_error(NULL, 0, "--user and --database are too long");
		end(relay, RELAY_NOT_STARTED);
		return false;
	}
	if (!ask_for_session(relay))
		return false;
	written = channel_write(&relay->session, packet, len); /* all of it: the socket is new */
	if (written != (ssize_t)len) {
		log_error(NULL, 0, "the start-up packet could not be sent: %s", strerror(written < 0 ? (int)-written : EIO));
		end(relay, RELAY_FAILED);
		return false;
	}
	return true;
}

/* ---- from the parent to the session ---- */

enum progress { MOVED, BLOCKED, OVER };

static void note_input_end(struct relay *relay, ssize_t rc)
{
	if (rc < 0)
		log_info(NULL, 0, "input: %s", strerror((int)-rc));
	else if (framing_is_inside(&relay->reader))
		log_info(NULL, 0, "the input ended in the middle of a frame");
	relay->in_ended = true;
	linger(relay);
}

/* Fills the span or the buffer, whatever is empty. */
static enum progress take_input(struct relay *relay)
{
	size_t used;
	ssize_t got;

	if (relay->from_used == relay->from_len) {
		if (relay->in_ended)
			return BLOCKED;
		got = channel_read(&relay->in, relay->from, sizeof(relay->from));
		if (got == -EAGAIN)
			return BLOCKED;
		if (got <= 0) {
			note_input_end(relay, got);
			return MOVED;
		}
		relay->from_used = 0;
		relay->from_len = (size_t)got;
	}
	switch (framing_next(&relay->reader, relay->from + relay->from_used, relay->from_len - relay->from_used, &used,
			     &relay->span)) {
	case FRAMING_NOTHING:
		relay->span.len = 0;
		break;
	case FRAMING_BYTES:
		break;
	case FRAMING_CANCEL:
		send_cancel(relay, &relay->span);
		relay->span.len = 0;
		break;
	}
	relay->from_used += used;
	return MOVED;
}

/* The session need not exist yet. */
static enum progress tell_session_of_end(struct relay *relay)
{
	if (relay->session_told)
		return BLOCKED;
	relay->session_told = true;
	if (!relay->has_session) {
		end(relay, RELAY_PARENT_LEFT);
		return OVER;
	}
	if (!relay->session_ended)
		shutdown(relay->session.fd, SHUT_WR);
	return MOVED;
}

static enum progress move_to_session(struct relay *relay)
{
	ssize_t written;

	if (relay->is_starting || relay->session_ended)
		return BLOCKED;
	if (relay->span.len == 0) {
		enum progress progress = take_input(relay);

		if (progress != MOVED && relay->in_ended && relay->from_used == relay->from_len)
			return tell_session_of_end(relay);
		if (relay->span.len == 0)
			return progress;
	}
	if (!ask_for_session(relay))
		return OVER;
	written = channel_write(&relay->session, relay->span.bytes, relay->span.len);
	if (written == -EAGAIN)
		return BLOCKED;
	if (written < 0) { /* it has ended; what it had to say comes the other way */
		relay->session_told = true;
		relay->span.len = 0;
		relay->from_used = relay->from_len;
		return BLOCKED;
	}
	pgscan_client(&relay->scan, relay->span.bytes, (size_t)written);
	relay->span.bytes += written;
	relay->span.len -= (size_t)written;
	linger(relay);
	return MOVED;
}

/* ---- from the session to the parent ---- */

static size_t header_len(const struct relay *relay)
{
	return relay->config.framing == FRAMING_PACKET4 ? FRAMING_HEADER_LEN : 0;
}

/* to[header_len..header_len + len) becomes a frame. */
static void make_frame(struct relay *relay, size_t len)
{
	relay->to_used = 0;
	relay->to_len = len == 0 ? 0 : header_len(relay) + len;
	if (len > 0 && relay->config.framing == FRAMING_PACKET4)
		framing_put_header(relay->to, (uint32_t)len);
}

static bool is_trust(const struct pgclient_message *message)
{
	struct pgclient_cursor cursor = pgclient_cursor(message);
	uint32_t request = pgclient_u32(&cursor);

	if (request == 0 && !cursor.is_short)
		return true;
	log_error(NULL, 0,
		  "the server wants authentication (request %u), which --startup does not know: let the parent do the start-up",
		  request);
	return false;
}

/* Takes the start-up's messages out of startup[], and puts those that the parent gets to into to[]. False: the relay is over. */
static bool filter_startup(struct relay *relay)
{
	uint8_t *to = relay->to + header_len(relay);
	size_t used = 0;
	size_t len = 0;

	while (relay->is_starting) {
		struct pgclient_message message;
		enum pgclient_result result =
			pgclient_next(relay->startup + used, relay->startup_len - used, &message);

		if (result == PGCLIENT_NONSENSE || message.need_len > sizeof(relay->startup)) {
			log_error(NULL, 0, "the server's start-up cannot be followed (message \"%c\", %u bytes)",
				  message.type, message.body_len);
			end(relay, RELAY_NOT_STARTED);
			return false;
		}
		if (result == PGCLIENT_NEED_MORE)
			break;
		if (message.type == 'R' && !is_trust(&message)) {
			end(relay, RELAY_NOT_STARTED);
			return false;
		}
		if (strchr("SKZEN", message.type) != NULL) {
			memcpy(to + len, relay->startup + used, message.total_len);
			len += message.total_len;
		}
		relay->scan.is_refused |= message.type == 'E';
		if (message.type == 'Z') {
			relay->is_starting = false;
			pgscan_init(&relay->scan, true);
		}
		used += message.total_len;
	}
	relay->startup_len -= used;
	memmove(relay->startup, relay->startup + used, relay->startup_len);
	if (!relay->is_starting) { /* whatever came right behind */
		memcpy(to + len, relay->startup, relay->startup_len);
		len += relay->startup_len;
		relay->startup_len = 0;
	}
	make_frame(relay, len);
	return true;
}

/* The buffer is empty: fills it. */
static enum progress take_output(struct relay *relay)
{
	bool is_starting = relay->is_starting;
	uint8_t *at = is_starting ? relay->startup + relay->startup_len : relay->to + header_len(relay);
	size_t cap = is_starting ? sizeof(relay->startup) - relay->startup_len : sizeof(relay->to) - header_len(relay);
	ssize_t got;

	if (!relay->has_session || relay->session_ended)
		return BLOCKED;
	got = channel_read(&relay->session, at, cap);
	if (got == -EAGAIN && !relay->session.is_broken)
		return BLOCKED;
	if (got <= 0) {
		relay->session_ended = true;
		return MOVED;
	}
	if (is_starting) {
		relay->startup_len += (size_t)got;
		return filter_startup(relay) ? MOVED : OVER;
	}
	pgscan_server(&relay->scan, at, (size_t)got);
	make_frame(relay, (size_t)got);
	return MOVED;
}

static void end_with_session(struct relay *relay)
{
	if (relay->scan.is_terminated)
		end(relay, RELAY_TERMINATED);
	else if (relay->scan.is_refused)
		end(relay, RELAY_NOT_STARTED);
	else if (relay->in_ended || relay->in_hung_up)
		end(relay, RELAY_PARENT_LEFT);
	else
		end(relay, relay->scan.is_ready ? RELAY_SESSION_ENDED : RELAY_NOT_STARTED);
}

static enum progress move_to_parent(struct relay *relay)
{
	ssize_t written;

	if (relay->to_used == relay->to_len) {
		enum progress progress = take_output(relay);

		if (progress != OVER && relay->session_ended && relay->to_used == relay->to_len) {
			end_with_session(relay);
			return OVER;
		}
		if (progress != MOVED || relay->to_used == relay->to_len)
			return progress;
	}
	written = channel_write(relay->writer, relay->to + relay->to_used, relay->to_len - relay->to_used);
	if (written == -EAGAIN)
		return BLOCKED;
	if (written < 0) {
		if (written != -EPIPE && written != -ECONNRESET)
			log_error(NULL, 0, "the output cannot be written: %s", strerror((int)-written));
		end(relay, written != -EPIPE && written != -ECONNRESET ? RELAY_FAILED : RELAY_PARENT_LEFT);
		return OVER;
	}
	relay->to_used += (size_t)written;
	linger(relay);
	return MOVED;
}

/* ---- both ---- */

/* Waits for exactly what would let the next byte move. */
static void watch(struct relay *relay)
{
	bool wants_input = relay->span.len == 0 && relay->from_used == relay->from_len && !relay->in_ended &&
			   !relay->is_starting && !relay->session_ended;
	bool has_output = relay->to_used < relay->to_len;
	bool has_input = relay->span.len > 0 || relay->from_used < relay->from_len || (wants_input && !relay->in.can_wait);
	int in_events = wants_input ? UV_READABLE : 0;
	int out_events = has_output ? UV_WRITABLE : 0;
	int session_events = 0;

	/* a parent that leaves must be noticed, also while it is made to wait */
	if (!wants_input && !relay->in_ended && !relay->in_hung_up)
		in_events = UV_DISCONNECT;
	if (relay->writer == &relay->in) {
		in_events |= out_events;
	} else {
		if (!has_output && !relay->out_half_closed)
			out_events = UV_DISCONNECT;
		channel_watch(&relay->out, out_events);
	}
	channel_watch(&relay->in, in_events);
	if (!relay->session_ended && !has_output)
		session_events |= UV_READABLE;
	if (!relay->session_ended && !relay->is_starting && !relay->session_told && has_input)
		session_events |= UV_WRITABLE;
	if (relay->has_session)
		channel_watch(&relay->session, session_events);
}

static void relay_run(struct relay *relay)
{
	enum progress up = MOVED;
	enum progress down = MOVED;

	/*
	 * A broken session is not watched any more: all that it left is fetched, or the parent blocks and is watched. Without a
	 * session there is nothing yet that would call us again.
	 */
	for (int i = 0; up == MOVED || down == MOVED; i++) {
		if (i >= ROUNDS_PER_TURN && relay->has_session && !relay->session.is_broken)
			break;
		down = move_to_parent(relay);
		if (down == OVER || relay->is_over)
			return;
		up = move_to_session(relay);
		if (up == OVER || relay->is_over)
			return;
	}
	watch(relay);
}

static void on_in_event(struct channel *channel, int events)
{
	struct relay *relay = channel->data;

	if (relay->is_over)
		return;
	if ((events & UV_DISCONNECT) != 0 && relay->writer == channel && channel_is_gone(channel)) {
		end(relay, RELAY_PARENT_LEFT);
		return;
	}
	if ((events & UV_DISCONNECT) != 0 && (events & UV_READABLE) == 0 && !relay->in_hung_up) {
		relay->in_hung_up = true;
		linger(relay);
	}
	relay_run(relay);
}

static void on_out_event(struct channel *channel, int events)
{
	struct relay *relay = channel->data;

	if (relay->is_over)
		return;
	if (channel->is_broken || ((events & UV_DISCONNECT) != 0 && channel_is_gone(channel))) {
		end(relay, RELAY_PARENT_LEFT); /* nobody reads it */
		return;
	}
	relay->out_half_closed |= (events & UV_DISCONNECT) != 0;
	relay_run(relay);
}

static void on_first_turn(uv_timer_t *timer)
{
	struct relay *relay = timer->data;

	if (relay->config.does_startup && !send_startup(relay))
		return;
	relay_run(relay);
}

struct relay *relay_new(struct supervisor *sv, int in_fd, int out_fd, const struct relay_config *config)
{
	struct relay *relay = calloc(1, sizeof(*relay));
	uv_loop_t *loop = supervisor_loop(sv);
	int rc = UV_ENOMEM;

	if (relay == NULL) {
		close(in_fd);
		if (out_fd != in_fd)
			close(out_fd);
		goto fail;
	}
	relay->sv = sv;
	relay->config = *config;
	relay->in.fd = relay->out.fd = relay->session.fd = -1;
	relay->is_starting = config->does_startup;
	framing_reader_init(&relay->reader, config->framing);
	pgscan_init(&relay->scan, false);
	uv_timer_init(loop, &relay->timer);
	relay->timer.data = relay;
	relay->open_handles = 1;
	rc = channel_open(&relay->in, loop, in_fd, on_in_event, relay);
	if (rc == 0)
		relay->open_handles += relay->in.can_wait;
	relay->writer = &relay->in;
	if (out_fd != in_fd) {
		int out_rc = channel_open(&relay->out, loop, out_fd, on_out_event, relay);

		if (out_rc == 0)
			relay->open_handles += relay->out.can_wait;
		relay->writer = &relay->out;
		rc = rc != 0 ? rc : out_rc;
	}
	if (rc != 0)
		goto fail;
	/* from the loop: on_end() must not come before the caller knows the relay */
	uv_timer_start(&relay->timer, on_first_turn, 0, 0);
	return relay;
fail:
	log_error(NULL, 0, "cannot talk to the parent: %s", uv_strerror(rc));
	if (relay != NULL)
		relay_free(relay);
	return NULL;
}

void relay_free(struct relay *relay)
{
	if (relay->is_freed)
		BUG("a relay is freed twice");
	relay->is_freed = true;
	if (relay->in.fd >= 0 && relay->writer->fd >= 0 && !relay->is_over) {
		relay->is_over = true; /* nobody is called any more */
		while (move_to_parent(relay) == MOVED)
			;
	}
	relay->is_over = true;
	channel_close(&relay->in, on_handle_closed);
	channel_close(&relay->out, on_handle_closed);
	channel_close(&relay->session, on_handle_closed);
	uv_close((uv_handle_t *)&relay->timer, on_timer_closed);
}
