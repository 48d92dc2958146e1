/*
 * Prints what a server answers to queries: aligned as psql does, as CSV (RFC 4180, as psql --csv), or as JSON, one line for each result:
 * an array of objects, in which numbers, booleans, null and json are what they are and all else is a string.
 *
 * Calling sequence:
 *	rows_new()
 *	for each result: rows_begin() with its RowDescription, rows_add() with each DataRow, rows_end()
 *	or, without rows: rows_tag()
 *	or, for COPY TO STDOUT: rows_raw() with each piece
 *	rows_flush()	now and then, and before anything is said on another descriptor
 *	rows_free()
 *
 * Output streams: nothing but one message is held, save by the aligned form, which holds ROWS_HELD_MAX rows or ROWS_HELD_BYTES, whatever
 * comes first, finds the columns' widths in them, and goes on with these widths.
 *
 * Descriptors may be blocking or not; writing waits. An error is remembered: nothing more is written, rows_error() tells it.
 */
#ifndef PGCELL_ROWS_H
#define PGCELL_ROWS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "options.h"
#include "pgclient.h"

#define ROWS_HELD_MAX 1000
#define ROWS_HELD_BYTES (1 << 20)
#define ROWS_COLUMNS_MAX 1700 /* PostgreSQL's own limit is 1664 */

struct rows;

struct rows *rows_new(enum output_format format, int fd) __attribute__((warn_unused_result));
void rows_free(struct rows *rows); /* NULL is fine */

/* Return false if the message cannot be read, or memory ran out (errno is ENOMEM then, else EBADMSG). */
bool rows_begin(struct rows *rows, const struct pgclient_message *description) __attribute__((warn_unused_result));
bool rows_add(struct rows *rows, const struct pgclient_message *row) __attribute__((warn_unused_result));
bool rows_end(struct rows *rows) __attribute__((warn_unused_result));

/* "CREATE TABLE": shown by the aligned form alone. */
void rows_tag(struct rows *rows, const char *tag);
void rows_raw(struct rows *rows, const void *bytes, size_t len);
void rows_flush(struct rows *rows);
int rows_error(const struct rows *rows); /* 0 or an errno */

#endif
