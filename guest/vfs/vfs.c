/*
 * vfs.c
 *	  Super block, inodes and directories.
 */
#include <string.h>

#include "vfs_name.h"

/* ---- inodes ---- */

vaddr
vfs_inode_new(unsigned type, uint32_t mode)
{
	vaddr		a;
	struct vfs_inode *ip;

	vfs_lock_alloc();
	a = vfs_object_alloc(sizeof(struct vfs_inode));
	vfs_unlock_alloc();
	if (a == 0)
		return 0;
	ip = vfs_inode_at(a);
	ip->mode = (uint16_t) (type << 12 | (mode & 07777));
	ip->mtime_ns = vfs_clock_ns();
	if (type == VFS_T_DIR)
		ip->dir.next_cookie = 2;
	vfs_sb->ninodes++;
	return a;
}

void
vfs_inode_reap(vaddr inode)
{
	struct vfs_inode *ip = vfs_inode_at(inode);

	if (ip->nlink > 0 || ip->opens > 0)
		return;
	vfs_lock_alloc();
	switch (vfs_inode_type(ip))
	{
		case VFS_T_FILE:
		case VFS_T_SYMLINK:
			vfs_list_trim(ip, 0);
			break;
	}
	vfs_object_free(inode, sizeof(struct vfs_inode));
	vfs_unlock_alloc();
	vfs_sb->ninodes--;
}

void
vfs_inode_open(vaddr inode)
{
	vfs_lock_names();
	vfs_inode_at(inode)->opens++;
	vfs_unlock_names();
}

void
vfs_inode_close(vaddr inode)
{
	vfs_lock_names();
	VFS_SET(vfs_inode_at(inode)->opens, vfs_inode_at(inode)->opens - 1);
	vfs_inode_reap(inode);
	vfs_unlock_names();
}

void
vfs_inode_stat(vaddr inode, struct vfs_stat *st)
{
	const struct vfs_inode *ip = vfs_inode_at(inode);

	st->ino = inode >> 6;
	st->size = ip->size;
	st->mtime_ns = ip->mtime_ns;
	st->nlink = ip->nlink;
	st->mode = ip->mode & 07777;
	st->type = (uint8_t) vfs_inode_type(ip);
}

/* ---- name hash ---- */

/* FNV-1a over the name, started from the directory, with a final mix. */
static uint32_t
hash_name(vaddr dir, const char *name, uint32_t len)
{
	uint32_t	h = 2166136261u ^ (dir >> 6) * 2654435761u;

	for (uint32_t i = 0; i < len; i++)
		h = (h ^ (unsigned char) name[i]) * 16777619u;
	return h ^ h >> 15;
}

static uint32_t *
bucket(uint32_t n)
{
	return (uint32_t *) vfs_ptr(vfs_sb->hash[n / VFS_HASH_PER_BLOCK]) +
		n % VFS_HASH_PER_BLOCK;
}

uint32_t *
vfs_hash_head(vaddr dir, const char *name, uint32_t len)
{
	return bucket(hash_name(dir, name, len) & (vfs_sb->nbuckets - 1));
}

/* Another block of chain heads, all empty. */
static vaddr
hash_block(void)
{
	bool		zeroed;
	uint32_t	block;

	vfs_lock_alloc();
	block = vfs_block_alloc(&zeroed);
	if (block)
	{
		if (!zeroed)
			memset(vfs_block_ptr(block), 0, VFS_BLOCK_SIZE);
		VFS_SET(*vfs_counter(block), VFS_CNT_RESERVED);
	}
	vfs_unlock_alloc();
	return block << VFS_BLOCK_SHIFT;
}

/*
 * Double the table when chains get long, dividing each chain in two.  Without
 * space they just stay long.
 */
static void
hash_grow(void)
{
	uint32_t	old = vfs_sb->nbuckets;
	uint32_t	blocks = old / VFS_HASH_PER_BLOCK;

	if (vfs_sb->nentries < 2 * old || 2 * blocks > VFS_HASH_BLOCKS)
		return;
	for (uint32_t i = blocks; i < 2 * blocks; i++)
	{
		if (vfs_sb->hash[i] == 0)
			VFS_SET(vfs_sb->hash[i], hash_block());
		if (vfs_sb->hash[i] == 0)
			return;
	}
	VFS_SET(vfs_sb->nbuckets, 2 * old);
	for (uint32_t n = 0; n < old; n++)
	{
		uint32_t	a = *bucket(n);

		VFS_SET(*bucket(n), 0);
		while (a)
		{
			struct vfs_dirent *e = vfs_dirent_at(a);
			uint32_t	next = e->hash_next;
			uint32_t   *head = vfs_hash_head(e->dir, e->name, e->len);

			e->hash_next = *head;
			*head = a;
			a = next;
		}
	}
}

/* ---- directory entries ---- */

vaddr
vfs_entry_find(vaddr dir, const char *name, uint32_t len)
{
	vaddr		a = *vfs_hash_head(dir, name, len);

	while (a)
	{
		const struct vfs_dirent *e = vfs_dirent_at(a);

		if (e->dir == dir && e->len == len && e->inode &&
			memcmp(e->name, name, len) == 0)
			return a;
		a = e->hash_next;
	}
	return 0;
}

/*
 * After four billion entries a directory's cookies start over.  A scan that is
 * under way may then see names twice, which POSIX allows for changed
 * directories.
 */
static void
renumber_cookies(struct vfs_inode *dp)
{
	uint32_t	n = 2;

	for (vaddr a = dp->dir.first; a; a = vfs_dirent_at(a)->next)
		vfs_dirent_at(a)->cookie = n++;
	dp->dir.next_cookie = n;
	dp->dir.changes++;
}

vaddr
vfs_entry_add(vaddr dir, const char *name, uint32_t len, vaddr inode)
{
	struct vfs_inode *dp = vfs_inode_at(dir);
	struct vfs_dirent *e;
	uint32_t   *head;
	vaddr		a;

	vfs_lock_alloc();
	a = vfs_object_alloc(VFS_DIRENT_BYTES(len));
	vfs_unlock_alloc();
	if (a == 0)
		return 0;
	if (dp->dir.next_cookie == UINT32_MAX)
		renumber_cookies(dp);
	e = vfs_dirent_at(a);
	e->dir = dir;
	e->inode = inode;
	e->prev = dp->dir.last;
	e->cookie = dp->dir.next_cookie++;
	e->len = (uint8_t) len;
	memcpy(e->name, name, len);

	/* From this store on the name exists, whatever happens. */
	if (dp->dir.last)
		VFS_PUBLISH(vfs_dirent_at(dp->dir.last)->next, a);
	else
		VFS_PUBLISH(dp->dir.first, a);
	VFS_SET(dp->dir.last, a);
	dp->dir.nentries++;
	vfs_sb->nentries++;

	head = vfs_hash_head(dir, name, len);
	e->hash_next = *head;
	VFS_SET(*head, a);
	hash_grow();
	return a;
}

void
vfs_entry_remove(vaddr entry)
{
	struct vfs_dirent *e = vfs_dirent_at(entry);
	struct vfs_inode *dp = vfs_inode_at(e->dir);
	uint32_t   *link = vfs_hash_head(e->dir, e->name, e->len);

	while (*link != entry)
		link = &vfs_dirent_at(*link)->hash_next;
	VFS_SET(*link, e->hash_next);

	if (e->prev)
		VFS_PUBLISH(vfs_dirent_at(e->prev)->next, e->next);
	else
		VFS_PUBLISH(dp->dir.first, e->next);
	if (e->next)
		VFS_SET(vfs_dirent_at(e->next)->prev, e->prev);
	else
		VFS_SET(dp->dir.last, e->prev);
	dp->dir.nentries--;
	dp->dir.changes++;
	vfs_sb->nentries--;

	vfs_lock_alloc();
	vfs_object_free(entry, VFS_DIRENT_BYTES(e->len));
	vfs_unlock_alloc();
}

/* The first entry of the directory with this cookie or a later one. */
static vaddr
entry_from(const struct vfs_inode *dp, uint64_t cookie, const struct vfs_dir_hint *hint)
{
	vaddr		a = dp->dir.first;

	/* The hint is alive as long as nothing was removed since. */
	if (hint->entry && hint->changes == dp->dir.changes && hint->cookie <= cookie)
		a = hint->entry;
	while (a && vfs_dirent_at(a)->cookie < cookie)
		a = vfs_dirent_at(a)->next;
	return a;
}

int
vfs_dir_read(vaddr dir, uint64_t cookie, struct vfs_dir_hint *hint,
			 vfs_emit emit, void *context)
{
	const struct vfs_inode *dp = vfs_inode_at(dir);
	vaddr		parent = dp->dir.parent ? dp->dir.parent : dir;

	vfs_lock_names();
	if ((cookie > 0 || emit(context, 1, dir >> 6, VFS_T_DIR, ".", 1)) &&
		(cookie > 1 || emit(context, 2, parent >> 6, VFS_T_DIR, "..", 2)))
	{
		vaddr		a = entry_from(dp, cookie, hint);

		for (; a; a = vfs_dirent_at(a)->next)
		{
			const struct vfs_dirent *e = vfs_dirent_at(a);

			hint->entry = a;
			hint->cookie = e->cookie;
			hint->changes = dp->dir.changes;
			if (e->inode &&
				!emit(context, (uint64_t) e->cookie + 1, e->inode >> 6,
					  vfs_inode_type(vfs_inode_at(e->inode)), e->name, e->len))
				break;
		}
	}
	vfs_unlock_names();
	return 0;
}

/* ---- the whole file system ---- */

static int
make_device(const char *name, uint32_t device, uint32_t mode)
{
	vaddr		a = vfs_inode_new(VFS_T_CHAR, mode);

	if (a == 0)
		return VFS_ENOSPC;
	vfs_inode_at(a)->device = device;
	vfs_inode_at(a)->nlink = 1;
	if (vfs_entry_add(vfs_sb->dev_root, name, (uint32_t) strlen(name), a) == 0)
		return VFS_ENOSPC;
	return 0;
}

static int
make_dev(void)
{
	static const struct
	{
		const char *name;
		uint32_t	device;
	}			devices[] =
	{
		{"null", VFS_DEV_NULL},
		{"zero", VFS_DEV_ZERO},
		{"random", VFS_DEV_RANDOM},
		{"urandom", VFS_DEV_RANDOM},
		{"stdin", VFS_DEV_STDIN},
		{"stdout", VFS_DEV_STDOUT},
		{"stderr", VFS_DEV_STDERR},
	};
	struct vfs_inode *dev;

	vfs_sb->dev_root = vfs_inode_new(VFS_T_DIR, 0755);
	if (vfs_sb->dev_root == 0 ||
		vfs_entry_add(vfs_sb->root, "dev", 3, vfs_sb->dev_root) == 0)
		return VFS_ENOSPC;
	dev = vfs_inode_at(vfs_sb->dev_root);
	dev->nlink = 1;
	dev->dir.parent = vfs_sb->root;
	for (size_t i = 0; i < sizeof(devices) / sizeof(devices[0]); i++)
	{
		int			err = make_device(devices[i].name, devices[i].device, 0666);

		if (err)
			return err;
	}
	return 0;
}

void
vfs_limit(vaddr files_end)
{
	vaddr		end = files_end > vfs_sb->bump ? files_end : vfs_sb->bump;

	if (vfs_sb->region.files_end != end)
		vfs_sb->region.files_end = end;
}

int
vfs_format(const struct vfs_region *region)
{
	struct vfs_super *sb = vfs_ptr(region->files_start);
	uint32_t	block = region->files_start >> VFS_BLOCK_SHIFT;
	uint32_t	bounds = region->base_start | region->base_end |
		region->files_start | region->files_end;
	int			err;

	if (bounds % VFS_BLOCK_SIZE || region->files_start == 0 ||
		region->files_start >= region->files_end ||
		region->base_start > region->base_end)
		return VFS_EINVAL;
	memset(sb, 0, sizeof(*sb));
	vfs_sb = sb;
	sb->version = VFS_VERSION;
	sb->region = *region;
	sb->base_next = region->base_start;
	sb->bump = region->files_start + VFS_BLOCK_SIZE;
	if (!vfs_zone_ready(block >> VFS_ZONE_SHIFT))
		goto fail;
	*vfs_counter(block) = VFS_CNT_RESERVED;
	sb->granted++;
	sb->hash[0] = hash_block();
	if (sb->hash[0] == 0)
		goto fail;
	sb->nbuckets = VFS_HASH_PER_BLOCK;
	sb->root = vfs_inode_new(VFS_T_DIR, 0755);
	if (sb->root == 0)
		goto fail;
	vfs_inode_at(sb->root)->nlink = 1;
	err = make_dev();
	if (err)
		goto fail;
	VFS_PUBLISH(sb->magic, VFS_MAGIC);
	return 0;

fail:
	vfs_sb = NULL;
	return VFS_ENOSPC;
}

int
vfs_attach(vaddr files_start)
{
	struct vfs_super *sb = vfs_ptr(files_start);

	if (sb->magic != VFS_MAGIC || sb->version != VFS_VERSION ||
		sb->region.files_start != files_start)
		return VFS_EINVAL;
	vfs_sb = sb;
	return 0;
}

void
vfs_stats(struct vfs_stats *out)
{
	uint32_t	reserved = 1;	/* the super block */

	vfs_lock_alloc();
	for (int i = 0; i < VFS_ZONES; i++)
		reserved += vfs_sb->counters[i] != 0;
	for (int i = 0; i < VFS_HASH_BLOCKS; i++)
		reserved += vfs_sb->hash[i] != 0;
	out->inodes = vfs_sb->ninodes;
	out->blocks_free = vfs_sb->nfree;
	out->blocks_used = vfs_sb->granted - vfs_sb->nfree;
	out->base_blocks = (vfs_sb->base_next - vfs_sb->region.base_start) >> VFS_BLOCK_SHIFT;
	out->metadata_bytes = (reserved + vfs_sb->nslabs) << VFS_BLOCK_SHIFT;
	out->object_bytes = vfs_sb->object_bytes;
	vfs_unlock_alloc();
}
