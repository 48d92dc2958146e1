/*
 * store.c
 *	  For a host that keeps the cell's files in a store of its own: which blocks of FILES have changed (vfs/vfs_changes.h), and what
 *	  has to be known to put them back.  Only the portable link takes this file.
 *
 * To be called between commands.
 */
#include <stdint.h>

#include "../port/layout.h"
#include "../vfs/vfs_block.h"
#include "../vfs/vfs_changes.h"
#include "cell.h"

/* What the host gets to see, until it calls again. */
static union
{
	struct
	{
		uint32_t	n;
		uint32_t	blocks[VFS_BLOCK_SIZE / sizeof(uint32_t) - 1];
	}			changes;
	unsigned char block[VFS_BLOCK_SIZE];
}			shown;

/* The image's builder writes it. */
static volatile uint64_t image_id;

extern uint32_t pgcell_changes_wanted(void) PGCELL_EXPORT(pgcell_changes_wanted);
extern const void *pgcell_changes_take(void) PGCELL_EXPORT(pgcell_changes_take);
extern void pgcell_changes_all(void) PGCELL_EXPORT(pgcell_changes_all);
extern uint64_t pgcell_image_id(void) PGCELL_EXPORT(pgcell_image_id);
extern volatile uint64_t *pgcell_image_id_address(void) PGCELL_EXPORT(pgcell_image_id_address);
extern uint32_t pgcell_base_blocks(void) PGCELL_EXPORT(pgcell_base_blocks);
extern const void *pgcell_base_block(uint32_t n) PGCELL_EXPORT(pgcell_base_block);

/* Has PostgreSQL asked for files to be on disk since all changes were taken?  It does before it reports a commit. */
uint32_t
pgcell_changes_wanted(void)
{
	return vfs_changes->is_wanted;
}

/*
 * How many, and numbers of blocks: addresses divided by 8192, with the highest bit set if the block is free now.  To be called until
 * there are none.
 */
const void *
pgcell_changes_take(void)
{
	shown.changes.n = vfs_changes_take(shown.changes.blocks, sizeof shown.changes.blocks / sizeof shown.changes.blocks[0]);
	if (shown.changes.n == 0)
		vfs_changes->is_wanted = 0;
	return &shown;
}

/* All blocks count as changed. */
void
pgcell_changes_all(void)
{
	vfs_changes_all();
	vfs_changes->is_wanted = 1;
}

/* Blocks fit into instances of the same image only. */
uint64_t
pgcell_image_id(void)
{
	return image_id;
}

volatile uint64_t *
pgcell_image_id_address(void)
{
	return &image_id;
}

/* Blocks of the image, which are not in memory: files refer to them by the numbers from 0xE0000000 / 8192 on. */
uint32_t
pgcell_base_blocks(void)
{
	return (vfs_sb->base_next - vfs_sb->region.base_start) >> VFS_BLOCK_SHIFT;
}

/* The contents of the n-th, from 0; NULL if there are not as many. */
const void *
pgcell_base_block(uint32_t n)
{
	if (n >= pgcell_base_blocks())
		return NULL;
	vfs_base_read(shown.block, n << VFS_BLOCK_SHIFT, VFS_BLOCK_SIZE);
	return &shown;
}
