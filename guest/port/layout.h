/*
 * layout.h
 *	  The linear memory of a cell; included by guest and host.
 *
 *	  A native cell:
 *
 *	  0            1 GiB        1.25 GiB       1.5 GiB                    4 GiB
 *	  +------------+------------+--------------+--------------------------+
 *	  | PRIVATE    | BASE       | SHMEM        | FILES                    |
 *	  | data stack | blocks of  | PostgreSQL's | file table, changed      |
 *	  | heap       | the image  | shared memory| file blocks              |
 *	  +------------+------------+--------------+--------------------------+
 *	                            |<------- CLUSTER: one memfd a cell ----->|
 *
 * PRIVATE is copy-on-write from the image and dies with its session.  BASE is read-only and the same for every cell.
 * CLUSTER is mapped shared by all the sessions of one cell.  Addresses are equal in all processes, so pointers into CLUSTER
 * can be stored in CLUSTER.  The last 64 KiB stay unused, so that no object ends at 2^32.
 */
#ifndef PGCELL_LAYOUT_H
#define PGCELL_LAYOUT_H

#ifndef PGCELL_PORTABLE

#define PGCELL_PRIVATE_END	0x40000000u
#define PGCELL_BASE_START	0x40000000u
#define PGCELL_BASE_END		0x50000000u
#define PGCELL_CLUSTER_START 0x50000000u
#define PGCELL_SHMEM_START	0x50000000u
#define PGCELL_SHMEM_END	0x60000000u
#define PGCELL_FILES_START	0x60000000u
#define PGCELL_FILES_END	0xFFFF0000u
#define PGCELL_CLUSTER_END	0xFFFF0000u

#else

/*
 * The portable module's memory is small and grows at its end, by chunks for the heap and for files (port/grow.c).  BASE is not
 * in it: the addresses only name blocks, whose contents stay in the module.
 *
 *	  0         8 MiB         32 MiB
 *	  +---------+-------------+-----------+ - - - -
 *	  | PRIVATE | SHMEM       | FILES     | chunks
 *	  +---------+-------------+-----------+ - - - -
 */
#define PGCELL_PRIVATE_END	0x00800000u
#define PGCELL_SHMEM_START	0x00800000u
#define PGCELL_SHMEM_END	0x02000000u
#define PGCELL_FILES_START	0x02000000u
#define PGCELL_FILES_END	0x04000000u
#define PGCELL_BASE_START	0xE0000000u
#define PGCELL_BASE_END		0xF0000000u
#define PGCELL_MEMORY_MAX	0xE0000000u

#endif

/* the version of the contract between guest and host; see docs/contract.md */
#define PGCELL_CONTRACT_VERSION 1

/* file descriptor number by which the guest knows the client's socket */
#define PGCELL_CLIENT_FD	0x7000

/* what PostgreSQL's processes know as their postmaster; no process has it */
#define PGCELL_POSTMASTER_PID 1

/* events of pgcell.wait */
#define PGCELL_WAIT_READ	1
#define PGCELL_WAIT_WRITE	2

/* What a guest notes (contract.h). */
#define PGCELL_NOTE_ERROR	1	/* an error was reported; value: its SQLSTATE as PostgreSQL packs it */
#define PGCELL_NOTE_IDLE	2	/* the client's next message is to be read; value: 0 */

#endif
