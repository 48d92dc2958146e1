#define _GNU_SOURCE
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "../../host/pgscan.h"

#define SSL_REQUEST "\0\0\0\x08\x04\xd2\x16\x2f"
#define GSSENC_REQUEST "\0\0\0\x08\x04\xd2\x16\x30"
#define QUERY "Q\0\0\0\x0dselect X\0"
#define TERMINATE "X\0\0\0\4"
#define AUTH_OK "R\0\0\0\x08\0\0\0\0"
#define PARAMETER "S\0\0\0\x08Z\0Z\0"
#define READY "Z\0\0\0\5I"
#define ERROR "E\0\0\0\x09Mbad\0"
#define LEN(text) (sizeof(text) - 1)

static void client(struct pgscan *scan, const char *bytes, size_t len, size_t piece)
{
	for (size_t at = 0; at < len; at += piece)
		pgscan_client(scan, (const uint8_t *)bytes + at, len - at < piece ? len - at : piece);
}

static void server(struct pgscan *scan, const char *bytes, size_t len, size_t piece)
{
	for (size_t at = 0; at < len; at += piece)
		pgscan_server(scan, (const uint8_t *)bytes + at, len - at < piece ? len - at : piece);
}

#define CLIENT(scan, text, piece) client(scan, text, LEN(text), piece)
#define SERVER(scan, text, piece) server(scan, text, LEN(text), piece)

static void test_terminate_is_seen_after_a_startup_of_any_pieces(void **state)
{
	static const char startup[] = "\0\0\0\x14\0\3\0\0user\0alice\0\0"; /* the literal's own NUL is the last byte */

	(void)state;
	for (size_t piece = 1; piece < 40; piece++) {
		struct pgscan scan;

		pgscan_init(&scan, false);
		client(&scan, startup, 20, piece);
		CLIENT(&scan, QUERY, piece);
		assert_false(scan.is_terminated);
		CLIENT(&scan, TERMINATE, piece);
		assert_true(scan.is_terminated);
	}
}

static void test_an_x_inside_a_message_is_no_terminate(void **state)
{
	struct pgscan scan;

	(void)state;
	pgscan_init(&scan, true);
	CLIENT(&scan, "d\0\0\0\x09X\0\0\0\4", 3);
	assert_false(scan.is_terminated);
	CLIENT(&scan, TERMINATE, 1);
	assert_true(scan.is_terminated);
}

static void test_ready_is_seen_behind_declined_encryption(void **state)
{
	(void)state;
	for (size_t piece = 1; piece < 40; piece++) {
		struct pgscan scan;

		pgscan_init(&scan, false);
		CLIENT(&scan, SSL_REQUEST, piece);
		SERVER(&scan, "N", 1);
		CLIENT(&scan, GSSENC_REQUEST, piece);
		SERVER(&scan, "N", 1);
		assert_int_equal(scan.bare_answers, 0);
		SERVER(&scan, AUTH_OK, piece);
		SERVER(&scan, PARAMETER, piece);
		assert_false(scan.is_ready);
		SERVER(&scan, READY, piece);
		assert_true(scan.is_ready);
		assert_false(scan.is_refused);
	}
}

static void test_an_error_before_ready_is_a_refusal(void **state)
{
	struct pgscan scan;

	(void)state;
	pgscan_init(&scan, false);
	SERVER(&scan, AUTH_OK, 2);
	SERVER(&scan, ERROR, 2);
	assert_true(scan.is_refused);
	pgscan_init(&scan, false);
	SERVER(&scan, AUTH_OK READY, 2);
	SERVER(&scan, ERROR, 2);
	assert_false(scan.is_refused);
}

static void test_accepted_encryption_is_not_followed(void **state)
{
	struct pgscan scan;

	(void)state;
	pgscan_init(&scan, false);
	CLIENT(&scan, SSL_REQUEST, 8);
	SERVER(&scan, "S" READY, 7);
	CLIENT(&scan, "\0\0\0\x08\0\3\0\0" TERMINATE, 4);
	assert_false(scan.is_ready);
	assert_false(scan.is_terminated);
}

static void test_lengths_that_lie_end_the_following(void **state)
{
	struct pgscan scan;

	(void)state;
	pgscan_init(&scan, true);
	CLIENT(&scan, "Q\0\0\0\3", 5);
	assert_true(scan.client.is_lost);
	CLIENT(&scan, TERMINATE, 5);
	assert_false(scan.is_terminated);
	pgscan_init(&scan, false);
	CLIENT(&scan, "\0\0\0\x07\0\3\0\0", 8);
	assert_true(scan.client.is_lost);
	SERVER(&scan, "R\0\0\0\0", 5);
	assert_true(scan.server.is_lost);
	SERVER(&scan, READY, 5);
	assert_false(scan.is_ready);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_terminate_is_seen_after_a_startup_of_any_pieces),
		cmocka_unit_test(test_an_x_inside_a_message_is_no_terminate),
		cmocka_unit_test(test_ready_is_seen_behind_declined_encryption),
		cmocka_unit_test(test_an_error_before_ready_is_a_refusal),
		cmocka_unit_test(test_accepted_encryption_is_not_followed),
		cmocka_unit_test(test_lengths_that_lie_end_the_following),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
