/*
 * cell.h
 *	  The life of a cell, as the host drives it through the module's exports (docs/contract.md has the order of calls).
 *
 *	  build:	pgcell_format, pgcell_import..., pgcell_import_end		files of the image
 *				pgcell_root												PostgreSQL as after its postmaster's start
 *				pgcell_recover											in a child: what the startup process does
 *				-> the image is taken
 *	  serve:	pgcell_session											in a child: one client, until it leaves
 *				pgcell_autovacuum										in a child: a database is chosen; in another: it is vacuumed
 *	  portable:	serve.h
 *
 * pgcell_root returns; the others that run PostgreSQL end with proc_exit.  Nothing here is reentrant: one call per process.
 */
#ifndef PGCELL_CELL_H
#define PGCELL_CELL_H

#include <stdint.h>

#define PGCELL_EXPORT(name) __attribute__((export_name(#name)))

/* the native host is in the place of a postmaster and calls these itself; serve.c does for the others */
#ifdef PGCELL_PORTABLE
#define PGCELL_EXPORT_NATIVE(name)
#else
#define PGCELL_EXPORT_NATIVE(name) PGCELL_EXPORT(name)
#endif

extern int	pgcell_root(void) PGCELL_EXPORT_NATIVE(pgcell_root);
extern void pgcell_session(void) PGCELL_EXPORT_NATIVE(pgcell_session);
extern void pgcell_empty_cache(void) PGCELL_EXPORT_NATIVE(pgcell_empty_cache);
extern void pgcell_recover(void) PGCELL_EXPORT_NATIVE(pgcell_recover);
extern void pgcell_autovacuum(int32_t is_worker) PGCELL_EXPORT_NATIVE(pgcell_autovacuum);

/* What pgcell_session() does; with PGCELL_PORTABLE it returns through pgcell_leave() when input runs out. */
extern void pgcell_start_backend(void);

/* In a process of its own, the last one: a shutdown checkpoint. */
extern void pgcell_shutdown(void);

/* Written by the host before pgcell_session(). */
struct pgcell_session_args
{
	uint32_t	slot;			/* 1..: PostgreSQL's "child slot", no other session of the cell has it; 0: a cancel request */
	uint32_t	family;			/* of the client's address: 0 Unix socket, 4, 6 */
	uint8_t		address[16];	/* network order, 4 or 16 bytes */
	uint32_t	port;
	uint32_t	server_port;
	uint8_t		server_address[16];
	int64_t		cell_started_us;	/* since 1970: when the cell was made */
	uint32_t	files_end;		/* of the memory for the cell's files; 0: all there is */
	uint32_t	reserved;
};
_Static_assert(sizeof(struct pgcell_session_args) == 64, "known to the host");

extern struct pgcell_session_args pgcell_session_args;

/* Writes a socket address of the family in pgcell_session_args and returns its length. */
struct sockaddr_storage;
extern uint32_t pgcell_fill_address(struct sockaddr_storage *to, uint32_t family, const uint8_t *address, uint32_t port);

/* Changes with the configuration files; and as it was for the root. */
extern uint64_t pgcell_configuration_stamp(void);
extern uint64_t pgcell_root_configuration;

/* The root's copy of the image's secret in CLUSTER (pg_control's nonce for mock authentication). */
extern uint8_t pgcell_baked_nonce[];

#endif
