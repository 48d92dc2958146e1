#define _GNU_SOURCE
#include "rows.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "aligned.h"
#include "log.h"
#include "out.h"
#include "utf8.h"

/* Types of src/include/catalog/pg_type.dat whose text is JSON as it is. */
enum { OID_BOOL = 16, OID_INT8 = 20, OID_INT2 = 21, OID_INT4 = 23, OID_OID = 26, OID_JSON = 114, OID_FLOAT4 = 700,
       OID_FLOAT8 = 701, OID_NUMERIC = 1700, OID_JSONB = 3802 };

struct column {
	char *name;
	uint32_t type;
};

struct rows {
	enum output_format format;
	struct out out;
	struct column *columns;
	size_t column_count;
	uint64_t row_count;
	bool has_head; /* what goes before the first row is printed: only with that, or at the end */
	struct aligned *aligned; /* of the result that is open */
};

struct rows *rows_new(enum output_format format, int fd)
{
	struct rows *rows = calloc(1, sizeof(*rows));

	if (rows == NULL)
		return NULL;
	rows->format = format;
	out_init(&rows->out, fd);
	return rows;
}

static void forget_columns(struct rows *rows)
{
	for (size_t i = 0; i < rows->column_count; i++)
		free(rows->columns[i].name);
	free(rows->columns);
	rows->columns = NULL;
	rows->column_count = 0;
	aligned_free(rows->aligned);
	rows->aligned = NULL;
}

void rows_free(struct rows *rows)
{
	if (rows == NULL)
		return;
	forget_columns(rows);
	free(rows);
}

static bool fail(int error)
{
	errno = error;
	return false;
}

/* ---- CSV ---- */

static void put_csv(struct out *out, const uint8_t *text, size_t len)
{
	bool is_quoted = (len == 2 && memcmp(text, "\\.", 2) == 0) || memchr(text, ',', len) != NULL ||
			 memchr(text, '"', len) != NULL || memchr(text, '\r', len) != NULL || memchr(text, '\n', len) != NULL;

	if (!is_quoted) {
		out_put(out, text, len);
		return;
	}
	out_text(out, "\"");
	while (len > 0) {
		const uint8_t *quote = memchr(text, '"', len);
		size_t some = quote == NULL ? len : (size_t)(quote - text) + 1;

		out_put(out, text, some);
		if (quote != NULL)
			out_text(out, "\"");
		text += some;
		len -= some;
	}
	out_text(out, "\"");
}

/* ---- JSON ---- */

static void put_json_string(struct out *out, const uint8_t *text, size_t len)
{
	char escape[8];

	out_text(out, "\"");
	while (len > 0) {
		uint32_t code;
		size_t some = utf8_decode(text, len, &code);

		if (code == UTF8_BAD) /* a client_encoding of somebody's own choice: JSON must stay JSON */
			out_text(out, "\xef\xbf\xbd");
		else if (code == '"' || code == '\\')
			out_put(out, (char[]){'\\', (char)code}, 2);
		else if (code == '\n')
			out_text(out, "\\n");
		else if (code < 0x20 || code == 0x7f)
			out_put(out, escape, (size_t)snprintf(escape, sizeof(escape), "\\u%04x", code));
		else
			out_put(out, text, some);
		text += some;
		len -= some;
	}
	out_text(out, "\"");
}

/* NaN and Infinity are no numbers of JSON's, and begin otherwise. */
static bool is_json_number(const uint8_t *text, size_t len)
{
	size_t at = len > 0 && text[0] == '-';

	return at < len && text[at] >= '0' && text[at] <= '9';
}

static void put_json_itself(struct out *out, const uint8_t *text, size_t len)
{
	while (len > 0) { /* line ends stand between values only */
		size_t some = 0;

		while (some < len && text[some] >= 0x20)
			some++;
		out_put(out, text, some);
		if (some < len) {
			out_text(out, " ");
			some++;
		}
		text += some;
		len -= some;
	}
}

static void put_json(struct out *out, uint32_t type, const uint8_t *text, size_t len)
{
	switch (type) {
	case OID_BOOL:
		out_text(out, len == 1 && text[0] == 't' ? "true" : "false");
		return;
	case OID_INT2:
	case OID_INT4:
	case OID_INT8:
	case OID_OID:
	case OID_FLOAT4:
	case OID_FLOAT8:
	case OID_NUMERIC:
		if (is_json_number(text, len))
			out_put(out, text, len);
		else
			put_json_string(out, text, len);
		return;
	case OID_JSON:
	case OID_JSONB:
		put_json_itself(out, text, len);
		return;
	default:
		put_json_string(out, text, len);
	}
}

/* ---- results ---- */

static bool read_columns(struct rows *rows, const struct pgclient_message *description)
{
	struct pgclient_cursor cursor = pgclient_cursor(description);
	size_t count = pgclient_u16(&cursor);

	if (count > ROWS_COLUMNS_MAX)
		return fail(EBADMSG);
	rows->columns = calloc(count + 1, sizeof(*rows->columns));
	if (rows->columns == NULL)
		return fail(ENOMEM);
	for (size_t i = 0; i < count; i++) {
		rows->columns[i].name = strdup(pgclient_string(&cursor));
		rows->column_count = i + 1;
		if (rows->columns[i].name == NULL)
			return fail(ENOMEM);
		(void)pgclient_bytes(&cursor, 6); /* table, number */
		rows->columns[i].type = pgclient_u32(&cursor);
		(void)pgclient_bytes(&cursor, 8); /* size, modifier, format */
	}
	return cursor.is_short ? fail(EBADMSG) : true;
}

bool rows_begin(struct rows *rows, const struct pgclient_message *description)
{
	forget_columns(rows);
	rows->row_count = 0;
	rows->has_head = false;
	if (!read_columns(rows, description))
		return false;
	if (rows->format != OUTPUT_ALIGNED)
		return true;
	rows->aligned = aligned_new(rows->column_count);
	if (rows->aligned == NULL)
		return fail(ENOMEM);
	for (size_t i = 0; i < rows->column_count; i++)
		aligned_column(rows->aligned, i, rows->columns[i].name, rows->columns[i].type);
	return true;
}

static void put_head(struct rows *rows)
{
	if (rows->has_head)
		return;
	rows->has_head = true;
	if (rows->format == OUTPUT_JSON) {
		out_text(&rows->out, "[");
		return;
	}
	for (size_t i = 0; i < rows->column_count; i++) {
		if (i > 0)
			out_text(&rows->out, ",");
		put_csv(&rows->out, (const uint8_t *)rows->columns[i].name, strlen(rows->columns[i].name));
	}
	out_text(&rows->out, "\n");
}

static void put_value(struct rows *rows, size_t column, const uint8_t *value, size_t len)
{
	struct out *out = &rows->out;

	if (rows->format == OUTPUT_CSV) {
		if (column > 0)
			out_text(out, ",");
		if (value != NULL)
			put_csv(out, value, len);
		return;
	}
	out_text(out, column > 0 ? "," : "{");
	put_json_string(out, (const uint8_t *)rows->columns[column].name, strlen(rows->columns[column].name));
	out_text(out, ":");
	if (value != NULL)
		put_json(out, rows->columns[column].type, value, len);
	else
		out_text(out, "null");
}

bool rows_add(struct rows *rows, const struct pgclient_message *row)
{
	struct pgclient_cursor cursor = pgclient_cursor(row);

	if (pgclient_u16(&cursor) != rows->column_count || rows->columns == NULL)
		return fail(EBADMSG);
	rows->row_count++;
	if (rows->format == OUTPUT_ALIGNED)
		return aligned_row(rows->aligned, &rows->out, row);
	put_head(rows);
	if (rows->format == OUTPUT_JSON && rows->row_count > 1)
		out_text(&rows->out, ",");
	for (size_t i = 0; i < rows->column_count; i++) {
		uint32_t len = pgclient_u32(&cursor);
		const uint8_t *value = len == UINT32_MAX ? NULL : pgclient_bytes(&cursor, len);

		if (cursor.is_short)
			return fail(EBADMSG);
		put_value(rows, i, value, len);
	}
	if (rows->format == OUTPUT_JSON)
		out_text(&rows->out, rows->column_count > 0 ? "}" : "{}");
	else if (rows->column_count > 0)
		out_text(&rows->out, "\n");
	return true;
}

bool rows_end(struct rows *rows)
{
	bool is_good = true;

	if (rows->format == OUTPUT_ALIGNED)
		is_good = aligned_end(rows->aligned, &rows->out);
	else
		put_head(rows);
	if (rows->format == OUTPUT_JSON)
		out_text(&rows->out, "]\n");
	forget_columns(rows);
	return is_good;
}

void rows_tag(struct rows *rows, const char *tag)
{
	if (rows->format != OUTPUT_ALIGNED)
		return;
	out_text(&rows->out, tag);
	out_text(&rows->out, "\n");
}

void rows_raw(struct rows *rows, const void *bytes, size_t len)
{
	out_put(&rows->out, bytes, len);
}

void rows_flush(struct rows *rows)
{
	out_flush(&rows->out);
}

int rows_error(const struct rows *rows)
{
	return rows->out.error;
}
