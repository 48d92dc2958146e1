/*
 * client.h
 *	  What is behind the client's socket: direct.c natively, where a session waits for its client; cell/serve.c in the portable
 *	  modules, where it returns to its host instead.
 */
#ifndef PGCELL_CLIENT_H
#define PGCELL_CLIENT_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

/* As recv(2) and send(2) without flags: -1 with errno, EWOULDBLOCK where nothing can be done for now. */
extern ssize_t pgcell_client_recv(void *buf, size_t len);
extern ssize_t pgcell_client_send(const void *buf, size_t len);

/* Called by patch 04.  Before PostgreSQL waits for a command: false to have pgcell_main_loop() return.  And after it returned
 * for the first time. */
extern bool pgcell_may_read(void);
_Noreturn extern void pgcell_leave(void);

#endif
