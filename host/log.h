/*
 * One-line structured log on standard error.
 *
 *	pgcell: 2026-01-31T12:00:00.123Z error cell=shop session=4711 ended by signal 11
 *	{"time":"2026-01-31T12:00:00.123Z","level":"error","cell":"shop","session":4711,"message":"ended by signal 11"}
 *
 * Calling sequence: log_set_verbose() and log_set_json() once, then log_info/log_warn/log_error from anywhere.
 * `cell` may be NULL and `session` 0 when the line is not about one. Control bytes in
 * the text are written as \xNN, so that a client cannot forge a line; a line longer than
 * LOG_LINE_MAX is cut. JSON has its own escapes, bytes that are not UTF-8 become U+FFFD, and what is cut says "truncated":true. Info lines appear only when verbose. Nothing here fails, nothing is retained.
 *
 * BUG() is for the programmer's mistakes: always on, says where, aborts.
 */
#ifndef PGCELL_LOG_H
#define PGCELL_LOG_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

#define LOG_LINE_MAX 1024
#define LOG_JSON_MAX 4096 /* PIPE_BUF: lines of several processes do not mix in a pipe */

enum log_level { LOG_LEVEL_INFO, LOG_LEVEL_WARN, LOG_LEVEL_ERROR };

void log_set_verbose(bool is_verbose);
void log_set_json(bool is_json);
bool log_is_json(void);

/*
 * A message of PostgreSQL's own, any bytes, as one object; only for JSON. The level is that of the severity in its first line. An empty
 * one is left out.
 */
void log_postgres(const char *cell, pid_t session, const char *text, size_t len);

void log_line(enum log_level level, const char *cell, pid_t session, const char *format, ...)
	__attribute__((format(printf, 4, 5)));

_Noreturn void log_bug(const char *file, int line, const char *format, ...) __attribute__((format(printf, 3, 4)));

#define log_info(cell, session, ...) log_line(LOG_LEVEL_INFO, (cell), (session), __VA_ARGS__)
#define log_warn(cell, session, ...) log_line(LOG_LEVEL_WARN, (cell), (session), __VA_ARGS__)
#define log_error(cell, session, ...) log_line(LOG_LEVEL_ERROR, (cell), (session), __VA_ARGS__)
#define BUG(...) log_bug(__FILE__, __LINE__, __VA_ARGS__)

#endif
