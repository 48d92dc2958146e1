/* wasi-libc's sockets plus what PostgreSQL expects; the functions are in comm.c (the client's socket) and stubs.c. */
#ifndef PGCELL_SOCKET_H
#define PGCELL_SOCKET_H
#include_next <sys/socket.h>
#include <sys/un.h>
#ifndef SOMAXCONN
#define SOMAXCONN 128
#endif
#define SO_REUSEADDR 2
#define SO_ERROR 4
#define SO_SNDBUF 7
#define SO_RCVBUF 8
#define SO_KEEPALIVE 9
#ifndef AF_UNIX
#define AF_UNIX 3
#endif
#ifndef PF_UNIX
#define PF_UNIX AF_UNIX
#endif
#ifndef MSG_NOSIGNAL
#define MSG_NOSIGNAL 0x4000
#endif
extern int	socket(int domain, int type, int protocol);
extern int	bind(int fd, const struct sockaddr *addr, socklen_t len);
extern int	listen(int fd, int backlog);
extern int	connect(int fd, const struct sockaddr *addr, socklen_t len);
extern int	getsockname(int fd, struct sockaddr *addr, socklen_t *len);
extern int	getpeername(int fd, struct sockaddr *addr, socklen_t *len);
extern int	setsockopt(int fd, int level, int name, const void *value, socklen_t len);
extern ssize_t recvfrom(int fd, void *buf, size_t len, int flags, struct sockaddr *addr, socklen_t *alen);
extern ssize_t sendto(int fd, const void *buf, size_t len, int flags, const struct sockaddr *addr, socklen_t alen);
extern ssize_t sendmsg(int fd, const struct msghdr *msg, int flags);
extern ssize_t recvmsg(int fd, struct msghdr *msg, int flags);
#endif
