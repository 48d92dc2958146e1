#include "config_file.h"

#include <stdbool.h>
#include <string.h>

static bool is_blank(char c)
{
	return c == ' ' || c == '\t' || c == '\r';
}

static bool is_name(char c)
{
	return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '-' || c == '_';
}

/* What a value without quotes is made of. */
static bool is_plain(char c)
{
	unsigned char u = (unsigned char)c;

	return u > ' ' && u != 0x7f && c != '#' && c != '\'' && c != '"' && c != '\\' && c != '=';
}

/* The next byte, 0 at the end; a 0 in the text is refused before this is asked. */
static char peek(const struct config_file *file)
{
	return file->at < file->len ? file->text[file->at] : '\0';
}

static void skip_blanks(struct config_file *file)
{
	while (is_blank(peek(file)))
		file->at++;
}

static enum config_file_result fail(struct config_file *file, const char *error)
{
	file->error = error;
	return CONFIG_FILE_ERROR;
}

/* To the first byte of the next setting; false at the end. Counts lines. */
static bool skip_to_setting(struct config_file *file)
{
	for (;;) {
		skip_blanks(file);
		if (peek(file) == '#') {
			const char *end = memchr(file->text + file->at, '\n', file->len - file->at);

			file->at = end != NULL ? (size_t)(end - file->text) : file->len;
		}
		if (file->at >= file->len)
			return false;
		if (peek(file) != '\n')
			return true;
		file->at++;
		file->line++;
	}
}

static const char *take_name(struct config_file *file, char *name)
{
	size_t len = 0;

	while (is_name(peek(file))) {
		if (len == CONFIG_FILE_NAME_MAX)
			return "the name is too long";
		name[len++] = file->text[file->at++];
	}
	name[len] = '\0';
	return len > 0 ? NULL : "expected NAME = VALUE";
}

/* After a backslash, as GUC_scanstr() in PostgreSQL's guc-file.l has it. Returns 0 for what cannot be in a text. */
static char take_escape(struct config_file *file)
{
	char c = peek(file);
	unsigned octal = 0;

	if (c >= '0' && c <= '7') {
		for (int i = 0; i < 3 && peek(file) >= '0' && peek(file) <= '7'; i++)
			octal = octal * 8 + (unsigned)(file->text[file->at++] - '0');
		return (char)(octal & 0xff);
	}
	if (c == '\0' || c == '\n')
		return '\0';
	file->at++;
	switch (c) {
	case 'b':
		return '\b';
	case 'f':
		return '\f';
	case 'n':
		return '\n';
	case 'r':
		return '\r';
	case 't':
		return '\t';
	default:
		return c;
	}
}

/* Behind the opening quote. */
static const char *take_quoted(struct config_file *file, char *value)
{
	size_t len = 0;

	for (;;) {
		char c = peek(file);

		if (c == '\0' || c == '\n')
			return "a quoted value does not end in its line";
		file->at++;
		if (c == '\'') {
			if (peek(file) != '\'')
				break;
			file->at++;
		} else if (c == '\\') {
			c = take_escape(file);
			if (c == '\0')
				return "a backslash escapes nothing that can be in a value";
		}
		if (len == CONFIG_FILE_VALUE_MAX)
			return "the value is too long";
		value[len++] = c;
	}
	value[len] = '\0';
	return NULL;
}

static const char *take_plain(struct config_file *file, char *value)
{
	size_t len = 0;

	while (is_plain(peek(file))) {
		if (len == CONFIG_FILE_VALUE_MAX)
			return "the value is too long";
		value[len++] = file->text[file->at++];
	}
	value[len] = '\0';
	return len > 0 ? NULL : "the value is missing, or wants single quotes";
}

enum config_file_result config_file_next(struct config_file *file, struct config_file_setting *setting)
{
	const char *error;

	if (file->error != NULL)
		return CONFIG_FILE_ERROR;
	if (file->line == 0) {
		file->line = 1;
		if (file->len > 0 && memchr(file->text, '\0', file->len) != NULL)
			return fail(file, "this is not a text file");
	}
	if (!skip_to_setting(file))
		return CONFIG_FILE_END;
	error = take_name(file, setting->name);
	if (error != NULL)
		return fail(file, error);
	skip_blanks(file);
	if (peek(file) != '=')
		return fail(file, "expected NAME = VALUE");
	file->at++;
	skip_blanks(file);
	if (peek(file) == '\'') {
		file->at++;
		error = take_quoted(file, setting->value);
	} else {
		error = take_plain(file, setting->value);
	}
	if (error != NULL)
		return fail(file, error);
	skip_blanks(file);
	if (peek(file) != '\0' && peek(file) != '\n' && peek(file) != '#')
		return fail(file, "something follows the value; it may want single quotes");
	return CONFIG_FILE_SETTING;
}

static bool append(char *out, size_t cap, size_t *len, const char *what)
{
	size_t n = strlen(what);

	if (*len + n >= cap)
		return false;
	memcpy(out + *len, what, n + 1);
	*len += n;
	return true;
}

size_t config_file_quote(char *out, size_t cap, const char *value)
{
	bool needs_quotes = value[0] == '\0';
	size_t len = 0;

	for (const char *c = value; *c != '\0'; c++)
		needs_quotes |= !is_plain(*c);
	if (!needs_quotes)
		return append(out, cap, &len, value) ? len : 0;
	if (!append(out, cap, &len, "'"))
		return 0;
	for (const char *c = value; *c != '\0'; c++) {
		const char one[2] = {*c, '\0'};

		if (!append(out, cap, &len, *c == '\'' ? "''" : *c == '\\' ? "\\\\" : *c == '\n' ? "\\n" : one))
			return 0;
	}
	return append(out, cap, &len, "'") ? len : 0;
}
