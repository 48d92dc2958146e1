#define _GNU_SOURCE
#include "log.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

static bool verbose;

static const char *const level_names[] = {
	[LOG_LEVEL_INFO] = "info",
	[LOG_LEVEL_WARN] = "warning",
	[LOG_LEVEL_ERROR] = "error",
};

void log_set_verbose(bool is_verbose)
{
	verbose = is_verbose;
}

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
	char field[32];
	size_t used = 0;
	struct timespec now;
	struct tm utc;
	ssize_t written;

	clock_gettime(CLOCK_REALTIME, &now);
	gmtime_r(&now.tv_sec, &utc);
	used = strftime(line, sizeof(line), "pgcell: %Y-%m-%dT%H:%M:%S", &utc);
	snprintf(field, sizeof(field), ".%03ldZ ", now.tv_nsec / 1000000);
	used = append_escaped(line, used, field);
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
	vsnprintf(text, sizeof(text), format, args);
	used = append_escaped(line, used, text);
	line[used++] = '\n';

	/* One write, so that lines of several processes do not mix. A lost log line is no reason to stop. */
	written = write(STDERR_FILENO, line, used);
	(void)written;
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
