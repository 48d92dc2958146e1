#define _GNU_SOURCE
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "../../host/framing.h"

#define CANCEL "\0\0\0\x10\x04\xd2\x16\x2e\0\0\x12\x34\xde\xad\xbe\xef"

struct taken {
	uint8_t bytes[1 << 16];
	size_t len;
	unsigned cancels;
	size_t cancel_at; /* bytes that were handed on before the last cancel request */
};

static struct taken taken;

static void take(struct framing_reader *reader, const void *in, size_t len)
{
	const uint8_t *piece = in;

	while (len > 0) {
		struct framing_span span;
		size_t used;

		switch (framing_next(reader, piece, len, &used, &span)) {
		case FRAMING_NOTHING:
			break;
		case FRAMING_BYTES:
			assert_true(span.len > 0);
			memcpy(taken.bytes + taken.len, span.bytes, span.len);
			taken.len += span.len;
			break;
		case FRAMING_CANCEL:
			assert_int_equal(span.len, FRAMING_CANCEL_LEN);
			assert_memory_equal(span.bytes, CANCEL, FRAMING_CANCEL_LEN);
			taken.cancels++;
			taken.cancel_at = taken.len;
			break;
		}
		assert_true(used > 0 && used <= len);
		piece += used;
		len -= used;
	}
}

/* The whole input in pieces of `size`. */
static void take_in_pieces(enum framing_kind kind, const void *in, size_t len, size_t size, struct framing_reader *reader)
{
	memset(&taken, 0, sizeof(taken));
	framing_reader_init(reader, kind);
	for (size_t at = 0; at < len; at += size)
		take(reader, (const uint8_t *)in + at, len - at < size ? len - at : size);
}

static void assert_taken(const void *bytes, size_t len, unsigned cancels)
{
	assert_int_equal(taken.len, len);
	assert_memory_equal(taken.bytes, bytes, len);
	assert_int_equal(taken.cancels, cancels);
}

static void test_frames_are_taken_off_whatever_the_pieces(void **state)
{
	static const char in[] = "\0\0\0\3abc" "\0\0\0\0" "\0\0\0\1d" "\0\0\0\0" "\0\0\0\0" "\0\0\0\x11" "0123456789abcdefg";
	struct framing_reader reader;

	(void)state;
	for (size_t size = 1; size < sizeof(in); size++) {
		take_in_pieces(FRAMING_PACKET4, in, sizeof(in) - 1, size, &reader);
		assert_taken("abcd0123456789abcdefg", 21, 0);
		assert_false(framing_is_inside(&reader));
	}
}

static void test_raw_bytes_pass_unchanged(void **state)
{
	static const char in[] = "\0\0\0\x10" CANCEL "\0\0";
	struct framing_reader reader;

	(void)state;
	for (size_t size = 1; size < sizeof(in); size++) {
		take_in_pieces(FRAMING_RAW, in, sizeof(in), size, &reader);
		assert_taken(in, sizeof(in), 0);
		assert_false(framing_is_inside(&reader));
	}
}

static void test_a_frame_longer_than_any_buffer_streams(void **state)
{
	static uint8_t piece[50000];
	struct framing_reader reader;
	uint64_t total = 0;

	(void)state;
	framing_reader_init(&reader, FRAMING_PACKET4);
	take(&reader, "\xff\xff\xff\xff", 4);
	while (total < UINT32_MAX) {
		size_t len = UINT32_MAX - total < sizeof(piece) ? (size_t)(UINT32_MAX - total) : sizeof(piece);
		struct framing_span span;
		size_t used;

		assert_true(framing_is_inside(&reader));
		assert_int_equal(framing_next(&reader, piece, len, &used, &span), FRAMING_BYTES);
		assert_ptr_equal(span.bytes, piece); /* handed on where it is */
		assert_int_equal(span.len, len);
		assert_int_equal(used, len);
		total += len;
	}
	assert_false(framing_is_inside(&reader));
}

static void test_a_cancel_request_is_a_frame_of_its_own(void **state)
{
	static const char in[] = "\0\0\0\2ab" "\0\0\0\x10" CANCEL "\0\0\0\1c";
	struct framing_reader reader;

	(void)state;
	for (size_t size = 1; size < sizeof(in); size++) {
		take_in_pieces(FRAMING_PACKET4, in, sizeof(in) - 1, size, &reader);
		assert_taken("abc", 3, 1);
		assert_int_equal(taken.cancel_at, 2);
	}
}

static void test_what_only_resembles_a_cancel_request_passes(void **state)
{
	static const struct {
		const char *in;
		size_t len;
		const char *out;
		size_t out_len;
	} cases[] = {
		/* inside of a longer frame, with another code, with another length word, cut into two frames */
		{"\0\0\0\x11" CANCEL "x", 21, CANCEL "x", 17},
		{"\0\0\0\x10\0\0\0\x10\x04\xd2\x16\x2f" "12345678", 20, "\0\0\0\x10\x04\xd2\x16\x2f" "12345678", 16},
		{"\0\0\0\x10\0\0\0\x11\x04\xd2\x16\x2e" "12345678", 20, "\0\0\0\x11\x04\xd2\x16\x2e" "12345678", 16},
		{"\0\0\0\x08\0\0\0\x10\x04\xd2\x16\x2e\0\0\0\x08" "12345678", 24, "\0\0\0\x10\x04\xd2\x16\x2e" "12345678", 16},
	};
	struct framing_reader reader;

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		for (size_t size = 1; size <= cases[i].len; size++) {
			take_in_pieces(FRAMING_PACKET4, cases[i].in, cases[i].len, size, &reader);
			assert_taken(cases[i].out, cases[i].out_len, 0);
		}
	}
}

static void test_a_cut_frame_is_noticed(void **state)
{
	static const char in[] = "\0\0\0\x10" CANCEL;
	struct framing_reader reader;

	(void)state;
	for (size_t len = 1; len < sizeof(in) - 1; len++) {
		take_in_pieces(FRAMING_PACKET4, in, len, len, &reader);
		assert_true(framing_is_inside(&reader));
		assert_taken("", 0, 0);
	}
}

static void test_headers_are_big_endian(void **state)
{
	uint8_t header[FRAMING_HEADER_LEN];

	(void)state;
	framing_put_header(header, 0x01020304);
	assert_memory_equal(header, "\1\2\3\4", 4);
	framing_put_header(header, UINT32_MAX);
	assert_memory_equal(header, "\xff\xff\xff\xff", 4);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_frames_are_taken_off_whatever_the_pieces),
		cmocka_unit_test(test_raw_bytes_pass_unchanged),
		cmocka_unit_test(test_a_frame_longer_than_any_buffer_streams),
		cmocka_unit_test(test_a_cancel_request_is_a_frame_of_its_own),
		cmocka_unit_test(test_what_only_resembles_a_cancel_request_passes),
		cmocka_unit_test(test_a_cut_frame_is_noticed),
		cmocka_unit_test(test_headers_are_big_endian),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
