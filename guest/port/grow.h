/*
 * grow.h
 *	  Memory of the portable module: it grows at its end, in chunks that the heap and the file system take by turns;
 *	  the buffers of the polling transport are one, too.
 *
 * What must outlive a session is recorded at the start of SHMEM, behind the table of memory.c: a session's heap is thrown away
 * with its PRIVATE, and the chunks that it had are the next session's.
 */
#ifndef PGCELL_GROW_H
#define PGCELL_GROW_H

#include <stdint.h>

#include "layout.h"

#define PGCELL_CHUNKS_START (PGCELL_SHMEM_START + 0x8000)
#define PGCELL_CHUNKS_END	(PGCELL_SHMEM_START + 0x10000)
#define PGCELL_MAX_CHUNKS	4094

struct pgcell_chunks
{
	uint32_t	limit;			/* bytes the memory may have in all; 0: as many as the engine gives */
	uint32_t	n;
	uint32_t	pad[2];
	struct
	{
		uint32_t	start;
		uint32_t	end;
	}			heap[PGCELL_MAX_CHUNKS];
};
_Static_assert(sizeof(struct pgcell_chunks) <= PGCELL_CHUNKS_END - PGCELL_CHUNKS_START, "ends before the first segment of shared memory");

/* vfs/vfs_changes.h, kept as the chunks are */
#define PGCELL_CHANGES_START PGCELL_CHUNKS_END
#define PGCELL_CHANGES_END	(PGCELL_CHANGES_START + 0x10000)

/* At least len_bytes more at the end of the memory, as whole pages of 64 KiB; the address, 0 if the engine or the limit refuses. */
extern uint32_t pgcell_grow(uint32_t len_bytes);

/* See grow.c; image_end: the memory's end in the image.  0, or -EINVAL if that is no file system. */
extern int32_t pgcell_adopt_files(uint32_t image_end);

#endif
