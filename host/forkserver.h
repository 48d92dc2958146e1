/*
 * The fork server: a single-threaded child that holds the restored image and forks one process per session, so that a
 * session starts from its memory.
 *
 *	supervisor ==SOCK_SEQPACKET==> fork server --fork--> session, session, ...
 *
 * Calling sequence, in the supervisor, before any thread or event loop exists:
 *	forkserver_start()	forks, waits for the image; its error is the program's
 *	forkserver_send()	never blocks; what does not fit waits in an outbox
 *	forkserver_flush()	when .fd is writable and forkserver_has_unsent()
 *	forkserver_receive()	when .fd is readable
 *	forkserver_stop()	kills what is left and reaps the fork server
 *
 * Answers: each START gets exactly one STARTED or FAILED, each STARTED one ENDED after it. Orders are carried out in
 * the order sent, so a SIGNAL sent after a START finds its session. Descriptors sent along are copied: the caller keeps
 * its own.
 *
 * Death: when the supervisor dies the kernel kills the fork server, and with it the sessions
 * (PR_SET_PDEATHSIG); when the socket closes it kills and reaps its sessions, then exits. It lives in a Unix session
 * of its own, so a terminal's Ctrl-C reaches only the supervisor.
 */
#ifndef PGCELL_FORKSERVER_H
#define PGCELL_FORKSERVER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/queue.h>
#include <sys/socket.h>
#include <sys/types.h>

#include "wire.h"

#define FORKSERVER_VERSION 3
#define FORKSERVER_STOP_GRACE_MS 3000 /* SIGTERM to SIGKILL after ORDER_STOP */

enum order_type {
	ORDER_START = 1,
	/* for the session `cookie`: SIGQUIT, as PostgreSQL ends who shares memory with one that crashed (session.h); SIGTERM; SIGCONT */
	ORDER_SIGNAL,
	/*
	 * SIGTERM for each session when it is idle (tally.h), and now for those without a client; SIGKILL after the grace time for those
	 * that were told now. Nothing starts any more. ORDER_STOP follows.
	 */
	ORDER_DRAIN,
	ORDER_STOP, /* SIGTERM for all, SIGKILL after the grace time, then exit */
};

#define ORDER_FRESH_CELL 1u /* flag: populate the cell's memfd first */
#define ORDER_CLEAN_COPY 2u /* flag: nobody uses the source */

struct order {
	uint32_t version;
	uint32_t type; /* enum order_type */
	uint64_t cookie; /* the caller's name for the session */
	int32_t signal_number; /* SIGNAL only */
	/* START only, from here on */
	uint32_t kind; /* enum session_kind; those with a client come with its descriptor, a COPY with the one it reads */
	uint32_t copy_kind; /* enum copy_kind */
	uint32_t slot;
	uint32_t flags;
	uint32_t preread_len; /* bytes */
	uint32_t tally; /* number of the session's page, TALLY_NONE without a client */
	uint64_t memory_limit_bytes;
	uint64_t files_limit_bytes;
	char cell_name[WIRE_CELL_NAME_MAX + 1]; /* for the log */
	int64_t cell_created_us;
	uint64_t cell_id; /* sessions may signal those with the same one */
	struct order_address {
		uint16_t family; /* 0: unknown */
		uint16_t port; /* host byte order */
		uint8_t bytes[16]; /* IPv4: the first four */
	} peer, server; /* server: where the client connected to, if its socket does not tell */
	uint8_t preread[WIRE_PACKET_MAX]; /* COPY: the process ids to be stopped, uint32_t each */
};

enum report_type { REPORT_READY = 1, REPORT_OPEN_FAILED, REPORT_STARTED, REPORT_FAILED, REPORT_ENDED };

struct report {
	uint32_t version;
	uint32_t type; /* enum report_type */
	uint64_t cookie;
	int32_t pid; /* STARTED, ENDED */
	int32_t wait_status; /* ENDED */
	int32_t error; /* FAILED: errno */
	char message[512]; /* OPEN_FAILED */
};

struct unsent;

struct forkserver {
	pid_t pid;
	int fd;
	STAILQ_HEAD(, unsent) outbox;
};

/* Returns 0, or -1 with a message for the user in err. */
int forkserver_start(struct forkserver *fs, const char *image_path, char *err, size_t err_len)
	__attribute__((warn_unused_result));

/* client_fd, cell_fd: -1 for none. Returns 0 when sent or in the outbox, else -errno. */
int forkserver_send(struct forkserver *fs, struct order *order, int client_fd, int cell_fd)
	__attribute__((warn_unused_result));
int forkserver_flush(struct forkserver *fs) __attribute__((warn_unused_result));
bool forkserver_has_unsent(const struct forkserver *fs);

/* 1: a report; 0: nothing now; -1: the fork server is gone or talks nonsense. */
int forkserver_receive(struct forkserver *fs, struct report *report) __attribute__((warn_unused_result));

bool forkserver_is_alive(const struct forkserver *fs);

/* Closes the socket and waits for the fork server's end; kills it outright if is_immediate. */
void forkserver_stop(struct forkserver *fs, bool is_immediate);

#endif
