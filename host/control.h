/*
 * The control socket: DIR/.s.pgcell.PORT, for this user only, of type SOCK_SEQPACKET. One packet is one request, and gets one packet
 * in answer.
 *
 *	request		list | create NAME [TEMPLATE] | clone SOURCE NAME | drop NAME [force] | snapshot NAME | restore NAME
 *			snapshot and restore come with the file's descriptor (SCM_RIGHTS)
 *	answer		"ok TEXT", list's with the descriptor of a file that holds the lines; or "error SQLSTATE TEXT"
 *
 * Calling sequence: control_init(); control_open() in the loop; control_close(), also without control_open() and more than once.
 */
#ifndef PGCELL_CONTROL_H
#define PGCELL_CONTROL_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/queue.h>
#include <uv.h>

#include "listener.h"

#define CONTROL_REQUEST_MAX 256 /* bytes */
#define CONTROL_ANSWER_MAX 768

struct supervisor;
struct control_conn;

struct control {
	struct supervisor *sv;
	struct listener listener;
	uv_poll_t poll;
	bool is_watched;
	unsigned conn_count;
	LIST_HEAD(, control_conn) conns;
};

void control_init(struct control *control);

/* Returns 0, or -1 with a message for the user. */
int control_open(struct control *control, struct supervisor *sv, const char *socket_dir, int64_t port, char *err, size_t err_len)
	__attribute__((warn_unused_result));
void control_close(struct control *control);

#endif
