/*
 * serve.h
 *	  The portable modules' entry points: a host without threads starts a session, gives it messages and gets control back.
 *
 *	  pgl_initdb						1: a cluster is there
 *	  pgl_backend						a new session; its first input is a start-up packet
 *	  interactive_one...				runs the messages that are there
 *	  pgl_backend...					another session, after or instead of the first
 *	  pgcell_reload						after the host replaced the files under /data, or a session died: starts on what is there
 *	  pgl_shutdown						for good
 *
 * Results: below 0 a negated WASI errno, otherwise a set of these.  docs/contract.md has the whole of it.
 */
#ifndef PGCELL_SERVE_H
#define PGCELL_SERVE_H

#define PGL_INCOMPLETE	1		/* the input ends within a message */
#define PGL_OUTPUT		2		/* there is output that the host did not take */
#define PGL_ENDED		4		/* the session is over */

/* Shared memory as the root left it: what pgcell_reload() starts from. */
#define PGCELL_SHMEM_FILE "/pgcell/shmem"

#endif
