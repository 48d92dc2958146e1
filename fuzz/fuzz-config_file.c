/*
 * libFuzzer target for host/config_file.c, and for what options.c makes of its settings: whatever an operator's file may hold.
 *
 * Beyond "no crash" it checks that the parser moves on, stops for good, counts lines, and that a value written with
 * config_file_quote() is read as the same value.
 */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "../host/config_file.h"
#include "../host/options.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check(int is_true)
{
	if (!is_true)
		abort();
}

static unsigned newlines(const char *text, size_t len)
{
	unsigned count = 0;

	for (size_t i = 0; i < len; i++)
		count += text[i] == '\n';
	return count;
}

static void check_quoted(const struct config_file_setting *setting)
{
	static char line[4 * CONFIG_FILE_VALUE_MAX];
	static struct config_file_setting again;
	struct config_file file = {.text = line};
	size_t len = strlen(setting->name);

	memcpy(line, setting->name, len);
	memcpy(line + len, " = ", 3);
	len += 3;
	file.len = len + config_file_quote(line + len, sizeof(line) - len, setting->value);
	check(file.len > len);
	check(config_file_next(&file, &again) == CONFIG_FILE_SETTING);
	check(strcmp(again.name, setting->name) == 0 && strcmp(again.value, setting->value) == 0);
	check(config_file_next(&file, &again) == CONFIG_FILE_END);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct config_file_setting setting;
	struct config_file file = {.text = (const char *)data, .len = size};
	struct config config;
	enum config_file_result result;
	char *argv[] = {(char *)"serve", NULL};
	char err[512];
	size_t before = 0;

	while ((result = config_file_next(&file, &setting)) == CONFIG_FILE_SETTING) {
		check(file.at > before && file.at <= file.len);
		check(file.line == 1 + newlines(file.text, file.at));
		check(setting.name[0] != '\0' && strlen(setting.name) <= CONFIG_FILE_NAME_MAX);
		check_quoted(&setting);
		before = file.at;
	}
	check((result == CONFIG_FILE_ERROR) == (file.error != NULL));
	check(config_file_next(&file, &setting) == result);
	check(file.line <= 1 + newlines(file.text, file.len));

	/* and the whole way: also what is no option, or out of range */
	check(options_parse(&config, 1, argv, err, sizeof(err)) == OPTIONS_RUN);
	if (options_set_from_text(&config, "fuzz", (const char *)data, size, err, sizeof(err)) != 0)
		check(strncmp(err, "fuzz:", 5) == 0 && strchr(err, '\n') == NULL);
	config_release(&config);
	return 0;
}
