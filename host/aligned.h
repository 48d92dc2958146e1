/*
 * One result as psql's aligned format prints it: the widest value makes a column's width. The first rows are held to find the widths;
 * see rows.h for how many.
 *
 * Calling sequence: aligned_new(), aligned_column() for each, aligned_row() for each DataRow, aligned_end(), aligned_free().
 */
#ifndef PGCELL_ALIGNED_H
#define PGCELL_ALIGNED_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "out.h"
#include "pgclient.h"

struct aligned;

struct aligned *aligned_new(size_t column_count) __attribute__((warn_unused_result)); /* NULL: out of memory */
void aligned_free(struct aligned *aligned); /* NULL is fine */

/* The name is retained until aligned_free(). */
void aligned_column(struct aligned *aligned, size_t column, const char *name, uint32_t type);

/* The row has as many columns as there are. False with errno EBADMSG or ENOMEM. */
bool aligned_row(struct aligned *aligned, struct out *out, const struct pgclient_message *row)
	__attribute__((warn_unused_result));
bool aligned_end(struct aligned *aligned, struct out *out) __attribute__((warn_unused_result));

#endif
