/*
 * vfs_import.c
 *	  Filling BASE when an image is built.
 *
 * One process, before anything else uses the file system.  The table of what
 * is in BASE lives on the heap and is dropped at the end.
 */
#include <stdlib.h>
#include <string.h>

#include "vfs_name.h"

/* Open addressing, block numbers by content; size a power of two. */
static uint32_t *seen;
static uint32_t seen_size;
static uint32_t seen_used;

/* Two multiply-rotate lanes over 64-bit words: quick and well spread. */
static uint32_t
hash_block(const unsigned char *block)
{
	uint64_t	a = 0x9E3779B97F4A7C15u;
	uint64_t	b = 0xC2B2AE3D27D4EB4Fu;

	for (uint32_t i = 0; i < VFS_BLOCK_SIZE; i += 16)
	{
		uint64_t	x;
		uint64_t	y;

		memcpy(&x, block + i, 8);
		memcpy(&y, block + i + 8, 8);
		a = (a ^ x) * 0x9FB21C651E98DF25u;
		b = (b ^ y) * 0xD6E8FEB86659FD93u;
		a ^= a >> 29;
		b ^= b >> 31;
	}
	a ^= b * 0x9E3779B97F4A7C15u;
	return (uint32_t) (a ^ a >> 32);
}

static bool
is_zero(const unsigned char *block)
{
	return block[0] == 0 && memcmp(block, block + 1, VFS_BLOCK_SIZE - 1) == 0;
}

/* Where the block with this content is in the table, or would be. */
static uint32_t *
find_seen(const unsigned char *block)
{
	uint32_t	i = hash_block(block) & (seen_size - 1);

	while (seen[i] && memcmp(vfs_block_ptr(seen[i]), block, VFS_BLOCK_SIZE) != 0)
		i = (i + 1) & (seen_size - 1);
	return &seen[i];
}

static int
grow_seen(void)
{
	uint32_t   *old = seen;
	uint32_t	old_size = seen_size;

	seen = calloc((size_t) old_size * 2, sizeof(*seen));
	if (seen == NULL)
	{
		seen = old;
		return VFS_ENOMEM;
	}
	seen_size = old_size * 2;
	for (uint32_t i = 0; i < old_size; i++)
		if (old[i])
			*find_seen(vfs_block_ptr(old[i])) = old[i];
	free(old);
	return 0;
}

int
vfs_import_begin(void)
{
	if (vfs_sb == NULL)
		return VFS_ENOSYS;
	if (seen)
		return VFS_EBUSY;
	seen_size = 4096;
	seen_used = 0;
	seen = calloc(seen_size, sizeof(*seen));
	if (seen == NULL)
		return VFS_ENOMEM;

	/* An earlier import's blocks can be shared as well. */
	for (vaddr a = vfs_sb->region.base_start; a < vfs_sb->base_next; a += VFS_BLOCK_SIZE)
	{
		if (seen_used * 2 >= seen_size && grow_seen())
		{
			vfs_import_end();
			return VFS_ENOMEM;
		}
		*find_seen(vfs_ptr(a)) = a >> VFS_BLOCK_SHIFT;
		seen_used++;
	}
	return 0;
}

void
vfs_import_end(void)
{
	free(seen);
	seen = NULL;
}

/* The BASE block with this content, made if need be; 0 for zeros. */
static int
base_block(const unsigned char *data, uint32_t *block)
{
	uint32_t   *where;
	int			err;

	*block = 0;
	if (is_zero(data))
		return 0;
	if (seen_used * 2 >= seen_size && (err = grow_seen()) != 0)
		return err;
	where = find_seen(data);
	if (*where == 0)
	{
		if (vfs_sb->base_next >= vfs_sb->region.base_end)
			return VFS_ENOSPC;
		memcpy(vfs_ptr(vfs_sb->base_next), data, VFS_BLOCK_SIZE);
		*where = vfs_sb->base_next >> VFS_BLOCK_SHIFT;
		vfs_sb->base_next += VFS_BLOCK_SIZE;
		seen_used++;
	}
	*block = *where;
	return 0;
}

static int
make_parents(const char *path)
{
	char		parent[VFS_PATH_MAX];
	size_t		len = strlen(path);

	if (len >= sizeof(parent))
		return VFS_ENAMETOOLONG;
	for (size_t i = 1; i < len; i++)
	{
		int			err;

		if (path[i] != '/')
			continue;
		memcpy(parent, path, i);
		parent[i] = '\0';
		err = vfs_path_mkdir(0, parent);
		if (err && err != VFS_EEXIST)
			return err;
	}
	return 0;
}

int
vfs_import_dir(const char *path)
{
	int			err;

	if (vfs_sb == NULL)
		return VFS_ENOSYS;
	err = make_parents(path);
	if (err == 0)
		err = vfs_path_mkdir(0, path);
	return err == VFS_EEXIST ? 0 : err;
}

/* Let the (empty) file consist of these bytes' BASE blocks. */
static int
fill(struct vfs_inode *ip, const unsigned char *data, uint32_t len)
{
	unsigned char tail[VFS_BLOCK_SIZE];

	for (uint32_t at = 0; at < len; at += VFS_BLOCK_SIZE)
	{
		const unsigned char *from = data + at;
		uint32_t	block;
		int			err;

		if (len - at < VFS_BLOCK_SIZE)
		{
			memset(tail, 0, sizeof(tail));
			memcpy(tail, from, len - at);
			from = tail;
		}
		err = base_block(from, &block);
		if (err)
			return err;
		if (block)
		{
			uint32_t   *slot = vfs_list_slot_create(ip, at >> VFS_BLOCK_SHIFT);

			if (slot == NULL)
				return VFS_ENOSPC;
			VFS_PUBLISH(*slot, block);
		}
		ip->size = at + (len - at < VFS_BLOCK_SIZE ? len - at : VFS_BLOCK_SIZE);
	}
	return 0;
}

int
vfs_import_file(const char *path, const void *data, uint32_t len, uint32_t mode)
{
	struct vfs_inode *ip;
	vaddr		inode;
	int			err;

	if (seen == NULL)
		return VFS_EINVAL;
	err = make_parents(path);
	if (err == 0)
		err = vfs_path_open(0, path, VFS_O_CREAT | VFS_O_TRUNC, true,
							VFS_ACC_WRITE, mode, &inode);
	if (err)
		return err;
	ip = vfs_inode_at(inode);
	if (vfs_inode_type(ip) == VFS_T_FILE)
	{
		vfs_lock_alloc();
		err = fill(ip, data, len);
		vfs_unlock_alloc();
	}
	else
		err = VFS_EINVAL;
	vfs_inode_close(inode);
	return err;
}

/* Move one file's FILES blocks. */
static int
rebase_file(struct vfs_inode *ip)
{
	uint32_t	first;
	uint32_t	count;
	uint32_t   *slots;

	for (uint32_t n = 0; slots = vfs_list_array(ip, n, &first, &count), count; n++)
	{
		for (uint32_t i = 0; slots && i < count; i++)
		{
			uint32_t	old = slots[i];
			uint64_t	start = (uint64_t) (first + i) << VFS_BLOCK_SHIFT;
			uint32_t	block;
			int			err;

			if (old == 0 || vfs_is_base(old))
				continue;

			/* What lies past the end must not keep equal blocks apart. */
			if (ip->size - start < VFS_BLOCK_SIZE && *vfs_counter(old) == 1)
				memset(vfs_block_ptr(old) + (ip->size - start), 0,
					   VFS_BLOCK_SIZE - (size_t) (ip->size - start));
			err = base_block(vfs_block_ptr(old), &block);
			if (err)
				return err;
			VFS_PUBLISH(slots[i], block);
			vfs_block_unref(old);
		}
	}
	return 0;
}

static int
rebase_dir(vaddr dir)
{
	for (vaddr a = vfs_inode_at(dir)->dir.first; a; a = vfs_dirent_at(a)->next)
	{
		vaddr		inode = vfs_dirent_at(a)->inode;
		struct vfs_inode *ip = vfs_inode_at(inode);
		int			err = 0;

		if (vfs_inode_type(ip) == VFS_T_DIR)
			err = rebase_dir(inode);
		else if (vfs_inode_type(ip) == VFS_T_FILE ||
				 vfs_inode_type(ip) == VFS_T_SYMLINK)
			err = rebase_file(ip);
		if (err)
			return err;
	}
	return 0;
}

int
vfs_import_rebase(void)
{
	int			err;

	if (seen == NULL)
		return VFS_EINVAL;
	vfs_lock_names();
	vfs_lock_alloc();
	err = rebase_dir(vfs_sb->root);
	vfs_free_flush();
	vfs_unlock_alloc();
	vfs_unlock_names();
	return err;
}

vaddr
vfs_base_used_end(void)
{
	return vfs_sb->base_next;
}
