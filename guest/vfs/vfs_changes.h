/*
 * vfs_changes.h
 *	  Which blocks of FILES have changed since a host was last told: for a host that keeps a copy of FILES.  Only in a port that is
 *	  compiled with VFS_TRACK_CHANGES.
 *
 * A copy made of every block that is told, each time, gives after vfs_recover the same tree with the same contents as FILES had, but
 * for times of files and for what was open without a name (tests/unit/test-vfs-model.c).  What recovery makes anew need not be in
 * it: counters of references and links, chains, free space.
 */
#ifndef VFS_CHANGES_H
#define VFS_CHANGES_H

#include <stdbool.h>
#include <stdint.h>

#define VFS_CHANGES_END		0xE0000000u /* FILES ends before */
#define VFS_CHANGE_FREED	0x80000000u

struct vfs_changes
{
	uint32_t	is_wanted;		/* somebody has asked for a file to be on disk (fsync) */
	uint32_t	pad[15];
	uint8_t		bits[VFS_CHANGES_END >> 16];	/* one for each block of the address space */
};

/* The port's; zero at first, and kept as long as FILES is. */
extern struct vfs_changes *const vfs_changes;

/*
 * Takes at most n numbers of blocks that have changed, in ascending order; with VFS_CHANGE_FREED added if the block's contents don't
 * matter any more.  Fewer than n: there are no others.
 */
extern uint32_t vfs_changes_take(uint32_t *to, uint32_t n);

/* Every block that is in use counts as changed. */
extern void vfs_changes_all(void);

#endif
