/*
 * Copies of a cell's memory: from one memfd to another, into a snapshot file and back. Pages that were never written are not copied.
 *
 * copy_run() is the whole life of a copying process, which the fork server forks. While it copies, the source's sessions are stopped
 * (SIGSTOP), so that the copy is of one moment; what it finds then is what a crash would leave, and the copy recovers as after one.
 * A source without sessions is copied in good order, and its copy starts without recovery. Who had them stopped goes on (SIGCONT) by
 * the caller's order, however the copying ended.
 *
 * A snapshot file:
 *
 *	+--------+-----------+------------------------+
 *	| header | run table | the runs' pages        |
 *	| 4 KiB  | to a page |                        |
 *	+--------+-----------+------------------------+
 *
 * It belongs to one build, as images do (image.h): the memory has addresses in it. Everything in the header and the table is checked
 * before use; the pages are as trusted as any session of the cell, which is not at all.
 */
#ifndef PGCELL_COPY_H
#define PGCELL_COPY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "image.h"

#define SNAPSHOT_MAGIC "pgcell snap \n\x1a\0\0" /* 16 bytes with the terminator */
#define SNAPSHOT_FORMAT_VERSION 1

enum copy_kind { COPY_CLONE, COPY_SNAPSHOT, COPY_RESTORE };

/* Exit statuses of a copying process. */
enum {
	COPY_CLEAN = 0,
	COPY_NEEDS_RECOVERY = 3,
	COPY_FAILED = 4, /* said on standard error */
	COPY_OTHER_BUILD = 5, /* the snapshot's */
	COPY_NO_SNAPSHOT = 6, /* the file is something else, or damaged */
};

struct snapshot_header {
	char magic[16];
	uint32_t format_version;
	uint32_t is_clean; /* 0: recovery comes first */
	char build_id[64];
	uint64_t memory_bytes; /* of the memfd */
	uint64_t runs;
	uint64_t checksum; /* of the header with this field 0, and of the run table: FNV-1a, against truncation and mix-ups */
};

/*
 * from, to: memfds, or the snapshot file. `paused` are the processes to be stopped, pid_t as uint32_t. Returns the exit status; is_clean
 * says what to return, and to write into a snapshot, when all went well. A restored cell is as clean as its snapshot.
 */
int copy_run(enum copy_kind kind, int from, int to, bool is_clean, const uint32_t *paused, size_t paused_count)
	__attribute__((warn_unused_result));

#endif
