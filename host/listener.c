#define _GNU_SOURCE
#include "listener.h"

#include <errno.h>
#include <fcntl.h>
#include <netdb.h>
#include <netinet/in.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "fail.h"

#define SOCKET_PATH_MAX (sizeof(((struct sockaddr_un *)NULL)->sun_path) - 1)

bool listener_is_loopback(const struct sockaddr *address)
{
	if (address->sa_family == AF_INET) {
		const struct sockaddr_in *in = (const struct sockaddr_in *)(const void *)address;

		return ntohl(in->sin_addr.s_addr) >> 24 == 127;
	}
	if (address->sa_family == AF_INET6) {
		const struct sockaddr_in6 *in6 = (const struct sockaddr_in6 *)(const void *)address;

		return IN6_IS_ADDR_LOOPBACK(&in6->sin6_addr) != 0;
	}
	return false;
}

/* Fills in port, host and name from what the kernel gave us. */
static int describe_tcp(struct listener *listener)
{
	struct sockaddr_storage bound;
	socklen_t bound_len = sizeof(bound);
	char service[16];

	if (getsockname(listener->fd, (struct sockaddr *)&bound, &bound_len) != 0 ||
	    getnameinfo((struct sockaddr *)&bound, bound_len, listener->host, sizeof(listener->host), service,
			sizeof(service), NI_NUMERICHOST | NI_NUMERICSERV) != 0)
		return -1;
	listener->port = ntohs(bound.ss_family == AF_INET6 ? ((struct sockaddr_in6 *)&bound)->sin6_port
							   : ((struct sockaddr_in *)&bound)->sin_port);
	snprintf(listener->name, sizeof(listener->name), bound.ss_family == AF_INET6 ? "[%s]:%s" : "%s:%s",
		 listener->host, service);
	return 0;
}

int listener_open_tcp(struct listener *listener, const char *host, int64_t port, bool may_be_public, char *err, size_t err_len)
{
	struct addrinfo hints = {.ai_family = AF_UNSPEC, .ai_socktype = SOCK_STREAM, .ai_flags = AI_NUMERICSERV};
	struct addrinfo *found = NULL;
	char service[16];
	int rc = -1;
	int one = 1;

	*listener = (struct listener)LISTENER_CLOSED;
	snprintf(service, sizeof(service), "%u", (unsigned)port);
	if (getaddrinfo(host, service, &hints, &found) != 0) {
		fail(err, err_len, "--listen: \"%.80s\" is not an address of this machine", host);
		goto cleanup;
	}
	for (const struct addrinfo *each = found; each != NULL; each = each->ai_next) {
		if (!may_be_public && !listener_is_loopback(each->ai_addr)) {
			fail(err, err_len,
			     "will not listen on %.80s: authentication is not set up, and other machines could connect; "
			     "use 127.0.0.1, [::1] or the Unix socket, or see --auth",
			     host);
			goto cleanup;
		}
	}
	listener->fd = socket(found->ai_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (listener->fd < 0 || setsockopt(listener->fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one)) != 0 ||
	    bind(listener->fd, found->ai_addr, found->ai_addrlen) != 0 || listen(listener->fd, SOMAXCONN) != 0) {
		if (errno == EADDRINUSE)
			fail(err, err_len,
			     "%.80s:%s is in use by another program (a PostgreSQL?); stop it or choose another port with "
			     "--listen %.80s:PORT (port 0 takes any free one)",
			     host, service, host);
		else
			fail(err, err_len, "cannot listen on %.80s:%s: %s", host, service, strerror(errno));
		goto cleanup;
	}
	if (describe_tcp(listener) != 0) {
		fail(err, err_len, "cannot tell the address of %.80s:%s: %s", host, service, strerror(errno));
		goto cleanup;
	}
	rc = 0;
cleanup:
	if (found != NULL)
		freeaddrinfo(found);
	if (rc != 0)
		listener_close(listener);
	return rc;
}

static int check_dir(const char *dir, bool *made, char *err, size_t err_len)
{
	struct stat info;

	*made = mkdir(dir, 0700) == 0;
	if (!*made && errno != EEXIST)
		return fail(err, err_len, "cannot create the socket folder %s: %s; see --socket-dir", dir, strerror(errno));
	/* lstat: a symbolic link in /tmp may be somebody else's trap */
	if (lstat(dir, &info) != 0)
		return fail(err, err_len, "cannot look at the socket folder %s: %s", dir, strerror(errno));
	if (!S_ISDIR(info.st_mode))
		return fail(err, err_len, "the socket folder %s is not a folder; see --socket-dir", dir);
	if (info.st_uid != geteuid())
		return fail(err, err_len, "the socket folder %s belongs to another user; see --socket-dir", dir);
	if ((info.st_mode & 077) != 0)
		return fail(err, err_len, "the socket folder %s is open to other users; chmod 700 it or see --socket-dir",
			    dir);
	return 0;
}

/* Removes the socket file of a dead server. */
static int clear_stale(const struct sockaddr_un *address, int type, char *err, size_t err_len)
{
	struct stat info;
	int probe;
	int rc;

	if (lstat(address->sun_path, &info) != 0)
		return errno == ENOENT ? 0 : fail(err, err_len, "%s: %s", address->sun_path, strerror(errno));
	if (!S_ISSOCK(info.st_mode))
		return fail(err, err_len, "%s is in the way and not a socket", address->sun_path);
	/* Non-blocking: a living server with a full backlog answers EAGAIN instead of holding us. */
	probe = socket(AF_UNIX, type | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (probe < 0)
		return fail(err, err_len, "cannot make a socket: %s", strerror(errno));
	rc = connect(probe, (const struct sockaddr *)address, sizeof(*address));
	if (rc != 0 && errno == ECONNREFUSED)
		rc = unlink(address->sun_path) == 0
			     ? 0
			     : fail(err, err_len, "cannot remove %s: %s", address->sun_path, strerror(errno));
	else
		rc = fail(err, err_len, "%s is in use by another server; stop it or choose another port or --socket-dir",
			  address->sun_path);
	close(probe);
	return rc;
}

/* Binds listener->name, whose folder is known to be ours. */
static int open_unix(struct listener *listener, int type, char *err, size_t err_len)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	struct stat info;
	mode_t old_mask;
	int rc;

	snprintf(address.sun_path, sizeof(address.sun_path), "%s", listener->name);
	if (clear_stale(&address, type, err, err_len) != 0)
		return -1;
	listener->fd = socket(AF_UNIX, type | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (listener->fd < 0)
		return fail(err, err_len, "cannot make a socket: %s", strerror(errno));
	old_mask = umask(0177);
	rc = bind(listener->fd, (struct sockaddr *)&address, sizeof(address));
	umask(old_mask);
	if (rc != 0 || stat(address.sun_path, &info) != 0)
		return fail(err, err_len, "cannot make the socket %s: %s", address.sun_path, strerror(errno));
	listener->file_dev = info.st_dev;
	listener->file_inode = info.st_ino;
	if (listen(listener->fd, SOMAXCONN) != 0)
		return fail(err, err_len, "cannot listen on %s: %s", address.sun_path, strerror(errno));
	return 0;
}

int listener_open_unix(struct listener *listener, const char *dir, enum listener_kind kind, int64_t port, char *err, size_t err_len)
{
	static const struct {
		const char *prefix;
		int type;
	} kinds[] = {[LISTENER_CLIENTS] = {".s.PGSQL", SOCK_STREAM}, [LISTENER_CONTROL] = {".s.pgcell", SOCK_SEQPACKET}};
	int len;
	int rc = -1;

	*listener = (struct listener)LISTENER_CLOSED;
	listener->port = port;
	len = snprintf(listener->name, sizeof(listener->name), "%s/%s.%u", dir, kinds[kind].prefix, (unsigned)port);
	if (len < 0 || (size_t)len > SOCKET_PATH_MAX) {
		fail(err, err_len, "the socket folder %.200s has too long a name (a socket's path has at most %zu bytes)", dir,
		     SOCKET_PATH_MAX);
		goto cleanup;
	}
	if (check_dir(dir, &listener->made_dir, err, err_len) == 0)
		rc = open_unix(listener, kinds[kind].type, err, err_len);
cleanup:
	if (rc != 0)
		listener_close(listener);
	return rc;
}

int listener_open_path(struct listener *listener, const char *path, char *err, size_t err_len)
{
	const char *slash = strrchr(path, '/');
	char dir[SOCKET_PATH_MAX + 1] = ".";
	struct stat info;
	int rc;

	*listener = (struct listener)LISTENER_CLOSED;
	if (strlen(path) > SOCKET_PATH_MAX)
		return fail(err, err_len, "the socket %.200s has too long a name (at most %zu bytes)", path, SOCKET_PATH_MAX);
	if (slash != NULL)
		snprintf(dir, sizeof(dir), "%.*s", slash == path ? 1 : (int)(slash - path), path);
	if (stat(dir, &info) != 0)
		return fail(err, err_len, "cannot look at %s, the socket's folder: %s", dir, strerror(errno));
	if (!S_ISDIR(info.st_mode) || info.st_uid != geteuid())
		return fail(err, err_len, "%s, the socket's folder, is not a folder of yours: choose another path", dir);
	if ((info.st_mode & 022) != 0)
		return fail(err, err_len, "%s, the socket's folder, can be changed by other users: chmod go-w it or choose another path",
			    dir);
	snprintf(listener->name, sizeof(listener->name), "%s", path);
	rc = open_unix(listener, SOCK_STREAM, err, err_len);
	if (rc != 0)
		listener_close(listener);
	return rc;
}

/* The number at the end of ".s.PGSQL.5432", or `otherwise`. */
static int64_t port_in(const char *path, int64_t otherwise)
{
	static const char mark[] = "/.s.PGSQL.";
	const char *at = strstr(path, mark);
	char *end;
	long port;

	if (at == NULL)
		return otherwise;
	port = strtol(at + sizeof(mark) - 1, &end, 10);
	return *end == '\0' && end != at + sizeof(mark) - 1 && port >= 0 && port <= 65535 ? port : otherwise;
}

int listener_adopt(struct listener *listener, int fd, int64_t port, bool may_be_public, char *err, size_t err_len)
{
	union {
		struct sockaddr any;
		struct sockaddr_un un;
		struct sockaddr_storage storage;
	} bound = {.un = {.sun_family = AF_UNSPEC}};
	socklen_t bound_len = sizeof(bound) - 1; /* a path is then always terminated */
	int type = 0, is_listening = 0;
	socklen_t len = sizeof(int);
	int rc = -1;

	*listener = (struct listener)LISTENER_CLOSED;
	listener->fd = fd;
	if (getsockopt(fd, SOL_SOCKET, SO_TYPE, &type, &len) != 0 || type != SOCK_STREAM ||
	    getsockopt(fd, SOL_SOCKET, SO_ACCEPTCONN, &is_listening, &len) != 0 || !is_listening ||
	    getsockname(fd, &bound.any, &bound_len) != 0) {
		fail(err, err_len, "descriptor %d, which was passed, is not a stream socket that listens", fd);
		goto cleanup;
	}
	if (fcntl(fd, F_SETFL, fcntl(fd, F_GETFL) | O_NONBLOCK) != 0) {
		fail(err, err_len, "descriptor %d, which was passed: %s", fd, strerror(errno));
		goto cleanup;
	}
	if (bound.any.sa_family == AF_UNIX) {
		snprintf(listener->name, sizeof(listener->name), "%s",
			 bound.un.sun_path[0] != '\0' ? bound.un.sun_path : "a socket without a file");
		listener->port = port_in(listener->name, port);
		rc = 0;
	} else if (!may_be_public && !listener_is_loopback(&bound.any)) {
		fail(err, err_len,
		     "will not listen on descriptor %d, which was passed: authentication is not set up, and other machines "
		     "could connect",
		     fd);
	} else if (describe_tcp(listener) != 0) {
		fail(err, err_len, "cannot tell the address of descriptor %d, which was passed", fd);
	} else {
		rc = 0;
	}
cleanup:
	if (rc != 0)
		listener_close(listener);
	return rc;
}

void listener_close(struct listener *listener)
{
	struct stat info;

	if (listener->file_inode != 0 && lstat(listener->name, &info) == 0 && info.st_dev == listener->file_dev &&
	    info.st_ino == listener->file_inode)
		unlink(listener->name);
	listener->file_inode = 0;
	if (listener->fd >= 0)
		close(listener->fd);
	listener->fd = -1;
	if (listener->made_dir) {
		char *end = strrchr(listener->name, '/');

		*end = 0;
		(void)rmdir(listener->name); /* fails while it holds another server's socket, as it should */
		*end = '/';
		listener->made_dir = false;
	}
}
