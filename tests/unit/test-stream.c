#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "../../guest/comm/pglite-comm.h"
#include "../../guest/comm/stream.h"

#define STARTUP "\0\0\0\x11\0\3\0\0user\0me\0\0"
#define STARTUP_LEN 17
#define SSL_REQUEST "\0\0\0\x08\x04\xd2\x16\x2f"
#define GSS_REQUEST "\0\0\0\x08\x04\xd2\x16\x30"
#define SYNC "S\0\0\0\4"
#define QUERY "Q\0\0\0\x0dSELECT 1\0"
#define QUERY_LEN 14

#define MIB (1024 * 1024)
#define SUNK_MAX (80 * MIB)

/* ---- memory: every allocation of stream.c, linked with --wrap, can fail ---- */

void *__real_malloc(size_t size);
void *__real_realloc(void *old, size_t size);
void __real_free(void *old);
void *__wrap_malloc(size_t size);
void *__wrap_realloc(void *old, size_t size);
void __wrap_free(void *old);

/* allocations until they fail; -1: never */
static int memory_countdown = -1;
static size_t memory_largest;
static int memory_live;

static bool memory_fails(size_t size)
{
	if (memory_countdown == 0)
		return true;
	if (memory_countdown > 0)
		memory_countdown--;
	if (size > memory_largest)
		memory_largest = size;
	return false;
}

void *__wrap_malloc(size_t size)
{
	if (memory_fails(size))
		return NULL;
	memory_live++;
	return __real_malloc(size);
}

void *__wrap_realloc(void *old, size_t size)
{
	if (memory_fails(size))
		return NULL;
	if (old == NULL)
		memory_live++;
	return __real_realloc(old, size);
}

void __wrap_free(void *old)
{
	if (old != NULL)
		memory_live--;
	__real_free(old);
}

/* ---- a transport that does as told ---- */

struct answer {
	int32_t value;
	bool is_beyond; /* value more than was asked or offered */
};

static struct {
	const uint8_t *bytes;
	size_t len;
	size_t piece;  /* at most this many per call, 0: as many as asked for */
	size_t budget; /* bytes to give before it is 0 again, SIZE_MAX: no limit */
	struct answer answers[16];
	int answer_count, answer_at; /* the next calls' answers */
	int calls;
	void (*within)(void);
} source;

static struct {
	uint8_t *bytes;
	size_t len;
	size_t piece, budget;
	struct answer answers[16];
	int answer_count, answer_at;
	int calls, flushes, resets;
	void (*within)(void);
} sink;

static uint8_t sunk[SUNK_MAX];

int32_t pglite_transport_read(void *ptr, size_t max_length)
{
	size_t n = source.len;

	source.calls++;
	assert_true(max_length > 0);
	memset(ptr, 0xee, max_length); /* all of it may be written to */
	if (source.within)
		source.within();
	if (source.answer_at < source.answer_count) {
		struct answer answer = source.answers[source.answer_at++];

		return answer.is_beyond ? (int32_t)max_length + answer.value : answer.value;
	}
	if (n > max_length)
		n = max_length;
	if (source.piece > 0 && n > source.piece)
		n = source.piece;
	if (n > source.budget)
		n = source.budget;
	if (n > 0) {
		memcpy(ptr, source.bytes, n);
		source.bytes += n;
		source.len -= n;
	}
	if (source.budget != SIZE_MAX)
		source.budget -= n;
	return (int32_t)n;
}

int32_t pglite_transport_write(const void *ptr, size_t length)
{
	size_t n = length;

	sink.calls++;
	assert_true(length > 0);
	if (sink.within)
		sink.within();
	if (sink.answer_at < sink.answer_count) {
		struct answer answer = sink.answers[sink.answer_at++];

		return answer.is_beyond ? (int32_t)length + answer.value : answer.value;
	}
	if (sink.piece > 0 && n > sink.piece)
		n = sink.piece;
	if (n > sink.budget)
		n = sink.budget;
	assert_true(sink.len + n <= SUNK_MAX);
	memcpy(sunk + sink.len, ptr, n);
	sink.len += n;
	if (sink.budget != SIZE_MAX)
		sink.budget -= n;
	return (int32_t)n;
}

void pglite_transport_flush(void)
{
	sink.flushes++;
}

/* what a waiting host lets through */
static size_t waiting_budget;
static int waits;

bool pglite_transport_wait(bool for_output)
{
	assert_true(for_output); /* the stream itself waits for nothing else */
	waits++;
	if (waiting_budget > 0)
		sink.budget = waiting_budget;
	return waiting_budget > 0;
}

void pglite_transport_reset(void)
{
	sink.resets++;
}

static int set_up(void **state)
{
	(void)state;
	memset(&source, 0, sizeof(source));
	memset(&sink, 0, sizeof(sink));
	source.budget = SIZE_MAX;
	sink.budget = SIZE_MAX;
	memory_countdown = -1;
	stream_begin();
	memory_largest = 0;
	memory_live = 0;
	return 0;
}

/* What is still allocated goes with the next client: nothing is lost between sessions. */
static int tear_down(void **state)
{
	(void)state;
	memory_countdown = -1;
	stream_begin();
	assert_int_equal(memory_live, 0);
	return 0;
}

static void give(const void *bytes, size_t len)
{
	source.bytes = bytes;
	source.len = len;
}

static void take_startup(void)
{
	uint8_t buf[64];

	give(STARTUP, STARTUP_LEN);
	assert_int_equal(stream_recv(buf, sizeof(buf)), STARTUP_LEN);
	assert_int_equal(stream_ready(), 0);
}

/* exact-size copies let the sanitizer see a byte too many */
static void assert_receives(const void *expected, size_t len)
{
	uint8_t *buf = malloc(len);
	size_t at = 0;

	while (at < len) {
		int32_t got = stream_recv(buf + at, len - at);

		assert_true(got > 0 && (size_t)got <= len - at);
		at += (size_t)got;
	}
	assert_memory_equal(buf, expected, len);
	free(buf);
}

static void put_word(uint8_t *at, uint32_t value)
{
	at[0] = (uint8_t)(value >> 24);
	at[1] = (uint8_t)(value >> 16);
	at[2] = (uint8_t)(value >> 8);
	at[3] = (uint8_t)value;
}

/* A message of len bytes in all, its data a pattern. */
static uint8_t *new_message(char type, size_t len)
{
	uint8_t *message = malloc(len);

	message[0] = (uint8_t)type;
	put_word(message + 1, (uint32_t)len - 1);
	for (size_t i = 5; i < len; i++)
		message[i] = (uint8_t)(i * 2654435761u >> 24);
	return message;
}

/* ---- input ---- */

static const char conversation[] = STARTUP QUERY SYNC "d\0\0\0\4"
				   "P\0\0\0\x0bx\0ab\0\0\0" SYNC;
static const size_t conversation_ends[] = {STARTUP_LEN,
					   STARTUP_LEN + QUERY_LEN,
					   STARTUP_LEN + QUERY_LEN + 5,
					   STARTUP_LEN + QUERY_LEN + 10,
					   STARTUP_LEN + QUERY_LEN + 22,
					   STARTUP_LEN + QUERY_LEN + 27};
#define CONVERSATION_LEN (sizeof(conversation) - 1)

static size_t end_behind(size_t at)
{
	size_t i = 0;

	while (conversation_ends[i] <= at)
		i++;
	return conversation_ends[i];
}

static void test_bytes_come_one_by_one(void **state)
{
	(void)state;
	assert_int_equal(conversation_ends[5], CONVERSATION_LEN);
	for (size_t at = 0, start = 0; at < CONVERSATION_LEN; at++) {
		size_t end = end_behind(at);

		give(conversation + at, 1);
		if (at + 1 < end) {
			assert_int_equal(stream_ready(), 0);
			assert_in_range(stream_wanted(), 1, end - at - 1);
			if (at + 1 - start >= 5)
				assert_int_equal(stream_wanted(), end - at - 1);
		} else {
			assert_int_equal(stream_ready(), 1);
			assert_int_equal(stream_wanted(), 0);
			assert_receives(conversation + start, end - start);
			start = end;
		}
	}
}

static void test_messages_split_at_every_byte(void **state)
{
	(void)state;
	for (size_t split = 1; split < CONVERSATION_LEN; split++) {
		char buf[CONVERSATION_LEN];
		size_t whole = 0;
		int32_t got;

		stream_begin();
		give(conversation, split);
		for (size_t i = 0; i < 6 && conversation_ends[i] <= split; i++)
			whole = conversation_ends[i];
		got = stream_recv(buf, sizeof(buf));
		assert_int_equal(got, whole);
		assert_memory_equal(buf, conversation, whole);
		assert_int_equal(stream_ready(), 0);
		assert_int_equal(stream_wanted() > 0, whole < split);
		give(conversation + split, CONVERSATION_LEN - split);
		assert_receives(conversation + whole, CONVERSATION_LEN - whole);
		assert_int_equal(stream_ready(), 0);
		assert_int_equal(stream_wanted(), 0);
	}
}

static void test_one_read_is_enough_for_many_messages(void **state)
{
	static uint8_t many[8000];
	uint8_t buf[3];

	(void)state;
	take_startup();
	for (size_t at = 0; at < sizeof(many); at += 5)
		memcpy(many + at, SYNC, 5);
	give(many, sizeof(many));
	source.calls = 0;
	for (size_t at = 0; at < sizeof(many);) {
		int32_t got = stream_recv(buf, sizeof(buf));

		assert_in_range(got, 1, 3);
		assert_memory_equal(buf, many + at, (size_t)got);
		at += (size_t)got;
	}
	assert_int_equal(source.calls, 1);
	assert_int_equal(stream_recv(buf, sizeof(buf)), 0);
}

static void test_requests_for_encryption_precede_the_startup_packet(void **state)
{
	uint8_t seen[8];

	(void)state;
	give(SSL_REQUEST GSS_REQUEST STARTUP QUERY, 16 + STARTUP_LEN + QUERY_LEN);
	assert_int_equal(stream_ready(), 1);
	assert_true(stream_peek(seen, 8));
	assert_memory_equal(seen, SSL_REQUEST, 8);
	stream_skip(8);
	assert_receives(GSS_REQUEST STARTUP QUERY, 8 + STARTUP_LEN + QUERY_LEN);
	assert_int_equal(stream_wanted(), 0);
	give(QUERY, QUERY_LEN - 1);
	assert_int_equal(stream_ready(), 0);
	assert_int_equal(stream_wanted(), 1);
}

static void test_a_typed_message_may_come_first(void **state)
{
	uint8_t seen;

	(void)state;
	for (size_t first = 1; first <= QUERY_LEN; first++) {
		stream_begin();
		give(QUERY, first);
		assert_int_equal(stream_ready(), 1);
		assert_true(stream_peek(&seen, 1));
		assert_int_equal(seen, 'Q');
		stream_expect_messages();
		assert_int_equal(stream_ready(), first == QUERY_LEN);
		give(&(QUERY SYNC)[first], QUERY_LEN + 5 - first);
		assert_receives(QUERY SYNC, QUERY_LEN + 5);
		give(QUERY, 7);
		assert_int_equal(stream_ready(), 0);
		assert_int_equal(stream_wanted(), QUERY_LEN - 7);
	}
}

static void test_looking_takes_nothing(void **state)
{
	uint8_t seen[16];

	(void)state;
	assert_false(stream_peek(seen, 1));
	give(STARTUP, 7);
	assert_int_equal(stream_ready(), 0);
	assert_false(stream_peek(seen, 8));
	assert_true(stream_peek(seen, 7));
	assert_memory_equal(seen, STARTUP, 7);
	give(&(STARTUP)[7], STARTUP_LEN - 7);
	assert_int_equal(stream_ready(), 1);
	assert_true(stream_peek(seen, 16));
	assert_memory_equal(seen, STARTUP, 16);
	assert_receives(STARTUP, STARTUP_LEN);
}

static void test_skipping_more_than_a_message_frames_the_rest(void **state)
{
	(void)state;
	take_startup();
	give(SYNC QUERY, 5 + 3);
	assert_int_equal(stream_ready(), 1);
	stream_skip(8);
	assert_int_equal(stream_wanted(), 0);
	give(QUERY, QUERY_LEN);
	assert_receives(QUERY, QUERY_LEN);
}

static void test_what_postgresql_refuses_counts_as_whole(void **state)
{
	static const struct {
		bool is_startup;
		const char *bytes;
		size_t len;
		bool is_bad;
	} cases[] = {
		{true, "\0\0\0\7", 4, true},
		{true, "\0\0\0\0", 4, true},
		{true, "\0\0\0\x08", 4, false},
		{true, "\0\0\x27\x14", 4, false},
		{true, "\0\0\x27\x15", 4, true},
		{true, "\0\0\0", 3, false},
		{true, "\x16", 1, true},
		{true, "\xff\xff\xff\xff", 4, true},
		{false, "Q\0\0\0\3", 5, true},
		{false, "Q\0\0\0\0", 5, true},
		{false, "Q\0\0\0\5", 5, false},
		{false, "Q\xff\xff\xff\xff", 5, true},
		{false, "Q\x80\0\0\0", 5, true},
		{false, "Q\x3f\xff\xff\xfe", 5, false},
		{false, "Q\x3f\xff\xff\xff", 5, true},
		{false, "d\x3f\xff\xff\xfe", 5, false},
		{false, "B\x3f\xff\xff\xff", 5, true},
		{false, "P\x3f\xff\xff\xfe", 5, false},
		{false, "F\x3f\xff\xff\xff", 5, true},
		{false, "X\0\0\x27\x10", 5, false},
		{false, "X\0\0\x27\x11", 5, true},
		{false, "S\0\0\x27\x11", 5, true},
		{false, "H\0\0\x27\x11", 5, true},
		{false, "C\0\0\x27\x10", 5, false},
		{false, "D\0\0\x27\x11", 5, true},
		{false, "E\0\0\x27\x10", 5, false},
		{false, "c\0\0\x27\x11", 5, true},
		{false, "f\0\0\x27\x10", 5, false},
		{false, "p\0\0\xff\xff", 5, false},
		{false, "p\0\1\0\0", 5, true},
		{false, "?", 1, true},
		{false, "\0", 1, true},
		{false, "Q\xff\xff\xff", 4, false},
	};

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		int32_t ready;

		stream_begin();
		if (!cases[i].is_startup)
			take_startup();
		give(cases[i].bytes, cases[i].len);
		ready = stream_ready();
		if (ready != cases[i].is_bad)
			fail_msg("case %zu: %d", i, ready);
		if (!cases[i].is_bad) {
			assert_true(stream_wanted() > 0);
			continue;
		}
		assert_int_equal(stream_wanted(), 0);
		assert_receives(cases[i].bytes, cases[i].len);
		/* there are no messages any more, only bytes */
		give("Q\0", 2);
		assert_receives("Q\0", 2);
		assert_int_equal(stream_ready(), 0);
	}
}

static void test_bad_answers_to_a_read_are_reported_once(void **state)
{
	static const struct {
		struct answer answer;
		int32_t reported;
	} cases[] = {
		{{1, true}, -PGLITE_EPROTO},
		{{1000, true}, -PGLITE_EPROTO},
		{{INT32_MAX, false}, -PGLITE_EPROTO},
		{{INT32_MIN, false}, -PGLITE_EPROTO},
		{{-4096, false}, -PGLITE_EPROTO},
		{{-4095, false}, -4095},
		{{-PGLITE_EIO, false}, -PGLITE_EIO},
		{{-PGLITE_EPROTO, false}, -PGLITE_EPROTO},
		{{-1, false}, -1},
	};

	(void)state;
	take_startup();
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		uint8_t buf[32];

		/* in the middle of a message */
		give(QUERY, 9);
		assert_int_equal(stream_ready(), 0);
		source.answers[0] = cases[i].answer;
		source.answer_count = 1;
		source.answer_at = 0;
		give(&(QUERY)[9], QUERY_LEN - 9);
		assert_int_equal(stream_recv(buf, sizeof(buf)), cases[i].reported);
		assert_int_equal(stream_wanted(), QUERY_LEN - 9);
		assert_int_equal(stream_take_error(), cases[i].reported);
		assert_int_equal(stream_take_error(), 0);
		assert_receives(QUERY, QUERY_LEN);
		assert_int_equal(stream_take_error(), 0);
	}
}

static void test_the_end_comes_after_the_last_message(void **state)
{
	uint8_t buf[64];

	(void)state;
	source.piece = 25;
	give(conversation, CONVERSATION_LEN);
	assert_receives(conversation, CONVERSATION_LEN - 5);
	source.answers[0].value = -PGLITE_EPIPE;
	source.answer_count = 1;
	assert_receives(SYNC, 5);
	source.piece = 0;
	assert_int_equal(stream_recv(buf, sizeof(buf)), -PGLITE_EPIPE);
	/* it stays, and nobody asks again */
	source.calls = 0;
	assert_int_equal(stream_ready(), -PGLITE_EPIPE);
	assert_int_equal(stream_recv(buf, sizeof(buf)), -PGLITE_EPIPE);
	assert_int_equal(source.calls, 0);
	assert_int_equal(stream_take_error(), 0);
	stream_begin();
	give(STARTUP, STARTUP_LEN);
	assert_receives(STARTUP, STARTUP_LEN);
}

static void test_the_end_within_a_message(void **state)
{
	(void)state;
	take_startup();
	give(QUERY, 8);
	assert_int_equal(stream_ready(), 0);
	source.answers[0].value = -PGLITE_EPIPE;
	source.answer_count = 1;
	assert_int_equal(stream_ready(), -PGLITE_EPIPE);
	assert_int_equal(stream_wanted(), QUERY_LEN - 8);
}

static void test_large_messages_come_whole(void **state)
{
	static const size_t lens[] = {16384, 16385, 65536, 70000, MIB, MIB + 1, 3 * MIB + 7, 64 * MIB};

	(void)state;
	take_startup();
	for (size_t i = 0; i < sizeof(lens) / sizeof(lens[0]); i++) {
		uint8_t *message = new_message('d', lens[i]);

		give(message, lens[i]);
		source.piece = 65536;
		memory_largest = 0;
		assert_int_equal(stream_ready(), 1);
		/* the buffer is not much larger than the message */
		assert_true(memory_largest <= lens[i] + 16384 || memory_largest <= 5 * 16384);
		assert_receives(message, lens[i]);
		free(message);
		if (lens[i] > 2 * MIB)
			assert_int_equal(memory_live, 0);
		give(SYNC, 5);
		assert_receives(SYNC, 5);
	}
}

static void test_memory_grows_with_the_bytes_not_with_the_header(void **state)
{
	static const uint8_t header[] = "d\x3f\xff\xff\xfe";
	uint8_t *body = malloc(4 * MIB);

	(void)state;
	memset(body, 'x', 4 * MIB);
	take_startup();
	give(header, 5);
	assert_int_equal(stream_ready(), 0);
	assert_int_equal(stream_wanted(), 0x3ffffffe - 4);
	memory_largest = 0;
	give(body, 4 * MIB);
	assert_int_equal(stream_ready(), 0);
	assert_int_equal(stream_wanted(), 0x3ffffffe - 4 - 4 * MIB);
	assert_in_range(memory_largest, 4 * MIB, 9 * MIB);
	free(body);
}

static void test_discarding_in_a_message_starts_anew(void **state)
{
	uint8_t buf[8];

	(void)state;
	/* before the start-up packet was taken, another one is expected */
	give(STARTUP QUERY, STARTUP_LEN + 6);
	assert_int_equal(stream_ready(), 1);
	stream_discard_input();
	assert_int_equal(stream_ready(), 0);
	give(STARTUP QUERY, STARTUP_LEN + 6);
	assert_receives(STARTUP, STARTUP_LEN - 1);
	stream_discard_input();
	give(STARTUP QUERY, STARTUP_LEN + 6);
	assert_receives(STARTUP, STARTUP_LEN);
	assert_int_equal(stream_ready(), 0);
	assert_int_equal(stream_wanted(), QUERY_LEN - 6);
	/* afterwards a message */
	stream_discard_input();
	give(QUERY, 6);
	assert_int_equal(stream_ready(), 0);
	assert_int_equal(stream_wanted(), QUERY_LEN - 6);
	stream_begin();
	give(STARTUP QUERY SYNC, STARTUP_LEN + QUERY_LEN + 5);
	assert_int_equal(stream_recv(buf, 8), 8);
	assert_receives(&(STARTUP)[8], STARTUP_LEN - 8);
	assert_int_equal(stream_recv(buf, 4), 4);
	/* the rest of the Query and the Sync */
	stream_discard_input();
	assert_int_equal(stream_ready(), 0);
	assert_int_equal(stream_wanted(), 0);
	give(QUERY, 6);
	assert_int_equal(stream_ready(), 0);
	stream_discard_input();
	assert_int_equal(stream_wanted(), 0);
	give(QUERY, QUERY_LEN);
	assert_receives(QUERY, QUERY_LEN);
	/* a bad header that PostgreSQL has not seen */
	give("Q\0\0\0\0", 5);
	assert_int_equal(stream_ready(), 1);
	stream_discard_input();
	give(QUERY, 6);
	assert_int_equal(stream_ready(), 0);
	assert_int_equal(stream_wanted(), QUERY_LEN - 6);
}

static void test_a_message_too_large_for_memory_is_dropped(void **state)
{
	static const size_t lens[] = {17000, 100000, 5 * MIB};
	static const size_t pieces[] = {1, 5, 4096, 100000};

	(void)state;
	for (size_t i = 0; i < sizeof(lens) / sizeof(lens[0]); i++)
		for (size_t j = lens[i] > MIB ? 2 : 0; j < sizeof(pieces) / sizeof(pieces[0]); j++) {
			uint8_t *batch = malloc(5 + lens[i] + QUERY_LEN);
			uint8_t *message = new_message('d', lens[i]);
			int32_t ready;

			memcpy(batch, SYNC, 5);
			memcpy(batch + 5, message, lens[i]);
			memcpy(batch + 5 + lens[i], QUERY, QUERY_LEN);
			free(message);
			stream_begin();
			take_startup();
			source.piece = pieces[j];
			give(batch, 5 + lens[i] + QUERY_LEN);
			/* the larger ones fail after they grew once or twice */
			memory_countdown = lens[i] > MIB ? 2 : 0;
			assert_int_equal(stream_ready(), 1);
			memory_countdown = -1;
			assert_receives(SYNC, 5);
			memory_countdown = lens[i] > MIB ? 2 : 0;
			ready = stream_ready();
			memory_countdown = 0;
			assert_int_equal(ready, -PGLITE_ENOMEM);
			assert_true(stream_wanted() > 0);
			assert_int_equal(stream_ready(), 1);
			memory_countdown = -1;
			assert_receives(QUERY, QUERY_LEN);
			assert_int_equal(stream_ready(), 0);
			free(batch);
		}
}

static void test_no_memory_is_needed_for_small_messages(void **state)
{
	static uint8_t many[20000];

	(void)state;
	for (size_t at = 0; at < sizeof(many); at += 10)
		memcpy(many + at, SYNC SYNC, 10);
	take_startup();
	give(many, sizeof(many));
	memory_countdown = 0;
	for (size_t at = 0; at < sizeof(many); at += 5) {
		uint8_t buf[5];

		assert_int_equal(stream_recv(buf, 5), 5);
		assert_memory_equal(buf, SYNC, 5);
	}
	assert_int_equal(stream_ready(), 0);
}

static void test_input_may_be_given(void **state)
{
	uint8_t *message = new_message('d', 100000);

	(void)state;
	assert_int_equal(stream_take_input("", 0), 0);
	assert_int_equal(stream_take_input(STARTUP QUERY, STARTUP_LEN + 6), STARTUP_LEN + 6);
	assert_int_equal(stream_wanted(), QUERY_LEN - 6);
	/* without memory nothing is taken, and what is here stays */
	memory_countdown = 0;
	assert_int_equal(stream_take_input(message, 100000), -PGLITE_ENOMEM);
	memory_countdown = -1;
	assert_int_equal(stream_wanted(), QUERY_LEN - 6);
	assert_int_equal(stream_take_input(&(QUERY SYNC)[6], QUERY_LEN + 5 - 6), QUERY_LEN + 5 - 6);
	assert_int_equal(stream_take_input(message, 100000), 100000);
	source.calls = 0;
	assert_receives(STARTUP QUERY SYNC, STARTUP_LEN + QUERY_LEN + 5);
	assert_receives(message, 100000);
	assert_int_equal(source.calls, 0);
	free(message);
}

static void test_given_input_of_a_dropped_message_is_dropped(void **state)
{
	uint8_t *message = new_message('d', 30000);

	(void)state;
	take_startup();
	give(message, 10000);
	memory_countdown = 0;
	assert_int_equal(stream_ready(), -PGLITE_ENOMEM);
	assert_int_equal(stream_wanted(), 20000);
	assert_int_equal(stream_take_input(message + 10000, 19999), 19999);
	assert_int_equal(stream_wanted(), 1);
	assert_int_equal(stream_take_input("xS\0\0\0\4Q", 7), 7);
	memory_countdown = -1;
	assert_receives(SYNC, 5);
	assert_int_equal(stream_ready(), 0);
	assert_int_equal(stream_wanted(), 4);
	free(message);
}

static void ask_to_discard_and_to_take(void)
{
	source.within = NULL;
	assert_int_equal(stream_take_input(SYNC, 5), -PGLITE_EBUSY);
	stream_discard_input();
}

static void test_discarding_within_a_read_keeps_what_is_read(void **state)
{
	uint8_t *message = new_message('d', 3 * MIB);

	(void)state;
	take_startup();
	/* also when the buffer is one that would be freed, and the message one that was dropped */
	give(message, 2 * MIB + 5);
	assert_int_equal(stream_ready(), 0);
	assert_int_equal(stream_wanted(), MIB - 5);
	give(QUERY, QUERY_LEN);
	source.within = ask_to_discard_and_to_take;
	assert_receives(QUERY, QUERY_LEN);
	assert_int_equal(stream_ready(), 0);

	give(message, 3 * MIB);
	memory_countdown = 0;
	assert_int_equal(stream_ready(), -PGLITE_ENOMEM);
	memory_countdown = -1;
	give(QUERY, QUERY_LEN);
	source.within = ask_to_discard_and_to_take;
	assert_receives(QUERY, QUERY_LEN);
	free(message);
}

/* ---- output ---- */

static void test_output_goes_straight_through(void **state)
{
	uint8_t *message = new_message('D', 300000);

	(void)state;
	memory_countdown = 0;
	assert_int_equal(stream_send(message, 300000), 300000);
	memory_countdown = -1;
	assert_int_equal(sink.calls, 1);
	assert_int_equal(stream_output_pending(), 0);
	assert_int_equal(sink.len, 300000);
	assert_memory_equal(sunk, message, 300000);
	assert_int_equal(stream_send(message, 0), 0);
	assert_int_equal(sink.calls, 1);
	assert_int_equal(stream_flush(), 0);
	assert_int_equal(sink.flushes, 1);
	free(message);
}

static void test_what_is_not_taken_is_queued_in_order(void **state)
{
	uint8_t *message = new_message('D', 200000);

	(void)state;
	sink.budget = 10;
	assert_int_equal(stream_send(message, 100), 100);
	assert_int_equal(stream_output_pending(), 90);
	assert_int_equal(stream_send(message + 100, 99900), 99900);
	assert_int_equal(stream_output_pending(), 99990);
	/* the queue goes first */
	sink.budget = 99995;
	assert_int_equal(stream_send(message + 100000, 50000), 50000);
	assert_int_equal(stream_output_pending(), 49995);
	assert_int_equal(stream_flush(), 49995);
	sink.budget = SIZE_MAX;
	sink.piece = 777;
	assert_int_equal(stream_send(message + 150000, 50000), 50000);
	assert_int_equal(stream_output_pending(), 0);
	assert_int_equal(sink.len, 200000);
	assert_memory_equal(sunk, message, 200000);
	free(message);
}

static void test_nothing_overtakes_the_queue(void **state)
{
	(void)state;
	sink.answer_count = 2; /* both 0 */
	assert_int_equal(stream_send("ab", 2), 2);
	assert_int_equal(stream_output_pending(), 2);
	/* the transport would take it now, but it is not its turn */
	assert_int_equal(stream_send("cd", 2), 2);
	assert_int_equal(sink.calls, 2);
	assert_int_equal(stream_output_pending(), 4);
	assert_int_equal(stream_send("ef", 2), 2);
	assert_int_equal(stream_output_pending(), 0);
	assert_int_equal(sink.len, 6);
	assert_memory_equal(sunk, "abcdef", 6);
}

static void test_bad_answers_to_a_write_keep_the_output(void **state)
{
	static const struct {
		struct answer answer;
		int32_t reported;
	} cases[] = {
		{{0, false}, 0},
		{{1, true}, -PGLITE_EPROTO},
		{{INT32_MAX, false}, -PGLITE_EPROTO},
		{{INT32_MIN, false}, -PGLITE_EPROTO},
		{{-4096, false}, -PGLITE_EPROTO},
		{{-4095, false}, -4095},
		{{-PGLITE_EIO, false}, -PGLITE_EIO},
		{{-PGLITE_ENOTCONN, false}, -PGLITE_ENOTCONN},
	};

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		stream_begin();
		sink.len = 0;
		sink.answers[0] = cases[i].answer;
		/* for stream_send() and again for the queue; the second error is not the first */
		sink.answers[1] = cases[i].answer;
		sink.answers[2].value = -7;
		sink.answer_count = cases[i].reported ? 3 : 2;
		sink.answer_at = 0;
		assert_int_equal(stream_send(QUERY, QUERY_LEN), QUERY_LEN);
		assert_int_equal(stream_output_pending(), QUERY_LEN);
		assert_int_equal(stream_flush(), QUERY_LEN);
		if (cases[i].reported)
			assert_int_equal(stream_flush(), QUERY_LEN);
		assert_int_equal(sink.answer_at, sink.answer_count);
		assert_int_equal(stream_take_error(), cases[i].reported);
		assert_int_equal(stream_take_error(), 0);
		assert_int_equal(sink.len, 0);
		assert_int_equal(stream_flush(), 0);
		assert_int_equal(sink.len, QUERY_LEN);
		assert_memory_equal(sunk, QUERY, QUERY_LEN);
	}
}

static void test_output_for_a_client_that_is_gone_is_dropped(void **state)
{
	(void)state;
	sink.budget = 3;
	assert_int_equal(stream_send(QUERY, QUERY_LEN), QUERY_LEN);
	assert_int_equal(stream_output_pending(), QUERY_LEN - 3);
	sink.answers[0].value = -PGLITE_EPIPE;
	sink.answer_count = 1;
	assert_int_equal(stream_flush(), 0);
	assert_int_equal(memory_live, 0);
	assert_int_equal(stream_take_error(), -PGLITE_EPIPE);
	sink.budget = SIZE_MAX;
	sink.calls = 0;
	assert_int_equal(stream_send(QUERY, QUERY_LEN), -PGLITE_EPIPE);
	assert_int_equal(stream_flush(), 0);
	assert_int_equal(sink.calls, 0);
	stream_begin();
	assert_int_equal(stream_send(QUERY, QUERY_LEN), QUERY_LEN);
	assert_int_equal(sink.len, 3 + QUERY_LEN);
	/* at once, by the direct way */
	sink.answers[0].value = -PGLITE_EPIPE;
	sink.answer_at = 0;
	assert_int_equal(stream_send(QUERY, QUERY_LEN), -PGLITE_EPIPE);
	assert_int_equal(stream_output_pending(), 0);
}

static void test_output_without_memory_is_not_taken(void **state)
{
	uint8_t *message = new_message('D', 200000);

	(void)state;
	sink.budget = 0;
	memory_countdown = 0;
	assert_int_equal(stream_send(message, 100), -PGLITE_ENOMEM);
	assert_int_equal(stream_output_pending(), 0);
	/* the first part went, which can't be undone */
	sink.budget = 40;
	assert_int_equal(stream_send(message, 100), 40);
	assert_int_equal(stream_output_pending(), 0);
	/* room in the last chunk does not help if the rest has none */
	memory_countdown = -1;
	assert_int_equal(stream_send(message + 40, 60), 60);
	memory_countdown = 0;
	assert_int_equal(stream_send(message + 100, 199900), -PGLITE_ENOMEM);
	assert_int_equal(stream_output_pending(), 60);
	assert_int_equal(stream_send(message + 100, 1000), 1000);
	memory_countdown = -1;
	assert_int_equal(stream_send(message + 1100, 198900), 198900);
	sink.budget = SIZE_MAX;
	assert_int_equal(stream_flush(), 0);
	assert_int_equal(sink.len, 200000);
	assert_memory_equal(sunk, message, 200000);
	free(message);
}

static void flush_and_send(void)
{
	sink.within = NULL;
	assert_int_equal(stream_flush(), stream_output_pending());
	assert_int_equal(stream_send(SYNC, 5), -PGLITE_EBUSY);
}

static void discard_output(void)
{
	sink.within = NULL;
	stream_discard_output();
}

static void test_calls_within_a_write_wait(void **state)
{
	(void)state;
	sink.within = flush_and_send;
	assert_int_equal(stream_send(QUERY, QUERY_LEN), QUERY_LEN);
	assert_int_equal(sink.len, QUERY_LEN);
	sink.budget = 0;
	assert_int_equal(stream_send(QUERY, QUERY_LEN), QUERY_LEN);
	sink.budget = SIZE_MAX;
	sink.within = flush_and_send;
	assert_int_equal(stream_flush(), 0);
	assert_int_equal(sink.len, 2 * QUERY_LEN);
	/* discarding waits for the call; the rest is dropped */
	sink.budget = 5;
	sink.within = discard_output;
	assert_int_equal(stream_send(QUERY, QUERY_LEN), QUERY_LEN);
	assert_int_equal(stream_output_pending(), 0);
	assert_int_equal(stream_send(QUERY, QUERY_LEN), QUERY_LEN);
	sink.budget = 5;
	sink.within = discard_output;
	assert_int_equal(stream_flush(), 0);
	assert_int_equal(sink.len, 2 * QUERY_LEN + 10);
	sink.budget = 0;
	assert_int_equal(stream_send(QUERY, QUERY_LEN), QUERY_LEN);
	stream_discard_output();
	assert_int_equal(stream_output_pending(), 0);
}

static void test_a_new_client_starts_with_nothing(void **state)
{
	(void)state;
	take_startup();
	give(QUERY, 6);
	assert_int_equal(stream_ready(), 0);
	sink.budget = 0;
	assert_int_equal(stream_send(QUERY, QUERY_LEN), QUERY_LEN);
	sink.answers[0].value = -PGLITE_EIO;
	sink.answer_count = 1;
	assert_int_equal(stream_flush(), QUERY_LEN);
	sink.resets = 0;
	stream_begin();
	assert_int_equal(sink.resets, 1);
	assert_int_equal(memory_live, 0);
	assert_int_equal(stream_output_pending(), 0);
	assert_int_equal(stream_wanted(), 0);
	assert_int_equal(stream_take_error(), 0);
	give(STARTUP, STARTUP_LEN - 1);
	assert_int_equal(stream_ready(), 0);
	assert_int_equal(stream_wanted(), 1);
}

/* ---- everything at random, against a model ---- */

static uint64_t seed;

static uint32_t random_below(uint32_t n)
{
	seed ^= seed << 13;
	seed ^= seed >> 7;
	seed ^= seed << 17;
	return (uint32_t)(seed >> 20) % n;
}

#define MODEL_INPUT (2 * MIB)

static void test_random_sessions_lose_nothing(void **state)
{
	static const char types[] = "QFBPdCDEHSXcfp";
	static uint8_t input[MODEL_INPUT];
	static size_t ends[MODEL_INPUT / 5];
	uint8_t *output = malloc(4 * MIB);
	uint8_t *buf = malloc(200000);

	(void)state;
	for (int session = 1; session <= 60; session++) {
		size_t len = STARTUP_LEN, end_count = 1, given = 0, received = 0, whole_at = 0, sent = 0;

		seed = 0x9e3779b97f4a7c15u * (uint64_t)session;
		memcpy(input, STARTUP, STARTUP_LEN);
		ends[0] = STARTUP_LEN;
		while (len < MODEL_INPUT / 2) {
			size_t message = random_below(10) > 0 ? random_below(200)
					 : random_below(10) > 0 ? random_below(9000)
								: random_below(300000);
			char type = message > 9000 ? types[random_below(5)] : types[random_below(sizeof(types) - 1)];

			input[len] = (uint8_t)type;
			put_word(input + len + 1, (uint32_t)message + 4);
			for (size_t i = 0; i < message; i++)
				input[len + 5 + i] = (uint8_t)seed + (uint8_t)(i * 31);
			len += 5 + message;
			ends[end_count++] = len;
		}
		set_up(NULL);
		while (received < len) {
			size_t n = random_below(4) > 0 ? random_below(500) : random_below(100000);
			int32_t got;

			switch (random_below(6)) {
			case 0: /* more to read */
				if (n > len - given - source.len)
					n = len - given - source.len;
				give(input + given, source.len + n);
				source.piece = random_below(2) ? 0 : 1 + random_below(70000);
				break;
			case 1: /* pushed, when nothing is there to read before it */
				if (source.len > 0)
					break;
				if (n > len - given)
					n = len - given;
				assert_int_equal(stream_take_input(input + given, n), n);
				given += n;
				break;
			case 2:
			case 3:
				n = n < 200000 ? n + 1 : n;
				got = stream_recv(buf, n);
				given = (size_t)(source.bytes ? source.bytes - input : 0) > given
						? (size_t)(source.bytes - input)
						: given;
				while (whole_at < end_count && ends[whole_at] <= given)
					whole_at++;
				if (got == 0) {
					assert_int_equal(received, whole_at ? ends[whole_at - 1] : 0);
					assert_int_equal(source.len, 0);
					break;
				}
				assert_true(got > 0 && (size_t)got <= n);
				assert_memory_equal(buf, input + received, (size_t)got);
				received += (size_t)got;
				assert_true(received <= ends[whole_at - 1]);
				break;
			case 4:
				if (sent + n > 4 * MIB)
					break;
				for (size_t i = 0; i < n; i++)
					output[sent + i] = (uint8_t)(seed >> 8) + (uint8_t)(i * 17);
				assert_int_equal(stream_send(output + sent, n), n);
				sent += n;
				assert_int_equal(sink.len + stream_output_pending(), sent);
				break;
			default:
				sink.budget = random_below(3) ? random_below(100000) : 0;
				sink.piece = random_below(2) ? 0 : 1 + random_below(5000);
				if (random_below(2))
					stream_flush();
				assert_int_equal(sink.len + stream_output_pending(), sent);
			}
		}
		assert_int_equal(stream_wanted(), 0);
		sink.budget = SIZE_MAX;
		assert_int_equal(stream_flush(), 0);
		assert_int_equal(sink.len, sent);
		assert_memory_equal(sunk, output, sent);
		stream_begin();
	}
	free(buf);
	free(output);
	stream_begin();
	memory_live = 0;
}

/* A slow reader in a host that can wait: nothing is queued, and all arrives in order. */
static void test_a_host_that_waits_is_waited_for(void **state)
{
	uint8_t data[1000];

	(void)state;
	stream_begin();
	for (size_t i = 0; i < sizeof data; i++)
		data[i] = (uint8_t)(i * 7);
	sink.budget = 0;
	waiting_budget = 64;
	waits = 0;
	assert_int_equal(stream_send(data, sizeof data), sizeof data);
	waiting_budget = 0;
	assert_int_equal(waits, (sizeof data + 63) / 64);
	assert_int_equal(stream_output_pending(), 0);
	assert_int_equal(sink.len, sizeof data);
	assert_memory_equal(sunk, data, sizeof data);
}

/* One that can't is asked once, and the rest is queued. */
static void test_a_host_that_can_not_wait_is_asked_once(void **state)
{
	uint8_t data[1000] = {1};

	(void)state;
	stream_begin();
	sink.budget = 10;
	waits = 0;
	assert_int_equal(stream_send(data, sizeof data), sizeof data);
	assert_int_equal(waits, 1);
	assert_int_equal(stream_output_pending(), sizeof data - 10);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_bytes_come_one_by_one),
		TEST(test_messages_split_at_every_byte),
		TEST(test_one_read_is_enough_for_many_messages),
		TEST(test_requests_for_encryption_precede_the_startup_packet),
		TEST(test_a_typed_message_may_come_first),
		TEST(test_looking_takes_nothing),
		TEST(test_skipping_more_than_a_message_frames_the_rest),
		TEST(test_what_postgresql_refuses_counts_as_whole),
		TEST(test_bad_answers_to_a_read_are_reported_once),
		TEST(test_the_end_comes_after_the_last_message),
		TEST(test_the_end_within_a_message),
		TEST(test_large_messages_come_whole),
		TEST(test_memory_grows_with_the_bytes_not_with_the_header),
		TEST(test_discarding_in_a_message_starts_anew),
		TEST(test_a_message_too_large_for_memory_is_dropped),
		TEST(test_no_memory_is_needed_for_small_messages),
		TEST(test_input_may_be_given),
		TEST(test_given_input_of_a_dropped_message_is_dropped),
		TEST(test_discarding_within_a_read_keeps_what_is_read),
		TEST(test_output_goes_straight_through),
		TEST(test_what_is_not_taken_is_queued_in_order),
		TEST(test_nothing_overtakes_the_queue),
		TEST(test_bad_answers_to_a_write_keep_the_output),
		TEST(test_output_for_a_client_that_is_gone_is_dropped),
		TEST(test_output_without_memory_is_not_taken),
		TEST(test_calls_within_a_write_wait),
		TEST(test_a_new_client_starts_with_nothing),
		TEST(test_a_host_that_waits_is_waited_for),
		TEST(test_a_host_that_can_not_wait_is_asked_once),
		TEST(test_random_sessions_lose_nothing),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
