/*
 * How protocol bytes travel between `pgcell port` and its parent: as they are, or in frames as Erlang's ports make them ({packet, 4}).
 *
 *	packet4: [ length, 4 bytes, big endian ][ that many bytes ] ...
 *
 * Pure functions: no I/O, no allocation. Frames say nothing about the protocol's messages: one message may take many frames, one frame
 * may hold many messages. Frames without bytes are allowed and mean nothing. No length is too big: what a frame holds is handed on as
 * it comes, and never collected.
 *
 * One exception: a frame that is, as a whole, a CancelRequest of protocol 3.0 (16 bytes) is reported as such and not as bytes.
 * Frames of 16 bytes are therefore held until they are complete. Raw framing has no frames, hence no cancel requests.
 *
 * Calling sequence, for every piece that arrives:
 *	while (len > 0) {
 *		item = framing_next(&reader, in, len, &used, &span);
 *		...what item says, before the next call...
 *		in += used; len -= used;
 *	}
 */
#ifndef PGCELL_FRAMING_H
#define PGCELL_FRAMING_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define FRAMING_HEADER_LEN 4
#define FRAMING_CANCEL_LEN 16

enum framing_kind { FRAMING_PACKET4, FRAMING_RAW };

struct framing_reader {
	enum framing_kind kind;
	uint8_t header[FRAMING_HEADER_LEN];
	uint32_t header_len; /* bytes of the header that are there; all of them: inside a frame */
	uint32_t left; /* bytes of the frame that are still to come */
	uint8_t held[FRAMING_CANCEL_LEN]; /* the beginning of a frame that may be a cancel request */
	uint32_t held_len;
	bool is_holding;
};

/* Points into the caller's piece or into the reader, until the next call. */
struct framing_span {
	const uint8_t *bytes;
	size_t len;
};

enum framing_item {
	FRAMING_NOTHING, /* the piece was used up without anything to hand on */
	FRAMING_BYTES, /* protocol bytes: span, never empty */
	FRAMING_CANCEL, /* a cancel request: span, FRAMING_CANCEL_LEN bytes */
};

void framing_reader_init(struct framing_reader *reader, enum framing_kind kind);

/* Takes *used bytes of in[0..len), at least one if len > 0. */
enum framing_item framing_next(struct framing_reader *reader, const uint8_t *in, size_t len, size_t *used,
			       struct framing_span *span) __attribute__((warn_unused_result));

/* True in the middle of a frame: if the input ends there, it was cut short. */
bool framing_is_inside(const struct framing_reader *reader);

void framing_put_header(uint8_t out[FRAMING_HEADER_LEN], uint32_t len);

#endif
