/*
 * pglite-comm-callbacks.h
 *	  The callback transport: function pointers that the host sets, as PGlite has them.
 *
 * To the host they are indices into the module's function table.  One that names a function of another type traps when it is
 * called; WebAssembly leaves no way to ask before.
 */
#ifndef PGLITE_COMM_CALLBACKS_H
#define PGLITE_COMM_CALLBACKS_H

#include "pglite-comm.h"

/* As pglite_transport_read() and pglite_transport_write(). */
typedef int32_t (*pglite_read_t) (void *buffer, size_t max_length);
typedef int32_t (*pglite_write_t) (const void *buffer, size_t length);

/* Sets both; NULL unsets one.  They stay over sessions.  Without them the transport answers -ENOTCONN. */
extern void set_read_write_cbs(pglite_read_t read_callback, pglite_write_t write_callback) PGLITE_EXPORT(set_read_write_cbs);

#endif
