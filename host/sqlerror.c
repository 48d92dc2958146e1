#include "sqlerror.h"

#include <stdlib.h>
#include <string.h>

#include "utf8.h"

#define COLUMNS_MAX 60 /* of the excerpt, as in libpq */
#define COLUMNS_AFTER 10 /* that are shown behind the position at least, if there are any */

struct excerpt {
	const uint8_t *start;
	size_t len;
	unsigned line; /* from 1 */
};

/* The line of `sql` that holds character `position` (from 1), and in *at the bytes before it there. False: there is no such character. */
static bool find_line(const char *sql, unsigned long position, struct excerpt *line, size_t *at)
{
	const uint8_t *text = (const uint8_t *)sql;
	const uint8_t *here = text;
	size_t left = strlen(sql);
	const uint8_t *end;

	*line = (struct excerpt){.start = text, .line = 1};
	for (unsigned long i = 1; i < position; i++) {
		uint32_t code;
		size_t len;

		if (left == 0)
			return false;
		len = utf8_decode(here, left, &code);
		here += len;
		left -= len;
		if (code == '\n') {
			line->start = here;
			line->line++;
		}
	}
	end = memchr(here, '\n', left);
	if (end == NULL)
		end = here + left;
	if (end > line->start && end[-1] == '\r')
		end--;
	line->len = (size_t)(end - line->start);
	*at = (size_t)(here - line->start);
	if (*at > line->len)
		*at = line->len;
	return true;
}

static size_t width_of(uint32_t code)
{
	int width = utf8_width(code);

	return width < 0 ? 1 : (size_t)width;
}

/* Columns of text[0..len). */
static size_t columns(const uint8_t *text, size_t len)
{
	size_t count = 0;

	while (len > 0) {
		uint32_t code;
		size_t some = utf8_decode(text, len, &code);

		count += width_of(code);
		text += some;
		len -= some;
	}
	return count;
}

/* Drops the line's last character. */
static void drop_last(struct excerpt *line)
{
	do {
		line->len--;
	} while (line->len > 0 && (line->start[line->len] & 0xc0) == 0x80);
}

/* Makes a line that is too long shorter, so that what is at `at` stays inside: behind first, then before it. */
static void cut(struct excerpt *line, size_t *at, bool *is_cut_before, bool *is_cut_after)
{
	size_t width = columns(line->start, line->len);
	size_t before = columns(line->start, *at);
	uint32_t code;

	*is_cut_before = width > COLUMNS_MAX && before + COLUMNS_AFTER > COLUMNS_MAX;
	while (*is_cut_before && *at > 0 && before + COLUMNS_AFTER > COLUMNS_MAX) {
		size_t len = utf8_decode(line->start, *at, &code);

		before -= width_of(code);
		width -= width_of(code);
		line->start += len;
		line->len -= len;
		*at -= len;
	}
	*is_cut_after = width > COLUMNS_MAX;
	while (width > COLUMNS_MAX && line->len > *at) {
		drop_last(line);
		utf8_decode(line->start + line->len, 4, &code);
		width -= width_of(code);
	}
}

static void print_position(FILE *out, const char *sql, const char *position_text)
{
	unsigned long position = strtoul(position_text, NULL, 10);
	struct excerpt line;
	char label[48];
	size_t at;
	size_t before;
	bool is_cut_before, is_cut_after;

	if (position == 0 || !find_line(sql, position, &line, &at))
		return;
	cut(&line, &at, &is_cut_before, &is_cut_after);
	snprintf(label, sizeof(label), "LINE %u: %s", line.line, is_cut_before ? "..." : "");
	fputs(label, out);
	for (size_t i = 0; i < line.len; i++) /* a tab would move the mark */
		fputc(line.start[i] == '\t' ? ' ' : line.start[i], out);
	before = strlen(label) + columns(line.start, at);
	fprintf(out, "%s\n%*s^\n", is_cut_after ? "..." : "", (int)before, "");
}

static void print_field(FILE *out, const struct pgclient_message *message, char code, const char *label)
{
	const char *value = pgclient_field(message, code);

	if (value != NULL)
		fprintf(out, "%s:  %s\n", label, value);
}

void sqlerror_print(FILE *out, const struct pgclient_message *message, const char *sql)
{
	const char *severity = pgclient_field(message, 'S');
	const char *sqlstate = pgclient_field(message, 'C');
	const char *text = pgclient_field(message, 'M');
	const char *position = pgclient_field(message, 'P');
	const char *inner_position = pgclient_field(message, 'p');
	const char *inner_sql = pgclient_field(message, 'q');
	bool is_error = message->type == 'E';

	fprintf(out, "%s:  ", severity != NULL ? severity : "ERROR");
	if (is_error && sqlstate != NULL)
		fprintf(out, "%s: ", sqlstate);
	fprintf(out, "%s\n", text != NULL ? text : "(no message)");
	if (position != NULL && sql != NULL)
		print_position(out, sql, position);
	else if (inner_position != NULL && inner_sql != NULL)
		print_position(out, inner_sql, inner_position);
	print_field(out, message, 'D', "DETAIL");
	print_field(out, message, 'H', "HINT");
	if (inner_sql != NULL)
		fprintf(out, "QUERY:  %s\n", inner_sql);
	if (is_error)
		print_field(out, message, 'W', "CONTEXT");
	fflush(out);
}
