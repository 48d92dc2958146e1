/*
 * libFuzzer target for host/wire.c: whatever a client may send first.
 *
 * Beyond "no crash" it checks that the parser asks for a sane number of bytes, does not change its mind with a shorter
 * prefix, and that a rewritten packet parses to what was routed.
 */
#include <stdlib.h>
#include <string.h>

#include "../host/wire.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check(int is_true)
{
	if (!is_true)
		abort();
}

static void check_startup(const uint8_t *data, const struct wire_startup *startup)
{
	static uint8_t rewritten[WIRE_PACKET_MAX];
	struct wire_startup again;
	struct wire_route route, route_again;
	size_t len;

	wire_route(startup->database, &route);
	len = wire_startup_rewrite(data, startup, route.database_len, rewritten, sizeof(rewritten));
	check(len >= WIRE_PACKET_MIN + 1 && len <= startup->packet_len);
	check(wire_startup_parse(rewritten, len, &again) == WIRE_STARTUP);
	check(again.packet_len == len && again.version_minor == startup->version_minor);
	check((again.user == NULL) == (startup->user == NULL));
	check(again.user == NULL || strcmp(again.user, startup->user) == 0);
	if (route.database_len == 0) {
		check(again.database == NULL);
	} else {
		check(strlen(again.database) == route.database_len);
		check(memcmp(again.database, startup->database, route.database_len) == 0);
	}
	wire_route(startup->user, &route_again);
	check(strlen(route.cell) <= WIRE_CELL_NAME_MAX);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct wire_startup out, shorter;
	enum wire_result result = wire_startup_parse(data, size, &out);
	const char *sqlstate;
	char text[WIRE_TEXT_MAX];
	uint8_t packet[512];

	switch (result) {
	case WIRE_NEED_MORE:
		check(out.need_len > size && out.need_len <= WIRE_PACKET_MAX);
		break;
	case WIRE_ERROR:
		wire_error_text(out.error, &out, &sqlstate, text, sizeof(text));
		check(strlen(sqlstate) == 0 || strlen(sqlstate) == 5);
		check(wire_error_encode(packet, sizeof(packet), "FATAL", sqlstate, text, NULL, NULL) > 0);
		break;
	case WIRE_STARTUP:
		check_startup(data, &out);
		/* fall through */
	case WIRE_CANCEL:
	case WIRE_SSL_REQUEST:
	case WIRE_GSSENC_REQUEST:
		check(out.packet_len <= size);
		check(wire_startup_parse(data, out.packet_len, &shorter) == result);
		check(wire_startup_parse(data, out.packet_len - 1, &shorter) == WIRE_NEED_MORE);
		break;
	}
	return 0;
}
