/*
 * vfs_changes.c
 *	  See vfs_changes.h.
 */
#ifdef VFS_TRACK_CHANGES

#include <string.h>

#include "vfs_block.h"
#include "vfs_changes.h"

#define ZONE_BLOCKS (1u << VFS_ZONE_SHIFT)

uint32_t
vfs_changes_take(uint32_t *to, uint32_t n)
{
	uint32_t	taken = 0;

	for (uint32_t zone = 0; zone < VFS_CHANGES_END >> VFS_BLOCK_SHIFT >> VFS_ZONE_SHIFT; zone++)
	{
		if (vfs_sb->counters[zone] == 0)
			continue;
		for (uint32_t b = zone << VFS_ZONE_SHIFT; b < (zone + 1) << VFS_ZONE_SHIFT; b += 64)
		{
			uint64_t	word;

			memcpy(&word, vfs_changes->bits + b / 8, sizeof word);
			for (; word; word &= word - 1)
			{
				uint32_t	block = b + (uint32_t) __builtin_ctzll(word);
				uint8_t		counter = *vfs_counter(block);

				if (counter != VFS_CNT_NONE)
				{
					if (taken == n)
						return n;
					to[taken++] = block | (counter == VFS_CNT_FREE ? VFS_CHANGE_FREED : 0);
				}
				vfs_changes->bits[block / 8] &= (uint8_t) ~(1u << block % 8);
			}
		}
	}
	return taken;
}

void
vfs_changes_all(void)
{
	for (uint32_t zone = 0; zone < VFS_CHANGES_END >> VFS_BLOCK_SHIFT >> VFS_ZONE_SHIFT; zone++)
		for (uint32_t i = 0; vfs_sb->counters[zone] && i < ZONE_BLOCKS; i++)
		{
			uint32_t	block = (zone << VFS_ZONE_SHIFT) + i;

			if (*vfs_counter(block) != VFS_CNT_NONE && *vfs_counter(block) != VFS_CNT_FREE)
				vfs_note_block(block);
		}
}

#else
typedef int vfs_changes_are_not_tracked;
#endif
