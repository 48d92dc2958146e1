/*
 * imports.c
 *	  The import transport: nothing but the host's two functions.
 */
#ifndef PGLITE_USE_IMPORTS
#define PGLITE_USE_IMPORTS
#endif
#include "pglite-comm.h"

int32_t
pglite_transport_read(void *ptr, size_t max_length)
{
	return pglite_js_read(ptr, max_length);
}

int32_t
pglite_transport_write(const void *ptr, size_t length)
{
	return pglite_js_write(ptr, length);
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
}

void
pglite_transport_restore(const struct pglite_transport_state *from)
{
	(void) from;
}
