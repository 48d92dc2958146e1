/*
 * How functions say what went wrong, in the user's words: `return fail(err, err_len, ...)`.
 */
#ifndef PGCELL_FAIL_H
#define PGCELL_FAIL_H

#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>

static inline int fail(char *err, size_t err_len, const char *format, ...) __attribute__((format(printf, 3, 4), unused));

/* Writes at most err_len bytes with the terminator. Returns -1. */
static inline int fail(char *err, size_t err_len, const char *format, ...)
{
	va_list args;

	va_start(args, format);
	vsnprintf(err, err_len, format, args);
	va_end(args);
	return -1;
}

#endif
