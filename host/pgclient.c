#include "pgclient.h"

#include <string.h>

#define PROTOCOL_3_0 (3u << 16)

/* What a server may send; of these only the long ones may exceed PGCLIENT_SHORT_MAX. */
static const char known_types[] = "123ACDEGHIKNRSTVWZcdnstv";
static const char long_types[] = "ADENTVd";

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

static bool is_one_of(const char *types, char type)
{
	return type != '\0' && strchr(types, type) != NULL;
}

enum pgclient_result pgclient_next(const uint8_t *buf, size_t len, struct pgclient_message *out)
{
	uint32_t word;

	memset(out, 0, sizeof(*out));
	out->need_len = PGCLIENT_HEAD_LEN;
	if (len == 0)
		return PGCLIENT_NEED_MORE;
	out->type = (char)buf[0];
	if (!is_one_of(known_types, out->type))
		return PGCLIENT_NONSENSE;
	if (len < PGCLIENT_HEAD_LEN)
		return PGCLIENT_NEED_MORE;
	word = get_u32(buf + 1);
	out->body_len = word - 4;
	if (word < 4 || out->body_len > (is_one_of(long_types, out->type) ? PGCLIENT_BODY_MAX : PGCLIENT_SHORT_MAX))
		return PGCLIENT_NONSENSE;
	out->body = buf + PGCLIENT_HEAD_LEN;
	out->total_len = PGCLIENT_HEAD_LEN + (size_t)out->body_len;
	out->need_len = out->total_len;
	return len < out->total_len ? PGCLIENT_NEED_MORE : PGCLIENT_MESSAGE;
}

struct pgclient_cursor pgclient_cursor(const struct pgclient_message *message)
{
	return (struct pgclient_cursor){.at = message->body, .left = message->body_len};
}

const uint8_t *pgclient_bytes(struct pgclient_cursor *cursor, size_t len)
{
	const uint8_t *bytes = cursor->at;

	if (cursor->is_short || len > cursor->left) {
		cursor->is_short = true;
		return NULL;
	}
	cursor->at += len;
	cursor->left -= len;
	return bytes;
}

uint8_t pgclient_u8(struct pgclient_cursor *cursor)
{
	const uint8_t *p = pgclient_bytes(cursor, 1);

	return p == NULL ? 0 : p[0];
}

uint16_t pgclient_u16(struct pgclient_cursor *cursor)
{
	const uint8_t *p = pgclient_bytes(cursor, 2);

	return p == NULL ? 0 : (uint16_t)(p[0] << 8 | p[1]);
}

uint32_t pgclient_u32(struct pgclient_cursor *cursor)
{
	const uint8_t *p = pgclient_bytes(cursor, 4);

	return p == NULL ? 0 : get_u32(p);
}

const char *pgclient_string(struct pgclient_cursor *cursor)
{
	const uint8_t *end = cursor->is_short ? NULL : memchr(cursor->at, '\0', cursor->left);

	if (end == NULL) {
		cursor->is_short = true;
		return "";
	}
	return (const char *)pgclient_bytes(cursor, (size_t)(end - cursor->at) + 1);
}

const char *pgclient_field(const struct pgclient_message *message, char code)
{
	struct pgclient_cursor cursor = pgclient_cursor(message);

	while (!cursor.is_short) {
		char found = (char)pgclient_u8(&cursor);
		const char *value;

		if (found == '\0')
			break;
		value = pgclient_string(&cursor);
		if (found == code)
			return cursor.is_short ? NULL : value;
	}
	return NULL;
}

size_t pgclient_put_startup(uint8_t *out, size_t cap, const char *const *pairs)
{
	size_t used = 8;

	if (cap < used + 1)
		return 0;
	for (; *pairs != NULL; pairs++) {
		size_t len = strlen(*pairs) + 1;

		if (len > cap - 1 - used)
			return 0;
		memcpy(out + used, *pairs, len);
		used += len;
	}
	out[used++] = '\0';
	put_u32(out, (uint32_t)used);
	put_u32(out + 4, PROTOCOL_3_0);
	return used;
}

void pgclient_put_head(uint8_t out[PGCLIENT_HEAD_LEN], char type, uint32_t body_len)
{
	out[0] = (uint8_t)type;
	put_u32(out + 1, body_len + 4);
}
