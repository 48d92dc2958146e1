/*
 * stream.c
 *	  The client's bytes between PostgreSQL and a transport: whole messages in, everything out.
 *
 * Input is one buffer, from which only whole messages are handed on:
 *
 *		data       head            head + complete       tail          data + capacity
 *		| consumed | whole messages | start of the next one | room to read into |
 *
 * Of a message only the header is looked at, when its first bytes are here.  A header that PostgreSQL will refuse makes the
 * stream raw: there are no more boundaries to find, and PostgreSQL ends the session.
 *
 * Output goes straight to the transport.  What that does not take is queued in chunks, and nothing overtakes them.
 */
#include "stream.h"

#include <stdlib.h>
#include <string.h>

#include "pglite-comm.h"

#ifdef __wasi__
#include <errno.h>
_Static_assert(EBUSY == PGLITE_EBUSY && EINVAL == PGLITE_EINVAL && EIO == PGLITE_EIO && ENOMEM == PGLITE_ENOMEM &&
			   ENOTCONN == PGLITE_ENOTCONN && EPIPE == PGLITE_EPIPE && EPROTO == PGLITE_EPROTO, "WASI's");
#endif

/* What PostgreSQL takes: MAX_STARTUP_PACKET_LENGTH, SocketBackend()'s limits, and authentication's. */
#define STARTUP_MIN 8
#define STARTUP_MAX (10000 + 4)
#define SMALL_MESSAGE 10000
#define LARGE_MESSAGE (0x3fffffff - 1)
#define AUTH_MESSAGE 65535

/* Start-up packets with these codes are answered with one byte and followed by another start-up packet. */
#define NEGOTIATE_SSL_CODE 80877103
#define NEGOTIATE_GSS_CODE 80877104

/* The first buffer is never freed: there is always room for a header, whatever malloc() says. */
#define FIRST_ROOM 16384

/* The room for a read, if there are no bytes of a known message to wait for: doubled by each read that fills it. */
#define READ_MIN 8192
#define READ_MAX 65536

/* A header is believed so far; beyond it, room grows with the bytes that came. */
#define BELIEVED (1024 * 1024)

/* A larger buffer is freed when it is empty. */
#define KEPT (1024 * 1024)

#define OUTPUT_CHUNK 65536

static uint8_t first_room[FIRST_ROOM];

/* kept also where the transport has nothing to keep */
__attribute__((used, retain)) uint64_t pglite_transport_memory[PGLITE_TRANSPORT_BYTES / 8];

static struct
{
	uint8_t    *data;
	size_t		capacity;
	size_t		head;
	size_t		tail;
	size_t		complete;		/* bytes of whole messages at head */
	size_t		startup_left;	/* of these, up to the end of the start-up packet; 0 if that was taken or has not come */
	size_t		drop_left;		/* bytes to come of a message that memory is too small for */
	size_t		read_room;
	bool		had_startup;	/* messages have a type now */
	bool		is_raw;
	bool		has_ended;
	bool		is_reading;		/* the transport has a pointer into data */
	bool		discard_asked;	/* while it had */
}			in = {.data = first_room, .capacity = FIRST_ROOM, .read_room = READ_MIN};

struct chunk
{
	struct chunk *next;
	size_t		start;
	size_t		end;
	size_t		size;
	uint8_t		data[];
};

static struct
{
	struct chunk *first;
	struct chunk *last;
	size_t		pending;
	bool		is_gone;
	bool		is_writing;		/* the transport has a pointer to output */
	bool		discard_asked;	/* while it had */
}			out;

static int32_t error;

static size_t
smaller(size_t a, size_t b)
{
	return a < b ? a : b;
}

static size_t
larger(size_t a, size_t b)
{
	return a > b ? a : b;
}

static int32_t
record(int32_t negated_errno)
{
	if (error == 0)
		error = negated_errno;
	return negated_errno;
}

/* What a transport may answer to an offer of len bytes: a count up to that, or a negated errno. */
static int32_t
checked(int32_t answer, size_t len)
{
	if (answer < -PGLITE_MAX_ERRNO || (answer > 0 && (size_t) answer > len))
		return -PGLITE_EPROTO;
	return answer;
}

/* ---------------- input ---------------- */

static uint32_t
word_at(const uint8_t *bytes)
{
	return (uint32_t) bytes[0] << 24 | (uint32_t) bytes[1] << 16 | (uint32_t) bytes[2] << 8 | bytes[3];
}

/* The largest length word that PostgreSQL takes for a type, 0 for an unknown type. */
static uint32_t
message_limit(uint8_t type)
{
	switch (type)
	{
		case 'Q':
		case 'F':
		case 'B':
		case 'P':
		case 'd':
			return LARGE_MESSAGE;
		case 'C':
		case 'D':
		case 'E':
		case 'H':
		case 'S':
		case 'X':
		case 'c':
		case 'f':
			return SMALL_MESSAGE;
		case 'p':
			return AUTH_MESSAGE;
		default:
			return 0;
	}
}

/* Of the message that comes next; and how many bytes of it are here. */
static size_t
header_length(void)
{
	return in.had_startup ? 5 : 4;
}

static size_t
begun_length(void)
{
	return in.tail - in.head - in.complete;
}

/*
 * The length of the message that has begun, its header included; 0 if that can't be told yet, or if PostgreSQL will refuse the
 * message, which *is_bad says.
 */
static size_t
message_length(bool *is_bad)
{
	const uint8_t *at = in.data + in.head + in.complete;
	size_t		here = begun_length();
	uint32_t	length;

	*is_bad = false;
	if (here == 0)
		return 0;
	if (!in.had_startup)
	{
		/* such a length is too large, whatever follows */
		if (at[0] != 0)
			*is_bad = true;
		else if (here >= 4)
		{
			length = word_at(at);
			if (length >= STARTUP_MIN && length <= STARTUP_MAX)
				return length;
			*is_bad = true;
		}
		return 0;
	}
	if (message_limit(at[0]) == 0)
		*is_bad = true;
	else if (here >= 5)
	{
		length = word_at(at + 1);
		if (length >= 4 && length <= message_limit(at[0]))
			return (size_t) length + 1;
		*is_bad = true;
	}
	return 0;
}

/* Finds the whole messages among the bytes that came. */
static void
frame(void)
{
	bool		is_bad;
	size_t		length;

	while (!in.is_raw)
	{
		length = message_length(&is_bad);
		if (is_bad)
			in.is_raw = true;
		else if (length == 0 || length > begun_length())
			return;
		else
		{
			in.complete += length;
			if (!in.had_startup)
			{
				uint32_t	code = word_at(in.data + in.head + in.complete - length + 4);

				in.had_startup = code != NEGOTIATE_SSL_CODE && code != NEGOTIATE_GSS_CODE;
				if (in.had_startup)
					in.startup_left = in.complete;
			}
		}
	}
	in.complete = in.tail - in.head;
}

/* n bytes are behind the tail. */
static void
accept_input(size_t n)
{
	size_t		dropped = smaller(n, in.drop_left);

	if (dropped > 0)
	{
		in.drop_left -= dropped;
		n -= dropped;
		memmove(in.data + in.tail, in.data + in.tail + dropped, n);
	}
	in.tail += n;
	frame();
}

static void
release_input(void)
{
	if (in.data != first_room)
		free(in.data);
	in.data = first_room;
	in.capacity = FIRST_ROOM;
}

/* The queue is empty. */
static void
restart_input(void)
{
	in.head = in.tail = in.complete = in.startup_left = 0;
	if (in.capacity > KEPT)
		release_input();
}

/* The first n bytes of the queue, all of whole messages, were taken. */
static void
consume(size_t n)
{
	in.head += n;
	in.complete -= n;
	in.startup_left -= smaller(n, in.startup_left);
	if (in.head == in.tail)
		restart_input();
}

/* The queue at the buffer's start. */
static void
move_input_down(void)
{
	if (in.head == 0)
		return;
	memmove(in.data, in.data + in.head, in.tail - in.head);
	in.tail -= in.head;
	in.head = 0;
}

static bool
grow_input(size_t capacity)
{
	uint8_t    *data;

	move_input_down();
	if (in.data == first_room)
	{
		data = malloc(capacity);
		if (data != NULL)
			memcpy(data, in.data, in.tail);
	}
	else
		data = realloc(in.data, capacity);
	if (data == NULL)
		return false;
	in.data = data;
	in.capacity = capacity;
	return true;
}

/*
 * Room for n bytes behind the tail.  A message whose length is known gets what it needs at once if that is little or at most
 * twice what there is; so the memory used is bounded by the bytes that came, not by what a header says.
 */
static bool
reserve_input(size_t n)
{
	size_t		used = in.tail - in.head;
	size_t		capacity,
				whole;
	bool		is_bad;

	if (n <= in.capacity - in.tail)
		return true;
	/* moving costs less than it took to read what was consumed */
	if (used <= in.head && n <= in.capacity - used)
	{
		move_input_down();
		return true;
	}
	if (n <= SIZE_MAX / 4 && in.capacity <= SIZE_MAX / 4)
	{
		capacity = larger(2 * in.capacity, used + n);
		whole = in.complete + (in.is_raw ? 0 : message_length(&is_bad));
		if (whole >= used + n && whole <= larger(capacity, BELIEVED))
			capacity = whole;
		if (grow_input(capacity))
			return true;
	}
	move_input_down();
	return n <= in.capacity - in.tail;
}

/* One read.  Whole messages are not here.  Bytes read, 0 if there are none, or a negated errno. */
static int32_t
read_input(void)
{
	bool		is_bad;
	size_t		whole = in.is_raw ? 0 : message_length(&is_bad);
	size_t		missing = whole > 0 ? whole - begun_length() : SIZE_MAX;
	size_t		room;
	int32_t		got;

	if (!reserve_input(smaller(missing, in.read_room)) && whole > in.capacity)
	{
		in.drop_left = missing;
		in.tail = in.head;
		restart_input();
		release_input();
		return -PGLITE_ENOMEM;
	}
	room = smaller(in.capacity - in.tail, INT32_MAX);

	in.is_reading = true;
	got = checked(pglite_transport_read(in.data + in.tail, room), room);
	in.is_reading = false;
	if (in.discard_asked)
	{
		/* it concerns what was here before; what was read is the next message */
		if (got > 0)
			memmove(in.data, in.data + in.tail, (size_t) got);
		in.discard_asked = false;
		in.head = in.tail = in.drop_left = 0;
	}

	if (got > 0)
	{
		if ((size_t) got == room && in.read_room < READ_MAX)
			in.read_room *= 2;
		accept_input((size_t) got);
	}
	else if (got == -PGLITE_EPIPE)
		in.has_ended = true;
	else if (got < 0)
		record(got);
	return got;
}

int32_t
stream_ready(void)
{
	while (in.complete == 0)
	{
		int32_t		got = in.has_ended ? -PGLITE_EPIPE : read_input();

		if (got <= 0)
			return got;
	}
	return 1;
}

uint32_t
stream_wanted(void)
{
	bool		is_bad;
	size_t		length;

	if (in.drop_left > 0)
		return (uint32_t) in.drop_left;
	if (begun_length() == 0)
		return 0;
	length = message_length(&is_bad);
	return (uint32_t) ((length > 0 ? length : header_length()) - begun_length());
}

int32_t
stream_recv(void *buf, size_t len)
{
	size_t		n;

	if (in.complete == 0)
	{
		int32_t		ready = stream_ready();

		if (ready <= 0)
			return ready;
	}
	n = smaller(smaller(len, in.complete), INT32_MAX);
	memcpy(buf, in.data + in.head, n);
	consume(n);
	return (int32_t) n;
}

bool
stream_peek(void *buf, size_t len)
{
	if (len > in.tail - in.head)
		return false;
	memcpy(buf, in.data + in.head, len);
	return true;
}

void
stream_skip(size_t len)
{
	size_t		n = smaller(len, in.complete);

	len = smaller(len - n, begun_length());
	consume(n);
	if (len > 0)
	{
		/* the rest of the message that had begun counts as another */
		in.head += len;
		if (in.head == in.tail)
			restart_input();
		frame();
	}
}

void
stream_expect_messages(void)
{
	in.had_startup = true;
	in.startup_left = 0;
	in.is_raw = false;
	in.complete = 0;
	frame();
}

void
stream_discard_input(void)
{
	if (in.is_reading)
	{
		in.discard_asked = true;
		return;
	}
	if (in.startup_left > 0)
		in.had_startup = false;
	in.tail = in.head;
	in.drop_left = 0;
	in.is_raw = false;
	restart_input();
}

int32_t
stream_take_input(const void *data, size_t len)
{
	size_t		queued = len - smaller(len, in.drop_left);

	if (in.is_reading)
		return -PGLITE_EBUSY;
	if (len == 0)
		return 0;
	if (len > INT32_MAX || !reserve_input(queued))
		return -PGLITE_ENOMEM;
	memcpy(in.data + in.tail, (const uint8_t *) data + (len - queued), queued);
	in.drop_left -= len - queued;
	accept_input(queued);
	return (int32_t) len;
}

/* ---------------- output ---------------- */

static void
free_output(void)
{
	while (out.first)
	{
		struct chunk *next = out.first->next;

		free(out.first);
		out.first = next;
	}
	out.last = NULL;
	out.pending = 0;
}

/* Gives the transport a try.  How many bytes it took; 0 for any reason not to try on, which may be that the client is gone. */
static size_t
offer(const uint8_t *data, size_t len)
{
	int32_t		taken;

	len = smaller(len, INT32_MAX);
	out.is_writing = true;
	taken = checked(pglite_transport_write(data, len), len);
	out.is_writing = false;
	if (taken < 0)
		record(taken);
	if (taken == -PGLITE_EPIPE)
	{
		out.is_gone = true;
		free_output();
	}
	return taken > 0 ? (size_t) taken : 0;
}

static void
drain(void)
{
	while (out.first)
	{
		struct chunk *chunk = out.first;
		size_t		taken = offer(chunk->data + chunk->start, chunk->end - chunk->start);

		if (out.discard_asked)
		{
			out.discard_asked = false;
			free_output();
			return;
		}
		if (taken == 0)
			return;
		chunk->start += taken;
		out.pending -= taken;
		if (chunk->start == chunk->end)
		{
			out.first = chunk->next;
			if (out.first == NULL)
				out.last = NULL;
			free(chunk);
		}
	}
}

static bool
queue_output(const uint8_t *data, size_t len)
{
	struct chunk *last = out.last;
	struct chunk *added;
	size_t		n = last ? smaller(len, last->size - last->end) : 0;

	if (n < len)
	{
		size_t		size = larger(len - n, OUTPUT_CHUNK);

		added = size <= SIZE_MAX - sizeof(struct chunk) ? malloc(sizeof(struct chunk) + size) : NULL;
		if (added == NULL)
			return false;
		*added = (struct chunk) {.end = len - n, .size = size};
		memcpy(added->data, data + n, len - n);
		if (last)
			last->next = added;
		else
			out.first = added;
		out.last = added;
	}
	if (n > 0)
	{
		memcpy(last->data + last->end, data, n);
		last->end += n;
	}
	out.pending += len;
	return true;
}

int32_t
stream_send(const void *buf, size_t len)
{
	const uint8_t *data = buf;
	size_t		sent = 0;

	if (out.is_writing)
		return -PGLITE_EBUSY;
	len = smaller(len, INT32_MAX);
	do
	{
		size_t		taken = 1;

		drain();
		while (!out.first && !out.is_gone && sent < len && taken > 0)
		{
			taken = offer(data + sent, len - sent);
			sent += taken;
			if (out.discard_asked)
			{
				out.discard_asked = false;
				sent = len;
			}
		}
	} while (sent < len && !out.is_gone && pglite_transport_wait(true));
	if (out.is_gone)
		return -PGLITE_EPIPE;
	if (sent < len && queue_output(data + sent, len - sent))
		sent = len;
	return sent > 0 || len == 0 ? (int32_t) sent : -PGLITE_ENOMEM;
}

uint32_t
stream_flush(void)
{
	if (!out.is_writing)
	{
		drain();
		if (!out.is_gone)
			pglite_transport_flush();
	}
	return stream_output_pending();
}

uint32_t
stream_output_pending(void)
{
	return (uint32_t) out.pending;
}

void
stream_discard_output(void)
{
	if (out.is_writing)
		out.discard_asked = true;
	else
		free_output();
}

/* ---------------- both ---------------- */

int32_t
stream_take_error(void)
{
	int32_t		taken = error;

	error = 0;
	return taken;
}

void
stream_begin(void)
{
	release_input();
	memset(&in, 0, sizeof(in));
	in.data = first_room;
	in.capacity = FIRST_ROOM;
	in.read_room = READ_MIN;
	free_output();
	memset(&out, 0, sizeof(out));
	error = 0;
	pglite_transport_reset();
}
