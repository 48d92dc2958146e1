/*
 * The client's side of PostgreSQL's protocol, as far as pgcell speaks it itself: reads what a server sends, writes what starts a session
 * and asks a simple query. Pure functions: no I/O, no allocation, no state.
 *
 * Calling sequence, with a buffer that grows as bytes arrive:
 *	pgclient_next(buf, len, &message) until it returns something else than PGCLIENT_NEED_MORE
 *	PGCLIENT_MESSAGE: look at message.type and .body, drop message.total_len bytes, go on
 *	PGCLIENT_NONSENSE: this is no PostgreSQL server, or bytes were lost: give the connection up
 *
 * The body is read with a cursor, which never leaves it: reading too much gives zeros and sets is_short, to be looked at once at the end.
 * Every pointer points into the caller's buffer and lives as long as that.
 */
#ifndef PGCELL_PGCLIENT_H
#define PGCELL_PGCLIENT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define PGCLIENT_HEAD_LEN 5 /* type and length word */
#define PGCLIENT_BODY_MAX 0x3fffffffu /* PostgreSQL makes no longer message */
#define PGCLIENT_SHORT_MAX 30000u /* of the types that are never long; libpq's number */

enum pgclient_result { PGCLIENT_NEED_MORE, PGCLIENT_MESSAGE, PGCLIENT_NONSENSE };

struct pgclient_message {
	char type; /* NONSENSE: what stood in its place */
	uint32_t body_len; /* NONSENSE: what the length word said */
	const uint8_t *body;
	size_t need_len; /* NEED_MORE: bytes the buffer must hold before the next try is worth it */
	size_t total_len;
};

enum pgclient_result pgclient_next(const uint8_t *buf, size_t len, struct pgclient_message *out)
	__attribute__((warn_unused_result));

struct pgclient_cursor {
	const uint8_t *at;
	size_t left;
	bool is_short;
};

struct pgclient_cursor pgclient_cursor(const struct pgclient_message *message);
uint8_t pgclient_u8(struct pgclient_cursor *cursor);
uint16_t pgclient_u16(struct pgclient_cursor *cursor);
uint32_t pgclient_u32(struct pgclient_cursor *cursor);
const uint8_t *pgclient_bytes(struct pgclient_cursor *cursor, size_t len); /* NULL if they are not there */
const char *pgclient_string(struct pgclient_cursor *cursor); /* "" if there is none */

/* A field of an ErrorResponse or NoticeResponse by its letter, NULL if it has none. */
const char *pgclient_field(const struct pgclient_message *message, char code);

/* StartupMessage 3.0 from name, value, ..., NULL. Returns its length, 0 if cap is too small. */
size_t pgclient_put_startup(uint8_t *out, size_t cap, const char *const *pairs) __attribute__((warn_unused_result));

/* What goes before a message's body. */
void pgclient_put_head(uint8_t out[PGCLIENT_HEAD_LEN], char type, uint32_t body_len);

#endif
