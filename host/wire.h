/*
 * The start of a PostgreSQL connection: what arrives before any session exists.
 *
 * Pure functions: no I/O, no allocation, no state. The rules are those of ProcessStartupPacket() in PostgreSQL 18.
 *
 * Calling sequence, with a buffer that grows as bytes arrive:
 *	wire_startup_parse(buf, len, &out) until it returns something else than WIRE_NEED_MORE
 *	WIRE_SSL_REQUEST, WIRE_GSSENC_REQUEST: answer one byte, drop out.packet_len bytes, parse on
 *	WIRE_STARTUP: wire_route() says which cell, wire_startup_rewrite() makes the packet for its session
 *	WIRE_CANCEL: out.cancel_pid says whose; the session itself checks the key
 *	WIRE_ERROR: wire_error_text() says what to answer, if anything
 *
 * Every pointer in struct wire_startup points into the caller's buffer and lives as long as that; strings are
 * NUL-terminated there.
 */
#ifndef PGCELL_WIRE_H
#define PGCELL_WIRE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define WIRE_PACKET_MIN 8 /* length word and protocol version */
#define WIRE_PACKET_MAX (10000 + 4) /* MAX_STARTUP_PACKET_LENGTH does not count the length word */
#define WIRE_CANCEL_KEY_MAX 256 /* protocol 3.2 */
#define WIRE_CELL_NAME_MAX 63
#define WIRE_TEXT_MAX 256

enum wire_result {
	WIRE_NEED_MORE,
	WIRE_SSL_REQUEST,
	WIRE_GSSENC_REQUEST,
	WIRE_CANCEL,
	WIRE_STARTUP,
	WIRE_ERROR,
};

/*
 * enum, SQLSTATE, message. An empty SQLSTATE: nothing is said to the client, as PostgreSQL does (the peer
 * may not speak the protocol at all); the text is for our log. %u.%u is the version asked for.
 */
#define WIRE_ERROR_MAP(X)                                                                                              \
	X(WIRE_E_DIRECT_TLS, "", "direct SSL connection rejected")                                                     \
	X(WIRE_E_LENGTH, "", "invalid length of startup packet")                                                       \
	X(WIRE_E_CANCEL_LENGTH, "", "invalid length of cancel request packet")                                         \
	X(WIRE_E_CANCEL_KEY, "", "invalid length of cancel key in cancel request packet")                              \
	X(WIRE_E_PROTOCOL, "0A000", "unsupported frontend protocol %u.%u: server supports 3.0 to 3.2")                 \
	X(WIRE_E_LAYOUT, "08P01", "invalid startup packet layout: expected terminator as last byte")

enum wire_error {
#define WIRE_ERROR_ENUM(name, sqlstate, text) name,
	WIRE_ERROR_MAP(WIRE_ERROR_ENUM)
#undef WIRE_ERROR_ENUM
		WIRE_ERROR_COUNT
};

struct wire_startup {
	uint32_t need_len; /* NEED_MORE: bytes the buffer must hold before the next try is worth it */
	uint32_t packet_len; /* SSL, GSSENC, CANCEL, STARTUP: bytes of the packet, length word included */
	uint16_t version_major, version_minor; /* once 8 bytes are there */
	enum wire_error error; /* ERROR */

	/* CANCEL */
	int32_t cancel_pid;
	const uint8_t *cancel_key;
	uint32_t cancel_key_len; /* 1..WIRE_CANCEL_KEY_MAX */

	/* STARTUP only; NULL when the client did not say. Of repeated parameters the last counts, as in PostgreSQL. */
	const char *database;
	const char *user;
	const char *application_name;
};

enum wire_result wire_startup_parse(const uint8_t *buf, size_t len, struct wire_startup *out)
	__attribute__((warn_unused_result));

/* Answer (or log line, if *sqlstate comes back empty) for an error of wire_startup_parse(); its version is named. */
void wire_error_text(enum wire_error error, const struct wire_startup *startup, const char **sqlstate, char *text,
		     size_t cap);

enum wire_cell { WIRE_CELL_DEFAULT, WIRE_CELL_PRIVATE, WIRE_CELL_NAMED, WIRE_CELL_BAD_NAME };

struct wire_route {
	enum wire_cell kind;
	char cell[WIRE_CELL_NAME_MAX + 1]; /* NAMED: the name. BAD_NAME: its printable beginning, for the message */
	size_t database_len; /* bytes of `database` that are the database's own name */
};

/* As what a client may ask for; "new" is no name. */
bool wire_cell_name_is_valid(const char *name);

/* Splits "db@cell" at the last '@'. `database` may be NULL. */
void wire_route(const char *database, struct wire_route *out);

/*
 * Writes the start-up packet in buf[0..startup->packet_len) to `out` with its database parameter shortened to
 * `database_len` bytes, or left out if that is 0 (it then defaults to the user's name). Never longer than
 * the original. `out` must not overlap `buf`. Returns its length, 0 if cap is too small.
 */
size_t wire_startup_rewrite(const uint8_t *buf, const struct wire_startup *startup, size_t database_len, uint8_t *out,
			    size_t cap) __attribute__((warn_unused_result));

/*
 * Encodes an ErrorResponse; `detail` and `hint` may be NULL. `sqlstate` has five characters.
 * Returns its length, 0 if cap is too small.
 */
size_t wire_error_encode(uint8_t *out, size_t cap, const char *severity, const char *sqlstate, const char *message,
			 const char *detail, const char *hint) __attribute__((warn_unused_result));

#endif
