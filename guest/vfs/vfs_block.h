/*
 * vfs_block.h
 *	  Blocks, small objects, block lists and file contents.
 *
 * Functions marked (alloc) need lock_alloc held; the others take it themselves
 * where they need it.  Nothing here knows names.  Errors are WASI errnos.
 */
#ifndef VFS_BLOCK_H
#define VFS_BLOCK_H

#include <string.h>

#include "vfs_layout.h"

static inline void
vfs_lock_alloc(void)
{
	vfs_lock(&vfs_sb->lock_alloc);
}

static inline void
vfs_unlock_alloc(void)
{
	vfs_unlock(&vfs_sb->lock_alloc);
}

/* Is this block of the image, to be copied before it is written? */
static inline bool
vfs_is_base(uint32_t block)
{
	return block - (vfs_sb->region.base_start >> VFS_BLOCK_SHIFT) <
		(vfs_sb->region.base_end - vfs_sb->region.base_start) >> VFS_BLOCK_SHIFT;
}

static inline unsigned char *
vfs_block_ptr(uint32_t block)
{
	return vfs_ptr(block << VFS_BLOCK_SHIFT);
}

/*
 * Copies n bytes of a block.  Where BASE is outside of the memory (vfs_port.h) this is the only way to its contents.
 */
static inline void
vfs_block_copy(void *to, uint32_t block, uint32_t in, uint32_t n)
{
#ifdef VFS_BASE_OUTSIDE
	if (vfs_is_base(block))
	{
		vfs_base_read(to, (block << VFS_BLOCK_SHIFT) - vfs_sb->region.base_start + in, n);
		return;
	}
#endif
	memcpy(to, vfs_block_ptr(block) + in, n);
}

/* The counter of a granted FILES block. */
static inline uint8_t *
vfs_counter(uint32_t block)
{
	return (uint8_t *) vfs_ptr(vfs_sb->counters[block >> VFS_ZONE_SHIFT]) +
		(block & ((1u << VFS_ZONE_SHIFT) - 1));
}

/*
 * Is what this process writes just now a bulk file's (vfs_is_bulk), and may such files grow?  The rest of the space is for what
 * must not fail: WAL above all.
 */
extern bool vfs_writes_bulk;
extern bool vfs_bulk_has_room(void);

/* (alloc) Make sure that a zone has its page of counters. */
extern bool vfs_zone_ready(uint32_t zone);

/*
 * (alloc) One block, counter 1, or 0.  *zeroed tells whether it reads as
 * zeros; otherwise its contents are whatever they were.
 */
extern uint32_t vfs_block_alloc(bool *zeroed);

/*
 * (alloc) Drop one reference.  BASE blocks and 0 are ignored.  Frees collect
 * into a run, so end a series with vfs_free_flush, which may discard it.
 */
extern void vfs_block_unref(uint32_t block);
extern void vfs_free_flush(void);

/* (alloc) A zeroed object of at least `size` (<= 768) bytes, or 0. */
extern vaddr vfs_object_alloc(uint32_t size);
extern void vfs_object_free(vaddr a, uint32_t size);
extern int	vfs_object_class(uint32_t size);
extern uint32_t vfs_class_size(int size_class);
static inline vaddr
vfs_slab_of(vaddr object)
{
	return object & ~(VFS_BLOCK_SIZE - 1);
}

/* The list entry of block `index`, or NULL if its piece does not exist. */
extern uint32_t *vfs_list_slot(struct vfs_inode *ip, uint32_t index);

/* (alloc) The same, creating what is missing; NULL when out of space. */
extern uint32_t *vfs_list_slot_create(struct vfs_inode *ip, uint32_t index);

/*
 * (alloc) Drop all entries from `nblocks` on, and the pieces that become
 * empty.
 */
extern void vfs_list_trim(struct vfs_inode *ip, uint32_t nblocks);

/*
 * The arrays that make up a list, in order: array `n` (0, 1, ...) has *count
 * entries, the first for block *first.  Returns the entries, NULL if that array
 * does not exist; *count is 0 past the last one.
 */
extern uint32_t *vfs_list_array(struct vfs_inode *ip, uint32_t n,
								uint32_t *first, uint32_t *count);

/* Bytes read, less than `len` only at the end of the file. */
extern uint32_t vfs_data_read(struct vfs_inode *ip, void *buf, uint32_t len,
							  uint64_t offset);

/*
 * Write at `offset`, or with `append` at the end as it is under the lock, which
 * *offset then receives.  *done counts what was written; an error is returned
 * only if that is 0 and len is not.
 */
extern int	vfs_data_write(struct vfs_inode *ip, const void *buf, uint32_t len,
						   uint64_t *offset, bool append, uint32_t *done);

extern int	vfs_data_resize(struct vfs_inode *ip, uint64_t size);

/*
 * Let blocks dst.. of `to` be blocks src.. of `from`, `n` of them, and make
 * `to` at least `end` bytes long.  *done counts blocks.
 */
extern int	vfs_data_share(struct vfs_inode *from, uint32_t src,
						   struct vfs_inode *to, uint32_t dst, uint32_t n,
						   uint64_t end, uint32_t *done);

#endif							/* VFS_BLOCK_H */
