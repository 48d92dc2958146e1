/*
 * libFuzzer target for host/framing.c and host/pgscan.c: what a parent of `pgcell port` may send, in pieces of any size.
 *
 * The first bytes of the input choose the framing and the pieces' sizes. The frames are taken apart a second time by a simple
 * reader that has all of the input at once: both must see the same bytes and the same cancel requests. What follows the messages
 * must not depend on the pieces either.
 */
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "../host/framing.h"
#include "../host/pgscan.h"

#define INPUT_MAX 4096

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* What was handed on: bytes, and where in them the cancel requests came. */
struct seen {
	uint8_t bytes[INPUT_MAX];
	size_t len;
	size_t cancels[INPUT_MAX / FRAMING_CANCEL_LEN];
	uint8_t keys[INPUT_MAX / FRAMING_CANCEL_LEN][FRAMING_CANCEL_LEN];
	size_t cancel_count;
	bool is_inside;
};

static void check(bool is_true)
{
	if (!is_true)
		abort();
}

static void see_bytes(struct seen *seen, const uint8_t *bytes, size_t len)
{
	check(len <= sizeof(seen->bytes) - seen->len);
	memcpy(seen->bytes + seen->len, bytes, len);
	seen->len += len;
}

static void see_cancel(struct seen *seen, const uint8_t *packet)
{
	seen->cancels[seen->cancel_count] = seen->len;
	memcpy(seen->keys[seen->cancel_count++], packet, FRAMING_CANCEL_LEN);
}

static void take(struct framing_reader *reader, struct seen *seen, const uint8_t *piece, size_t len)
{
	while (len > 0) {
		struct framing_span span;
		size_t used;
		enum framing_item item = framing_next(reader, piece, len, &used, &span);

		check(used >= 1 && used <= len);
		if (item == FRAMING_BYTES) {
			check(span.len > 0);
			see_bytes(seen, span.bytes, span.len);
		} else if (item == FRAMING_CANCEL) {
			check(span.len == FRAMING_CANCEL_LEN);
			see_cancel(seen, span.bytes);
		}
		piece += used;
		len -= used;
	}
	seen->is_inside = framing_is_inside(reader);
}

/* The same, as the documentation says it. */
static void take_at_once(struct seen *seen, const uint8_t *in, size_t len)
{
	static const uint8_t cancel[] = {0, 0, 0, 16, 4, 210, 22, 46};

	while (len > 0) {
		uint32_t frame_len;
		size_t there;

		seen->is_inside = true;
		if (len < FRAMING_HEADER_LEN)
			return;
		frame_len = (uint32_t)in[0] << 24 | (uint32_t)in[1] << 16 | (uint32_t)in[2] << 8 | in[3];
		in += FRAMING_HEADER_LEN;
		len -= FRAMING_HEADER_LEN;
		there = frame_len < len ? frame_len : len;
		if (frame_len == FRAMING_CANCEL_LEN && there < frame_len)
			return;
		if (frame_len == FRAMING_CANCEL_LEN && memcmp(in, cancel, sizeof(cancel)) == 0)
			see_cancel(seen, in);
		else
			see_bytes(seen, in, there);
		in += there;
		len -= there;
		if (there < frame_len)
			return;
		seen->is_inside = false;
	}
}

static void check_scan(const struct seen *seen, const uint8_t *pieces, size_t piece_count, bool is_started)
{
	struct pgscan whole, split;
	size_t at = 0;

	pgscan_init(&whole, is_started);
	pgscan_client(&whole, seen->bytes, seen->len);
	pgscan_server(&whole, seen->bytes, seen->len);
	pgscan_init(&split, is_started);
	for (size_t i = 0; at < seen->len; i++) {
		size_t len = 1 + pieces[i % piece_count];

		if (len > seen->len - at)
			len = seen->len - at;
		pgscan_client(&split, seen->bytes + at, len);
		at += len;
	}
	for (at = 0; at < seen->len; at++)
		pgscan_server(&split, seen->bytes + at, 1);
	check(whole.is_terminated == split.is_terminated && whole.is_ready == split.is_ready);
	check(whole.is_refused == split.is_refused && whole.bare_answers == split.bare_answers);
	check(whole.client.is_lost == split.client.is_lost && whole.client.left == split.client.left);
	check(whole.server.is_lost == split.server.is_lost && whole.server.left == split.server.left);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct seen in_pieces, at_once;
	const uint8_t *pieces = data + 1;
	size_t piece_count = 4;
	enum framing_kind kind;
	struct framing_reader reader;
	size_t at = 1 + piece_count;
	uint8_t header[FRAMING_HEADER_LEN];

	if (size <= at || size > INPUT_MAX)
		return 0;
	kind = data[0] & 1 ? FRAMING_RAW : FRAMING_PACKET4;
	memset(&in_pieces, 0, sizeof(in_pieces));
	memset(&at_once, 0, sizeof(at_once));
	framing_reader_init(&reader, kind);
	for (size_t i = 0; at < size; i++) {
		size_t len = 1 + pieces[i % piece_count];

		if (len > size - at)
			len = size - at;
		take(&reader, &in_pieces, data + at, len);
		at += len;
	}
	if (kind == FRAMING_RAW)
		see_bytes(&at_once, data + 1 + piece_count, size - 1 - piece_count);
	else
		take_at_once(&at_once, data + 1 + piece_count, size - 1 - piece_count);
	check(memcmp(&in_pieces, &at_once, sizeof(at_once)) == 0);
	check_scan(&in_pieces, pieces, piece_count, (data[0] & 2) != 0);

	/* a header made here is read back */
	framing_put_header(header, (uint32_t)size);
	framing_reader_init(&reader, FRAMING_PACKET4);
	memset(&in_pieces, 0, sizeof(in_pieces));
	take(&reader, &in_pieces, header, sizeof(header));
	check(in_pieces.is_inside && reader.left == size);
	return 0;
}
