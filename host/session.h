/*
 * What the fork server asks of the engine (the code that restores and runs the guest).
 *
 * Calling sequence, all in the fork server's process tree:
 *	engine_open()		once, before any session; maps the image
 *	engine_populate()	once per cell, before its first session; still in the fork server
 *	fork(); session_main()	once per session, in the child; never returns
 *
 * The fork server owns every descriptor until session_main() is entered; from then on the child's copies are the
 * session's, and there are no others but those that engine_open() left. The fork server has given up files and capabilities
 * (sandbox_prepare()); session_main() enters the rest of the sandbox before the guest runs. In the child: all signals have their default action and none is blocked, except SIGPIPE, which is
 * ignored; SIGKILL arrives when the fork server dies. The fork server sends SIGTERM to end a session in order
 * (PostgreSQL's "terminating connection due to administrator command") and SIGKILL a few seconds later. Standard input
 * and output are /dev/null.
 *
 * SIGQUIT must end the process at once or by itself within a second: the session may tell its client (PostgreSQL's 57P02), but
 * its memory is not to be trusted any more.
 *
 * Exit status: 0 or 1 means that PostgreSQL ran its exit hooks and the cell's shared memory is sound; anything else, or
 * a signal, makes the supervisor kill the cell's other sessions and run recovery. A RECOVER session succeeds with 0
 * only.
 */
#ifndef PGCELL_SESSION_H
#define PGCELL_SESSION_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/socket.h>

enum session_kind {
	SESSION_CLIENT = 1, /* a client's session: start-up packet in preread */
	SESSION_CANCEL = 2, /* a CancelRequest: the packet in preread, nothing is answered; ends at once */
	SESSION_RECOVER = 3, /* no client: bring the cell's shared memory back after a crash */
	SESSION_VACUUM_LAUNCHER = 4, /* no client: choose a database to be vacuumed */
	SESSION_VACUUM_WORKER = 5, /* no client: vacuum it */
	SESSION_POPULATE = 7, /* nothing but a fresh cell, for a client to come */
	SESSION_COPY = 6, /* the fork server's own, no guest: copies a cell's memory (copy.h) */
};

static inline bool session_has_client(enum session_kind kind)
{
	return kind == SESSION_CLIENT || kind == SESSION_CANCEL;
}

struct session_args {
	int kind; /* enum session_kind */
	int client_fd; /* connected socket in blocking mode; -1 without a client */
	int cell_fd; /* memfd of the cell's CLUSTER segment, populated */
	int peers_fd; /* to signal other sessions of the cell by (peers.h); -1: there are none */
	uint32_t slot; /* 1..sessions-per-cell, free for reuse at the session's end; 0 for others than CLIENT */
	const char *cell_name; /* for the log */
	uint64_t memory_limit_bytes; /* for this session */
	uint64_t files_limit_bytes; /* for the files of the cell, a multiple of 64 KiB; 0: no limit but the address space */
	int64_t cell_created_us; /* microseconds since 1970-01-01 UTC */
	struct sockaddr_storage peer; /* AF_INET, AF_INET6, or AF_UNIX without a path */
	socklen_t peer_len;
	struct sockaddr_storage server; /* AF_UNIX: ask the client's socket; with TLS it is another one */
	const uint8_t *preread; /* start-up packet, the @cell part removed, and whatever followed it */
	uint32_t preread_len; /* bytes */
};

/* Returns 0, or -1 with a message for the user in err (at most errlen bytes with its terminator). */
int engine_open(const char *image_path, char *err, size_t errlen) __attribute__((warn_unused_result));

/* Writes the image's CLUSTER segment into cell_fd, an empty memfd. Returns 0 or -errno. */
int engine_populate(int cell_fd) __attribute__((warn_unused_result));

/* `args` and what it points to live as long as the process. */
_Noreturn void session_main(const struct session_args *args);

/* The second half of session_main(), for a process that has the cell's CLUSTER mapped already: the build of an image. */
_Noreturn void session_enter(const struct session_args *args);

#endif
