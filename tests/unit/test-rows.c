#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <locale.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "../../host/rows.h"
#include "../../host/sqlerror.h"

/* A message's body while it is made. */
struct body {
	uint8_t bytes[4096];
	uint32_t len;
};

static void put(struct body *body, const void *bytes, size_t len)
{
	memcpy(body->bytes + body->len, bytes, len);
	body->len += (uint32_t)len;
}

static void put_u16(struct body *body, unsigned value)
{
	put(body, (uint8_t[]){(uint8_t)(value >> 8), (uint8_t)value}, 2);
}

static void put_u32(struct body *body, uint32_t value)
{
	put_u16(body, value >> 16);
	put_u16(body, value & 0xffff);
}

static struct pgclient_message message_of(const struct body *body)
{
	return (struct pgclient_message){.body = body->bytes, .body_len = body->len};
}

struct cell {
	const char *name;
	uint32_t type;
	const char *value; /* NULL is NULL */
};

static struct pgclient_message describe(struct body *body, const struct cell *cells, size_t count)
{
	body->len = 0;
	put_u16(body, (unsigned)count);
	for (size_t i = 0; i < count; i++) {
		put(body, cells[i].name, strlen(cells[i].name) + 1);
		put(body, "\0\0\0\0\0\0", 6);
		put_u32(body, cells[i].type);
		put(body, "\0\0\0\0\0\0\0\0", 8);
	}
	return message_of(body);
}

static struct pgclient_message row_of(struct body *body, const struct cell *cells, size_t count)
{
	body->len = 0;
	put_u16(body, (unsigned)count);
	for (size_t i = 0; i < count; i++) {
		put_u32(body, cells[i].value == NULL ? UINT32_MAX : (uint32_t)strlen(cells[i].value));
		if (cells[i].value != NULL)
			put(body, cells[i].value, strlen(cells[i].value));
	}
	return message_of(body);
}

static int out_fd;

/* What was written since then. */
static const char *written(struct rows *rows)
{
	static char text[8192];
	ssize_t len;

	rows_flush(rows);
	len = pread(out_fd, text, sizeof(text) - 1, 0);
	assert_true(len >= 0);
	text[len] = '\0';
	assert_int_equal(ftruncate(out_fd, 0), 0);
	assert_int_equal(lseek(out_fd, 0, SEEK_SET), 0);
	return text;
}

static void assert_prints(enum output_format format, const struct cell *cells, size_t count, const char *expected)
{
	struct rows *rows = rows_new(format, out_fd);
	struct body body;
	struct pgclient_message message = describe(&body, cells, count);

	assert_non_null(rows);
	assert_true(rows_begin(rows, &message));
	message = row_of(&body, cells, count);
	assert_true(rows_add(rows, &message));
	assert_true(rows_end(rows));
	assert_string_equal(written(rows), expected);
	rows_free(rows);
}

static int open_out(void **state)
{
	char path[] = "/tmp/test-rows-XXXXXX";

	(void)state;
	setlocale(LC_CTYPE, "C.UTF-8");
	out_fd = mkstemp(path);
	unlink(path);
	return out_fd >= 0 ? 0 : -1;
}

static int close_out(void **state)
{
	(void)state;
	return close(out_fd);
}

static const struct cell mixed[] = {{"n", 23, "42"}, {"t", 25, "a,\"b\"\nc"}, {"nothing", 25, NULL}, {"w", 25, "\u65e5\u672c"}};

static void test_aligned_is_psqls(void **state)
{
	(void)state;
	assert_prints(OUTPUT_ALIGNED, mixed, 4,
		      " n  |   t   | nothing |  w   \n"
		      "----+-------+---------+------\n"
		      " 42 | a,\"b\"+|         | \u65e5\u672c\n"
		      "    | c     |         | \n"
		      "(1 row)\n\n");
}

static void test_csv_is_quoted_where_it_must_be(void **state)
{
	static const struct cell end_mark[] = {{"a b", 25, "\\."}, {"c\"d", 25, ""}};

	(void)state;
	assert_prints(OUTPUT_CSV, mixed, 4, "n,t,nothing,w\n42,\"a,\"\"b\"\"\nc\",,\u65e5\u672c\n");
	assert_prints(OUTPUT_CSV, end_mark, 2, "a b,\"c\"\"d\"\n\"\\.\",\n");
}

static void test_json_has_the_types_of_the_columns(void **state)
{
	static const struct cell cells[] = {
		{"i", 20, "-9223372036854775808"}, {"f", 701, "1e-05"},	      {"nan", 701, "NaN"},
		{"inf", 1700, "-Infinity"},	   {"b", 16, "t"},	      {"no", 16, "f"},
		{"nil", 23, NULL},		   {"j", 114, "{\"a\":\n[1]}"}, {"jb", 3802, "null"},
		{"date", 1082, "2026-01-01"},
	};

	(void)state;
	assert_prints(OUTPUT_JSON, cells, 10,
		      "[{\"i\":-9223372036854775808,\"f\":1e-05,\"nan\":\"NaN\",\"inf\":\"-Infinity\",\"b\":true,\"no\":false,"
		      "\"nil\":null,\"j\":{\"a\": [1]},\"jb\":null,\"date\":\"2026-01-01\"}]\n");
}

static void test_json_strings_are_escaped(void **state)
{
	static const struct cell cells[] = {{"\"k\\", 25, "\x01\t\n\r\"\\/\x7f\u00e9"}, {"bad", 25, "a\xff\xc3(\xed\xa0\x80z"}};

	(void)state;
	assert_prints(OUTPUT_JSON, cells, 2,
		      "[{\"\\\"k\\\\\":\"\\u0001\\u0009\\n\\u000d\\\"\\\\/\\u007f\u00e9\","
		      "\"bad\":\"a\ufffd\ufffd(\ufffd\ufffd\ufffdz\"}]\n");
}

static void test_empty_results(void **state)
{
	static const struct {
		enum output_format format;
		size_t columns;
		const char *expected;
	} cases[] = {
		{OUTPUT_ALIGNED, 1, " n \n---\n(0 rows)\n\n"}, {OUTPUT_CSV, 1, "n\n"},	{OUTPUT_JSON, 1, "[]\n"},
		{OUTPUT_ALIGNED, 0, "--\n(0 rows)\n\n"},	       {OUTPUT_CSV, 0, "\n"}, {OUTPUT_JSON, 0, "[]\n"},
	};

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct rows *rows = rows_new(cases[i].format, out_fd);
		struct body body;
		struct pgclient_message message = describe(&body, mixed, cases[i].columns);

		assert_true(rows_begin(rows, &message));
		assert_true(rows_end(rows));
		assert_string_equal(written(rows), cases[i].expected);
		rows_free(rows);
	}
}

static void test_aligned_holds_so_much_and_no_more(void **state)
{
	static const struct cell narrow[] = {{"n", 23, "1"}};
	static const struct cell wide[] = {{"n", 23, "123456"}};
	struct rows *rows = rows_new(OUTPUT_ALIGNED, out_fd);
	struct body body;
	struct pgclient_message message = describe(&body, narrow, 1);
	const char *text;

	(void)state;
	assert_true(rows_begin(rows, &message));
	message = row_of(&body, narrow, 1);
	for (int i = 1; i < ROWS_HELD_MAX; i++)
		assert_true(rows_add(rows, &message));
	assert_string_equal(written(rows), "");
	assert_true(rows_add(rows, &message)); /* the last that is held */
	message = row_of(&body, wide, 1);
	assert_true(rows_add(rows, &message)); /* goes on with the width that was found */
	assert_true(rows_end(rows));
	text = written(rows);
	assert_memory_equal(text, " n \n---\n 1\n 1\n", 14);
	assert_non_null(strstr(text, " 1\n 123456\n(1001 rows)\n\n"));
	rows_free(rows);
}

static void test_messages_that_lie_are_refused(void **state)
{
	struct rows *rows = rows_new(OUTPUT_CSV, out_fd);
	struct body body;
	struct pgclient_message message = describe(&body, mixed, 2);

	(void)state;
	message.body_len--; /* a description that is cut */
	assert_false(rows_begin(rows, &message));
	assert_int_equal(errno, EBADMSG);
	message.body_len = body.len;
	assert_true(rows_begin(rows, &message));
	message = row_of(&body, mixed, 3); /* more columns than described */
	assert_false(rows_add(rows, &message));
	message = row_of(&body, mixed, 2);
	message.body_len--; /* a value longer than its row */
	assert_false(rows_add(rows, &message));
	body.len = 0;
	put_u16(&body, 2);
	put_u32(&body, 0x7fffffff);
	message = message_of(&body);
	assert_false(rows_add(rows, &message));
	rows_free(rows);
	body.len = 0;
	put_u16(&body, 0xffff);
	message = message_of(&body);
	rows = rows_new(OUTPUT_JSON, out_fd);
	assert_false(rows_begin(rows, &message));
	rows_free(rows);
	rows = rows_new(OUTPUT_ALIGNED, out_fd);
	message = describe(&body, mixed, 2);
	assert_true(rows_begin(rows, &message));
	message = row_of(&body, mixed, 2);
	message.body_len -= 3;
	assert_false(rows_add(rows, &message));
	rows_free(rows);
}

static void *read_slowly(void *data)
{
	char dropped[1000];
	size_t *total = data;
	int fd = (int)*total;
	ssize_t got;

	*total = 0;
	while ((got = read(fd, dropped, sizeof(dropped))) > 0)
		*total += (size_t)got;
	return NULL;
}

static void test_output_that_would_block_is_waited_for(void **state)
{
	static uint8_t piece[100000];
	int fds[2];
	pthread_t thread;
	size_t total;
	struct rows *rows;

	(void)state;
	assert_int_equal(pipe2(fds, O_CLOEXEC), 0);
	fcntl(fds[1], F_SETFL, O_NONBLOCK);
	total = (size_t)fds[0];
	assert_int_equal(pthread_create(&thread, NULL, read_slowly, &total), 0);
	rows = rows_new(OUTPUT_CSV, fds[1]);
	for (int i = 0; i < 50; i++)
		rows_raw(rows, piece, sizeof(piece));
	rows_flush(rows);
	assert_int_equal(rows_error(rows), 0);
	close(fds[1]);
	pthread_join(thread, NULL);
	assert_int_equal(total, 50 * sizeof(piece));
	close(fds[0]);
	rows_free(rows);
}

static void test_an_output_error_is_remembered(void **state)
{
	int fd = open("/dev/full", O_WRONLY | O_CLOEXEC);
	struct rows *rows = rows_new(OUTPUT_CSV, fd);

	(void)state;
	rows_raw(rows, "x", 1);
	assert_int_equal(rows_error(rows), 0);
	rows_flush(rows);
	assert_int_equal(rows_error(rows), ENOSPC);
	rows_free(rows);
	close(fd);
}

static const char *complaint(char type, const char *fields, size_t len, const char *sql)
{
	static char *text;
	struct pgclient_message message = {.type = type, .body = (const uint8_t *)fields, .body_len = (uint32_t)len};
	size_t text_len;
	FILE *out;

	free(text);
	text = NULL;
	out = open_memstream(&text, &text_len);
	assert_non_null(out);
	sqlerror_print(out, &message, sql);
	fclose(out);
	return text;
}

#define COMPLAINT(type, fields, sql) complaint(type, fields, sizeof(fields), sql)

static void test_errors_point_into_the_query(void **state)
{
	(void)state;
	assert_string_equal(COMPLAINT('E', "SERROR\0C42601\0Mbad\0P15\0HTry.\0", "select 1,\n  \u00e9\tx from"),
			    "ERROR:  42601: bad\nLINE 2:   \u00e9 x from\n            ^\nHINT:  Try.\n");
	assert_string_equal(COMPLAINT('N', "SNOTICE\0C00000\0Mhi\0Dmore\0Wwhere\0", "select"), "NOTICE:  hi\nDETAIL:  more\n");
	/* positions that lie, and messages without anything */
	assert_string_equal(COMPLAINT('E', "SERROR\0Mbad\0P99\0", "x"), "ERROR:  bad\n");
	assert_string_equal(COMPLAINT('E', "SERROR\0Mbad\0Px\0", "x"), "ERROR:  bad\n");
	assert_string_equal(COMPLAINT('E', "SERROR\0Mbad\0P2\0", "x"), "ERROR:  bad\nLINE 1: x\n         ^\n");
	assert_string_equal(COMPLAINT('E', "", NULL), "ERROR:  (no message)\n");
}

static void test_long_lines_are_cut_around_the_position(void **state)
{
	char sql[301];
	char position[32];

	(void)state;
	memset(sql, 'y', 300);
	sql[300] = '\0';
	sql[150] = 'x';
	for (int at = 1; at <= 300; at++) {
		size_t len = (size_t)snprintf(position, sizeof(position), "SERROR%cMbad%cP%d", 0, 0, at);
		const char *text = complaint('E', position, len + 1, sql);
		const char *line = strstr(text, "LINE 1: ");
		const char *mark = strstr(text, "^");

		assert_non_null(line);
		assert_non_null(mark);
		assert_true(strchr(line, '\n') - line <= 8 + 60 + 6);
		if (at == 151) { /* the mark is under the x */
			const char *mark_line = strchr(line, '\n') + 1;

			assert_int_equal(line[mark - mark_line], 'x');
		}
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_aligned_is_psqls),
		cmocka_unit_test(test_csv_is_quoted_where_it_must_be),
		cmocka_unit_test(test_json_has_the_types_of_the_columns),
		cmocka_unit_test(test_json_strings_are_escaped),
		cmocka_unit_test(test_empty_results),
		cmocka_unit_test(test_aligned_holds_so_much_and_no_more),
		cmocka_unit_test(test_messages_that_lie_are_refused),
		cmocka_unit_test(test_output_that_would_block_is_waited_for),
		cmocka_unit_test(test_an_output_error_is_remembered),
		cmocka_unit_test(test_errors_point_into_the_query),
		cmocka_unit_test(test_long_lines_are_cut_around_the_position),
	};

	return cmocka_run_group_tests(tests, open_out, close_out);
}
