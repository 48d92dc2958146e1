#define _GNU_SOURCE
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "../../host/config_file.h"

static struct config_file_setting setting;

static struct config_file over(const char *text)
{
	return (struct config_file){.text = text, .len = strlen(text)};
}

static void expect(struct config_file *file, unsigned line, const char *name, const char *value)
{
	enum config_file_result result = config_file_next(file, &setting);

	if (result != CONFIG_FILE_SETTING)
		fail_msg("%s: result %d in line %u: %s", name, (int)result, file->line, file->error ? file->error : "");
	assert_string_equal(setting.name, name);
	assert_string_equal(setting.value, value);
	assert_int_equal(file->line, line);
}

static void test_settings_comments_and_blanks(void **state)
{
	struct config_file file = over("# first\n\n  listen=127.0.0.1:0\t# why\n\tmax-cells =\t7\r\n \r\n#\nverbose = on");

	(void)state;
	expect(&file, 3, "listen", "127.0.0.1:0");
	expect(&file, 4, "max-cells", "7");
	expect(&file, 7, "verbose", "on");
	assert_int_equal(config_file_next(&file, &setting), CONFIG_FILE_END);
	assert_int_equal(config_file_next(&file, &setting), CONFIG_FILE_END);
}

static void test_quotes_and_escapes(void **state)
{
	struct config_file file = over("a = 'it''s # no comment'\nb = '\\\\ \\' \\t\\101\\7x'\nc=''#\nd = '= '");

	(void)state;
	expect(&file, 1, "a", "it's # no comment");
	expect(&file, 2, "b", "\\ ' \tA\ax");
	expect(&file, 3, "c", "");
	expect(&file, 4, "d", "= ");
	assert_int_equal(config_file_next(&file, &setting), CONFIG_FILE_END);
}

static void test_empty(void **state)
{
	struct config_file file = over("");

	(void)state;
	assert_int_equal(config_file_next(&file, &setting), CONFIG_FILE_END);
	file = (struct config_file){.text = NULL, .len = 0};
	assert_int_equal(config_file_next(&file, &setting), CONFIG_FILE_END);
}

static void test_errors_name_their_line(void **state)
{
	static const struct {
		const char *text;
		unsigned line;
		const char *error;
	} cases[] = {
		{"\n\nlisten", 3, "NAME = VALUE"},
		{"listen 5", 1, "NAME = VALUE"},
		{"= 5", 1, "NAME = VALUE"},
		{"a = 1\n[section]\n", 2, "NAME = VALUE"},
		{"a = ", 1, "missing"},
		{"a = \nb = 2", 1, "missing"},
		{"a = # 1", 1, "missing"},
		{"a = \"1\"", 1, "single quotes"},
		{"a = 1 2", 1, "follows"},
		{"a = '1' 2", 1, "follows"},
		{"a = 1=2", 1, "follows"},
		{"a = '1", 1, "does not end"},
		{"a = '1\n'", 1, "does not end"},
		{"a = 'x\\", 1, "escapes nothing"},
		{"a = 'x\\0'", 1, "escapes nothing"},
		{"a = 'x\\400'", 1, "escapes nothing"},
	};

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct config_file file = over(cases[i].text);
		enum config_file_result result;

		while ((result = config_file_next(&file, &setting)) == CONFIG_FILE_SETTING)
			;
		if (result != CONFIG_FILE_ERROR || file.line != cases[i].line || !strstr(file.error, cases[i].error))
			fail_msg("\"%s\": result %d, line %u: %s", cases[i].text, (int)result, file.line,
				 file.error ? file.error : "");
		assert_int_equal(config_file_next(&file, &setting), CONFIG_FILE_ERROR);
	}
}

static void test_a_zero_byte_is_no_text(void **state)
{
	struct config_file file = {.text = "a = 1\n\0", .len = 7};

	(void)state;
	assert_int_equal(config_file_next(&file, &setting), CONFIG_FILE_ERROR);
	assert_string_equal(file.error, "this is not a text file");
}

static void test_lengths(void **state)
{
	char text[CONFIG_FILE_VALUE_MAX + CONFIG_FILE_NAME_MAX + 20];

	(void)state;
	for (int longer = 0; longer < 2; longer++) {
		struct config_file file;
		int len = sprintf(text, "%0*d = 1", CONFIG_FILE_NAME_MAX + longer, 0);

		file = (struct config_file){.text = text, .len = (size_t)len};
		assert_int_equal(config_file_next(&file, &setting), longer ? CONFIG_FILE_ERROR : CONFIG_FILE_SETTING);
		len = sprintf(text, "a = %0*d", CONFIG_FILE_VALUE_MAX + longer, 0);
		file = (struct config_file){.text = text, .len = (size_t)len};
		assert_int_equal(config_file_next(&file, &setting), longer ? CONFIG_FILE_ERROR : CONFIG_FILE_SETTING);
		len = sprintf(text, "a = '%0*d'", CONFIG_FILE_VALUE_MAX + longer, 0);
		file = (struct config_file){.text = text, .len = (size_t)len};
		assert_int_equal(config_file_next(&file, &setting), longer ? CONFIG_FILE_ERROR : CONFIG_FILE_SETTING);
	}
}

static void test_what_is_quoted_is_read_again(void **state)
{
	static const char *const values[] = {"plain", "", "it's", "a b", "back\\slash", "two\nlines", "#", "=", "\xc3\xa9", "\t"};
	char text[256];

	(void)state;
	for (size_t i = 0; i < sizeof(values) / sizeof(values[0]); i++) {
		struct config_file file = {.text = text};

		memcpy(text, "a=", 2);
		file.len = 2 + config_file_quote(text + 2, sizeof(text) - 2, values[i]);
		expect(&file, 1, "a", values[i]);
		assert_int_equal(config_file_next(&file, &setting), CONFIG_FILE_END);
	}
	assert_int_equal(config_file_quote(text, 5, "plain"), 0);
	assert_int_equal(config_file_quote(text, 6, "plain"), 5);
	assert_int_equal(config_file_quote(text, 3, "'"), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_settings_comments_and_blanks),
		cmocka_unit_test(test_quotes_and_escapes),
		cmocka_unit_test(test_empty),
		cmocka_unit_test(test_errors_name_their_line),
		cmocka_unit_test(test_a_zero_byte_is_no_text),
		cmocka_unit_test(test_lengths),
		cmocka_unit_test(test_what_is_quoted_is_read_again),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
