/*
 * transport.h - what a session process gives its guest beyond WASI: the client's socket (imports of module "env") and the imports of
 * module "pgcell" that are system calls. Those that the compiler inlines are in intrinsics.h.
 *
 * The state is the process's: one session, one socket. Set up by transport_begin() before the guest is entered, it lasts as long as
 * the process.
 */
#ifndef PGCELL_TRANSPORT_H
#define PGCELL_TRANSPORT_H

#include <stdint.h>

#include "guest_memory.h"
#include "session.h"

/*
 * Takes over the client's socket and the way to the cell's other sessions, and installs signal handlers that raise the guest's signals:
 * `pending` is the guest's word of raised signals, `interrupt` the flag that makes it look. Returns 0 or -errno.
 */
int transport_begin(const struct session_args *args, guest_addr pending, guest_addr interrupt)
	__attribute__((warn_unused_result));

/* The client's socket, -1 for none. */
int transport_client_fd(void);

/* The event that signal handlers end a wait with; -1 before transport_begin(). */
int transport_wake_fd(void);

#endif
