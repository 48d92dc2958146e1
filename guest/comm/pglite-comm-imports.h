/*
 * pglite-comm-imports.h
 *	  The import transport: two functions of the host, bound when the module is instantiated.  No table growth, no code made at
 *	  run time; a host that lacks them gets a link error that names the import.
 */
#ifndef PGLITE_COMM_IMPORTS_H
#define PGLITE_COMM_IMPORTS_H

#include "pglite-comm.h"

/*
 * Copies at most max_length bytes of input to ptr.  Returns how many, 0 when nothing is left for now, or a negated WASI errno:
 * -EPIPE (-64) when the client has ended the connection in good order, others when it broke.
 */
extern int32_t pglite_js_read(void *ptr, size_t max_length) PGLITE_IMPORT(pglite_js_read);

/*
 * Takes at most length bytes of output from ptr.  Returns how many were taken, 0 when none can be taken for now, or a negated
 * WASI errno: -EPIPE when the client is gone; after others the output is kept and offered again.
 */
extern int32_t pglite_js_write(const void *ptr, size_t length) PGLITE_IMPORT(pglite_js_write);

#endif
