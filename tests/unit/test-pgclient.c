#define _GNU_SOURCE
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "../../host/pgclient.h"

/* A copy that ends where it ends, so that the sanitizer sees who reads beyond. */
static enum pgclient_result next(const char *text, size_t len, struct pgclient_message *message)
{
	static uint8_t *copy;

	free(copy);
	copy = malloc(len + 1);
	assert_non_null(copy);
	copy = realloc(copy, len > 0 ? len : 1);
	memcpy(copy, text, len);
	return pgclient_next(copy, len, message);
}

#define NEXT(text, message) next(text, sizeof(text) - 1, message)

static void test_messages_are_asked_for_byte_by_byte(void **state)
{
	static const char text[] = "C\0\0\0\x0dSELECT 1\0";
	struct pgclient_message message;

	(void)state;
	for (size_t len = 0; len < sizeof(text) - 1; len++) {
		assert_int_equal(next(text, len, &message), PGCLIENT_NEED_MORE);
		assert_int_equal(message.need_len, len < 5 ? 5 : 14);
	}
	assert_int_equal(NEXT(text, &message), PGCLIENT_MESSAGE);
	assert_int_equal(message.type, 'C');
	assert_int_equal(message.body_len, 9);
	assert_int_equal(message.total_len, 14);
	assert_string_equal((const char *)message.body, "SELECT 1");
}

static void test_nonsense_is_told_from_messages(void **state)
{
	static const struct {
		const char *text;
		enum pgclient_result result;
	} cases[] = {
		{"Q\0\0\0\4", PGCLIENT_NONSENSE}, /* a client's */
		{"\0\0\0\0\4", PGCLIENT_NONSENSE},
		{"H\0\0\0\3", PGCLIENT_NONSENSE}, /* shorter than itself */
		{"Z\0\0\x75\x35", PGCLIENT_NONSENSE}, /* 30005: too long for its type */
		{"Z\0\0\x75\x34", PGCLIENT_NEED_MORE},
		{"D\x40\0\0\4", PGCLIENT_NONSENSE}, /* longer than PostgreSQL can */
		{"D\x40\0\0\3", PGCLIENT_NEED_MORE},
		{"D\xff\xff\xff\xff", PGCLIENT_NONSENSE},
	};
	struct pgclient_message message;

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
		assert_int_equal(next(cases[i].text, 5, &message), cases[i].result);
}

static void test_a_cursor_never_leaves_the_body(void **state)
{
	struct pgclient_message message;
	struct pgclient_cursor cursor;

	(void)state;
	assert_int_equal(NEXT("D\0\0\0\x0d\0\1\0\0\0\3abc", &message), PGCLIENT_MESSAGE);
	cursor = pgclient_cursor(&message);
	assert_int_equal(pgclient_u16(&cursor), 1);
	assert_int_equal(pgclient_u32(&cursor), 3);
	assert_null(pgclient_bytes(&cursor, 4));
	assert_true(cursor.is_short);
	assert_int_equal(pgclient_u8(&cursor), 0); /* it stays short */
	cursor = pgclient_cursor(&message);
	(void)pgclient_bytes(&cursor, 6);
	assert_string_equal(pgclient_string(&cursor), ""); /* without its end */
	assert_true(cursor.is_short);
}

static void test_fields_of_an_error(void **state)
{
	struct pgclient_message message;

	(void)state;
	assert_int_equal(NEXT("E\0\0\0\x18SERROR\0C22012\0Mbad\0\0", &message), PGCLIENT_MESSAGE);
	assert_string_equal(pgclient_field(&message, 'S'), "ERROR");
	assert_string_equal(pgclient_field(&message, 'C'), "22012");
	assert_string_equal(pgclient_field(&message, 'M'), "bad");
	assert_null(pgclient_field(&message, 'H'));
	/* cut short, without the last NUL */
	assert_int_equal(NEXT("E\0\0\0\x0eSERROR\0Mba", &message), PGCLIENT_MESSAGE);
	assert_string_equal(pgclient_field(&message, 'S'), "ERROR");
	assert_null(pgclient_field(&message, 'M'));
	assert_int_equal(NEXT("E\0\0\0\4", &message), PGCLIENT_MESSAGE);
	assert_null(pgclient_field(&message, 'S'));
}

static void test_startup_packets_fit_or_are_not_written(void **state)
{
	static const char *const pairs[] = {"user", "a", "database", "b@c", NULL};
	static const char expected[] = "\0\0\0\x1d\0\3\0\0user\0a\0database\0b@c\0";
	uint8_t out[64];

	(void)state;
	assert_int_equal(pgclient_put_startup(out, sizeof(out), pairs), sizeof(expected));
	assert_memory_equal(out + 4, expected + 4, sizeof(expected) - 4);
	assert_int_equal(out[3], sizeof(expected));
	for (size_t cap = 0; cap < sizeof(expected); cap++)
		assert_int_equal(pgclient_put_startup(out, cap, pairs), 0);
	assert_int_equal(pgclient_put_startup(out, sizeof(expected), pairs), sizeof(expected));
	pgclient_put_head(out, 'Q', 0x010203);
	assert_memory_equal(out, "Q\0\1\2\7", 5);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_messages_are_asked_for_byte_by_byte),
		cmocka_unit_test(test_nonsense_is_told_from_messages),
		cmocka_unit_test(test_a_cursor_never_leaves_the_body),
		cmocka_unit_test(test_fields_of_an_error),
		cmocka_unit_test(test_startup_packets_fit_or_are_not_written),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
