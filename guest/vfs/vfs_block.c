/*
 * vfs_block.c
 *	  Block and object allocation, and the port's weak defaults.
 *
 * The counters are the only record of which blocks are free.  No list is
 * threaded through free blocks, so that freeing and formatting touch no block.
 */
#include <string.h>

#include "vfs_block.h"

#define ZONE_BLOCKS		(1u << VFS_ZONE_SHIFT)

struct vfs_super *vfs_sb;

#ifndef __wasm__
unsigned char *vfs_native_base;
#endif

/* Frees not yet offered to vfs_discard: blocks [run_start, run_start + run_len) */
static uint32_t run_start;
static uint32_t run_len;

bool		vfs_writes_bulk;

/* ---- the port's defaults ---- */

__attribute__((weak)) bool
vfs_is_bulk(const char *path)
{
	(void) path;
	return false;
}

__attribute__((weak)) vaddr
vfs_grow(uint32_t nblocks)
{
	vaddr		start = vfs_sb->bump;

	if (nblocks > (vfs_sb->region.files_end - start) >> VFS_BLOCK_SHIFT)
		return 0;
	VFS_SET(vfs_sb->bump, start + (nblocks << VFS_BLOCK_SHIFT));
	return start;
}

__attribute__((weak)) uint32_t
vfs_grow_left(void)
{
	return (vfs_sb->region.files_end - vfs_sb->bump) >> VFS_BLOCK_SHIFT;
}

__attribute__((weak)) bool
vfs_discard(vaddr start, uint32_t nblocks)
{
	(void) start;
	(void) nblocks;
	return false;
}

__attribute__((weak, noinline)) void
vfs_barrier(void)
{
	__asm__ volatile("" ::: "memory");
}

/* ---- blocks ---- */

bool
vfs_zone_ready(uint32_t zone)
{
	while (vfs_sb->counters[zone] == 0)
	{
		vaddr		page = vfs_grow(1);
		uint32_t	block = page >> VFS_BLOCK_SHIFT;
		uint32_t	home = block >> VFS_ZONE_SHIFT;

		if (page == 0)
			return false;

		/*
		 * The page needs a counter as well.  If its own zone has none yet, it
		 * serves that zone, which may or may not be the one asked for.
		 */
		VFS_SET(vfs_sb->counters[vfs_sb->counters[home] ? zone : home], page);
		VFS_SET(*vfs_counter(block), VFS_CNT_RESERVED);
		vfs_sb->granted++;
	}
	return true;
}

/* Get a new block from the port and give it counter 1. */
static uint32_t
grant(void)
{
	uint32_t	block = vfs_grow(1) >> VFS_BLOCK_SHIFT;

	if (block == 0)
		return 0;
	if (!vfs_zone_ready(block >> VFS_ZONE_SHIFT))
		return 0;				/* lost until recovery: space is out anyway */
	VFS_SET(*vfs_counter(block), 1);
	vfs_sb->granted++;
	return block;
}

/* Is any of the eight bytes VFS_CNT_FREE, that is all ones? */
static inline bool
has_free_byte(uint64_t v)
{
	v = ~v;
	return ((v - UINT64_C(0x0101010101010101)) & ~v &
			UINT64_C(0x8080808080808080)) != 0;
}

/* The first free block in [from, to), which is inside one zone, or 0. */
static uint32_t
scan_zone(uint32_t from, uint32_t to)
{
	const uint8_t *counter = vfs_counter(from);
	uint32_t	b = from;

	while (b < to)
	{
		if ((b & 7) == 0)
		{
			uint64_t	v;

			memcpy(&v, counter, 8);
			if (!has_free_byte(v))
			{
				b += 8;
				counter += 8;
				continue;
			}
		}
		if (*counter == VFS_CNT_FREE)
			return b;
		b++;
		counter++;
	}
	return 0;
}

static uint32_t
take_free(void)
{
	uint32_t	hint = vfs_sb->scan_hint;
	uint32_t	zone = hint >> VFS_ZONE_SHIFT;

	if (vfs_sb->nfree == 0)
		return 0;

	/* From the hint to the end, then around to the hint's zone once more. */
	for (uint32_t i = 0; i <= VFS_ZONES; i++, zone = (zone + 1) % VFS_ZONES)
	{
		uint32_t	from = zone << VFS_ZONE_SHIFT;
		uint32_t	found;

		if (vfs_sb->counters[zone] == 0)
			continue;
		found = scan_zone(i == 0 ? hint : from, from + ZONE_BLOCKS);
		if (found)
		{
			vfs_sb->scan_hint = found;
			return found;
		}
	}
	return 0;
}

uint32_t
vfs_block_alloc(bool *zeroed)
{
	uint32_t	block = take_free();

	if (block == 0)
	{
		*zeroed = true;
		return grant();
	}
	*zeroed = false;
	VFS_SET(*vfs_counter(block), 1);
	vfs_sb->nfree--;
	return block;
}

/* Offer every run of free blocks to vfs_discard, whatever its length. */
static void
trim(void)
{
	for (uint32_t zone = 0; zone < VFS_ZONES; zone++)
	{
		const uint8_t *counter;
		uint32_t	len = 0;

		if (vfs_sb->counters[zone] == 0)
			continue;
		counter = vfs_ptr(vfs_sb->counters[zone]);
		for (uint32_t i = 0; i <= ZONE_BLOCKS; i++)
		{
			if (i < ZONE_BLOCKS && counter[i] == VFS_CNT_FREE)
			{
				len++;
				continue;
			}
			if (len > 0)
				vfs_discard(((zone << VFS_ZONE_SHIFT) + i - len) << VFS_BLOCK_SHIFT, len);
			len = 0;
		}
	}
	vfs_sb->untrimmed = 0;
}

void
vfs_free_flush(void)
{
	if (run_len >= VFS_DISCARD_MIN)
		vfs_discard(run_start << VFS_BLOCK_SHIFT, run_len);
	else
		vfs_sb->untrimmed += run_len;
	run_len = 0;
	if (vfs_sb->untrimmed >= VFS_TRIM_BLOCKS)
		trim();
}

bool
vfs_bulk_has_room(void)
{
	return vfs_sb->nfree + vfs_grow_left() > VFS_RESERVE_BLOCKS;
}

void
vfs_block_unref(uint32_t block)
{
	uint8_t    *counter;

	if (block == 0 || vfs_is_base(block))
		return;
	counter = vfs_counter(block);
	if (*counter > 1 && *counter <= VFS_CNT_MAX)
	{
		VFS_SET(*counter, *counter - 1);
		return;
	}
	VFS_SET(*counter, VFS_CNT_FREE);
	vfs_note_block(block);
	vfs_sb->nfree++;
	if (block < vfs_sb->scan_hint)
		vfs_sb->scan_hint = block;
	if (run_len == 0 || block != run_start + run_len)
	{
		vfs_free_flush();
		run_start = block;
	}
	run_len++;
}

/* ---- small objects ---- */

static const uint16_t class_sizes[VFS_NCLASSES] =
{
	32, 40, 48, 64, 96, 192, 288, 768
};

int
vfs_object_class(uint32_t size)
{
	int			c = 0;

	while (class_sizes[c] < size)
		c++;
	return c;
}

uint32_t
vfs_class_size(int size_class)
{
	return class_sizes[size_class];
}

static uint32_t
slab_capacity(int size_class)
{
	return (VFS_BLOCK_SIZE - VFS_SLAB_HEADER) / class_sizes[size_class];
}

static vaddr
slab_new(int size_class)
{
	bool		zeroed;
	uint32_t	block = vfs_block_alloc(&zeroed);
	vaddr		a = block << VFS_BLOCK_SHIFT;
	struct vfs_slab *slab = vfs_ptr(a);

	if (block == 0)
		return 0;
	VFS_SET(*vfs_counter(block), VFS_CNT_SLAB);
	memset(slab, 0, sizeof(*slab));
	slab->size_class = (uint16_t) size_class;
	slab->is_partial = 1;
	slab->next = vfs_sb->partial[size_class];
	VFS_SET(vfs_sb->partial[size_class], a);
	vfs_sb->nslabs++;
	return a;
}

vaddr
vfs_object_alloc(uint32_t size)
{
	int			c = vfs_object_class(size);
	vaddr		a = vfs_sb->partial[c];
	struct vfs_slab *slab;
	uint32_t	n = 0;
	vaddr		object;

	if (a == 0 && (a = slab_new(c)) == 0)
		return 0;
	slab = vfs_ptr(a);
	while (slab->used[n / 32] == UINT32_MAX)
		n += 32;
	n += (uint32_t) __builtin_ctz(~slab->used[n / 32]);

	VFS_SET(slab->used[n / 32], slab->used[n / 32] | 1u << n % 32);
	slab->nused++;
	if (slab->nused == slab_capacity(c))
	{
		VFS_SET(vfs_sb->partial[c], slab->next);
		slab->is_partial = 0;
	}
	vfs_sb->object_bytes += class_sizes[c];
	object = a + VFS_SLAB_HEADER + n * class_sizes[c];
	memset(vfs_ptr(object), 0, class_sizes[c]);
	return object;
}

void
vfs_object_free(vaddr object, uint32_t size)
{
	int			c = vfs_object_class(size);
	vaddr		a = vfs_slab_of(object);
	struct vfs_slab *slab = vfs_ptr(a);
	uint32_t	n = (object - a - VFS_SLAB_HEADER) / class_sizes[c];

	VFS_SET(slab->used[n / 32], slab->used[n / 32] & ~(1u << n % 32));
	slab->nused--;
	vfs_sb->object_bytes -= class_sizes[c];
	if (!slab->is_partial)
	{
		slab->is_partial = 1;
		slab->next = vfs_sb->partial[c];
		VFS_SET(vfs_sb->partial[c], a);
	}
}
