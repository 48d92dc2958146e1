#define _GNU_SOURCE
#include "aligned.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "rows.h"
#include "utf8.h"

/* A value or a name while it is printed line by line. */
struct text {
	const uint8_t *at;
	size_t left;
	bool has_line; /* one more is to be printed, be it empty */
};

struct aligned_column {
	const char *name;
	bool is_right;
	size_t width;
};

struct held_row {
	struct held_row *next;
	uint32_t len;
	uint8_t body[];
};

struct aligned {
	size_t column_count;
	struct aligned_column *columns;
	struct text *texts; /* of the row that is printed */
	struct held_row *first, **last;
	size_t held_count, held_bytes;
	uint64_t row_count;
	bool is_streaming; /* the widths are settled, the header is printed */
};

/* The types that psql sets to the right, by their OIDs: integers, oid, xid, xid8, cid, floating point, money, numeric. */
static bool is_right_type(uint32_t type)
{
	static const uint32_t types[] = {20, 21, 23, 26, 28, 29, 700, 701, 790, 1700, 5069};

	for (size_t i = 0; i < sizeof(types) / sizeof(types[0]); i++) {
		if (types[i] == type)
			return true;
	}
	return false;
}

struct aligned *aligned_new(size_t column_count)
{
	struct aligned *aligned = calloc(1, sizeof(*aligned));

	if (aligned == NULL)
		return NULL;
	aligned->column_count = column_count;
	aligned->columns = calloc(column_count + 1, sizeof(*aligned->columns));
	aligned->texts = calloc(column_count + 1, sizeof(*aligned->texts));
	aligned->last = &aligned->first;
	if (aligned->columns == NULL || aligned->texts == NULL) {
		aligned_free(aligned);
		return NULL;
	}
	return aligned;
}

static void drop_held(struct aligned *aligned)
{
	struct held_row *row;

	while ((row = aligned->first) != NULL) {
		aligned->first = row->next;
		free(row);
	}
	aligned->last = &aligned->first;
}

void aligned_free(struct aligned *aligned)
{
	if (aligned == NULL)
		return;
	drop_held(aligned);
	free(aligned->columns);
	free(aligned->texts);
	free(aligned);
}

/*
 * Prints the text's next line the way psql shows what cannot be shown (\r, \x07, tabs as spaces), or only measures it if out is NULL.
 * Returns its width.
 */
static size_t put_line(struct text *text, struct out *out)
{
	size_t width = 0;
	char escape[16];

	text->has_line = false;
	while (text->left > 0) {
		uint32_t code;
		size_t len = utf8_decode(text->at, text->left, &code);
		const void *shown = text->at;
		size_t shown_len = len;
		int columns = utf8_width(code);

		if (code == '\t') {
			columns = 8 - (int)(width % 8);
			shown = "        ";
			shown_len = (size_t)columns;
		} else if (columns < 0 && code != '\n') {
			shown = escape;
			shown_len = (size_t)(code == '\r'     ? snprintf(escape, sizeof(escape), "\\r")
					     : code == UTF8_BAD ? snprintf(escape, sizeof(escape), "\\x%02X", text->at[0])
					     : code < 0x80	? snprintf(escape, sizeof(escape), "\\x%02X", code)
								: snprintf(escape, sizeof(escape), "\\u%04X", code));
			columns = (int)shown_len;
		}
		text->at += len;
		text->left -= len;
		if (code == '\n') {
			text->has_line = true;
			break;
		}
		if (out != NULL)
			out_put(out, shown, shown_len);
		width += (size_t)columns;
	}
	return width;
}

static void note_width(struct aligned_column *column, struct text text)
{
	while (text.has_line) {
		size_t width = put_line(&text, NULL);

		if (width > column->width)
			column->width = width;
	}
}

void aligned_column(struct aligned *aligned, size_t index, const char *name, uint32_t type)
{
	struct aligned_column *column = &aligned->columns[index];

	*column = (struct aligned_column){.name = name, .is_right = is_right_type(type)};
	note_width(column, (struct text){.at = (const uint8_t *)name, .left = strlen(name), .has_line = true});
}

/* Into texts[]. */
static bool split_row(struct aligned *aligned, const struct pgclient_message *row)
{
	struct pgclient_cursor cursor = pgclient_cursor(row);

	(void)pgclient_u16(&cursor);
	for (size_t i = 0; i < aligned->column_count; i++) {
		uint32_t len = pgclient_u32(&cursor);

		if (len == UINT32_MAX) /* NULL is shown as nothing */
			len = 0;
		aligned->texts[i] = (struct text){.at = pgclient_bytes(&cursor, len), .left = len, .has_line = true};
	}
	if (cursor.is_short)
		errno = EBADMSG;
	return !cursor.is_short;
}

static bool has_lines(const struct aligned *aligned)
{
	for (size_t i = 0; i < aligned->column_count; i++) {
		if (aligned->texts[i].has_line)
			return true;
	}
	return false;
}

static void pad(struct out *out, size_t width, size_t used)
{
	if (width > used)
		out_repeat(out, ' ', width - used);
}

/* One line of the cell, with the space before it, and after it a "+" if more of its lines follow. */
static void put_cell(struct aligned *aligned, size_t index, struct out *out)
{
	const struct aligned_column *column = &aligned->columns[index];
	struct text *text = &aligned->texts[index];
	struct text measured = *text;
	bool is_last = index + 1 == aligned->column_count;
	size_t width = text->has_line ? put_line(&measured, NULL) : 0;

	out_text(out, " ");
	if (!text->has_line) {
		if (!is_last)
			out_repeat(out, ' ', column->width);
	} else if (column->is_right) {
		pad(out, column->width, width);
		put_line(text, out);
	} else {
		put_line(text, out);
		if (!is_last || text->has_line)
			pad(out, column->width, width);
	}
	if (text->has_line)
		out_text(out, "+");
	else if (!is_last)
		out_text(out, " ");
	if (!is_last)
		out_text(out, "|");
}

static void put_row(struct aligned *aligned, struct out *out)
{
	while (has_lines(aligned)) {
		for (size_t i = 0; i < aligned->column_count; i++)
			put_cell(aligned, i, out);
		out_text(out, "\n");
	}
}

static void put_header(struct aligned *aligned, struct out *out)
{
	for (size_t i = 0; i < aligned->column_count; i++) {
		const char *name = aligned->columns[i].name;

		aligned->texts[i] = (struct text){.at = (const uint8_t *)name, .left = strlen(name), .has_line = true};
	}
	while (has_lines(aligned)) {
		for (size_t i = 0; i < aligned->column_count; i++) {
			struct text *text = &aligned->texts[i];
			struct text measured = *text;
			size_t width = text->has_line ? put_line(&measured, NULL) : 0;
			size_t space = aligned->columns[i].width - width;

			out_text(out, " ");
			out_repeat(out, ' ', space / 2);
			if (text->has_line)
				put_line(text, out);
			out_repeat(out, ' ', space - space / 2);
			out_text(out, text->has_line ? "+" : " ");
			if (i + 1 < aligned->column_count)
				out_text(out, "|");
		}
		out_text(out, "\n");
	}
	out_text(out, "-");
	for (size_t i = 0; i < aligned->column_count; i++) {
		out_repeat(out, '-', aligned->columns[i].width);
		if (i + 1 < aligned->column_count)
			out_text(out, "-+-");
	}
	out_text(out, "-\n");
}

/* From here on the widths are what they are. */
static bool start_streaming(struct aligned *aligned, struct out *out)
{
	bool is_good = true;

	aligned->is_streaming = true;
	put_header(aligned, out);
	for (struct held_row *row = aligned->first; row != NULL && is_good; row = row->next) {
		struct pgclient_message message = {.body = row->body, .body_len = row->len};

		is_good = split_row(aligned, &message);
		if (is_good)
			put_row(aligned, out);
	}
	drop_held(aligned);
	return is_good;
}

static bool hold(struct aligned *aligned, const struct pgclient_message *message)
{
	struct held_row *row = malloc(sizeof(*row) + message->body_len);

	if (row == NULL)
		return false;
	row->next = NULL;
	row->len = message->body_len;
	memcpy(row->body, message->body, message->body_len);
	*aligned->last = row;
	aligned->last = &row->next;
	aligned->held_count++;
	aligned->held_bytes += message->body_len;
	for (size_t i = 0; i < aligned->column_count; i++)
		note_width(&aligned->columns[i], aligned->texts[i]);
	return true;
}

bool aligned_row(struct aligned *aligned, struct out *out, const struct pgclient_message *message)
{
	if (!split_row(aligned, message))
		return false;
	aligned->row_count++;
	if (aligned->is_streaming) {
		put_row(aligned, out);
		return true;
	}
	if (!hold(aligned, message))
		return false;
	if (aligned->held_count >= ROWS_HELD_MAX || aligned->held_bytes >= ROWS_HELD_BYTES)
		return start_streaming(aligned, out);
	return true;
}

bool aligned_end(struct aligned *aligned, struct out *out)
{
	char footer[48];

	if (!aligned->is_streaming && !start_streaming(aligned, out))
		return false;
	snprintf(footer, sizeof(footer), "(%" PRIu64 " row%s)\n\n", aligned->row_count, aligned->row_count == 1 ? "" : "s");
	out_text(out, footer);
	return true;
}
