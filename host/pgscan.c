#include "pgscan.h"

#include <string.h>

#define REQUEST_MAJOR 1234
#define SSL_MINOR 5679
#define GSSENC_MINOR 5680

void pgscan_init(struct pgscan *scan, bool is_started)
{
	memset(scan, 0, sizeof(*scan));
	scan->client.has_types = is_started;
	scan->server.has_types = true;
	scan->is_ready = is_started;
}

static uint32_t get_u32(const uint8_t *p)
{
	return (uint32_t)p[0] << 24 | (uint32_t)p[1] << 16 | (uint32_t)p[2] << 8 | p[3];
}

/* Returns how many bytes it took; the head is complete when head_len is what it should be. */
static size_t take_head(struct pgscan_direction *dir, const uint8_t *bytes, size_t len, uint32_t wanted)
{
	size_t take = wanted - dir->head_len;

	if (take > len)
		take = len;
	memcpy(dir->head + dir->head_len, bytes, take);
	dir->head_len += (uint32_t)take;
	return take;
}

/* The length counts itself, but no type: `counted` bytes of it are in the head. */
static void begin_message(struct pgscan_direction *dir, uint32_t len, uint32_t counted)
{
	dir->is_lost = len < counted;
	dir->left = len - counted;
	dir->head_len = 0;
}

static size_t skip(struct pgscan_direction *dir, size_t len)
{
	size_t take = dir->left < len ? dir->left : len;

	dir->left -= (uint32_t)take;
	return take;
}

static void on_client_head(struct pgscan *scan)
{
	struct pgscan_direction *dir = &scan->client;
	uint32_t code;

	if (dir->has_types) {
		scan->is_terminated |= dir->head[0] == 'X';
		begin_message(dir, get_u32(dir->head + 1), 4);
		return;
	}
	code = get_u32(dir->head + 4);
	if (code >> 16 != REQUEST_MAJOR)
		dir->has_types = true; /* a StartupMessage */
	else if ((code & 0xffff) == SSL_MINOR || (code & 0xffff) == GSSENC_MINOR)
		scan->bare_answers++;
	begin_message(dir, get_u32(dir->head), 8);
}

void pgscan_client(struct pgscan *scan, const uint8_t *bytes, size_t len)
{
	struct pgscan_direction *dir = &scan->client;

	while (len > 0 && !dir->is_lost && !scan->is_terminated) {
		uint32_t wanted = dir->has_types ? 5 : 8;
		size_t used = dir->left > 0 ? skip(dir, len) : take_head(dir, bytes, len, wanted);

		if (dir->left == 0 && dir->head_len == wanted)
			on_client_head(scan);
		bytes += used;
		len -= used;
	}
}

void pgscan_server(struct pgscan *scan, const uint8_t *bytes, size_t len)
{
	struct pgscan_direction *dir = &scan->server;

	while (len > 0 && !dir->is_lost && !scan->is_ready) {
		size_t used = 1;

		if (dir->left > 0) {
			used = skip(dir, len);
		} else if (dir->head_len == 0 && scan->bare_answers > 0 && *bytes != 'E') {
			scan->bare_answers--;
			dir->is_lost = *bytes != 'N'; /* encrypted from here on */
			scan->client.is_lost |= dir->is_lost;
		} else {
			used = take_head(dir, bytes, len, 5);
			if (dir->head_len == 5) {
				scan->is_ready = dir->head[0] == 'Z';
				scan->is_refused |= dir->head[0] == 'E';
				begin_message(dir, get_u32(dir->head + 1), 4);
			}
		}
		bytes += used;
		len -= used;
	}
}
