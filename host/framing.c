#include "framing.h"

#include <string.h>

/* length 16, code 80877102 (1234.5678): how a CancelRequest begins */
static const uint8_t cancel_start[8] = {0, 0, 0, FRAMING_CANCEL_LEN, 0x04, 0xd2, 0x16, 0x2e};

void framing_reader_init(struct framing_reader *reader, enum framing_kind kind)
{
	memset(reader, 0, sizeof(*reader));
	reader->kind = kind;
}

static size_t min_size(size_t a, size_t b)
{
	return a < b ? a : b;
}

/* Returns how much of the piece was the header's. */
static size_t take_header(struct framing_reader *reader, const uint8_t *in, size_t len)
{
	const uint8_t *header = reader->header;
	size_t take = min_size(len, FRAMING_HEADER_LEN - reader->header_len);

	memcpy(reader->header + reader->header_len, in, take);
	reader->header_len += (uint32_t)take;
	if (reader->header_len < FRAMING_HEADER_LEN)
		return take;
	reader->left = (uint32_t)header[0] << 24 | (uint32_t)header[1] << 16 | (uint32_t)header[2] << 8 | header[3];
	reader->is_holding = reader->left == FRAMING_CANCEL_LEN;
	reader->held_len = 0;
	if (reader->left == 0)
		reader->header_len = 0;
	return take;
}

/* Of the frame that we are in; the next header comes after its last byte. */
static size_t take_payload(struct framing_reader *reader, size_t len)
{
	size_t take = min_size(len, reader->left);

	reader->left -= (uint32_t)take;
	if (reader->left == 0)
		reader->header_len = 0;
	return take;
}

enum framing_item framing_next(struct framing_reader *reader, const uint8_t *in, size_t len, size_t *used,
			       struct framing_span *span)
{
	size_t take;

	*used = 0;
	*span = (struct framing_span){.bytes = in};
	if (reader->kind == FRAMING_RAW) {
		*used = span->len = len;
		return len > 0 ? FRAMING_BYTES : FRAMING_NOTHING;
	}
	while (*used < len && reader->header_len < FRAMING_HEADER_LEN)
		*used += take_header(reader, in + *used, len - *used);
	if (*used == len)
		return FRAMING_NOTHING;

	take = take_payload(reader, len - *used);
	span->bytes = in + *used;
	span->len = take;
	*used += take;
	if (!reader->is_holding)
		return FRAMING_BYTES;

	memcpy(reader->held + reader->held_len, span->bytes, take);
	reader->held_len += (uint32_t)take;
	if (reader->held_len < FRAMING_CANCEL_LEN)
		return FRAMING_NOTHING;
	*span = (struct framing_span){.bytes = reader->held, .len = FRAMING_CANCEL_LEN};
	return memcmp(reader->held, cancel_start, sizeof(cancel_start)) == 0 ? FRAMING_CANCEL : FRAMING_BYTES;
}

bool framing_is_inside(const struct framing_reader *reader)
{
	return reader->header_len > 0;
}

void framing_put_header(uint8_t out[FRAMING_HEADER_LEN], uint32_t len)
{
	out[0] = (uint8_t)(len >> 24);
	out[1] = (uint8_t)(len >> 16);
	out[2] = (uint8_t)(len >> 8);
	out[3] = (uint8_t)len;
}
