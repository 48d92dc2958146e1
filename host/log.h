/*
 * One-line structured log on standard error.
 *
 *	pgcell: 2026-01-31T12:00:00.123Z error cell=shop session=4711 ended by signal 11
 *
 * Calling sequence: log_set_verbose() once, then log_info/log_warn/log_error from anywhere.
 * `cell` may be NULL and `session` 0 when the line is not about one. Control bytes in
 * the text are written as \xNN, so that a client cannot forge a line; a line longer than
 * LOG_LINE_MAX is cut. Info lines appear only when verbose. Nothing here fails, nothing is retained.
 *
 * BUG() is for the programmer's mistakes: always on, says where, aborts.
 */
#ifndef PGCELL_LOG_H
#define PGCELL_LOG_H

#include <stdbool.h>
#include <sys/types.h>

#define LOG_LINE_MAX 1024

enum log_level { LOG_LEVEL_INFO, LOG_LEVEL_WARN, LOG_LEVEL_ERROR };

void log_set_verbose(bool is_verbose);

void log_line(enum log_level level, const char *cell, pid_t session, const char *format, ...)
	__attribute__((format(printf, 4, 5)));

_Noreturn void log_bug(const char *file, int line, const char *format, ...) __attribute__((format(printf, 3, 4)));

#define log_info(cell, session, ...) log_line(LOG_LEVEL_INFO, (cell), (session), __VA_ARGS__)
#define log_warn(cell, session, ...) log_line(LOG_LEVEL_WARN, (cell), (session), __VA_ARGS__)
#define log_error(cell, session, ...) log_line(LOG_LEVEL_ERROR, (cell), (session), __VA_ARGS__)
#define BUG(...) log_bug(__FILE__, __LINE__, __VA_ARGS__)

#endif
