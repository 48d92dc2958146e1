#define _GNU_SOURCE
#include "log.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

static bool verbose;
static bool json;

static const char *const level_names[] = {
	[LOG_LEVEL_INFO] = "info",
	[LOG_LEVEL_WARN] = "warning",
	[LOG_LEVEL_ERROR] = "error",
};

void log_set_verbose(bool is_verbose)
{
	verbose = is_verbose;
}

void log_set_json(bool is_json)
{
	json = is_json;
	tzset(); /* gmtime_r() would read a file at its first call, which a session may not */
}

bool log_is_json(void)
{
	return json;
}

/* A lost log line is no reason to stop. One write, so that lines of several processes do not mix. */
static void write_line(const char *line, size_t len)
{
	ssize_t written = write(STDERR_FILENO, line, len);

	(void)written;
}

/* ---- JSON ---- */

#define JSON_TAIL_MAX 32 /* what closes an object, "truncated" included */

/* Bytes of the well-formed UTF-8 character at `text`, of which `len` are there; 0 if it is none (RFC 3629, section 4). */
static size_t utf8_len(const unsigned char *text, size_t len)
{
	unsigned char c = text[0];
	size_t want = c < 0x80 ? 1 : c >= 0xc2 && c < 0xe0 ? 2 : c >= 0xe0 && c < 0xf0 ? 3 : c >= 0xf0 && c < 0xf5 ? 4 : 0;

	if (want == 0 || want > len)
		return 0;
	for (size_t i = 1; i < want; i++) {
		if ((text[i] & 0xc0) != 0x80)
			return 0;
	}
	if ((c == 0xe0 && text[1] < 0xa0) || (c == 0xed && text[1] >= 0xa0) || (c == 0xf0 && text[1] < 0x90) ||
	    (c == 0xf4 && text[1] >= 0x90))
		return 0;
	return want;
}

/* Appends a string's inside. False when there was not room for all of it; what was appended is whole characters. */
static bool append_json(char *line, size_t *used, const char *text, size_t len)
{
	const unsigned char *from = (const unsigned char *)text;

	for (size_t i = 0; i < len;) {
		size_t n = utf8_len(from + i, len - i);
		char piece[8];
		size_t piece_len;

		if (n == 0) {
			piece_len = (size_t)snprintf(piece, sizeof(piece), "\xef\xbf\xbd");
			n = 1;
		} else if (from[i] == '"' || from[i] == '\\') {
			piece_len = (size_t)snprintf(piece, sizeof(piece), "\\%c", from[i]);
		} else if (from[i] == '\n') {
			piece_len = (size_t)snprintf(piece, sizeof(piece), "\\n");
		} else if (from[i] == '\t') {
			piece_len = (size_t)snprintf(piece, sizeof(piece), "\\t");
		} else if (from[i] < 0x20 || from[i] == 0x7f) {
			piece_len = (size_t)snprintf(piece, sizeof(piece), "\\u%04x", from[i]);
		} else {
			memcpy(piece, from + i, n);
			piece_len = n;
		}
		if (*used + piece_len > LOG_JSON_MAX - JSON_TAIL_MAX)
			return false;
		memcpy(line + *used, piece, piece_len);
		*used += piece_len;
		i += n;
	}
	return true;
}

static void emit_json(const char *time, const char *level, const char *cell, pid_t session, const char *text, size_t len)
{
	char line[LOG_JSON_MAX];
	size_t used = (size_t)snprintf(line, sizeof(line), "{\"time\":\"%s\",\"level\":\"%s\"", time, level);
	bool is_whole;

	if (cell != NULL) {
		used += (size_t)snprintf(line + used, sizeof(line) - used, ",\"cell\":\"");
		(void)append_json(line, &used, cell, strlen(cell));
		line[used++] = '"';
	}
	if (session != 0)
		used += (size_t)snprintf(line + used, sizeof(line) - used, ",\"session\":%d", (int)session);
	used += (size_t)snprintf(line + used, sizeof(line) - used, ",\"message\":\"");
	is_whole = append_json(line, &used, text, len);
	used += (size_t)snprintf(line + used, sizeof(line) - used, "\"%s}\n", is_whole ? "" : ",\"truncated\":true");
	write_line(line, used);
}

static void time_text(char *text, size_t cap)
{
	struct timespec now;
	struct tm utc;
	size_t len;

	clock_gettime(CLOCK_REALTIME, &now);
	gmtime_r(&now.tv_sec, &utc);
	len = strftime(text, cap, "%Y-%m-%dT%H:%M:%S", &utc);
	snprintf(text + len, cap - len, ".%03ldZ", now.tv_nsec / 1000000);
}

/* By PostgreSQL's word for the severity, which two spaces follow: "ERROR:  syntax error". */
static const char *level_of(const char *text, size_t len)
{
	static const struct {
		const char *severity, *level;
	} severities[] = {
		{"ERROR:  ", "error"},	   {"FATAL:  ", "error"},  {"PANIC:  ", "error"},
		{"WARNING:  ", "warning"}, {"LOG:  ", "info"},	   {"NOTICE:  ", "info"},
		{"INFO:  ", "info"},	   {"DEBUG", "info"},
	};
	const char *end = memchr(text, '\n', len);
	const char *level = "info";
	const char *first = NULL;

	if (end != NULL)
		len = (size_t)(end - text);
	for (size_t i = 0; i < sizeof(severities) / sizeof(severities[0]); i++) {
		const char *at = memmem(text, len, severities[i].severity, strlen(severities[i].severity));

		if (at != NULL && (first == NULL || at < first)) {
			first = at;
			level = severities[i].level;
		}
	}
	return level;
}

void log_postgres(const char *cell, pid_t session, const char *text, size_t len)
{
	char time[40];

	while (len > 0 && text[len - 1] == '\n')
		len--;
	if (len == 0)
		return;
	time_text(time, sizeof(time));
	emit_json(time, level_of(text, len), cell, session, text, len);
}

/* ---- text ---- */

/* Appends `text` with control bytes escaped; leaves room for the newline. */
static size_t append_escaped(char *line, size_t used, const char *text)
{
	static const char hex[] = "0123456789abcdef";

	for (; *text != '\0'; text++) {
		unsigned char c = (unsigned char)*text;

		if (used + 5 >= LOG_LINE_MAX)
			break;
		if (c < 0x20 || c == 0x7f) {
			line[used++] = '\\';
			line[used++] = 'x';
			line[used++] = hex[c >> 4];
			line[used++] = hex[c & 15];
		} else {
			line[used++] = (char)c;
		}
	}
	return used;
}

static void emit(const char *level, const char *cell, pid_t session, const char *format, va_list args)
{
	char line[LOG_LINE_MAX];
	char text[LOG_LINE_MAX];
	char field[64];
	size_t used = 0;

	vsnprintf(text, sizeof(text), format, args);
	time_text(field, sizeof(field));
	if (json) {
		emit_json(field, level, cell, session, text, strlen(text));
		return;
	}
	used = append_escaped(line, used, "pgcell: ");
	used = append_escaped(line, used, field);
	used = append_escaped(line, used, " ");
	used = append_escaped(line, used, level);
	used = append_escaped(line, used, " ");
	if (cell != NULL) {
		used = append_escaped(line, used, "cell=");
		used = append_escaped(line, used, cell);
		used = append_escaped(line, used, " ");
	}
	if (session != 0) {
		snprintf(field, sizeof(field), "session=%d ", (int)session);
		used = append_escaped(line, used, field);
	}
	used = append_escaped(line, used, text);
	line[used++] = '\n';
	write_line(line, used);
}

void log_line(enum log_level level, const char *cell, pid_t session, const char *format, ...)
{
	va_list args;

	if (level == LOG_LEVEL_INFO && !verbose)
		return;
	va_start(args, format);
	emit(level_names[level], cell, session, format, args);
	va_end(args);
}

_Noreturn void log_bug(const char *file, int line, const char *format, ...)
{
	va_list args;

	log_line(LOG_LEVEL_ERROR, NULL, 0, "BUG at %s:%d", file, line);
	va_start(args, format);
	emit("BUG", NULL, 0, format, args);
	va_end(args);
	abort();
}
