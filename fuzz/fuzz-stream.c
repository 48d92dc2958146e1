/*
 * libFuzzer target for guest/comm/stream.c: whatever comes from the wire, in reads and takes of any size, and whatever the
 * transport answers.
 *
 * Checked against a second framer that has all the input at once: what is handed on is a prefix of what was given, ends with a
 * whole message when there is no more, and nothing of an unfinished message is in it.
 */
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "../guest/comm/pglite-comm.h"
#include "../guest/comm/stream.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const uint8_t *ops, *wire;
static size_t op_count, op_at, wire_len, wire_at;
static uint8_t *sunk;
static size_t sunk_len, sunk_room;
static bool is_client_gone;
static int32_t answered; /* the last read's answer */

static void check(int is_true)
{
	if (!is_true)
		abort();
}

static uint8_t next_op(void)
{
	return op_at < op_count ? ops[op_at++] : 0xff;
}

static int32_t bad_answer(uint8_t kind, size_t asked)
{
	switch (kind % 6) {
	case 0:
		return (int32_t)asked + 1;
	case 1:
		return INT32_MAX;
	case 2:
		return INT32_MIN;
	case 3:
		return -4096;
	case 4:
		return -PGLITE_EIO;
	default:
		return 0;
	}
}

int32_t pglite_transport_read(void *ptr, size_t max_length)
{
	uint8_t op = next_op();
	size_t n = op < 200 ? (size_t)op * op / 8 + op % 8 : max_length;

	check(max_length > 0);
	memset(ptr, 0xee, max_length);
	if (op >= 200 && op < 220)
		return answered = bad_answer(op, max_length);
	if (n > max_length)
		n = max_length;
	if (n > wire_len - wire_at)
		n = wire_len - wire_at;
	memcpy(ptr, wire + wire_at, n);
	wire_at += n;
	return answered = (int32_t)n;
}

int32_t pglite_transport_write(const void *ptr, size_t length)
{
	uint8_t op = next_op();
	size_t n = op < 200 ? op : length;

	check(length > 0);
	if (op == 221) {
		is_client_gone = true;
		return -PGLITE_EPIPE;
	}
	if (op >= 200 && op < 220)
		return bad_answer(op, length);
	if (n > length)
		n = length;
	check(n <= sunk_room - sunk_len);
	memcpy(sunk + sunk_len, ptr, n);
	sunk_len += n;
	return (int32_t)n;
}

void pglite_transport_flush(void)
{
}

bool pglite_transport_wait(bool for_output)
{
	check(for_output);
	return next_op() > 240;
}

void pglite_transport_reset(void)
{
}

static uint32_t word_at(const uint8_t *at)
{
	return (uint32_t)at[0] << 24 | (uint32_t)at[1] << 16 | (uint32_t)at[2] << 8 | at[3];
}

/*
 * Bytes of whole messages among the first len; *missing: of the one that has begun, exactly if *is_known, else at least one.
 * Everything, from a header that PostgreSQL refuses on.
 */
static size_t framed(size_t len, uint32_t *missing, bool *is_known)
{
	static const char large[] = "QFBPd", small[] = "CDEHSXcf";
	size_t at = 0;
	bool is_startup = true;

	*missing = 0;
	*is_known = true;
	while (at < len) {
		size_t here = len - at, header = is_startup ? 4 : 5;
		uint8_t type = wire[at];
		uint32_t length, limit, whole;

		if (is_startup)
			limit = type == 0 ? 10004 : 0;
		else if (type != 0 && strchr(large, type))
			limit = 0x3ffffffe;
		else if (type != 0 && strchr(small, type))
			limit = 10000;
		else
			limit = type == 'p' ? 65535 : 0;
		if (limit == 0)
			return len;
		if (here < header) {
			*missing = 1;
			*is_known = false;
			return at;
		}
		length = word_at(wire + at + header - 4);
		if (length < (is_startup ? 8 : 4) || length > limit)
			return len;
		whole = length + (is_startup ? 0 : 1);
		if (here < whole) {
			*missing = whole - (uint32_t)here;
			return at;
		}
		if (is_startup) {
			uint32_t code = word_at(wire + at + 4);

			is_startup = code == 80877103 || code == 80877104;
		}
		at += whole;
	}
	return at;
}

static void check_missing(size_t handed_on)
{
	uint32_t missing;
	bool is_known;

	check(framed(wire_at, &missing, &is_known) >= handed_on);
	if (is_known)
		check(stream_wanted() == missing);
	else
		check(stream_wanted() >= 1 && stream_wanted() <= 4);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	uint8_t buf[70000];
	size_t received = 0, sent = 0, idle = 0;

	if (size < 2)
		return 0;
	op_count = ((size_t)data[0] << 8 | data[1]) % (size - 1);
	ops = data + 2;
	op_at = 0;
	wire = data + 2 + op_count;
	wire_len = size - 2 - op_count;
	wire_at = 0;
	sunk_room = 32 * size;
	sunk = malloc(sunk_room);
	sunk_len = 0;
	is_client_gone = false;
	stream_begin();

	/* the bytes that the ops do not ask for come at the end */
	while (idle < 2) {
		uint8_t op = next_op();
		size_t n = op % 16 < 12 ? 1 + op : sizeof(buf);
		int32_t got;
		uint32_t missing;
		bool is_known;

		if (op < 160 || op == 0xff) {
			answered = 0;
			got = stream_recv(buf, n);
			if (got > 0) {
				check((size_t)got <= n);
				check(memcmp(buf, wire + received, (size_t)got) == 0);
				received += (size_t)got;
			} else {
				/* nothing is kept back, and errors are the transport's */
				check(received == framed(wire_at, &missing, &is_known));
				check(got == (answered < -4095 || answered > 0 ? -PGLITE_EPROTO : answered));
				if (op_at == op_count && wire_at == wire_len)
					idle++;
			}
			check(received <= framed(wire_at, &missing, &is_known));
			check_missing(received);
		} else if (op < 180) {
			n = n < wire_len - wire_at ? n : wire_len - wire_at;
			check(stream_take_input(wire + wire_at, n) == (int32_t)n);
			wire_at += n;
			check_missing(received);
		} else if (op < 230) {
			if (op % 8 != 0 || n > size)
				n = op % 32;
			if (sent + n > sunk_room)
				continue;
			for (size_t i = 0; i < n; i++)
				buf[i] = (uint8_t)((sent + i) * 7 + (sent + i) / 251);
			got = stream_send(buf, n);
			check(got == (is_client_gone ? -PGLITE_EPIPE : (int32_t)n));
			sent += n;
		} else if (op < 250) {
			check(stream_flush() == stream_output_pending());
		} else {
			(void)stream_take_error();
		}
		check(is_client_gone ? stream_output_pending() == 0 : sunk_len + stream_output_pending() == sent);
	}
	(void)stream_flush();
	check(is_client_gone || sunk_len == sent);
	for (size_t i = 0; i < sunk_len; i++)
		check(sunk[i] == (uint8_t)(i * 7 + i / 251));
	stream_begin();
	free(sunk);
	return 0;
}
