/*
 * vfs_recover.c
 *	  Repair after kills, and the check of all invariants.
 *
 * Recovery believes the directories' forward links, the inodes' contents and
 * the rename intention, nothing else.  From these it rebuilds the counters, the
 * slabs' bitmaps, back links, hash chains, link counts and totals, so whatever
 * cannot be reached becomes free.  It keeps no state of its own outside the
 * structures it rebuilds: killed itself, it starts over.
 */
#include <stdlib.h>
#include <string.h>

#include "vfs_name.h"

#define ZONE_BLOCKS		(1u << VFS_ZONE_SHIFT)

/* ---- walking the tree ---- */

/*
 * The entry after `entry` in a walk over the whole tree that visits a
 * directory's contents right after its entry.  0 at the end.  Uses dir.self,
 * which enter_dir sets.
 */
static vaddr
next_in_tree(vaddr entry)
{
	struct vfs_dirent *e = vfs_dirent_at(entry);
	struct vfs_inode *ip = vfs_inode_at(e->inode);

	if (vfs_inode_type(ip) == VFS_T_DIR)
	{
		ip->dir.self = entry;
		if (ip->dir.first)
			return ip->dir.first;
	}
	while (e->next == 0)
	{
		vaddr		self = vfs_inode_at(e->dir)->dir.self;

		if (self == 0)
			return 0;			/* that was the top directory */
		e = vfs_dirent_at(self);
	}
	return e->next;
}

/* ---- marking what is reached ---- */

/* Set the counter of a block of metadata; false if that zone is unknown. */
static bool
mark_block(uint32_t block, uint8_t value)
{
	if (vfs_sb->counters[block >> VFS_ZONE_SHIFT] == 0)
		return false;
	*vfs_counter(block) = value;
	return true;
}

/* Mark an object in use; false if it already was. */
static bool
mark_object(vaddr object, uint32_t size)
{
	int			c = vfs_object_class(size);
	vaddr		a = vfs_slab_of(object);
	struct vfs_slab *slab = vfs_ptr(a);
	uint32_t	n = (object - a - VFS_SLAB_HEADER) / vfs_class_size(c);

	if (*vfs_counter(a >> VFS_BLOCK_SHIFT) != VFS_CNT_SLAB)
	{
		/* The first object of this slab that is met. */
		mark_block(a >> VFS_BLOCK_SHIFT, VFS_CNT_SLAB);
		memset(slab, 0, sizeof(*slab));
		slab->size_class = (uint16_t) c;
		vfs_sb->nslabs++;
	}
	if (slab->used[n / 32] & 1u << n % 32)
		return false;
	slab->used[n / 32] |= 1u << n % 32;
	slab->nused++;
	vfs_sb->object_bytes += vfs_class_size(c);
	return true;
}

/* Count one more reference to a data block. */
static void
mark_data(uint32_t block)
{
	uint8_t    *counter;

	if (block == 0 || vfs_is_base(block))
		return;
	counter = vfs_counter(block);
	*counter = *counter == VFS_CNT_FREE ? 1 : *counter + 1;
}

/* Mark a list's pieces and blocks; entries past the size are garbage. */
static void
mark_list(struct vfs_inode *ip)
{
	uint32_t	nblocks = (uint32_t) ((ip->size + VFS_BLOCK_SIZE - 1) >> VFS_BLOCK_SHIFT);
	uint32_t	first;
	uint32_t	count;
	uint32_t   *slots;

	/* Pieces that lie past the size altogether are simply forgotten. */
	for (uint32_t p = 0; p < VFS_NPIECES; p++)
	{
		if (4u << 2 * p >= nblocks)
			VFS_SET(ip->list.piece[p], 0);
		else if (ip->list.piece[p])
			mark_object(ip->list.piece[p], 12u << 2 * p << 2);
	}
	if (nblocks <= VFS_LEAF_FIRST)
		VFS_SET(ip->list.leaf0, 0);
	if (nblocks <= VFS_LEAF_FIRST + VFS_LEAF_ENTRIES)
		VFS_SET(ip->list.leaf_root, 0);
	mark_data(ip->list.leaf0);
	mark_data(ip->list.leaf_root);

	for (uint32_t n = 0; slots = vfs_list_array(ip, n, &first, &count), count; n++)
	{
		if (slots == NULL)
			continue;
		if (n > VFS_NPIECES + 1)
		{
			uint32_t   *leaf = (uint32_t *) vfs_block_ptr(ip->list.leaf_root) +
				(n - VFS_NPIECES - 1);

			if (first >= nblocks)
			{
				VFS_SET(*leaf, 0);
				continue;
			}
			mark_data(*leaf);
		}
		for (uint32_t i = 0; i < count; i++)
		{
			if (first + i < nblocks)
				mark_data(slots[i]);
			else if (slots[i])
				VFS_SET(slots[i], 0);
		}
	}
}

/* ---- recovery ---- */

/* Finish a rename that had happened, forget one that had not. */
static void
finish_rename(void)
{
	vaddr		from = vfs_sb->rename_from;
	struct vfs_dirent *f = vfs_dirent_at(from);
	uint32_t   *link;

	if (from == 0)
		return;
	if (f->inode == vfs_dirent_at(vfs_sb->rename_to)->inode)
	{
		link = &vfs_inode_at(f->dir)->dir.first;
		while (*link && *link != from)
			link = &vfs_dirent_at(*link)->next;
		if (*link)
			VFS_PUBLISH(*link, f->next);
	}
	VFS_PUBLISH(vfs_sb->rename_from, 0);
}

/* Everything granted is free until it is reached. */
static void
free_all(void)
{
	uint32_t	bump = vfs_sb->bump >> VFS_BLOCK_SHIFT;
	uint32_t	start = vfs_sb->region.files_start >> VFS_BLOCK_SHIFT;

	/* what a killed process was just granted has no counter yet */
	for (uint32_t b = start; b < bump && !vfs_sb->is_chunked; b += ZONE_BLOCKS - b % ZONE_BLOCKS)
		vfs_zone_ready(b >> VFS_ZONE_SHIFT);
	bump = vfs_sb->bump >> VFS_BLOCK_SHIFT;
	for (uint32_t zone = 0; zone < VFS_ZONES; zone++)
	{
		uint8_t    *counters = vfs_ptr(vfs_sb->counters[zone]);

		if (vfs_sb->counters[zone] == 0)
			continue;
		for (uint32_t i = 0; i < ZONE_BLOCKS; i++)
		{
			uint32_t	b = (zone << VFS_ZONE_SHIFT) + i;

			if (counters[i] != VFS_CNT_NONE || (!vfs_sb->is_chunked && b >= start && b < bump))
				counters[i] = VFS_CNT_FREE;
		}
	}

	mark_block(start, VFS_CNT_RESERVED);
	for (uint32_t zone = 0; zone < VFS_ZONES; zone++)
		if (vfs_sb->counters[zone])
			mark_block(vfs_sb->counters[zone] >> VFS_BLOCK_SHIFT, VFS_CNT_RESERVED);
	for (uint32_t i = 0; i < VFS_HASH_BLOCKS; i++)
	{
		if (vfs_sb->hash[i] == 0)
			continue;
		mark_block(vfs_sb->hash[i] >> VFS_BLOCK_SHIFT, VFS_CNT_RESERVED);
		memset(vfs_ptr(vfs_sb->hash[i]), 0, VFS_BLOCK_SIZE);
	}
}

/* Start a directory over: its list of entries stays. */
static void
reset_dir(struct vfs_inode *dp)
{
	dp->opens = 0;
	dp->nlink = 1;
	dp->dir.last = 0;
	dp->dir.self = 0;
	dp->dir.nentries = 0;
	dp->dir.next_cookie = 2;
	dp->dir.changes++;
}

/* The inode of an entry that has just been met. */
static void
mark_inode(struct vfs_dirent *e)
{
	struct vfs_inode *ip = vfs_inode_at(e->inode);

	if (!mark_object(e->inode, sizeof(struct vfs_inode)))
	{
		ip->nlink++;
		return;
	}
	vfs_sb->ninodes++;
	ip->opens = 0;
	ip->nlink = 1;
	switch (vfs_inode_type(ip))
	{
		case VFS_T_DIR:
			reset_dir(ip);
			ip->dir.parent = e->dir;
			break;
		case VFS_T_FILE:
		case VFS_T_SYMLINK:
			mark_list(ip);
			break;
	}
}

/*
 * Entries naming nothing are unfinished renames' targets.  They can only be
 * last, or have been, so every directory's list is swept when entered.
 */
static void
drop_void_entries(struct vfs_inode *dp)
{
	uint32_t   *link = &dp->dir.first;

	while (*link)
	{
		struct vfs_dirent *e = vfs_dirent_at(*link);

		if (e->inode == 0)
			VFS_PUBLISH(*link, e->next);
		else
			link = &e->next;
	}
}

/* Relink and mark the whole tree below a top directory. */
static void
mark_tree(vaddr top)
{
	vaddr		a;

	mark_object(top, sizeof(struct vfs_inode));
	vfs_sb->ninodes++;
	reset_dir(vfs_inode_at(top));
	vfs_inode_at(top)->dir.parent = 0;
	drop_void_entries(vfs_inode_at(top));

	for (a = vfs_inode_at(top)->dir.first; a; a = next_in_tree(a))
	{
		struct vfs_dirent *e = vfs_dirent_at(a);
		struct vfs_inode *dp = vfs_inode_at(e->dir);
		uint32_t   *head;

		mark_object(a, VFS_DIRENT_BYTES(e->len));
		e->prev = dp->dir.last;
		dp->dir.last = a;
		dp->dir.nentries++;
		dp->dir.next_cookie = e->cookie + 1;
		vfs_sb->nentries++;
		head = vfs_hash_head(e->dir, e->name, e->len);
		e->hash_next = *head;
		*head = a;
		mark_inode(e);
		if (vfs_inode_type(vfs_inode_at(e->inode)) == VFS_T_DIR)
			drop_void_entries(vfs_inode_at(e->inode));
	}
}

/* Count what stayed free and find the slabs with room. */
static void
count_all(void)
{
	for (uint32_t zone = 0; zone < VFS_ZONES; zone++)
	{
		const uint8_t *counters = vfs_ptr(vfs_sb->counters[zone]);

		if (vfs_sb->counters[zone] == 0)
			continue;
		for (uint32_t i = 0; i < ZONE_BLOCKS; i++)
		{
			vaddr		a = ((zone << VFS_ZONE_SHIFT) + i) << VFS_BLOCK_SHIFT;

			vfs_sb->granted += counters[i] != VFS_CNT_NONE;
			vfs_sb->nfree += counters[i] == VFS_CNT_FREE;
			if (counters[i] == VFS_CNT_SLAB)
			{
				struct vfs_slab *slab = vfs_ptr(a);
				int			c = slab->size_class;

				if (slab->nused == (VFS_BLOCK_SIZE - VFS_SLAB_HEADER) / vfs_class_size(c))
					continue;
				slab->is_partial = 1;
				slab->next = vfs_sb->partial[c];
				vfs_sb->partial[c] = a;
			}
		}
	}
}

int
vfs_recover(void)
{
	struct vfs_super *sb = vfs_sb;

	if (sb == NULL)
		return VFS_ENOSYS;
	sb->lock_names = 0;
	sb->lock_alloc = 0;
	finish_rename();
	free_all();
	sb->granted = sb->nfree = sb->scan_hint = 0;
	sb->ninodes = sb->nentries = sb->nslabs = sb->object_bytes = 0;
	memset(sb->partial, 0, sizeof(sb->partial));
	VFS_STEP();
	mark_tree(sb->root);
	VFS_STEP();
	count_all();
	return 0;
}

/* ---- checking ---- */

/* What check_tree finds, to compare with what is recorded. */
struct census
{
	uint8_t    *blocks;			/* references, per block of the address space */
	uint32_t	entries;
	uint32_t	object_bytes;
};

#define FAIL_IF(condition, text) \
	do { if (condition) return (text); } while (0)

static const char *
check_object(vaddr object, uint32_t size, struct census *c)
{
	uint32_t	block = object >> VFS_BLOCK_SHIFT;
	struct vfs_slab *slab = vfs_ptr(vfs_slab_of(object));
	int			size_class = vfs_object_class(size);
	uint32_t	n = (object % VFS_BLOCK_SIZE - VFS_SLAB_HEADER) / vfs_class_size(size_class);

	FAIL_IF(vfs_sb->counters[block >> VFS_ZONE_SHIFT] == 0 ||
			*vfs_counter(block) != VFS_CNT_SLAB, "object outside a slab");
	FAIL_IF(slab->size_class != size_class, "object in a slab of another size");
	FAIL_IF(!(slab->used[n / 32] & 1u << n % 32), "object in use is marked free");
	if (c->blocks[block] == 0)
		c->blocks[block] = 1;
	c->object_bytes += vfs_class_size(size_class);
	return NULL;
}

static const char *
check_data_block(uint32_t block, struct census *c)
{
	if (block == 0)
		return NULL;
	if (vfs_is_base(block))
	{
		FAIL_IF(block << VFS_BLOCK_SHIFT >= vfs_sb->base_next, "BASE block past its end");
		return NULL;
	}
	FAIL_IF(vfs_sb->counters[block >> VFS_ZONE_SHIFT] == 0, "block of no zone");
	c->blocks[block]++;
	FAIL_IF(*vfs_counter(block) > VFS_CNT_MAX, "block in use is marked free");
	FAIL_IF(c->blocks[block] > *vfs_counter(block), "more references than counted");
	return NULL;
}

static const char *
check_list(struct vfs_inode *ip, struct census *c)
{
	uint32_t	nblocks = (uint32_t) ((ip->size + VFS_BLOCK_SIZE - 1) >> VFS_BLOCK_SHIFT);
	uint32_t	first;
	uint32_t	count;
	uint32_t   *slots;
	const char *err;

	for (uint32_t p = 0; p < VFS_NPIECES; p++)
		if (ip->list.piece[p] &&
			(err = check_object(ip->list.piece[p], 12u << 2 * p << 2, c)))
			return err;
	if ((err = check_data_block(ip->list.leaf0, c)) ||
		(err = check_data_block(ip->list.leaf_root, c)))
		return err;
	for (uint32_t n = 0; slots = vfs_list_array(ip, n, &first, &count), count; n++)
	{
		if (slots == NULL)
			continue;
		if (n > VFS_NPIECES + 1 &&
			(err = check_data_block(((uint32_t *) vfs_block_ptr(ip->list.leaf_root))
									[n - VFS_NPIECES - 1], c)))
			return err;
		for (uint32_t i = 0; i < count; i++)
		{
			FAIL_IF(slots[i] && first + i >= nblocks, "block past the end of a file");
			if ((err = check_data_block(slots[i], c)))
				return err;
		}
	}
	return NULL;
}

static const char *
check_inode(struct vfs_inode *ip, vaddr a, struct census *c)
{
	const char *err = check_object(a, sizeof(struct vfs_inode), c);

	if (err)
		return err;
	switch (vfs_inode_type(ip))
	{
		case VFS_T_FILE:
		case VFS_T_SYMLINK:
			return check_list(ip, c);
		case VFS_T_DIR:
		case VFS_T_CHAR:
			return NULL;
	}
	return "inode of no known type";
}

static const char *
check_tree(vaddr top, struct census *c)
{
	const char *err = check_object(top, sizeof(struct vfs_inode), c);
	vaddr		a;

	if (err)
		return err;
	vfs_inode_at(top)->dir.self = 0;
	FAIL_IF(vfs_inode_at(top)->dir.parent != 0, "top directory has a parent");
	for (a = vfs_inode_at(top)->dir.first; a; a = next_in_tree(a))
	{
		struct vfs_dirent *e = vfs_dirent_at(a);
		struct vfs_inode *dp = vfs_inode_at(e->dir);
		struct vfs_inode *ip;

		if ((err = check_object(a, VFS_DIRENT_BYTES(e->len), c)))
			return err;
		FAIL_IF(++c->entries > vfs_sb->nentries, "more entries than counted");
		FAIL_IF(e->inode == 0, "entry names nothing");
		ip = vfs_inode_at(e->inode);
		FAIL_IF(e->prev ? vfs_dirent_at(e->prev)->next != a : dp->dir.first != a,
				"back link of an entry");
		FAIL_IF(e->next == 0 && dp->dir.last != a, "last entry of a directory");
		FAIL_IF(e->prev && vfs_dirent_at(e->prev)->cookie >= e->cookie, "cookie order");
		FAIL_IF(e->cookie >= dp->dir.next_cookie, "cookie from the future");
		FAIL_IF(vfs_entry_find(e->dir, e->name, e->len) != a,
				"entry not found by its name");
		FAIL_IF(ip->nlink == 0, "named inode without links");
		if (vfs_inode_type(ip) == VFS_T_DIR)
		{
			FAIL_IF(ip->dir.parent != e->dir, "parent of a directory");
			FAIL_IF(ip->nlink != 1, "directory with several names");
			if ((err = check_object(e->inode, sizeof(*ip), c)))
				return err;
			continue;
		}

		/* A file with several names is checked once: at the first of them. */
		if (ip->nlink > 1)
		{
			uint32_t	names = 0;
			vaddr		first_name = 0;

			for (vaddr b = vfs_inode_at(top)->dir.first; b; b = next_in_tree(b))
			{
				if (vfs_dirent_at(b)->inode != e->inode)
					continue;
				if (names++ == 0)
					first_name = b;
			}
			FAIL_IF(names != ip->nlink, "link count");
			if (first_name != a)
				continue;
		}
		if ((err = check_inode(ip, e->inode, c)))
			return err;
	}
	return NULL;
}

static const char *
check_counters(const struct census *c, bool exact)
{
	uint32_t	granted = 0;
	uint32_t	nfree = 0;

	for (uint32_t zone = 0; zone < VFS_ZONES; zone++)
	{
		const uint8_t *counters = vfs_ptr(vfs_sb->counters[zone]);

		if (vfs_sb->counters[zone] == 0)
			continue;
		for (uint32_t i = 0; i < ZONE_BLOCKS; i++)
		{
			uint8_t		reached = c->blocks[(zone << VFS_ZONE_SHIFT) + i];

			granted += counters[i] != VFS_CNT_NONE;
			nfree += counters[i] == VFS_CNT_FREE;
			FAIL_IF(reached && (counters[i] == VFS_CNT_NONE ||
								counters[i] == VFS_CNT_FREE ||
								counters[i] == VFS_CNT_RESERVED),
					"block in use is marked otherwise");
			FAIL_IF(exact && counters[i] >= 1 && counters[i] <= VFS_CNT_MAX &&
					counters[i] != reached, "block counted but not reached");
		}
	}
	FAIL_IF(nfree != vfs_sb->nfree, "number of free blocks");
	FAIL_IF(granted != vfs_sb->granted, "number of granted blocks");
	FAIL_IF(exact && c->object_bytes != vfs_sb->object_bytes,
			"object counted but not reached");
	FAIL_IF(c->entries != vfs_sb->nentries, "number of entries");
	return NULL;
}

const char *
vfs_check(bool exact)
{
	struct census c = {0};
	const char *err;

	if (vfs_sb == NULL || vfs_sb->magic != VFS_MAGIC)
		return "no file system";
	c.blocks = calloc(1u << (32 - VFS_BLOCK_SHIFT), 1);
	if (c.blocks == NULL)
		return "no memory for the check";
	vfs_lock_names();
	vfs_lock_alloc();
	err = check_tree(vfs_sb->root, &c);
	if (err == NULL)
		err = check_counters(&c, exact);
	vfs_unlock_alloc();
	vfs_unlock_names();
	free(c.blocks);
	return err;
}
