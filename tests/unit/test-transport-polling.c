#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define PGLITE_USE_POLLING
#include "../../guest/comm/pglite-comm.h"
#include "../../guest/comm/stream.h"

void *pglite_alloc_shared(size_t len_bytes)
{
	static uint64_t shared[(2 * (PGLITE_BUFFER_SIZE + 8) + 64) / 8];

	return len_bytes <= sizeof shared ? shared : NULL;
}

#define STARTUP "\0\0\0\x09\0\3\0\0"
#define STARTUP_LEN 9
#define SYNC "S\0\0\0\4"
#define MIB (1024 * 1024)
#define SIZE PGLITE_BUFFER_SIZE

/* linked with --wrap */
void *__real_malloc(size_t size);
void *__wrap_malloc(size_t size);

static bool memory_is_full;

void *__wrap_malloc(size_t size)
{
	return memory_is_full ? NULL : __real_malloc(size);
}

static struct pglite_buffer *in, *out;
static struct pglite_control *control;

static int set_up(void **state)
{
	(void)state;
	in = pglite_get_input_buffer();
	out = pglite_get_output_buffer();
	control = pglite_get_control();
	stream_begin();
	return 0;
}

/* What the host does; len is at most the buffer's size. */
static int32_t signal_bytes(const void *bytes, size_t len)
{
	memcpy(in->data, bytes, len);
	return pglite_signal_input_ready((int32_t)len);
}

static void write_ready(const void *bytes, size_t len)
{
	memcpy(in->data, bytes, len);
	in->length = (uint32_t)len;
	in->status = PGLITE_BUFFER_READY;
}

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

static void take_startup(void)
{
	assert_int_equal(signal_bytes(STARTUP, STARTUP_LEN), STARTUP_LEN);
	assert_receives(STARTUP, STARTUP_LEN);
}

static void assert_refused(int32_t result, int32_t error, uint32_t errors_before)
{
	assert_int_equal(result, -error);
	assert_int_equal(control->last_error, error);
	assert_int_equal(control->errors, errors_before + 1);
}

/* A CopyData message of len bytes in all, its data a pattern. */
static uint8_t *new_message(size_t len)
{
	uint8_t *message = malloc(len);

	message[0] = 'd';
	message[1] = (uint8_t)((len - 1) >> 24);
	message[2] = (uint8_t)((len - 1) >> 16);
	message[3] = (uint8_t)((len - 1) >> 8);
	message[4] = (uint8_t)(len - 1);
	for (size_t i = 5; i < len; i++)
		message[i] = (uint8_t)(i * 2654435761u >> 24);
	return message;
}

/* The first test: nothing was called before. */
static void test_a_host_finds_everything_before_the_first_call(void **state)
{
	static const uint8_t magic[] = "PGC1";

	(void)state;
	control = pglite_get_control();
	assert_memory_equal((const void *)control, magic, 4);
	assert_int_equal(control->buffer_size, SIZE);
	assert_int_equal(pglite_get_buffer_size(), SIZE);
	assert_int_equal(control->operation, PGLITE_OPERATION_NONE);
	assert_int_equal(control->status, 0);
	assert_int_equal(control->errors, 0);
	assert_int_equal((uintptr_t)pglite_get_input_buffer() % 8, 0);
	assert_int_equal((uintptr_t)pglite_get_output_buffer() % 8, 0);
	assert_int_equal((uintptr_t)control % 8, 0);
	assert_int_equal(pglite_has_output(), 0);
	assert_int_equal(pglite_get_output_length(), 0);
	stream_begin();
	assert_ptr_equal(pglite_get_control(), control);
}

static void test_signalled_input_is_taken_at_once(void **state)
{
	uint32_t chunks = control->input_chunks;

	(void)state;
	assert_int_equal(signal_bytes(STARTUP, 4), 4);
	assert_int_equal(in->status, PGLITE_BUFFER_EMPTY);
	assert_int_equal(in->length, 0);
	assert_int_equal(control->input_chunks, chunks + 1);
	assert_int_equal(stream_ready(), 0);
	assert_int_equal(stream_wanted(), 5);
	assert_int_equal(signal_bytes(&(STARTUP SYNC)[4], 10), 10);
	assert_int_equal(control->input_chunks, chunks + 2);
	assert_receives(STARTUP SYNC, 14);
	/* nothing */
	assert_int_equal(pglite_signal_input_ready(0), 0);
	assert_int_equal(control->input_chunks, chunks + 2);
	assert_int_equal(stream_ready(), 0);
}

static void test_signalled_lengths_that_can_not_be(void **state)
{
	static const int32_t lengths[] = {-1, INT32_MIN, SIZE + 1, INT32_MAX};

	(void)state;
	take_startup();
	for (size_t i = 0; i < sizeof(lengths) / sizeof(lengths[0]); i++) {
		uint32_t errors = control->errors;

		memcpy(in->data, SYNC, 5);
		assert_refused(pglite_signal_input_ready(lengths[i]), PGLITE_EINVAL, errors);
		assert_int_equal(in->status, PGLITE_BUFFER_EMPTY);
		assert_int_equal(stream_ready(), 0);
	}
	/* the next one works */
	assert_int_equal(signal_bytes(SYNC, 5), 5);
	assert_receives(SYNC, 5);
}

static void test_signalled_input_without_memory_stays_ready(void **state)
{
	uint8_t *message = new_message(SIZE);
	uint32_t errors = control->errors, chunks;

	(void)state;
	take_startup();
	chunks = control->input_chunks;
	memory_is_full = true;
	assert_refused(signal_bytes(message, SIZE), PGLITE_ENOMEM, errors);
	memory_is_full = false;
	assert_int_equal(in->status, PGLITE_BUFFER_READY);
	assert_int_equal(in->length, SIZE);
	assert_int_equal(control->input_chunks, chunks);
	/* the guest takes it by itself */
	assert_receives(message, SIZE);
	assert_int_equal(in->status, PGLITE_BUFFER_EMPTY);
	assert_int_equal(control->input_chunks, chunks + 1);
	/* or the host signals again */
	stream_begin();
	take_startup();
	memory_is_full = true;
	assert_int_equal(signal_bytes(message, SIZE), -PGLITE_ENOMEM);
	memory_is_full = false;
	assert_int_equal(pglite_signal_input_ready(SIZE), SIZE);
	assert_receives(message, SIZE);
	assert_int_equal(stream_ready(), 0);
	free(message);
}

static void test_the_host_may_set_the_words_itself(void **state)
{
	uint32_t chunks = control->input_chunks;

	(void)state;
	write_ready(STARTUP, 6);
	assert_int_equal(stream_ready(), 0);
	assert_int_equal(in->status, PGLITE_BUFFER_EMPTY);
	assert_int_equal(in->length, 0);
	write_ready(&STARTUP[6], 3);
	assert_receives(STARTUP, STARTUP_LEN);
	assert_int_equal(control->input_chunks, chunks + 2);
	write_ready("", 0);
	assert_int_equal(stream_ready(), 0);
	assert_int_equal(in->status, PGLITE_BUFFER_EMPTY);
	assert_int_equal(control->input_chunks, chunks + 2);
}

static void test_nonsense_in_the_input_words_drops_the_buffer(void **state)
{
	static const struct {
		uint32_t status, length;
	} cases[] = {
		{2, 5},
		{UINT32_MAX, 5},
		{256, 0},
		{PGLITE_BUFFER_READY, SIZE + 1},
		{PGLITE_BUFFER_READY, UINT32_MAX},
		{PGLITE_BUFFER_READY, 0x80000000u},
	};

	(void)state;
	take_startup();
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		uint32_t errors = control->errors, chunks = control->input_chunks;

		memcpy(in->data, SYNC, 5);
		in->length = cases[i].length;
		in->status = cases[i].status;
		assert_refused(stream_ready(), PGLITE_EPROTO, errors);
		assert_int_equal(stream_take_error(), -PGLITE_EPROTO);
		assert_int_equal(in->status, PGLITE_BUFFER_EMPTY);
		assert_int_equal(in->length, 0);
		assert_int_equal(control->input_chunks, chunks);
		assert_int_equal(stream_ready(), 0);
		write_ready(SYNC, 5);
		assert_receives(SYNC, 5);
	}
}

static void test_a_chunk_half_read_can_not_be_taken_back(void **state)
{
	uint8_t got[SIZE], *message = new_message(SIZE);
	uint32_t errors, chunks = control->input_chunks;

	(void)state;
	write_ready(message, SIZE);
	assert_int_equal(pglite_polling_read(got, 0), 0);
	assert_int_equal(pglite_polling_read(got, 1000), 1000);
	assert_int_equal(in->status, PGLITE_BUFFER_READY);
	in->status = 77;
	in->length = UINT32_MAX;
	assert_int_equal(pglite_polling_read(got + 1000, 1000), 1000);
	assert_int_equal(in->status, PGLITE_BUFFER_READY);
	assert_int_equal(in->length, SIZE);
	in->status = PGLITE_BUFFER_EMPTY;
	in->length = 3;
	errors = control->errors;
	assert_refused(pglite_signal_input_ready(5), PGLITE_EINVAL, errors);
	assert_int_equal(in->status, PGLITE_BUFFER_READY);
	assert_int_equal(control->input_chunks, chunks);
	assert_int_equal(pglite_polling_read(got + 2000, SIZE), SIZE - 2000);
	assert_int_equal(in->status, PGLITE_BUFFER_EMPTY);
	assert_int_equal(control->input_chunks, chunks + 1);
	assert_memory_equal(got, message, SIZE);
	assert_int_equal(pglite_polling_read(got, SIZE), 0);
	free(message);
}

static void test_output_is_shown_when_the_buffer_is_full_or_at_a_flush(void **state)
{
	uint8_t *message = new_message(SIZE);

	(void)state;
	assert_int_equal(stream_flush(), 0);
	assert_int_equal(pglite_has_output(), 0);
	assert_int_equal(stream_send(message, 100), 100);
	assert_int_equal(pglite_has_output(), 0);
	assert_int_equal(out->status, PGLITE_BUFFER_EMPTY);
	assert_int_equal(out->length, 0);
	assert_int_equal(stream_send(message + 100, 50), 50);
	assert_int_equal(stream_flush(), 0);
	assert_int_equal(pglite_has_output(), 1);
	assert_int_equal(pglite_get_output_length(), 150);
	assert_int_equal(out->status, PGLITE_BUFFER_READY);
	assert_int_equal(out->length, 150);
	assert_memory_equal(out->data, message, 150);
	/* it is the host's now */
	assert_int_equal(stream_send("more", 4), 4);
	assert_int_equal(pglite_get_output_length(), 150);
	assert_int_equal(stream_output_pending(), 4);
	assert_int_equal(pglite_ack_output(), 4);
	assert_memory_equal(out->data, "more", 4);
	assert_int_equal(pglite_ack_output(), 0);
	assert_int_equal(out->status, PGLITE_BUFFER_EMPTY);
	assert_int_equal(out->length, 0);
	assert_int_equal(stream_send(message, SIZE - 1), SIZE - 1);
	assert_int_equal(pglite_has_output(), 0);
	assert_int_equal(stream_send(message + SIZE - 1, 1), 1);
	assert_int_equal(pglite_has_output(), 1);
	assert_int_equal(pglite_get_output_length(), SIZE);
	assert_memory_equal(out->data, message, SIZE);
	assert_int_equal(pglite_polling_write("x", 1), 0);
	assert_int_equal(pglite_ack_output(), 0);
	free(message);
}

static void test_acknowledging_out_of_turn_does_nothing(void **state)
{
	uint32_t errors = control->errors, chunks = control->output_chunks;

	(void)state;
	assert_refused(pglite_ack_output(), PGLITE_EINVAL, errors);
	/* what the guest is about to fill is not the host's */
	assert_int_equal(stream_send("abc", 3), 3);
	assert_refused(pglite_ack_output(), PGLITE_EINVAL, errors + 1);
	assert_int_equal(control->output_chunks, chunks);
	out->status = PGLITE_BUFFER_READY;
	out->length = 2;
	assert_refused(pglite_ack_output(), PGLITE_EINVAL, errors + 2);
	assert_int_equal(out->status, PGLITE_BUFFER_EMPTY);
	assert_int_equal(stream_flush(), 0);
	assert_int_equal(pglite_get_output_length(), 3);
	assert_memory_equal(out->data, "abc", 3);
	assert_int_equal(pglite_ack_output(), 0);
	assert_int_equal(control->output_chunks, chunks + 1);
}

static void test_overwritten_output_words_are_not_believed(void **state)
{
	static const uint32_t values[] = {0, 1, 2, 99, SIZE + 1, UINT32_MAX};

	(void)state;
	for (size_t i = 0; i < sizeof(values) / sizeof(values[0]); i++) {
		assert_int_equal(stream_send("first", 5), 5);
		assert_int_equal(stream_flush(), 0);
		assert_int_equal(stream_send("second", 6), 6);
		out->status = values[i];
		out->length = values[(i + 2) % 6];
		assert_int_equal(pglite_has_output(), 1);
		assert_int_equal(out->status, PGLITE_BUFFER_READY);
		assert_int_equal(out->length, 5);
		out->length = values[i];
		assert_int_equal(pglite_get_output_length(), 5);
		assert_int_equal(out->length, 5);
		out->status = values[i];
		out->length = values[i];
		assert_int_equal(pglite_ack_output(), 6);
		assert_memory_equal(out->data, "second", 6);
		out->status = values[i];
		out->length = values[i];
		assert_int_equal(pglite_ack_output(), 0);
		assert_int_equal(out->status, PGLITE_BUFFER_EMPTY);
		/* nor while the buffer is the guest's */
		assert_int_equal(stream_send("ab", 2), 2);
		out->status = values[i];
		out->length = values[i];
		assert_int_equal(stream_send("c", 1), 1);
		assert_int_equal(stream_flush(), 0);
		assert_int_equal(pglite_get_output_length(), 3);
		assert_memory_equal(out->data, "abc", 3);
		assert_int_equal(pglite_ack_output(), 0);
	}
}

static void test_messages_of_64_mib_cross_both_ways(void **state)
{
	size_t len = 64 * MIB;
	uint8_t *message = new_message(len);
	uint8_t *copy = malloc(len);
	uint32_t chunks = control->input_chunks + 1;
	size_t at;
	int32_t n;

	(void)state;
	take_startup();
	for (at = 0; at < len; at += SIZE) {
		assert_int_equal(stream_ready(), 0);
		assert_int_equal(signal_bytes(message + at, SIZE), SIZE);
	}
	assert_int_equal(control->input_chunks, chunks + len / SIZE);
	assert_receives(message, len);

	/* the host sets the words, and the guest reads between */
	for (at = 0; at < len; at += SIZE) {
		write_ready(message + at, SIZE);
		assert_int_equal(stream_ready(), at + SIZE == len);
	}
	assert_receives(message, len);

	/* as PostgreSQL sends it: a buffer's worth at a time, the rest at once */
	for (at = 0; at < len / 2; at += 8192)
		assert_int_equal(stream_send(message + at, 8192), 8192);
	assert_int_equal(stream_send(message + at, len - at), len - at);
	assert_int_equal(stream_flush(), len - SIZE);
	chunks = control->output_chunks;
	for (at = 0, n = pglite_get_output_length(); n > 0; at += (size_t)n, n = at < len ? pglite_ack_output() : 0) {
		assert_int_equal(out->status, PGLITE_BUFFER_READY);
		assert_int_equal(out->length, n);
		assert_true(at + (size_t)n <= len);
		memcpy(copy + at, out->data, (size_t)n);
	}
	assert_int_equal(at, len);
	assert_int_equal(pglite_ack_output(), 0);
	assert_int_equal(control->output_chunks, chunks + len / SIZE);
	assert_memory_equal(copy, message, len);
	free(copy);
	free(message);
}

static void test_reset_drops_everything_and_work_goes_on(void **state)
{
	uint8_t got[16], *message = new_message(3 * SIZE);

	(void)state;
	take_startup();
	/* in the middle of a message, with another chunk half read and output in the buffer and in the queue */
	assert_int_equal(signal_bytes(message, SIZE), SIZE);
	write_ready(message + SIZE, SIZE);
	assert_int_equal(pglite_polling_read(got, 10), 10);
	assert_int_equal(stream_send(message, 3 * SIZE), 3 * SIZE);
	pglite_reset_buffers();
	assert_int_equal(in->status, PGLITE_BUFFER_EMPTY);
	assert_int_equal(in->length, 0);
	assert_int_equal(out->status, PGLITE_BUFFER_EMPTY);
	assert_int_equal(out->length, 0);
	assert_int_equal(pglite_has_output(), 0);
	assert_int_equal(stream_output_pending(), 0);
	assert_int_equal(stream_ready(), 0);
	assert_int_equal(stream_wanted(), 0);
	assert_int_equal(pglite_ack_output(), -PGLITE_EINVAL);
	assert_int_equal(signal_bytes(SYNC, 5), 5);
	assert_receives(SYNC, 5);
	assert_int_equal(stream_send("abc", 3), 3);
	assert_int_equal(stream_flush(), 0);
	assert_int_equal(pglite_get_output_length(), 3);
	assert_memory_equal(out->data, "abc", 3);
	/* half-filled, not shown yet */
	pglite_reset_buffers();
	assert_int_equal(stream_send("x", 1), 1);
	pglite_reset_buffers();
	assert_int_equal(stream_flush(), 0);
	assert_int_equal(pglite_has_output(), 0);
	free(message);
}

static void test_the_control_block_tells_what_happens(void **state)
{
	(void)state;
	pglite_transport_enter();
	assert_int_equal(control->operation, PGLITE_OPERATION_RUNNING);
	take_startup();
	assert_int_equal(stream_send("x", 1), 1);
	assert_int_equal(stream_flush(), 0);
	assert_int_equal(control->operation, PGLITE_OPERATION_RUNNING);
	pglite_transport_leave(-PGLITE_EPROTO);
	assert_int_equal(control->operation, PGLITE_OPERATION_NONE);
	assert_int_equal(control->status, -PGLITE_EPROTO);
	/* it is only for show */
	memset((void *)control, 0xaa, sizeof(*control));
	assert_int_equal(pglite_has_output(), 1);
	assert_int_equal(control->magic, PGLITE_CONTROL_MAGIC);
	assert_int_equal(control->buffer_size, SIZE);
	assert_int_equal(control->operation, PGLITE_OPERATION_NONE);
	assert_int_equal(control->status, -PGLITE_EPROTO);
	pglite_transport_enter();
	pglite_transport_leave(0);
	assert_int_equal(control->status, 0);
}

static void test_counters_outlive_a_reset_of_the_memory(void **state)
{
	struct pglite_transport_state kept;
	struct pglite_control before;

	(void)state;
	take_startup();
	assert_int_equal(stream_send("x", 1), 1);
	assert_int_equal(stream_flush(), 0);
	assert_int_equal(pglite_ack_output(), 0);
	assert_int_equal(pglite_ack_output(), -PGLITE_EINVAL);
	pglite_transport_enter();
	pglite_transport_leave(5);
	memcpy(&before, (const void *)control, sizeof(before));
	pglite_transport_save(&kept);
	/* other counters, something in both buffers, and words of another time */
	assert_int_equal(signal_bytes(SYNC, 5), 5);
	assert_int_equal(stream_send("xyz", 3), 3);
	assert_int_equal(stream_flush(), 0);
	assert_int_equal(pglite_ack_output(), 0);
	assert_int_equal(stream_send("xyz", 3), 3);
	assert_int_equal(stream_flush(), 0);
	assert_int_equal(pglite_signal_input_ready(-1), -PGLITE_EINVAL);
	pglite_transport_leave(7);
	write_ready(SYNC, 5);
	memset((void *)control, 0, sizeof(*control));
	pglite_transport_restore(&kept);
	assert_memory_equal((const void *)control, &before, sizeof(before));
	assert_int_equal(in->status, PGLITE_BUFFER_EMPTY);
	assert_int_equal(out->status, PGLITE_BUFFER_EMPTY);
	assert_int_equal(pglite_has_output(), 0);
	stream_begin();
	take_startup();
	assert_int_equal(control->input_chunks, before.input_chunks + 1);
}

static void test_a_new_client_finds_empty_buffers(void **state)
{
	(void)state;
	take_startup();
	write_ready(SYNC, 5);
	assert_int_equal(stream_send("x", 1), 1);
	assert_int_equal(stream_flush(), 0);
	stream_begin();
	assert_int_equal(in->status, PGLITE_BUFFER_EMPTY);
	assert_int_equal(out->status, PGLITE_BUFFER_EMPTY);
	assert_int_equal(stream_ready(), 0);
	take_startup();
}

static uint64_t seed;

static uint32_t random_below(uint32_t n)
{
	seed ^= seed << 13;
	seed ^= seed >> 7;
	seed ^= seed << 17;
	return (uint32_t)(seed >> 20) % n;
}

/* A host that plays by the rules, in any order of calls; in every other round one that spoils words which are not its own. */
static void test_random_exchanges_lose_nothing(void **state)
{
	size_t len = 3 * MIB;
	uint8_t *input = malloc(len), *output = malloc(len), *buf = malloc(2 * SIZE);

	(void)state;
	for (int round = 1; round <= 40; round++) {
		size_t given = 0, received = 0, sent = 0, copied = 0;
		int32_t got;

		seed = 0x9e3779b97f4a7c15u * (uint64_t)round;
		for (size_t at = 0; at < len;) {
			size_t message = 5 + (random_below(8) ? random_below(3000) : random_below(200000));
			uint8_t *whole;

			if (len - at - message < 5 || message > len - at)
				message = len - at;
			whole = new_message(message);
			memcpy(input + at, whole, message);
			free(whole);
			at += message;
		}
		for (size_t i = 0; i < len; i++)
			output[i] = (uint8_t)(i * 40503u >> 8) + (uint8_t)round;
		stream_begin();
		stream_expect_messages();
		while (received < len || copied < len) {
			size_t n = 1 + (random_below(2) ? random_below(SIZE) : random_below(100));

			switch (random_below(6)) {
			case 0: /* input, when it is the host's turn */
				if (in->status != PGLITE_BUFFER_EMPTY)
					break;
				n = n < len - given ? n : len - given;
				if (random_below(2))
					write_ready(input + given, n);
				else
					assert_int_equal(signal_bytes(input + given, n), n);
				given += n;
				break;
			case 1:
				got = stream_recv(buf, n + random_below(SIZE));
				assert_true(got >= 0 && received + (size_t)got <= given);
				assert_memory_equal(buf, input + received, (size_t)got);
				received += (size_t)got;
				break;
			case 2:
				n = n < len - sent ? n : len - sent;
				assert_int_equal(stream_send(output + sent, n), n);
				sent += n;
				break;
			case 3:
				assert_int_equal(stream_flush(), stream_output_pending());
				assert_int_equal(pglite_has_output(), sent > copied);
				break;
			case 4:
				n = (size_t)pglite_get_output_length();
				assert_true(n <= sent - copied);
				if (n == 0)
					break;
				assert_memory_equal(out->data, output + copied, n);
				copied += n;
				got = pglite_ack_output();
				assert_int_equal(got, pglite_get_output_length());
				break;
			default:
				if (round % 2)
					break;
				out->status = random_below(4);
				out->length = random_below(2 * SIZE);
				control->operation = (uint32_t)seed;
				control->input_chunks = (uint32_t)seed;
			}
		}
		assert_int_equal(stream_wanted(), 0);
		assert_int_equal(stream_take_error(), 0);
		assert_int_equal(stream_output_pending(), 0);
	}
	free(buf);
	free(output);
	free(input);
}

/* sched_yield() does nothing here: no state changes, so nobody waits for ever. */
static void test_waiting_in_a_host_that_does_nothing_ends(void **state)
{
	(void)state;
	assert_false(pglite_transport_wait(false));
	assert_false(pglite_transport_wait(true));
	in->length = 5;
	in->status = PGLITE_BUFFER_READY;
	assert_true(pglite_transport_wait(false));
	assert_false(pglite_transport_wait(true)); /* input is no room for output */
}

/* What the input will answer (CopyInResponse) may fill no buffer. */
static void test_output_is_shown_before_waiting_for_input(void **state)
{
	(void)state;
	assert_int_equal(pglite_polling_write("abc", 3), 3);
	assert_false(pglite_transport_wait(true));
	assert_int_equal(pglite_get_output_length(), 0);
	assert_false(pglite_transport_wait(false));
	assert_int_equal(pglite_get_output_length(), 3);
}

#define TEST(name) cmocka_unit_test_setup(name, set_up)

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_a_host_finds_everything_before_the_first_call),
		TEST(test_signalled_input_is_taken_at_once),
		TEST(test_signalled_lengths_that_can_not_be),
		TEST(test_signalled_input_without_memory_stays_ready),
		TEST(test_the_host_may_set_the_words_itself),
		TEST(test_nonsense_in_the_input_words_drops_the_buffer),
		TEST(test_a_chunk_half_read_can_not_be_taken_back),
		TEST(test_output_is_shown_when_the_buffer_is_full_or_at_a_flush),
		TEST(test_acknowledging_out_of_turn_does_nothing),
		TEST(test_overwritten_output_words_are_not_believed),
		TEST(test_messages_of_64_mib_cross_both_ways),
		TEST(test_reset_drops_everything_and_work_goes_on),
		TEST(test_the_control_block_tells_what_happens),
		TEST(test_counters_outlive_a_reset_of_the_memory),
		TEST(test_a_new_client_finds_empty_buffers),
		TEST(test_waiting_in_a_host_that_does_nothing_ends),
		TEST(test_output_is_shown_before_waiting_for_input),
		TEST(test_random_exchanges_lose_nothing),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
