/*
 * The configuration file's syntax: a buffer in, one setting after the other out. No I/O, no allocation; which names there are and what
 * they may be is options.h's.
 *
 *	# how long a connection waits
 *	session-wait = 5000
 *	socket-dir = '/run/it''s mine'		# quoted as in postgresql.conf: '' is one quote, backslashes escape
 *
 * Calling sequence:
 *	struct config_file file = {.text = text, .len = len};
 *	while ((result = config_file_next(&file, &setting)) == CONFIG_FILE_SETTING)
 *		use setting.name, setting.value, setting.line
 *	CONFIG_FILE_ERROR: file.error says what is wrong in file.line
 *
 * `text` need not end in anything and is only read. A setting is the caller's copy. After END or ERROR every call returns the same.
 */
#ifndef PGCELL_CONFIG_FILE_H
#define PGCELL_CONFIG_FILE_H

#include <stddef.h>

#define CONFIG_FILE_BYTES_MAX (1u << 20) /* larger ones are not read: they are something else */
#define CONFIG_FILE_NAME_MAX 63
#define CONFIG_FILE_VALUE_MAX 4095 /* a path */

struct config_file {
	const char *text;
	size_t len; /* bytes */
	size_t at;
	unsigned line; /* of the setting or the error, from 1 */
	const char *error; /* a constant text, NULL without one */
};

struct config_file_setting {
	char name[CONFIG_FILE_NAME_MAX + 1];
	char value[CONFIG_FILE_VALUE_MAX + 1]; /* quotes and escapes are gone; may be empty */
};

enum config_file_result { CONFIG_FILE_SETTING, CONFIG_FILE_END, CONFIG_FILE_ERROR };

enum config_file_result config_file_next(struct config_file *file, struct config_file_setting *setting)
	__attribute__((warn_unused_result));

/* Writes `value` as the file wants it: as it is if that will do, else quoted. Returns its length, 0 if cap is too small. */
size_t config_file_quote(char *out, size_t cap, const char *value) __attribute__((warn_unused_result));

#endif
