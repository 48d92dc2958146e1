#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "../../host/wire.h"

#define BYTES(literal) (const uint8_t *)(literal), sizeof(literal) - 1
#define V3 "\0\3\0\0"


struct parse_case {
	const char *name;
	const uint8_t *packet;
	size_t len;
	enum wire_result result;
	enum wire_error error;
	const char *database, *user, *application_name;
};

static const struct parse_case parse_cases[] = {
	{"user only", BYTES("LLLL" V3 "user\0u\0\0"), WIRE_STARTUP, 0, NULL, "u", NULL},
	{"user and database", BYTES("LLLL" V3 "user\0u\0database\0d\0\0"), WIRE_STARTUP, 0, "d", "u", NULL},
	{"application name", BYTES("LLLL" V3 "user\0u\0application_name\0ab\0\0"), WIRE_STARTUP, 0, NULL, "u", "ab"},
	{"the last of a repeated parameter counts", BYTES("LLLL" V3 "user\0u\0user\0w\0\0"), WIRE_STARTUP, 0, NULL,
	 "w", NULL},
	{"no parameters", BYTES("LLLL" V3 "\0"), WIRE_STARTUP, 0, NULL, NULL, NULL},
	{"empty value", BYTES("LLLL" V3 "database\0\0\0"), WIRE_STARTUP, 0, "", NULL, NULL},
	{"minor version 2", BYTES("LLLL\0\3\0\2user\0u\0\0"), WIRE_STARTUP, 0, NULL, "u", NULL},
	{"unknown minor version is the session's business", BYTES("LLLL\0\3\x27\x0fuser\0u\0\0"), WIRE_STARTUP, 0,
	 NULL, "u", NULL},
	{"protocol option is the session's business", BYTES("LLLL" V3 "_pq_.x\0y\0\0"), WIRE_STARTUP, 0, NULL, NULL,
	 NULL},
	{"SSLRequest", BYTES("LLLL\x04\xd2\x16\x2f"), WIRE_SSL_REQUEST, 0, NULL, NULL, NULL},
	{"long SSLRequest", BYTES("LLLL\x04\xd2\x16\x2fxx"), WIRE_SSL_REQUEST, 0, NULL, NULL, NULL},
	{"GSSENCRequest", BYTES("LLLL\x04\xd2\x16\x30"), WIRE_GSSENC_REQUEST, 0, NULL, NULL, NULL},
	{"CancelRequest", BYTES("LLLL\x04\xd2\x16\x2e\0\0\x12\x34keyk"), WIRE_CANCEL, 0, NULL, NULL, NULL},
	{"CancelRequest without pid", BYTES("LLLL\x04\xd2\x16\x2exx"), WIRE_ERROR, WIRE_E_CANCEL_LENGTH, NULL, NULL,
	 NULL},
	{"CancelRequest without key", BYTES("LLLL\x04\xd2\x16\x2e\0\0\x12\x34"), WIRE_ERROR, WIRE_E_CANCEL_KEY, NULL,
	 NULL, NULL},
	{"other special code", BYTES("LLLL\x04\xd2\x16\x31"), WIRE_ERROR, WIRE_E_PROTOCOL, NULL, NULL, NULL},
	{"protocol 2", BYTES("LLLL\0\2\0\0"), WIRE_ERROR, WIRE_E_PROTOCOL, NULL, NULL, NULL},
	{"protocol 4", BYTES("LLLL\0\4\0\0"), WIRE_ERROR, WIRE_E_PROTOCOL, NULL, NULL, NULL},
	{"no terminator at all", BYTES("LLLL" V3), WIRE_ERROR, WIRE_E_LAYOUT, NULL, NULL, NULL},
	{"name without value", BYTES("LLLL" V3 "user\0"), WIRE_ERROR, WIRE_E_LAYOUT, NULL, NULL, NULL},
	{"name without end", BYTES("LLLL" V3 "user"), WIRE_ERROR, WIRE_E_LAYOUT, NULL, NULL, NULL},
	{"value without end", BYTES("LLLL" V3 "user\0u"), WIRE_ERROR, WIRE_E_LAYOUT, NULL, NULL, NULL},
	{"missing terminator", BYTES("LLLL" V3 "user\0u\0"), WIRE_ERROR, WIRE_E_LAYOUT, NULL, NULL, NULL},
	{"bytes after the terminator", BYTES("LLLL" V3 "user\0u\0\0x"), WIRE_ERROR, WIRE_E_LAYOUT, NULL, NULL, NULL},
	{"length 0", BYTES("\0\0\0\0"), WIRE_ERROR, WIRE_E_LENGTH, NULL, NULL, NULL},
	{"length 7", BYTES("\0\0\0\7"), WIRE_ERROR, WIRE_E_LENGTH, NULL, NULL, NULL},
	{"length 10005", BYTES("\0\0\x27\x15"), WIRE_ERROR, WIRE_E_LENGTH, NULL, NULL, NULL},
	{"negative length", BYTES("\xff\xff\xff\xff"), WIRE_ERROR, WIRE_E_LENGTH, NULL, NULL, NULL},
	{"HTTP", BYTES("GET "), WIRE_ERROR, WIRE_E_LENGTH, NULL, NULL, NULL},
	{"direct TLS", BYTES("\x16"), WIRE_ERROR, WIRE_E_DIRECT_TLS, NULL, NULL, NULL},
};

#define PARSE_CASE_COUNT (sizeof(parse_cases) / sizeof(parse_cases[0]))

/*
 * An exact-size copy on the heap of the first `len` of `whole_len` bytes, so that the sanitizer sees a byte read too
 * many. A length word "LLLL" becomes the true length.
 */
static uint8_t *exact_copy(const uint8_t *bytes, size_t whole_len, size_t len)
{
	uint8_t length_word[4] = {0, 0, (uint8_t)(whole_len >> 8), (uint8_t)whole_len};
	uint8_t *copy = malloc(len > 0 ? len : 1);

	assert_non_null(copy);
	if (len > 0)
		memcpy(copy, bytes, len);
	if (len > 0 && whole_len >= 4 && memcmp(bytes, "LLLL", 4) == 0)
		memcpy(copy, length_word, len < 4 ? len : 4);
	return copy;
}

static void assert_text(const char *actual, const char *expected)
{
	if (expected == NULL)
		assert_null(actual);
	else
		assert_string_equal(actual, expected);
}

static void test_each_packet_has_its_outcome(void **state)
{
	(void)state;
	for (size_t i = 0; i < PARSE_CASE_COUNT; i++) {
		const struct parse_case *each = &parse_cases[i];
		uint8_t *packet = exact_copy(each->packet, each->len, each->len);
		struct wire_startup out;
		enum wire_result result = wire_startup_parse(packet, each->len, &out);

		if (result != each->result)
			fail_msg("%s: result %d, not %d", each->name, (int)result, (int)each->result);
		if (result == WIRE_ERROR)
			assert_int_equal(out.error, each->error);
		else
			assert_int_equal(out.packet_len, each->len);
		if (result == WIRE_STARTUP) {
			assert_text(out.database, each->database);
			assert_text(out.user, each->user);
			assert_text(out.application_name, each->application_name);
		}
		free(packet);
	}
}

static void test_a_packet_may_come_byte_by_byte(void **state)
{
	(void)state;
	for (size_t i = 0; i < PARSE_CASE_COUNT; i++) {
		const struct parse_case *each = &parse_cases[i];

		for (size_t len = 0; len < each->len; len++) {
			uint8_t *packet = exact_copy(each->packet, each->len, len);
			struct wire_startup out;
			enum wire_result result = wire_startup_parse(packet, len, &out);

			if (result != WIRE_NEED_MORE)
				fail_msg("%s: result %d after %zu bytes", each->name, (int)result, len);
			assert_int_equal(out.need_len, len < 4 ? 4 : each->len);
			free(packet);
		}
	}
}

static void test_bytes_after_the_packet_are_not_read(void **state)
{
	static const char packet[] = "\0\0\0\x10" V3 "user\0u\0\0Q\0\0\0\5";
	struct wire_startup out;

	(void)state;
	assert_int_equal(wire_startup_parse((const uint8_t *)packet, sizeof(packet) - 1, &out), WIRE_STARTUP);
	assert_int_equal(out.packet_len, 16);
}

static void test_cancel_keys_up_to_256_bytes(void **state)
{
	static const size_t key_lens[] = {1, 4, 32, 256, 257, 1000};
	uint8_t packet[2000] = {0, 0, 0, 0, 0x04, 0xd2, 0x16, 0x2e, 0xff, 0xff, 0xff, 0xfe};
	struct wire_startup out;

	(void)state;
	for (size_t i = 0; i < sizeof(key_lens) / sizeof(key_lens[0]); i++) {
		size_t len = 12 + key_lens[i];
		enum wire_result result;

		packet[2] = (uint8_t)(len >> 8);
		packet[3] = (uint8_t)len;
		result = wire_startup_parse(packet, len, &out);
		if (key_lens[i] <= WIRE_CANCEL_KEY_MAX) {
			assert_int_equal(result, WIRE_CANCEL);
			assert_int_equal(out.cancel_pid, -2);
			assert_ptr_equal(out.cancel_key, packet + 12);
			assert_int_equal(out.cancel_key_len, key_lens[i]);
		} else {
			assert_int_equal(result, WIRE_ERROR);
			assert_int_equal(out.error, WIRE_E_CANCEL_KEY);
		}
	}
}

static void test_longest_packet(void **state)
{
	static uint8_t packet[WIRE_PACKET_MAX] = {0, 0, 0x27, 0x14, 0, 3, 0, 0, 'u', 's', 'e', 'r'};
	struct wire_startup out;

	(void)state;
	memset(packet + 13, 'x', sizeof(packet) - 15);
	assert_int_equal(wire_startup_parse(packet, sizeof(packet), &out), WIRE_STARTUP);
	assert_int_equal(strlen(out.user), sizeof(packet) - 15);
	assert_int_equal(wire_startup_parse(packet, sizeof(packet) - 1, &out), WIRE_NEED_MORE);
}

static void test_error_texts_are_postgresqls(void **state)
{
	static const struct {
		const char *packet;
		size_t len;
		const char *sqlstate, *text;
	} cases[] = {
		{"\0\0\0\x08\0\2\0\7", 8, "0A000", "unsupported frontend protocol 2.7: server supports 3.0 to 3.2"},
		{"\0\0\0\x08" V3, 8, "08P01", "invalid startup packet layout: expected terminator as last byte"},
		{"\0\0\0\x07", 4, "", "invalid length of startup packet"},
		{"\x16", 1, "", "direct SSL connection rejected"},
		{"\0\0\0\x09\x04\xd2\x16\x2ex", 9, "", "invalid length of cancel request packet"},
		{"\0\0\0\x0c\x04\xd2\x16\x2e\0\0\0\1", 12, "", "invalid length of cancel key in cancel request packet"},
	};

	(void)state;
	assert_int_equal(sizeof(cases) / sizeof(cases[0]), WIRE_ERROR_COUNT);
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct wire_startup out;
		const char *sqlstate;
		char text[WIRE_TEXT_MAX];

		assert_int_equal(wire_startup_parse((const uint8_t *)cases[i].packet, cases[i].len, &out), WIRE_ERROR);
		wire_error_text(out.error, &out, &sqlstate, text, sizeof(text));
		assert_string_equal(sqlstate, cases[i].sqlstate);
		assert_string_equal(text, cases[i].text);
	}
}

static void test_database_names_route_to_cells(void **state)
{
	static char name_63[] = "d@aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa";
	static char name_64[] = "d@aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa";
	static const struct {
		const char *database;
		enum wire_cell kind;
		const char *cell;
		size_t database_len;
	} cases[] = {
		{NULL, WIRE_CELL_DEFAULT, "", 0},
		{"", WIRE_CELL_DEFAULT, "", 0},
		{"db", WIRE_CELL_DEFAULT, "", 2},
		{"db@cell", WIRE_CELL_NAMED, "cell", 2},
		{"@cell", WIRE_CELL_NAMED, "cell", 0},
		{"a@b@cell", WIRE_CELL_NAMED, "cell", 3},
		{"db@new", WIRE_CELL_PRIVATE, "new", 2},
		{"db@new1", WIRE_CELL_NAMED, "new1", 2},
		{"db@NEW", WIRE_CELL_NAMED, "NEW", 2},
		{"db@a.B-9_", WIRE_CELL_NAMED, "a.B-9_", 2},
		{"db@", WIRE_CELL_BAD_NAME, "", 2},
		{"db@a b", WIRE_CELL_BAD_NAME, "a b", 2},
		{"db@~1", WIRE_CELL_BAD_NAME, "~1", 2},
		{"db@a/b", WIRE_CELL_BAD_NAME, "a/b", 2},
		{"db@a\n\xc3\xa9", WIRE_CELL_BAD_NAME, "a???", 2},
		{name_63, WIRE_CELL_NAMED, name_63 + 2, 1},
		{name_64, WIRE_CELL_BAD_NAME, name_63 + 2, 1},
	};

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct wire_route route;

		wire_route(cases[i].database, &route);
		assert_int_equal(route.kind, cases[i].kind);
		assert_string_equal(route.cell, cases[i].cell);
		assert_int_equal(route.database_len, cases[i].database_len);
	}
}

static void test_rewriting_removes_the_cell(void **state)
{
	static const struct {
		const uint8_t *packet;
		size_t len;
		const uint8_t *expected;
		size_t expected_len;
	} cases[] = {
		{BYTES("LLLL" V3 "user\0u\0database\0d@c\0\0"), BYTES("LLLL" V3 "user\0u\0database\0d\0\0")},
		{BYTES("LLLL" V3 "user\0u\0database\0@c\0\0"), BYTES("LLLL" V3 "user\0u\0\0")},
		{BYTES("LLLL" V3 "user\0u\0\0"), BYTES("LLLL" V3 "user\0u\0\0")},
		{BYTES("LLLL\0\3\0\2"
		       "database\0d@c\0user\0u\0\0"),
		 BYTES("LLLL\0\3\0\2user\0u\0database\0d\0\0")},
		{BYTES("LLLL" V3 "database\0x@y\0database\0d@c\0a\0b@c\0\0"),
		 BYTES("LLLL" V3 "a\0b@c\0database\0d\0\0")},
		{BYTES("LLLL" V3 "\0"), BYTES("LLLL" V3 "\0")},
	};

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct wire_startup startup, again;
		struct wire_route route;
		uint8_t out[64];
		size_t len = cases[i].expected_len;
		uint8_t *packet = exact_copy(cases[i].packet, cases[i].len, cases[i].len);
		uint8_t *expected = exact_copy(cases[i].expected, len, len);

		assert_int_equal(wire_startup_parse(packet, cases[i].len, &startup), WIRE_STARTUP);
		wire_route(startup.database, &route);
		assert_int_equal(wire_startup_rewrite(packet, &startup, route.database_len, out, sizeof(out)), len);
		assert_memory_equal(out, expected, len);
		assert_int_equal(wire_startup_parse(out, len, &again), WIRE_STARTUP);
		for (size_t cap = 0; cap < len; cap++) {
			uint8_t *tight = malloc(cap > 0 ? cap : 1);

			assert_int_equal(wire_startup_rewrite(packet, &startup, route.database_len, tight, cap), 0);
			free(tight);
		}
		free(packet);
		free(expected);
	}
}

static void test_error_response_has_every_field(void **state)
{
	static const char expected[] = "E\0\0\0\x2bSFATAL\0VFATAL\0C53300\0Mfull\0Dwhy\0Hwait\0";
	static const char without[] = "E\0\0\0\x20SFATAL\0VFATAL\0C53300\0Mfull\0";
	uint8_t out[128];
	size_t len = wire_error_encode(out, sizeof(out), "FATAL", "53300", "full", "why", "wait");

	(void)state;
	assert_int_equal(len, sizeof(expected));
	assert_memory_equal(out, expected, sizeof(expected));
	assert_int_equal(wire_error_encode(out, sizeof(out), "FATAL", "53300", "full", NULL, NULL), sizeof(without));
	assert_memory_equal(out, without, sizeof(without));
	for (size_t cap = 0; cap < sizeof(expected); cap++) {
		uint8_t *tight = malloc(cap > 0 ? cap : 1);

		assert_int_equal(wire_error_encode(tight, cap, "FATAL", "53300", "full", "why", "wait"), 0);
		free(tight);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_each_packet_has_its_outcome),
		cmocka_unit_test(test_a_packet_may_come_byte_by_byte),
		cmocka_unit_test(test_bytes_after_the_packet_are_not_read),
		cmocka_unit_test(test_cancel_keys_up_to_256_bytes),
		cmocka_unit_test(test_longest_packet),
		cmocka_unit_test(test_error_texts_are_postgresqls),
		cmocka_unit_test(test_database_names_route_to_cells),
		cmocka_unit_test(test_rewriting_removes_the_cell),
		cmocka_unit_test(test_error_response_has_every_field),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
