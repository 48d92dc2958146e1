/*
 * Follows both directions of a connection that passes by, without holding or changing a byte: is the session ready, has the client
 * said Terminate. Pure functions: no I/O, no allocation.
 *
 * Calling sequence: pgscan_init(); pgscan_client() and pgscan_server() with every byte, in pieces of any size, a request before its answer.
 *
 * A direction that breaks the protocol (a length that cannot be) is not followed any further: the session will say what is wrong
 * with it. That goes for encrypted connections, too.
 */
#ifndef PGCELL_PGSCAN_H
#define PGCELL_PGSCAN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct pgscan_direction {
	bool is_lost;
	bool has_types; /* messages begin with a letter; packets at start-up do not */
	uint8_t head[8]; /* the type, if there are types, and the length; without types the code as well */
	uint32_t head_len;
	uint32_t left; /* bytes of the message that are still to come */
};

struct pgscan {
	struct pgscan_direction client, server;
	uint32_t bare_answers; /* bytes that the server owes outside of messages: to SSLRequest and GSSENCRequest */
	bool is_terminated; /* the client said Terminate */
	bool is_refused; /* the server sent an error before it was ready */
	bool is_ready; /* the server said ReadyForQuery at least once; it is not followed from there on */
};

/* is_started: the start-up is over already, and the session ready. */
void pgscan_init(struct pgscan *scan, bool is_started);
void pgscan_client(struct pgscan *scan, const uint8_t *bytes, size_t len);
void pgscan_server(struct pgscan *scan, const uint8_t *bytes, size_t len);

#endif
