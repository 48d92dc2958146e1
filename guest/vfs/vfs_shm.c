/*
 * vfs_shm.c
 *	  POSIX shared memory objects: one run of blocks each.
 *
 * An object is an inode of type "unknown" named in a directory that no path
 * leads to.  It is gone after vfs_recover, as shared memory is after a restart.
 */
#include <stdlib.h>
#include <string.h>

#include "vfs_fd.h"

/* This process's mappings, each counted as an open of its inode. */
struct mapping
{
	struct mapping *next;
	vaddr		address;
	vaddr		inode;
};

static struct mapping *mappings;

static int
check_name(const char **name)
{
	size_t		len;

	if (vfs_sb == NULL)
		return VFS_ENOSYS;
	if (**name == '/')
		++*name;
	len = strlen(*name);
	if (len == 0 || strchr(*name, '/'))
		return VFS_EINVAL;
	return len > VFS_NAME_MAX ? VFS_ENAMETOOLONG : 0;
}

static int
open_object(const char *name, uint32_t oflags, vaddr *inode)
{
	uint32_t	len = (uint32_t) strlen(name);
	vaddr		entry = vfs_entry_find(vfs_sb->shm_root, name, len);
	vaddr		a;

	if (entry)
	{
		if ((oflags & VFS_O_CREAT) && (oflags & VFS_O_EXCL))
			return VFS_EEXIST;
		a = vfs_dirent_at(entry)->inode;
	}
	else
	{
		if (!(oflags & VFS_O_CREAT))
			return VFS_ENOENT;
		a = vfs_inode_new(VFS_T_UNKNOWN, 0600);
		if (a == 0)
			return VFS_ENOSPC;
		vfs_inode_at(a)->nlink = 1;
		if (vfs_entry_add(vfs_sb->shm_root, name, len, a) == 0)
		{
			vfs_inode_at(a)->nlink = 0;
			vfs_inode_reap(a);
			return VFS_ENOSPC;
		}
	}
	vfs_inode_at(a)->opens++;
	*inode = a;
	return 0;
}

int
vfs_shm_open(const char *name, int oflag)
{
	/* wasi-libc keeps WASI's oflags from bit 12 on. */
	uint32_t	oflags = (uint32_t) oflag >> 12 & 0xf;
	struct vfs_file *f;
	vaddr		inode;
	int			err = check_name(&name);
	int			fd;

	if (err)
		return -err;
	fd = vfs_fd_new(VFS_FK_FILE, &f);
	if (fd < 0)
		return fd;
	vfs_lock_names();
	err = open_object(name, oflags, &inode);
	vfs_unlock_names();
	if (err)
	{
		vfs_fd_close(fd, &(int) {0});
		return -err;
	}
	f->inode = inode;
	f->acc = VFS_ACC_READ | VFS_ACC_WRITE;
	return fd;
}

int
vfs_shm_unlink(const char *name)
{
	int			err = check_name(&name);
	vaddr		entry;

	if (err)
		return err;
	vfs_lock_names();
	entry = vfs_entry_find(vfs_sb->shm_root, name, (uint32_t) strlen(name));
	if (entry)
	{
		vaddr		inode = vfs_dirent_at(entry)->inode;

		vfs_entry_remove(entry);
		vfs_inode_at(inode)->nlink--;
		vfs_inode_reap(inode);
	}
	vfs_unlock_names();
	return entry ? 0 : VFS_ENOENT;
}

/*
 * An object gets its memory once.  Growing would have to move it, which others
 * may have mapped; PostgreSQL never does that.
 */
int
vfs_shm_resize(struct vfs_inode *ip, uint64_t size)
{
	uint64_t	nblocks = (size + VFS_BLOCK_SIZE - 1) >> VFS_BLOCK_SHIFT;
	uint32_t	first;
	int			err = 0;

	if (nblocks >= 1u << (32 - VFS_BLOCK_SHIFT))
		return VFS_ENOSPC;
	vfs_lock_alloc();
	if (ip->shm.nblocks == 0 && nblocks > 0)
	{
		first = vfs_run_alloc((uint32_t) nblocks);
		if (first)
		{
			ip->shm.first_block = first;
			VFS_PUBLISH(ip->shm.nblocks, (uint32_t) nblocks);
		}
		else
			err = VFS_ENOSPC;
	}
	else if (nblocks > ip->shm.nblocks)
		err = VFS_ENOTSUP;
	if (err == 0)
		ip->size = size;
	vfs_unlock_alloc();
	return err;
}

vaddr
vfs_shm_map(int fd, uint32_t size)
{
	struct vfs_file *f = vfs_fd_get(fd);
	struct vfs_inode *ip;
	struct mapping *m;

	if (f == NULL || f->kind != VFS_FK_FILE)
		return 0;
	ip = vfs_inode_at(f->inode);
	if (vfs_inode_type(ip) != VFS_T_UNKNOWN || ip->shm.nblocks == 0 ||
		size > (uint64_t) ip->shm.nblocks << VFS_BLOCK_SHIFT)
		return 0;
	m = malloc(sizeof(*m));
	if (m == NULL)
		return 0;
	m->address = ip->shm.first_block << VFS_BLOCK_SHIFT;
	m->inode = f->inode;
	m->next = mappings;
	mappings = m;
	vfs_inode_open(f->inode);
	return m->address;
}

int
vfs_shm_unmap(vaddr addr)
{
	for (struct mapping **link = &mappings; *link; link = &(*link)->next)
	{
		struct mapping *m = *link;

		if (m->address != addr)
			continue;
		*link = m->next;
		vfs_inode_close(m->inode);
		free(m);
		return 0;
	}
	return VFS_EINVAL;
}

void
vfs_shm_after_fork(void)
{
	for (struct mapping *m = mappings; m; m = m->next)
		vfs_inode_open(m->inode);
}

void
vfs_shm_unmap_all(void)
{
	while (mappings)
		vfs_shm_unmap(mappings->address);
}
