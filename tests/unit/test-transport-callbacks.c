#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define PGLITE_USE_CALLBACKS
#include "../../guest/comm/pglite-comm.h"
#include "../../guest/comm/stream.h"

static char host_output[64];
static size_t host_output_len;

static int32_t host_read(void *buffer, size_t max_length)
{
	assert_true(max_length >= 9);
	memcpy(buffer, "\0\0\0\x09\0\3\0\0", 9);
	return 9;
}

static int32_t host_write(const void *buffer, size_t length)
{
	assert_true(host_output_len + length <= sizeof(host_output));
	memcpy(host_output + host_output_len, buffer, length);
	host_output_len += length;
	return (int32_t)length;
}

static int32_t nonsense_read(void *buffer, size_t max_length)
{
	(void)buffer;
	return (int32_t)max_length + 1;
}

static int32_t nonsense_write(const void *buffer, size_t length)
{
	(void)buffer;
	return (int32_t)length + 1;
}

static int set_up(void **state)
{
	(void)state;
	host_output_len = 0;
	set_read_write_cbs(NULL, NULL);
	stream_begin();
	return 0;
}

static void assert_works(void)
{
	char buf[16];

	host_output_len = 0;
	assert_int_equal(stream_recv(buf, sizeof(buf)), 9);
	assert_memory_equal(buf, "\0\0\0\x09\0\3\0\0", 9);
	assert_int_equal(stream_send("abc", 3), 3);
	assert_int_equal(host_output_len, 3);
	assert_memory_equal(host_output, "abc", 3);
	assert_int_equal(stream_take_error(), 0);
}

static void assert_is_not_connected(void)
{
	char buf[16];

	assert_int_equal(pglite_transport_read(buf, sizeof(buf)), -PGLITE_ENOTCONN);
	assert_int_equal(pglite_transport_write(buf, sizeof(buf)), -PGLITE_ENOTCONN);
	assert_int_equal(stream_ready(), -PGLITE_ENOTCONN);
	assert_int_equal(stream_take_error(), -PGLITE_ENOTCONN);
}

static void test_without_callbacks_it_is_not_connected(void **state)
{
	(void)state;
	assert_is_not_connected();
	/* output waits for them */
	assert_int_equal(stream_send("abc", 3), 3);
	assert_int_equal(stream_output_pending(), 3);
	assert_int_equal(stream_take_error(), -PGLITE_ENOTCONN);
	set_read_write_cbs(host_read, host_write);
	assert_int_equal(stream_flush(), 0);
	assert_int_equal(host_output_len, 3);
	assert_works();
	set_read_write_cbs(NULL, NULL);
	assert_is_not_connected();
}

static void test_each_can_be_unset(void **state)
{
	char buf[16];

	(void)state;
	set_read_write_cbs(host_read, NULL);
	assert_int_equal(pglite_transport_read(buf, sizeof(buf)), 9);
	assert_int_equal(pglite_transport_write(buf, 1), -PGLITE_ENOTCONN);
	set_read_write_cbs(NULL, host_write);
	assert_int_equal(pglite_transport_read(buf, sizeof(buf)), -PGLITE_ENOTCONN);
	assert_int_equal(pglite_transport_write(buf, 1), 1);
}

static void test_they_outlive_sessions_and_a_reset_of_the_memory(void **state)
{
	struct pglite_transport_state kept;

	(void)state;
	set_read_write_cbs(host_read, host_write);
	assert_works();
	stream_begin();
	assert_works();
	pglite_transport_save(&kept);
	set_read_write_cbs(NULL, NULL);
	pglite_transport_restore(&kept);
	stream_begin();
	assert_works();
	/* unset is kept as well */
	set_read_write_cbs(NULL, NULL);
	pglite_transport_save(&kept);
	set_read_write_cbs(host_read, host_write);
	pglite_transport_restore(&kept);
	assert_is_not_connected();
}

static void test_nonsense_is_an_error_and_no_more(void **state)
{
	(void)state;
	set_read_write_cbs(nonsense_read, nonsense_write);
	assert_int_equal(stream_ready(), -PGLITE_EPROTO);
	assert_int_equal(stream_take_error(), -PGLITE_EPROTO);
	assert_int_equal(stream_send("abc", 3), 3);
	assert_int_equal(stream_take_error(), -PGLITE_EPROTO);
	set_read_write_cbs(host_read, host_write);
	assert_int_equal(stream_flush(), 0);
	assert_works();
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup(test_without_callbacks_it_is_not_connected, set_up),
		cmocka_unit_test_setup(test_each_can_be_unset, set_up),
		cmocka_unit_test_setup(test_they_outlive_sessions_and_a_reset_of_the_memory, set_up),
		cmocka_unit_test_setup(test_nonsense_is_an_error_and_no_more, set_up),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
