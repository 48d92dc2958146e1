/*
 * Listening sockets: where clients knock. No event loop, no protocol.
 *
 * Calling sequence: listener_open_tcp() and/or listener_open_unix(), accept4() on .fd (non-blocking), listener_close().
 * A failed open leaves a line for the user in err and a listener that listener_close() accepts. listener_close() also
 * removes the socket file, if it is still ours.
 */
#ifndef PGCELL_LISTENER_H
#define PGCELL_LISTENER_H

#include <limits.h>
#include <stddef.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/socket.h>
#include <sys/types.h>

#define LISTENER_NAME_MAX (PATH_MAX)

struct listener {
	int fd; /* -1: closed */
	int64_t port;
	char name[LISTENER_NAME_MAX]; /* "127.0.0.1:5432", or the socket file's path */
	char host[64]; /* TCP: numeric address */
	dev_t file_dev; /* Unix: identity of the socket file; file_inode 0: none */
	ino_t file_inode;
	bool made_dir; /* Unix: the folder is ours, and goes with the socket unless somebody else uses it by then */
};

enum listener_kind { LISTENER_CLIENTS, LISTENER_CONTROL };

/* Of an IPv4 or IPv6 address: can only this machine reach it? */
bool listener_is_loopback(const struct sockaddr *address);

#define LISTENER_CLOSED {.fd = -1}

/* Refuses addresses that other machines can reach unless may_be_public. Port 0: any free one, see .port. */
int listener_open_tcp(struct listener *listener, const char *host, int64_t port, bool may_be_public, char *err, size_t err_len)
	__attribute__((warn_unused_result));

/*
 * DIR/.s.PGSQL.PORT, or the control socket DIR/.s.pgcell.PORT (control.h). Creates `dir` (not its parents) with mode 0700, removes it again when it is closed if it did, and refuses one
 * that others own or may enter. The
 * file of a dead server is replaced, that of a living one is an error.
 */
int listener_open_unix(struct listener *listener, const char *dir, enum listener_kind kind, int64_t port, char *err, size_t err_len)
	__attribute__((warn_unused_result));

/* A socket at `path`, in a folder that is there already: the user's, and closed to changes by others. */
int listener_open_path(struct listener *listener, const char *path, char *err, size_t err_len)
	__attribute__((warn_unused_result));

/*
 * A socket that listens already, as systemd passes it; taken in every case. TCP or Unix; the same addresses are refused. `port` names a
 * Unix socket whose file has another name than PostgreSQL's. The file stays when the listener closes.
 */
int listener_adopt(struct listener *listener, int fd, int64_t port, bool may_be_public, char *err, size_t err_len)
	__attribute__((warn_unused_result));

void listener_close(struct listener *listener);

#endif
