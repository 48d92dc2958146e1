/*
 * pglite-comm.h
 *	  How protocol bytes cross between PostgreSQL and its host: one of three transports, selected at compile time.
 *
 *	  PGLITE_USE_IMPORTS (default)	imports.c	pglite-comm-imports.h	the host provides env.pglite_js_read/_write
 *	  PGLITE_USE_POLLING			polling.c	pglite-comm-polling.h	buffers in linear memory, no imports
 *	  PGLITE_USE_CALLBACKS			callbacks.c	pglite-comm-callbacks.h	function pointers, as PGlite has them
 *
 * Each is one object with the functions below, so that modules with different transports differ in one object.  Nothing else
 * of the guest depends on the selection.
 *
 * Order of calls: pglite_transport_reset() for each new client, then pglite_transport_enter(), any number of reads, writes and
 * flushes and waits, pglite_transport_leave(), and so on.  A native session uses only _read and _write.
 */
#ifndef PGLITE_COMM_H
#define PGLITE_COMM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#if !defined(PGLITE_USE_POLLING) && !defined(PGLITE_USE_CALLBACKS) && !defined(PGLITE_USE_IMPORTS)
#define PGLITE_USE_IMPORTS
#endif
#if defined(PGLITE_USE_POLLING) + defined(PGLITE_USE_CALLBACKS) + defined(PGLITE_USE_IMPORTS) != 1
#error "more than one transport is selected"
#endif

/* WASI's errno values by number: they cross the contract, and <errno.h> has others where the unit tests run. */
#define PGLITE_EBUSY 10
#define PGLITE_EINVAL 28
#define PGLITE_EIO 29
#define PGLITE_ENOMEM 48
#define PGLITE_ENOTCONN 53
#define PGLITE_EPIPE 64
#define PGLITE_EPROTO 65
/* The largest errno that is believed: a result below its negation is no errno. */
#define PGLITE_MAX_ERRNO 4095

#ifdef __wasm__
#define PGLITE_EXPORT(name) __attribute__((export_name(#name)))
#define PGLITE_IMPORT(name) __attribute__((import_module("env"), import_name(#name)))
#else
#define PGLITE_EXPORT(name)
#define PGLITE_IMPORT(name)
#endif

/* What a transport wants to keep while the guest's memory is reset; opaque, on the caller's stack meanwhile. */
struct pglite_transport_state
{
	uint64_t	words[8];
};
_Static_assert(sizeof(struct pglite_transport_state) == 64, "the same for all transports");

/*
 * All that a transport keeps in memory is here, in stream.c: the transports' objects have no data of their own, so that modules
 * with different transports have the same memory and one image of it does for all (guest/image/bake.c).
 */
#define PGLITE_TRANSPORT_BYTES 256
extern uint64_t pglite_transport_memory[PGLITE_TRANSPORT_BYTES / 8];

/*
 * Copies at most max_length bytes of input to ptr.  Returns how many, 0 when nothing is left for now, or a negated WASI errno:
 * -EPIPE (-64) when the client has ended the connection in good order.  What a host answers is passed on unchecked: the caller
 * has to expect any number.
 */
extern int32_t pglite_transport_read(void *ptr, size_t max_length);

/*
 * Takes at most length bytes of output from ptr.  Returns how many, 0 when none can be taken for now, or a negated WASI errno:
 * -EPIPE when the client is gone.  Unchecked as well.
 */
extern int32_t pglite_transport_write(const void *ptr, size_t length);

/* A burst of output is over: the host should see what was taken so far. */
extern void pglite_transport_flush(void);

/*
 * The guest can't go on without input, or would have to queue output that the host did not take.  Lets a host wait that has the
 * means to, by suspending the guest within this call; true if there is input, or room for output, afterwards that was not there
 * before.  Transports whose functions can wait themselves have nothing to do here.
 */
extern bool pglite_transport_wait(bool for_output);

/* A new client: drops input and output that the transport holds.  What the host set up stays. */
extern void pglite_transport_reset(void);

/* The guest starts to run for the host, and returns to it with a status; for transports that show this. */
extern void pglite_transport_enter(void);
extern void pglite_transport_leave(int32_t status);

/* Around a reset of the guest's memory.  Input and output that the transport holds are not saved. */
extern void pglite_transport_save(struct pglite_transport_state *to);
extern void pglite_transport_restore(const struct pglite_transport_state *from);

#if defined(PGLITE_USE_IMPORTS)
#include "pglite-comm-imports.h"
#elif defined(PGLITE_USE_POLLING)
#include "pglite-comm-polling.h"
#else
#include "pglite-comm-callbacks.h"
#endif

#endif
