/*
 * direct.c
 *	  The client of a native session: a socket of the host's, without anything in between.  Only the native link takes this file.
 */
#include "client.h"

#include <errno.h>
#include <stdlib.h>

#include "pglite-comm.h"

ssize_t
pgcell_client_recv(void *buf, size_t len)
{
	int32_t		got = pglite_transport_read(buf, len);

	if (got > 0 && (size_t) got <= len)
		return got;
	if (got == -EPIPE)			/* WASI's number, as wasi-libc's are: the client has left in good order */
		return 0;
	errno = got == 0 ? EWOULDBLOCK : got < 0 && got > -4096 ? -got : EPROTO;
	return -1;
}

ssize_t
pgcell_client_send(const void *buf, size_t len)
{
	int32_t		taken = pglite_transport_write(buf, len);

	if (taken > 0 && (size_t) taken <= len)
		return taken;
	errno = taken == 0 ? EWOULDBLOCK : taken < 0 && taken > -4096 ? -taken : EPROTO;
	return -1;
}

void
pgcell_leave(void)
{
	abort();
}
