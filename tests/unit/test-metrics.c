#define _GNU_SOURCE
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "../../host/metrics.h"

/* As MAKE_SQLSTATE() in PostgreSQL's elog.h. */
static uint32_t pack(const char *code)
{
	uint32_t packed = 0;

	for (int i = 4; i >= 0; i--)
		packed = packed << 6 | (uint32_t)((code[i] - '0') & 63);
	return packed;
}

static void test_sqlstates_are_unpacked(void **state)
{
	static const char *const codes[] = {"00000", "22012", "42P01", "XX000", "ZZZZZ", "99999"};
	char text[6];

	(void)state;
	for (size_t i = 0; i < sizeof(codes) / sizeof(codes[0]); i++) {
		tally_sqlstate_text(pack(codes[i]), text);
		assert_string_equal(text, codes[i]);
	}
	tally_sqlstate_text(UINT32_MAX, text);
	assert_string_equal(text, "other");
	tally_sqlstate_text(10, text); /* a colon */
	assert_string_equal(text, "other");
	tally_sqlstate_text(pack("22012") | 1u << 30, text);
	assert_string_equal(text, "other");
}

static uint64_t count_of(const struct metrics_codes *codes, const char *code)
{
	for (uint32_t i = 0; i < codes->len; i++) {
		if (strcmp(codes->items[i].code, code) == 0)
			return codes->items[i].count;
	}
	return 0;
}

static void test_codes_are_bounded(void **state)
{
	static struct metrics_codes codes;
	char code[6];

	(void)state;
	for (int i = 0; i < 1000; i++) {
		snprintf(code, sizeof(code), "%05d", i);
		metrics_count_code(&codes, code, 2);
	}
	assert_int_equal(codes.len, METRICS_CODES_MAX);
	assert_int_equal(codes.other, 2 * (1000 - METRICS_CODES_MAX));
	metrics_count_code(&codes, "00000", 5);
	assert_int_equal(count_of(&codes, "00000"), 7);
	codes = (struct metrics_codes){.len = 0};
	metrics_count_code(&codes, "other", 3);
	metrics_count_code(&codes, "", 4);
	assert_int_equal(codes.len, 0);
	assert_int_equal(codes.other, 7);
}

static void test_a_page_of_nonsense_counts_within_bounds(void **state)
{
	static struct metrics_codes codes;
	struct tally page;

	(void)state;
	memset(&page, 0xff, sizeof(page));
	metrics_count_errors(&codes, &page);
	assert_int_equal(codes.len, 0);
	assert_int_equal(codes.other, (uint64_t)UINT32_MAX * (1 + TALLY_SQLSTATES_MAX));
}

static void test_histogram_edges(void **state)
{
	static struct metrics metrics;
	static struct metrics_now now;
	char *text = NULL;
	size_t len = 0;
	FILE *out = open_memstream(&text, &len);

	(void)state;
	metrics_observe(&metrics.start, 0);
	metrics_observe(&metrics.start, 1000000); /* on the bound: in the bucket */
	metrics_observe(&metrics.start, 1000001);
	metrics_observe(&metrics.start, UINT64_MAX);
	metrics_write(&metrics, &now, out);
	fclose(out);
	assert_non_null(strstr(text, "pgcell_session_start_seconds_bucket{le=\"0.001\"} 2\n"));
	assert_non_null(strstr(text, "pgcell_session_start_seconds_bucket{le=\"0.002\"} 3\n"));
	assert_non_null(strstr(text, "pgcell_session_start_seconds_bucket{le=\"5\"} 3\n"));
	assert_non_null(strstr(text, "pgcell_session_start_seconds_bucket{le=\"+Inf\"} 4\n"));
	assert_non_null(strstr(text, "pgcell_session_start_seconds_count 4\n"));
	free(text);
}

static int is_readable(const void *at)
{
	int ends[2];
	int rc;

	if (pipe(ends) != 0)
		return -1;
	rc = write(ends[1], at, 1) == 1; /* else EFAULT */
	close(ends[0]);
	close(ends[1]);
	return rc;
}

/* What the child of test_pages_of_others_are_gone() finds; its exit status. */
static int look_around(uint32_t own, struct tally *const *all, uint32_t count)
{
	if (tally_begin(own) != 0)
		return 1;
	for (uint32_t i = 1; i <= count; i++) {
		if (is_readable(all[i]) != (i == own))
			return 2;
	}
	tally_error(pack("22012"));
	tally_error(pack("22012"));
	tally_own->bytes_in = own;
	return 0;
}

static void test_pages_of_others_are_gone(void **state)
{
	struct tally *all[6] = {NULL};
	uint32_t number;

	(void)state;
	assert_int_equal(tally_open(5), 0);
	for (uint32_t i = 1; i <= 5; i++) {
		number = tally_take();
		assert_int_equal(number, i);
		all[i] = tally_at(number);
	}
	assert_int_equal(tally_take(), TALLY_NONE);
	assert_null(tally_at(TALLY_NONE));
	for (uint32_t i = 0; i <= 5; i++) {
		int status;
		pid_t pid = fork();

		if (pid == 0)
			_exit(look_around(i, all, 5));
		assert_int_equal(waitpid(pid, &status, 0), pid);
		assert_int_equal(status, 0);
		if (i == TALLY_NONE)
			continue;
		assert_int_equal(all[i]->bytes_in, i);
		assert_int_equal(all[i]->sqlstates[0].count, 2);
	}
	tally_give_back(3);
	assert_int_equal(tally_take(), 3);
	assert_int_equal(all[3]->bytes_in, 0);
	assert_int_equal(all[3]->sqlstate_count, 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_sqlstates_are_unpacked),
		cmocka_unit_test(test_codes_are_bounded),
		cmocka_unit_test(test_a_page_of_nonsense_counts_within_bounds),
		cmocka_unit_test(test_histogram_edges),
		cmocka_unit_test(test_pages_of_others_are_gone),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
