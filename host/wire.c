#include "wire.h"

#include <stdio.h>
#include <string.h>

#define TLS_HANDSHAKE_RECORD 0x16

/* Special "protocol versions" of src/include/libpq/pqcomm.h: major 1234, and these minors. */
#define REQUEST_MAJOR 1234
#define CANCEL_MINOR 5678
#define SSL_MINOR 5679
#define GSSENC_MINOR 5680

#define CANCEL_KEY_OFFSET 12 /* length, code, pid */

static const struct {
	const char *sqlstate;
	const char *text;
} error_table[] = {
#define WIRE_ERROR_ROW(name, sqlstate, text) [name] = {sqlstate, text},
	WIRE_ERROR_MAP(WIRE_ERROR_ROW)
#undef WIRE_ERROR_ROW
};

static uint32_t get_u32(const uint8_t *p)
{
	return (uint32_t)p[0] << 24 | (uint32_t)p[1] << 16 | (uint32_t)p[2] << 8 | p[3];
}

static void put_u32(uint8_t *p, uint32_t value)
{
	p[0] = (uint8_t)(value >> 24);
	p[1] = (uint8_t)(value >> 16);
	p[2] = (uint8_t)(value >> 8);
	p[3] = (uint8_t)value;
}

static enum wire_result fail(struct wire_startup *out, enum wire_error error)
{
	out->error = error;
	return WIRE_ERROR;
}

static enum wire_result parse_cancel(const uint8_t *buf, struct wire_startup *out)
{
	if (out->packet_len < CANCEL_KEY_OFFSET)
		return fail(out, WIRE_E_CANCEL_LENGTH);
	out->cancel_pid = (int32_t)get_u32(buf + 8);
	out->cancel_key = buf + CANCEL_KEY_OFFSET;
	out->cancel_key_len = out->packet_len - CANCEL_KEY_OFFSET;
	if (out->cancel_key_len == 0 || out->cancel_key_len > WIRE_CANCEL_KEY_MAX)
		return fail(out, WIRE_E_CANCEL_KEY);
	return WIRE_CANCEL;
}

/* One name/value pair of a start-up packet's body. */
struct pair {
	const char *name;
	const char *value;
	size_t len; /* of both with their terminators */
};

enum pair_result { PAIR_FOUND, PAIR_END, PAIR_BROKEN };

/* The pair at buf[at]; PAIR_END only if the packet's terminator is its very last byte. */
static enum pair_result next_pair(const uint8_t *buf, size_t at, size_t end, struct pair *out)
{
	const uint8_t *name_end;
	const uint8_t *value_end;

	if (at >= end)
		return PAIR_BROKEN;
	if (buf[at] == '\0')
		return at == end - 1 ? PAIR_END : PAIR_BROKEN;
	name_end = memchr(buf + at, '\0', end - at);
	if (name_end == NULL || name_end + 1 == buf + end)
		return PAIR_BROKEN;
	value_end = memchr(name_end + 1, '\0', (size_t)(buf + end - (name_end + 1)));
	if (value_end == NULL)
		return PAIR_BROKEN;
	out->name = (const char *)buf + at;
	out->value = (const char *)name_end + 1;
	out->len = (size_t)(value_end + 1 - (buf + at));
	return PAIR_FOUND;
}

static enum wire_result parse_parameters(const uint8_t *buf, struct wire_startup *out)
{
	size_t at = WIRE_PACKET_MIN;
	struct pair pair;
	enum pair_result found;

	while ((found = next_pair(buf, at, out->packet_len, &pair)) == PAIR_FOUND) {
		if (strcmp(pair.name, "database") == 0)
			out->database = pair.value;
		else if (strcmp(pair.name, "user") == 0)
			out->user = pair.value;
		else if (strcmp(pair.name, "application_name") == 0)
			out->application_name = pair.value;
		at += pair.len;
	}
	return found == PAIR_END ? WIRE_STARTUP : fail(out, WIRE_E_LAYOUT);
}

enum wire_result wire_startup_parse(const uint8_t *buf, size_t len, struct wire_startup *out)
{
	uint32_t packet_len;

	memset(out, 0, sizeof(*out));
	if (len >= 1 && buf[0] == TLS_HANDSHAKE_RECORD)
		return fail(out, WIRE_E_DIRECT_TLS);
	if (len < 4) {
		out->need_len = 4;
		return WIRE_NEED_MORE;
	}
	packet_len = get_u32(buf);
	if (packet_len < WIRE_PACKET_MIN || packet_len > WIRE_PACKET_MAX)
		return fail(out, WIRE_E_LENGTH);
	out->packet_len = packet_len;
	if (len >= WIRE_PACKET_MIN) {
		uint32_t version = get_u32(buf + 4);

		out->version_major = (uint16_t)(version >> 16);
		out->version_minor = (uint16_t)version;
	}
	if (len < packet_len) {
		out->need_len = packet_len;
		return WIRE_NEED_MORE;
	}

	if (out->version_major == REQUEST_MAJOR) {
		switch (out->version_minor) {
		case CANCEL_MINOR:
			return parse_cancel(buf, out);
		case SSL_MINOR:
			return WIRE_SSL_REQUEST;
		case GSSENC_MINOR:
			return WIRE_GSSENC_REQUEST;
		default:
			break;
		}
	}
	/* Unknown minor versions and _pq_. options are the session's business: it answers NegotiateProtocolVersion. */
	if (out->version_major != 3)
		return fail(out, WIRE_E_PROTOCOL);
	return parse_parameters(buf, out);
}

void wire_error_text(enum wire_error error, const struct wire_startup *startup, const char **sqlstate, char *text,
		     size_t cap)
{
	*sqlstate = error_table[error].sqlstate;
	if (error == WIRE_E_PROTOCOL)
		snprintf(text, cap, "unsupported frontend protocol %u.%u: server supports 3.0 to 3.2",
			 (unsigned)startup->version_major, (unsigned)startup->version_minor);
	else
		snprintf(text, cap, "%s", error_table[error].text);
}

static bool is_cell_name_byte(char c)
{
	return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_' || c == '.' ||
	       c == '-';
}

bool wire_cell_name_is_valid(const char *name)
{
	size_t len = strlen(name);

	if (len < 1 || len > WIRE_CELL_NAME_MAX || strcmp(name, "new") == 0)
		return false;
	for (size_t i = 0; i < len; i++) {
		if (!is_cell_name_byte(name[i]))
			return false;
	}
	return true;
}

void wire_route(const char *database, struct wire_route *out)
{
	const char *at = database == NULL ? NULL : strrchr(database, '@');
	const char *name;
	size_t name_len;

	memset(out, 0, sizeof(*out));
	if (at == NULL) {
		out->kind = WIRE_CELL_DEFAULT;
		out->database_len = database == NULL ? 0 : strlen(database);
		return;
	}
	out->database_len = (size_t)(at - database);
	name = at + 1;
	name_len = strlen(name);
	out->kind = name_len >= 1 && name_len <= WIRE_CELL_NAME_MAX ? WIRE_CELL_NAMED : WIRE_CELL_BAD_NAME;
	for (size_t i = 0; i < name_len && i < WIRE_CELL_NAME_MAX; i++) {
		if (!is_cell_name_byte(name[i]))
			out->kind = WIRE_CELL_BAD_NAME;
		out->cell[i] = name[i] >= 0x20 && name[i] < 0x7f ? name[i] : '?';
	}
	if (out->kind == WIRE_CELL_NAMED && strcmp(out->cell, "new") == 0)
		out->kind = WIRE_CELL_PRIVATE;
}

/* A bounded buffer that remembers that something did not fit. */
struct sink {
	uint8_t *out;
	size_t cap;
	size_t used;
	bool is_full;
};

static void put(struct sink *sink, const void *bytes, size_t len)
{
	if (len > sink->cap - sink->used) {
		sink->is_full = true;
		return;
	}
	if (len > 0)
		memcpy(sink->out + sink->used, bytes, len);
	sink->used += len;
}

size_t wire_startup_rewrite(const uint8_t *buf, const struct wire_startup *startup, size_t database_len, uint8_t *out,
			    size_t cap)
{
	struct sink sink = {.out = out, .cap = cap};
	size_t at = WIRE_PACKET_MIN;
	struct pair pair;

	put(&sink, buf, WIRE_PACKET_MIN);
	while (next_pair(buf, at, startup->packet_len, &pair) == PAIR_FOUND) {
		if (strcmp(pair.name, "database") != 0)
			put(&sink, buf + at, pair.len);
		at += pair.len;
	}
	if (startup->database != NULL && database_len > 0) {
		put(&sink, "database", sizeof("database"));
		put(&sink, startup->database, database_len);
		put(&sink, "", 1);
	}
	put(&sink, "", 1);
	if (sink.is_full)
		return 0;
	put_u32(out, (uint32_t)sink.used);
	return sink.used;
}

static void put_field(struct sink *sink, char code, const char *value)
{
	if (value == NULL)
		return;
	put(sink, &code, 1);
	put(sink, value, strlen(value) + 1);
}

size_t wire_error_encode(uint8_t *out, size_t cap, const char *severity, const char *sqlstate, const char *message,
			 const char *detail, const char *hint)
{
	struct sink sink = {.out = out, .cap = cap};

	put(&sink, "E\0\0\0\0", 5);
	put_field(&sink, 'S', severity);
	put_field(&sink, 'V', severity);
	put_field(&sink, 'C', sqlstate);
	put_field(&sink, 'M', message);
	put_field(&sink, 'D', detail);
	put_field(&sink, 'H', hint);
	put(&sink, "", 1);
	if (sink.is_full)
		return 0;
	put_u32(out + 1, (uint32_t)(sink.used - 1));
	return sink.used;
}
