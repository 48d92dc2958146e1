/*
 * grow.c
 *	  See grow.h.  Only the portable link takes this file.
 */
#include "grow.h"

#include <errno.h>
#include <stdbool.h>
#include <string.h>
#include <unistd.h>

#include "../cell/cell.h"
#include "../vfs/vfs_block.h"
#include "../vfs/vfs_changes.h"

#define PAGE 65536u

/* what the file system and a heap that overflowed its first part get at a time, if there is as much */
#define CHUNK 0x100000u

#define CHUNKS ((struct pgcell_chunks *) PGCELL_CHUNKS_START)

extern int32_t pgcell_set_memory_limit(uint32_t bytes) PGCELL_EXPORT(pgcell_set_memory_limit);
extern uint32_t pgcell_seal(void) PGCELL_EXPORT(pgcell_seal);
extern void pgcell_base_read(void *to, uint32_t offset, uint32_t len) PGCELL_EXPORT(pgcell_base_read);

static uint32_t
memory_end(void)
{
	return __builtin_wasm_memory_size(0) * PAGE;
}

static uint32_t
memory_limit(void)
{
	return CHUNKS->limit ? CHUNKS->limit : PGCELL_MEMORY_MAX;
}

/* Returns 0, or -EINVAL if the memory is larger already. */
int32_t
pgcell_set_memory_limit(uint32_t bytes)
{
	if (bytes != 0 && bytes < memory_end())
		return -EINVAL;
	CHUNKS->limit = bytes > PGCELL_MEMORY_MAX ? PGCELL_MEMORY_MAX : bytes & ~(PAGE - 1);
	return 0;
}

uint32_t
pgcell_grow(uint32_t len_bytes)
{
	uint32_t	end = memory_end();
	uint32_t	limit = memory_limit();
	uint32_t	pages;

	if (end >= limit || len_bytes > limit - end)
		return 0;
	pages = (len_bytes + PAGE - 1) / PAGE;
	if (pages > (limit - end) / PAGE || __builtin_wasm_memory_grow(0, pages) == (size_t) -1)
		return 0;
	return end;
}

/* ---- files ---- */

vaddr
vfs_grow(uint32_t nblocks)
{
	uint32_t	len = nblocks << VFS_BLOCK_SHIFT;
	vaddr		start = vfs_sb->bump;

	if (len > vfs_sb->region.files_end - start)
	{
		uint32_t	got = len < CHUNK ? CHUNK : len;
		vaddr		chunk = pgcell_grow(got);

		if (chunk == 0)
			chunk = pgcell_grow(got = (len + PAGE - 1) & ~(PAGE - 1));
		if (chunk == 0)
			return 0;
		if (chunk != vfs_sb->region.files_end)
		{
			VFS_SET(vfs_sb->is_chunked, true);
			start = chunk;
		}
		VFS_SET(vfs_sb->region.files_end, chunk + got);
	}
	VFS_SET(vfs_sb->bump, start + len);
	return start;
}

uint32_t
vfs_grow_left(void)
{
	uint32_t	end = memory_end();
	uint32_t	limit = memory_limit();

	return (vfs_sb->region.files_end - vfs_sb->bump + (limit > end ? limit - end : 0)) >> VFS_BLOCK_SHIFT;
}

/* BASE is in memory only while an image is made; then this function becomes one that reads from the module (image/wasm_image.h). */
__attribute__((noinline)) void
pgcell_base_read(void *to, uint32_t offset, uint32_t len)
{
	__asm__ volatile("" ::: "memory");
	memcpy(to, (void *) (PGCELL_BASE_START + offset), len);
}

void
vfs_base_read(void *to, uint32_t offset, uint32_t len)
{
	pgcell_base_read(to, offset, len);
}

/*
 * The last step of an image's build: BASE and FILES end where they are used, and what was freed on the way is zero.  Returns the
 * end of what the image needs of the memory.
 */
uint32_t
pgcell_seal(void)
{
	struct vfs_region *region = &vfs_sb->region;

	region->base_end = vfs_sb->base_next;
	region->files_end = (vfs_sb->bump + PAGE - 1) & ~(PAGE - 1);
	for (vaddr a = region->files_start; a < vfs_sb->bump; a += VFS_BLOCK_SIZE)
		if (*vfs_counter(a >> VFS_BLOCK_SHIFT) == VFS_CNT_FREE)
			memset(vfs_ptr(a), 0, VFS_BLOCK_SIZE);
	memset(vfs_changes, 0, sizeof *vfs_changes);
	return region->files_end;
}

/* ---- files that are kept elsewhere ---- */

struct vfs_changes *const vfs_changes = (struct vfs_changes *) PGCELL_CHANGES_START;

/*
 * The host has put what an earlier instance's FILES had into the memory of one that has done nothing yet, and grown it for that.
 * What the file system has no block of, beyond the image's end, was memory of other kinds: it is the heap's.
 */
int32_t
pgcell_adopt_files(uint32_t image_end)
{
	uint32_t	start = 0;

	if (image_end % PAGE != 0 || image_end <= PGCELL_FILES_START || image_end > memory_end())
		return -EINVAL;
	if (vfs_attach(PGCELL_FILES_START) != 0 || vfs_sb->bump > vfs_sb->region.files_end || vfs_sb->region.files_end > PGCELL_MEMORY_MAX)
		return -EINVAL;
	/* the end of the last chunk, in which there is nothing yet */
	if (vfs_sb->region.files_end > memory_end() && pgcell_grow(vfs_sb->region.files_end - memory_end()) == 0)
		return -ENOMEM;
	for (uint32_t page = image_end; page <= memory_end(); page += PAGE)
	{
		bool		is_files = page == memory_end();

		/* what follows bump has not been granted yet */
		is_files |= page < vfs_sb->region.files_end && page + PAGE > vfs_sb->bump && vfs_sb->bump + CHUNK > page;
		for (uint32_t b = page >> VFS_BLOCK_SHIFT; !is_files && b < (page + PAGE) >> VFS_BLOCK_SHIFT; b++)
			is_files = vfs_sb->counters[b >> VFS_ZONE_SHIFT] != 0 && *vfs_counter(b) != VFS_CNT_NONE;
		if (!is_files && start == 0)
			start = page;
		else if (is_files && start != 0)
		{
			if (CHUNKS->n < PGCELL_MAX_CHUNKS)
			{
				CHUNKS->heap[CHUNKS->n].start = start;
				CHUNKS->heap[CHUNKS->n++].end = page;
			}
			start = 0;
		}
	}
	return 0;
}

/* The polling transport's buffers (comm/pglite-comm-polling.h). */
extern void *pglite_alloc_shared(size_t len_bytes);

void *
pglite_alloc_shared(size_t len_bytes)
{
	return (void *) pgcell_grow(len_bytes);
}

/* ---- the heap ---- */

extern unsigned char __heap_end;

/* Another part of the heap, of at least len bytes: an earlier session's chunk or a new one.  false if there is none. */
static bool
next_part(uint32_t *index, uint32_t *start, uint32_t *end, uint32_t len)
{
	uint32_t	size = len < CHUNK ? CHUNK : (len + PAGE - 1) & ~(PAGE - 1);
	uint32_t	chunk;

	while (*index < CHUNKS->n)
	{
		uint32_t	i = (*index)++;

		if (CHUNKS->heap[i].end - CHUNKS->heap[i].start >= len)
		{
			*start = CHUNKS->heap[i].start;
			*end = CHUNKS->heap[i].end;
			return true;
		}
	}
	if (CHUNKS->n == PGCELL_MAX_CHUNKS)
		return false;
	chunk = pgcell_grow(size);
	if (chunk == 0)
		chunk = pgcell_grow(size = (len + PAGE - 1) & ~(PAGE - 1));
	if (chunk == 0)
		return false;
	*start = CHUNKS->heap[CHUNKS->n].start = chunk;
	*end = CHUNKS->heap[CHUNKS->n].end = chunk + size;
	*index = ++CHUNKS->n;
	return true;
}

/*
 * The heap's first part is in PRIVATE, behind the data; the others are chunks.  malloc() does not look whether what it gets
 * for a second request follows the first, until a request has failed: so the first one that can't follow does fail.
 */
void *
sbrk(intptr_t increment)
{
	static uint32_t start,
				end = PGCELL_PRIVATE_END,
				next;
	static bool may_jump;
	uint32_t	len = (uint32_t) increment;

	if (start == 0)
		start = (uintptr_t) &__heap_end;
	if (increment == 0)
		return (void *) start;
	if (increment > 0 && len > end - start)
	{
		uint32_t	last = CHUNKS->n - 1;

		/* the chunk at the end of the memory can become longer */
		if (next > 0 && next == CHUNKS->n && end == memory_end() && pgcell_grow(len - (end - start)) != 0)
			end = CHUNKS->heap[last].end = memory_end();
		else if (!may_jump)
		{
			may_jump = true;
			increment = -1;
		}
		else if (!next_part(&next, &start, &end, len))
			increment = -1;
	}
	if (increment < 0)
	{
		errno = ENOMEM;
		return (void *) -1;
	}
	start += len;
	return (void *) (start - len);
}
