/*
 * comm.c
 *	  The client's connection as PostgreSQL sees it: one socket, PGCELL_CLIENT_FD, that never blocks.
 *
 * recv() and send() go to the transport; the other socket functions that PostgreSQL calls are answered sensibly.  There are no
 * other sockets: socket(), bind() and the like fail with ENOSYS.
 */
#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/types.h>

#include "../port/contract.h"
#include "../cell/cell.h"
#include "pglite-comm.h"

/* WASI's number for "broken pipe"; wasi-libc's errno values are WASI's */
#define END_OF_INPUT (-EPIPE)

ssize_t
recv(int fd, void *buf, size_t len, int flags)
{
	int32_t		got;

	if (fd != PGCELL_CLIENT_FD)
	{
		errno = ENOTSOCK;
		return -1;
	}
	if (flags & MSG_PEEK)		/* pq_check_connection() and the like: polls instead */
	{
		errno = EWOULDBLOCK;
		return -1;
	}
	got = pglite_transport_read(buf, len);
	if (got > 0 && (size_t) got <= len)
		return got;
	if (got == END_OF_INPUT)
		return 0;
	errno = got == 0 ? EWOULDBLOCK : got < 0 && got > -4096 ? -got : EPROTO;
	return -1;
}

ssize_t
send(int fd, const void *buf, size_t len, int flags)
{
	int32_t		taken;

	(void) flags;
	if (fd != PGCELL_CLIENT_FD)
	{
		errno = ENOTSOCK;
		return -1;
	}
	taken = pglite_transport_write(buf, len);
	if (taken > 0 && (size_t) taken <= len)
		return taken;
	errno = taken == 0 ? EWOULDBLOCK : taken < 0 && taken > -4096 ? -taken : EPROTO;
	return -1;
}

int
getsockname(int fd, struct sockaddr *addr, socklen_t *len)
{
	const struct pgcell_session_args *args = &pgcell_session_args;

	if (fd != PGCELL_CLIENT_FD)
	{
		errno = ENOTSOCK;
		return -1;
	}
	*len = pgcell_fill_address((struct sockaddr_storage *) addr, args->family, args->server_address, args->server_port);
	return 0;
}

int
getpeername(int fd, struct sockaddr *addr, socklen_t *len)
{
	return getsockname(fd, addr, len);
}

int
setsockopt(int fd, int level, int name, const void *value, socklen_t len)
{
	(void) fd, (void) level, (void) name, (void) value, (void) len;
	return 0;
}

int
getsockopt(int fd, int level, int name, void *value, socklen_t *len)
{
	(void) fd, (void) level, (void) name;
	memset(value, 0, *len);
	return 0;
}

int
shutdown(int fd, int how)
{
	(void) fd, (void) how;
	return 0;
}

static int
no_sockets(void)
{
	errno = ENOSYS;
	return -1;
}

int
socket(int domain, int type, int protocol)
{
	(void) domain, (void) type, (void) protocol;
	return no_sockets();
}

int
bind(int fd, const struct sockaddr *addr, socklen_t len)
{
	(void) fd, (void) addr, (void) len;
	return no_sockets();
}

int
listen(int fd, int backlog)
{
	(void) fd, (void) backlog;
	return no_sockets();
}

int
connect(int fd, const struct sockaddr *addr, socklen_t len)
{
	(void) fd, (void) addr, (void) len;
	return no_sockets();
}

int
accept(int fd, struct sockaddr *addr, socklen_t *len)
{
	(void) fd, (void) addr, (void) len;
	return no_sockets();
}

ssize_t
sendto(int fd, const void *buf, size_t len, int flags, const struct sockaddr *addr, socklen_t alen)
{
	(void) addr, (void) alen;
	return send(fd, buf, len, flags);
}

ssize_t
recvfrom(int fd, void *buf, size_t len, int flags, struct sockaddr *addr, socklen_t *alen)
{
	(void) addr, (void) alen;
	return recv(fd, buf, len, flags);
}
