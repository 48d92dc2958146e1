/*
 * libFuzzer target for host/pgclient.c: whatever a server may answer.
 *
 * Beyond "no crash" it checks that the parser asks for more than it has, never for more than is allowed, does not change its mind with a
 * shorter prefix, and that no reading of a body leaves it.
 */
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "../host/pgclient.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check(bool is_true)
{
	if (!is_true)
		abort();
}

static void read_body(const struct pgclient_message *message)
{
	struct pgclient_cursor cursor = pgclient_cursor(message);
	const uint8_t *end = message->body + message->body_len;

	for (unsigned i = 0; !cursor.is_short && cursor.left > 0; i++) {
		const char *text;

		switch (i % 5) {
		case 0:
			(void)pgclient_u8(&cursor);
			break;
		case 1:
			(void)pgclient_u16(&cursor);
			break;
		case 2:
			(void)pgclient_bytes(&cursor, pgclient_u32(&cursor) % 64);
			break;
		case 3:
			text = pgclient_string(&cursor);
			check(cursor.is_short || (const uint8_t *)text + strlen(text) < end);
			break;
		default:
			(void)pgclient_bytes(&cursor, pgclient_u32(&cursor));
			break;
		}
		check(cursor.at + cursor.left == end);
	}
	for (int code = 1; code < 128; code++) {
		const char *value = pgclient_field(message, (char)code);

		check(value == NULL || (const uint8_t *)value + strlen(value) < end);
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct pgclient_message message, shorter;
	enum pgclient_result result;

	while ((result = pgclient_next(data, size, &message)) == PGCLIENT_MESSAGE) {
		check(message.total_len <= size && message.total_len >= PGCLIENT_HEAD_LEN);
		check(message.body == data + PGCLIENT_HEAD_LEN && message.total_len == PGCLIENT_HEAD_LEN + message.body_len);
		check(pgclient_next(data, message.total_len, &shorter) == PGCLIENT_MESSAGE);
		check(pgclient_next(data, message.total_len - 1, &shorter) == PGCLIENT_NEED_MORE);
		check(shorter.need_len == (message.total_len > PGCLIENT_HEAD_LEN ? message.total_len : PGCLIENT_HEAD_LEN));
		read_body(&message);
		data += message.total_len;
		size -= message.total_len;
	}
	if (result == PGCLIENT_NEED_MORE)
		check(message.need_len > size && message.need_len <= PGCLIENT_HEAD_LEN + (size_t)PGCLIENT_BODY_MAX);
	return 0;
}
