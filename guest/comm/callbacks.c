/*
 * callbacks.c
 *	  The callback transport: calls what the host has set.
 */
#ifndef PGLITE_USE_CALLBACKS
#define PGLITE_USE_CALLBACKS
#endif
#include "pglite-comm.h"

#include <string.h>

struct callbacks
{
	pglite_read_t read;
	pglite_write_t write;
};

#define CALLBACKS ((struct callbacks *) pglite_transport_memory)

_Static_assert(sizeof(struct callbacks) <= sizeof(struct pglite_transport_state), "survives a reset of the memory");

void
set_read_write_cbs(pglite_read_t read_callback, pglite_write_t write_callback)
{
	CALLBACKS->read = read_callback;
	CALLBACKS->write = write_callback;
}

int32_t
pglite_transport_read(void *ptr, size_t max_length)
{
	return CALLBACKS->read ? CALLBACKS->read(ptr, max_length) : -PGLITE_ENOTCONN;
}

int32_t
pglite_transport_write(const void *ptr, size_t length)
{
	return CALLBACKS->write ? CALLBACKS->write(ptr, length) : -PGLITE_ENOTCONN;
}

void
pglite_transport_flush(void)
{
}

bool
pglite_transport_wait(bool for_output)
{
	(void) for_output;
	return false;
}

void
pglite_transport_reset(void)
{
}

void
pglite_transport_enter(void)
{
}

void
pglite_transport_leave(int32_t status)
{
	(void) status;
}

void
pglite_transport_save(struct pglite_transport_state *to)
{
	*to = (struct pglite_transport_state) {0};
	memcpy(to, CALLBACKS, sizeof(struct callbacks));
}

void
pglite_transport_restore(const struct pglite_transport_state *from)
{
	memcpy(CALLBACKS, from, sizeof(struct callbacks));
}
