/*
 * pglite-comm.h
 *	  How protocol bytes cross between PostgreSQL and its host: selects one of three transports at compile time.
 *
 *	  (default)			PGLITE_USE_IMPORTS	pglite-comm-imports.h	the host provides env.pglite_js_read/_write
 *	  PGLITE_USE_POLLING					pglite-comm-polling.h	buffers in linear memory, no imports
 *	  PGLITE_USE_CALLBACKS					set_read_write_cbs()	function pointers, as PGlite has them
 *
 * A transport is two functions.  Both never block; the guest's recv()/send() (comm.c) are made of them.
 */
#ifndef PGLITE_COMM_H
#define PGLITE_COMM_H

#include <stddef.h>
#include <stdint.h>

#if !defined(PGLITE_USE_POLLING) && !defined(PGLITE_USE_CALLBACKS) && !defined(PGLITE_USE_IMPORTS)
#define PGLITE_USE_IMPORTS
#endif

#if defined(PGLITE_USE_IMPORTS)
#include "pglite-comm-imports.h"
#else
#error "this transport is not built yet: only PGLITE_USE_IMPORTS is"
#endif

#endif
