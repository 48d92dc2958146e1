/*
 * comm.c
 *	  The client's connection as PostgreSQL sees it: one socket, PGCELL_CLIENT_FD.
 *
 * recv() and send() go to the transport (client.h); the other socket functions that PostgreSQL calls are answered sensibly.  There are no
 * other sockets: socket(), bind() and the like fail with ENOSYS.
 */
#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/types.h>

#include "../port/contract.h"
#include "../cell/cell.h"
#include "client.h"

ssize_t
recv(int fd, void *buf, size_t len, int flags)
{
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
	return pgcell_client_recv(buf, len);
}

ssize_t
send(int fd, const void *buf, size_t len, int flags)
{
	(void) flags;
	if (fd != PGCELL_CLIENT_FD)
	{
		errno = ENOTSOCK;
		return -1;
	}
	return pgcell_client_send(buf, len);
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
