#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "../../guest/comm/pglite-comm.h"
#include "../../guest/comm/stream.h"

static const char *host_input;
static size_t host_input_len;
static int32_t host_answer; /* instead of bytes, unless 0 */
static char host_output[64];
static size_t host_output_len;

int32_t pglite_js_read(void *ptr, size_t max_length)
{
	size_t n = host_input_len < max_length ? host_input_len : max_length;

	if (host_answer != 0)
		return host_answer;
	memcpy(ptr, host_input, n);
	host_input += n;
	host_input_len -= n;
	return (int32_t)n;
}

int32_t pglite_js_write(const void *ptr, size_t length)
{
	if (host_answer != 0)
		return host_answer;
	assert_true(host_output_len + length <= sizeof(host_output));
	memcpy(host_output + host_output_len, ptr, length);
	host_output_len += length;
	return (int32_t)length;
}

static int set_up(void **state)
{
	(void)state;
	host_input = "";
	host_input_len = 0;
	host_answer = 0;
	host_output_len = 0;
	stream_begin();
	return 0;
}

static void test_bytes_cross_both_ways(void **state)
{
	static const char startup[] = "\0\0\0\x09\0\3\0\0";
	char buf[16];

	(void)state;
	host_input = startup;
	host_input_len = 9;
	assert_int_equal(pglite_transport_read(buf, 4), 4);
	assert_memory_equal(buf, startup, 4);
	host_input = startup;
	host_input_len = 9;
	assert_int_equal(stream_recv(buf, sizeof(buf)), 9);
	assert_memory_equal(buf, startup, 9);
	assert_int_equal(stream_recv(buf, sizeof(buf)), 0);
	assert_int_equal(pglite_transport_write("abc", 3), 3);
	assert_int_equal(stream_send("def", 3), 3);
	assert_int_equal(stream_flush(), 0);
	assert_int_equal(host_output_len, 6);
	assert_memory_equal(host_output, "abcdef", 6);
}

static void test_answers_are_passed_on_as_they_are(void **state)
{
	static const int32_t answers[] = {-PGLITE_EPIPE, -PGLITE_EIO, -100000, 5, INT32_MIN, INT32_MAX};
	char buf[4];

	(void)state;
	for (size_t i = 0; i < sizeof(answers) / sizeof(answers[0]); i++) {
		host_answer = answers[i];
		assert_int_equal(pglite_transport_read(buf, sizeof(buf)), answers[i]);
		assert_int_equal(pglite_transport_write(buf, sizeof(buf)), answers[i]);
	}
	assert_int_equal(stream_ready(), -PGLITE_EPROTO);
	host_answer = -PGLITE_EPIPE;
	assert_int_equal(stream_ready(), -PGLITE_EPIPE);
	assert_int_equal(stream_send("x", 1), -PGLITE_EPIPE);
}

static void test_there_is_nothing_to_keep(void **state)
{
	struct pglite_transport_state kept, zero = {0};

	(void)state;
	memset(&kept, 0xff, sizeof(kept));
	pglite_transport_enter();
	pglite_transport_save(&kept);
	assert_memory_equal(&kept, &zero, sizeof(kept));
	pglite_transport_restore(&kept);
	pglite_transport_leave(0);
	assert_int_equal(pglite_transport_write("abc", 3), 3);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup(test_bytes_cross_both_ways, set_up),
		cmocka_unit_test_setup(test_answers_are_passed_on_as_they_are, set_up),
		cmocka_unit_test_setup(test_there_is_nothing_to_keep, set_up),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
