/*
 * vfs_path.c
 *	  Path walks, the operations on paths, and the mount table.
 */
#include <string.h>

#include "vfs_name.h"

struct vfs_host_ref vfs_host_ref[2];

/*
 * Where a walk ended.  With an empty name (the path was "/", "." or ended in
 * "..") there is an inode but no entry.
 */
struct walk
{
	vaddr		parent;			/* directory of the last component */
	vaddr		entry;			/* its entry, 0 if there is none */
	vaddr		inode;			/* what it names, 0 if there is none */
	const char *name;			/* last component, in the path or in buf */
	uint32_t	len;
	bool		wants_dir;		/* trailing slash */
	char		buf[VFS_PATH_MAX];	/* path after the latest symbolic link */
};

/* ---- mounts ---- */

static struct
{
	vaddr		inode;			/* directory mounted over */
	int			dirfd;
}			mounts[VFS_MOUNT_MAX];
static int	nmounts;

static int
find_mount(vaddr inode)
{
	for (int i = 0; i < nmounts; i++)
		if (mounts[i].inode == inode)
			return i;
	return -1;
}

/* Is there a mount at or below this directory? */
static bool
leads_to_mount(vaddr dir)
{
	for (int i = 0; i < nmounts; i++)
		for (vaddr a = mounts[i].inode; a; a = vfs_inode_at(a)->dir.parent)
			if (a == dir)
				return true;
	return false;
}

/* The length of the path's first component; *path is moved to it. */
static uint32_t
next_component(const char **path)
{
	while (**path == '/')
		++*path;
	return (uint32_t) strcspn(*path, "/");
}

/* Under a mount these names stay ours: /dev, and the way to other mounts. */
static bool
is_kept_here(vaddr dir, const char *name, uint32_t len)
{
	vaddr		entry = vfs_entry_find(dir, name, len);
	vaddr		inode = entry ? vfs_dirent_at(entry)->inode : 0;

	return inode && (inode == vfs_sb->dev_root || leads_to_mount(inode));
}

/*
 * The walk is at a mounted directory with `path` to go.  Returns NULL when the
 * rest, normalized into ref, is the host's business, otherwise the path from
 * which to go on in *dir.
 */
static const char *
leave_for_host(int mount, vaddr *dir, const char *path, struct vfs_host_ref *ref)
{
	vaddr		root = *dir;
	uint32_t	out = 0;
	uint32_t	len = next_component(&path);

	for (; len > 0; path += len, len = next_component(&path))
	{
		if (out == 0 && is_kept_here(root, path, len))
			return path;
		if (len == 1 && path[0] == '.')
			continue;
		if (len == 2 && path[0] == '.' && path[1] == '.')
		{
			if (out == 0)
			{
				if (vfs_inode_at(root)->dir.parent == 0)
					continue;	/* "/.." is "/" */
				*dir = vfs_inode_at(root)->dir.parent;
				return path + len;
			}
			while (out > 0 && ref->path[--out] != '/')
				;
			continue;
		}
		if (out > 0)
			ref->path[out++] = '/';
		memcpy(ref->path + out, path, len);
		out += len;
	}
	if (out == 0)
		ref->path[out++] = '.';
	else if (path[-1] == '/')
		ref->path[out++] = '/';
	ref->path[out] = '\0';
	ref->dirfd = mounts[mount].dirfd;
	return NULL;
}

/* ---- walking ---- */

/* Replace the link by its target: buf = target, slash, what follows. */
static int
expand_link(vaddr link, const char *rest, struct walk *w)
{
	struct vfs_inode *ip = vfs_inode_at(link);
	size_t		rest_len = strlen(rest);
	uint32_t	len = (uint32_t) ip->size;

	if (len + rest_len + 1 > sizeof(w->buf))
		return VFS_ENAMETOOLONG;
	memmove(w->buf + len, rest, rest_len + 1);
	vfs_data_read(ip, w->buf, len, 0);
	return len == 0 ? VFS_ENOENT : 0;
}

/*
 * Walk as far as there is a directory to look in: a missing last component is
 * no error, w->inode is then 0.  `ref` receives the host's part of the path.
 */
static int
walk(vaddr dir, const char *path, bool follow, struct walk *w,
	 struct vfs_host_ref *ref)
{
	vaddr		cur = dir && path[0] != '/' ? dir : vfs_sb->root;
	int			links = 0;

	if (path[0] == '\0')
		return VFS_ENOENT;
	if (strlen(path) >= VFS_PATH_MAX)
		return VFS_ENAMETOOLONG;
	memset(w, 0, offsetof(struct walk, buf));
	for (;;)
	{
		int			mount = nmounts ? find_mount(cur) : -1;
		uint32_t	len;
		const char *end;
		bool		is_last;

		if (mount >= 0)
		{
			vaddr		mounted = cur;

			path = leave_for_host(mount, &cur, path, ref);
			if (path == NULL)
				return VFS_EHOST;
			if (cur != mounted)
				continue;		/* left through "..", maybe into another */
		}
		len = next_component(&path);
		if (len == 0)
		{
			w->inode = cur;
			w->wants_dir = true;
			return 0;
		}
		end = path + len;
		is_last = end[strspn(end, "/")] == '\0';
		if (vfs_inode_type(vfs_inode_at(cur)) != VFS_T_DIR)
			return VFS_ENOTDIR;
		if (len > VFS_NAME_MAX)
			return VFS_ENAMETOOLONG;
		if (path[0] == '.' && len == 1)
		{
			path = end;
			continue;
		}
		if (path[0] == '.' && path[1] == '.' && len == 2)
		{
			if (vfs_inode_at(cur)->dir.parent)
				cur = vfs_inode_at(cur)->dir.parent;
			path = end;
			continue;
		}

		w->parent = cur;
		w->name = path;
		w->len = len;
		w->wants_dir = *end == '/';
		w->entry = vfs_entry_find(cur, path, len);
		w->inode = w->entry ? vfs_dirent_at(w->entry)->inode : 0;
		if (w->inode == 0)
			return is_last ? 0 : VFS_ENOENT;
		if (vfs_inode_type(vfs_inode_at(w->inode)) == VFS_T_SYMLINK &&
			(!is_last || follow || w->wants_dir))
		{
			int			err;

			if (++links > VFS_SYMLINK_MAX)
				return VFS_ELOOP;
			err = expand_link(w->inode, end, w);
			if (err)
				return err;
			path = w->buf;
			if (path[0] == '/')
				cur = vfs_sb->root;
			w->len = 0;
			w->entry = 0;
			continue;
		}
		if (is_last && !(nmounts && find_mount(w->inode) >= 0))
		{
			if (w->wants_dir &&
				vfs_inode_type(vfs_inode_at(w->inode)) != VFS_T_DIR)
				return VFS_ENOTDIR;
			return 0;
		}
		cur = w->inode;
		path = end;
		w->len = 0;
		w->entry = 0;
	}
}

/* A walk to something that must exist. */
static int
walk_existing(vaddr dir, const char *path, bool follow, struct walk *w)
{
	int			err = walk(dir, path, follow, w, &vfs_host_ref[0]);

	return err ? err : w->inode ? 0 : VFS_ENOENT;
}

/* May the walk's last component be created? */
static int
check_new(const struct walk *w)
{
	if (w->inode)
		return VFS_EEXIST;
	if (vfs_inode_at(w->parent)->nlink == 0)
		return VFS_ENOENT;		/* the directory was removed */
	return 0;
}

static unsigned
walk_type(const struct walk *w)
{
	return vfs_inode_type(vfs_inode_at(w->inode));
}

/* Name a new inode at the end of the walk, or free it. */
static int
add_name(const struct walk *w, vaddr inode)
{
	struct vfs_inode *ip = vfs_inode_at(inode);

	ip->nlink++;
	if (vfs_entry_add(w->parent, w->name, w->len, inode) == 0)
	{
		ip->nlink--;
		vfs_inode_reap(inode);
		return VFS_ENOSPC;
	}
	vfs_inode_at(w->parent)->mtime_ns = ip->mtime_ns;
	return 0;
}

/* Take one name off an inode whose entry is gone. */
static void
drop_name(vaddr inode)
{
	VFS_SET(vfs_inode_at(inode)->nlink, vfs_inode_at(inode)->nlink - 1);
	vfs_inode_reap(inode);
}

/* ---- operations ---- */

/* The common frame: no file system, no operation; names locked around it. */
#define LOCKED(call) \
	do { \
		int			err_; \
		if (vfs_sb == NULL) \
			return VFS_ENOSYS; \
		vfs_lock_names(); \
		err_ = (call); \
		vfs_unlock_names(); \
		return err_; \
	} while (0)

static int
open_locked(vaddr dir, const char *path, uint32_t oflags, bool follow,
			uint32_t acc, uint32_t mode, vaddr *inode)
{
	struct walk w;
	bool		exclusive = (oflags & VFS_O_CREAT) && (oflags & VFS_O_EXCL);
	int			err = walk(dir, path, follow && !exclusive, &w, &vfs_host_ref[0]);

	if (err)
		return err;
	if (w.inode == 0)
	{
		if (!(oflags & VFS_O_CREAT))
			return VFS_ENOENT;
		if (w.wants_dir)
			return VFS_EISDIR;
		if (oflags & VFS_O_DIRECTORY)
			return VFS_EINVAL;
		err = check_new(&w);
		if (err)
			return err;
		w.inode = vfs_inode_new(VFS_T_FILE, mode);
		if (w.inode == 0)
			return VFS_ENOSPC;
		err = add_name(&w, w.inode);
		if (err)
			return err;
	}
	else
	{
		if (exclusive)
			return VFS_EEXIST;
		switch (walk_type(&w))
		{
			case VFS_T_SYMLINK:
				return VFS_ELOOP;
			case VFS_T_DIR:
				if ((acc & VFS_ACC_WRITE) || (oflags & (VFS_O_TRUNC | VFS_O_CREAT)))
					return VFS_EISDIR;
				break;
			default:
				if (oflags & VFS_O_DIRECTORY)
					return VFS_ENOTDIR;
		}
		if ((oflags & VFS_O_TRUNC) && walk_type(&w) == VFS_T_FILE)
		{
			vfs_data_resize(vfs_inode_at(w.inode), 0);
			vfs_inode_at(w.inode)->mtime_ns = vfs_clock_ns();
		}
	}
	vfs_inode_at(w.inode)->opens++;
	*inode = w.inode;
	return 0;
}

int
vfs_path_open(vaddr dir, const char *path, uint32_t oflags, bool follow,
			  uint32_t acc, uint32_t mode, vaddr *inode)
{
	LOCKED(open_locked(dir, path, oflags, follow, acc, mode, inode));
}

static int
stat_locked(vaddr dir, const char *path, bool follow, struct vfs_stat *st)
{
	struct walk w;
	int			err = walk_existing(dir, path, follow, &w);

	if (err == 0)
		vfs_inode_stat(w.inode, st);
	return err;
}

int
vfs_path_stat(vaddr dir, const char *path, bool follow, struct vfs_stat *st)
{
	LOCKED(stat_locked(dir, path, follow, st));
}

static int
mkdir_locked(vaddr dir, const char *path)
{
	struct walk w;
	int			err = walk(dir, path, false, &w, &vfs_host_ref[0]);
	vaddr		inode;

	if (err == 0)
		err = check_new(&w);
	if (err)
		return err;
	inode = vfs_inode_new(VFS_T_DIR, 0700);
	if (inode == 0)
		return VFS_ENOSPC;
	vfs_inode_at(inode)->dir.parent = w.parent;
	return add_name(&w, inode);
}

int
vfs_path_mkdir(vaddr dir, const char *path)
{
	LOCKED(mkdir_locked(dir, path));
}

/* Take the walk's entry away. */
static void
remove_walked(const struct walk *w)
{
	vfs_entry_remove(w->entry);
	vfs_inode_at(w->parent)->mtime_ns = vfs_clock_ns();
	drop_name(w->inode);
}

/* The host must not be asked to remove or move the mounted directory itself. */
static bool
is_mount_itself(const struct vfs_host_ref *ref)
{
	return ref->path[0] == '.' && ref->path[1] == '\0';
}

static int
rmdir_locked(vaddr dir, const char *path)
{
	struct walk w;
	int			err = walk_existing(dir, path, false, &w);

	if (err == VFS_EHOST && is_mount_itself(&vfs_host_ref[0]))
		return VFS_EBUSY;
	if (err)
		return err;
	if (w.len == 0)
		return w.inode == vfs_sb->root ? VFS_EBUSY : VFS_EINVAL;
	if (walk_type(&w) != VFS_T_DIR)
		return VFS_ENOTDIR;
	if (vfs_inode_at(w.inode)->dir.nentries > 0)
		return VFS_ENOTEMPTY;
	remove_walked(&w);
	return 0;
}

int
vfs_path_rmdir(vaddr dir, const char *path)
{
	LOCKED(rmdir_locked(dir, path));
}

static int
unlink_locked(vaddr dir, const char *path)
{
	struct walk w;
	int			err = walk_existing(dir, path, false, &w);

	if (err)
		return err;
	if (walk_type(&w) == VFS_T_DIR)
		return VFS_EISDIR;
	remove_walked(&w);
	return 0;
}

int
vfs_path_unlink(vaddr dir, const char *path)
{
	LOCKED(unlink_locked(dir, path));
}

/* Is `dir` the directory `top` or somewhere below it? */
static bool
is_below(vaddr dir, vaddr top)
{
	for (; dir; dir = vfs_inode_at(dir)->dir.parent)
		if (dir == top)
			return true;
	return false;
}

/*
 * Rename.  The entry `to` is made first if need be, naming nothing.  Then the
 * intention is noted, and the one store of to->inode is the rename; what
 * follows vfs_recover would do as well: take `from` away and forget the
 * intention.
 */
static void
rename_walked(const struct walk *from, vaddr to)
{
	struct vfs_dirent *e = vfs_dirent_at(to);
	vaddr		replaced = e->inode;
	uint64_t	now = vfs_clock_ns();

	VFS_PUBLISH(vfs_sb->rename_to, to);
	VFS_PUBLISH(vfs_sb->rename_from, from->entry);
	VFS_PUBLISH(e->inode, from->inode);
	if (walk_type(from) == VFS_T_DIR)
		VFS_SET(vfs_inode_at(from->inode)->dir.parent, e->dir);
	vfs_entry_remove(from->entry);
	VFS_PUBLISH(vfs_sb->rename_from, 0);
	if (replaced)
		drop_name(replaced);
	vfs_inode_at(from->parent)->mtime_ns = now;
	vfs_inode_at(e->dir)->mtime_ns = now;
}

static int
rename_locked(vaddr from_dir, const char *from, vaddr to_dir, const char *to)
{
	struct walk f;
	struct walk t;
	int			err = walk(from_dir, from, false, &f, &vfs_host_ref[0]);
	int			err_to = walk(to_dir, to, false, &t, &vfs_host_ref[1]);
	bool		is_dir;

	if (err == VFS_EHOST && err_to == VFS_EHOST)
		return is_mount_itself(&vfs_host_ref[0]) ||
			is_mount_itself(&vfs_host_ref[1]) ? VFS_EBUSY : VFS_EHOST;
	if ((err == VFS_EHOST || err_to == VFS_EHOST) &&
		(err == 0 || err_to == 0))
		return VFS_EXDEV;
	if (err && err != VFS_EHOST)
		return err;
	if (err_to)
		return err_to;
	if (f.inode == 0)
		return VFS_ENOENT;
	if (f.len == 0 || t.len == 0)
		return VFS_EBUSY;
	is_dir = walk_type(&f) == VFS_T_DIR;
	if (!is_dir && t.wants_dir)
		return VFS_ENOTDIR;
	if (is_dir && is_below(t.parent, f.inode))
		return VFS_EINVAL;
	if (is_dir && leads_to_mount(f.inode))
		return VFS_EBUSY;
	if (t.inode == f.inode)
		return 0;
	if (t.inode == 0)
	{
		err = check_new(&t);
		if (err)
			return err;
		t.entry = vfs_entry_add(t.parent, t.name, t.len, 0);
		if (t.entry == 0)
			return VFS_ENOSPC;
	}
	else
	{
		bool		over_dir = walk_type(&t) == VFS_T_DIR;

		if (is_dir && !over_dir)
			return VFS_ENOTDIR;
		if (!is_dir && over_dir)
			return VFS_EISDIR;
		if (over_dir && vfs_inode_at(t.inode)->dir.nentries > 0)
			return VFS_ENOTEMPTY;
	}
	rename_walked(&f, t.entry);
	return 0;
}

int
vfs_path_rename(vaddr from_dir, const char *from, vaddr to_dir, const char *to)
{
	LOCKED(rename_locked(from_dir, from, to_dir, to));
}

static int
link_locked(vaddr from_dir, const char *from, bool follow, vaddr to_dir,
			const char *to)
{
	struct walk f;
	struct walk t;
	int			err = walk(from_dir, from, follow, &f, &vfs_host_ref[0]);
	int			err_to = walk(to_dir, to, false, &t, &vfs_host_ref[1]);

	if (err == VFS_EHOST && err_to == VFS_EHOST)
		return VFS_EHOST;
	if (err == VFS_EHOST || err_to == VFS_EHOST)
		return VFS_EXDEV;
	if (err || err_to)
		return err ? err : err_to;
	if (f.inode == 0)
		return VFS_ENOENT;
	if (walk_type(&f) == VFS_T_DIR)
		return VFS_EPERM;
	err = check_new(&t);
	if (err)
		return err;
	if (t.wants_dir)
		return VFS_ENOENT;
	if (vfs_inode_at(f.inode)->nlink == UINT16_MAX)
		return VFS_EMLINK;
	return add_name(&t, f.inode);
}

int
vfs_path_link(vaddr from_dir, const char *from, bool follow, vaddr to_dir,
			  const char *to)
{
	LOCKED(link_locked(from_dir, from, follow, to_dir, to));
}

static int
symlink_locked(const char *target, vaddr dir, const char *path)
{
	struct walk w;
	int			err = walk(dir, path, false, &w, &vfs_host_ref[0]);
	uint32_t	len = (uint32_t) strlen(target);
	uint32_t	done;
	uint64_t	start = 0;
	vaddr		inode;

	if (err == 0)
		err = check_new(&w);
	if (err)
		return err;
	if (len == 0 || w.wants_dir)
		return VFS_ENOENT;
	if (len >= VFS_PATH_MAX)
		return VFS_ENAMETOOLONG;
	inode = vfs_inode_new(VFS_T_SYMLINK, 0777);
	if (inode == 0)
		return VFS_ENOSPC;
	err = vfs_data_write(vfs_inode_at(inode), target, len, &start, false, &done);
	if (err)
	{
		vfs_inode_reap(inode);
		return err;
	}
	return add_name(&w, inode);
}

int
vfs_path_symlink(const char *target, vaddr dir, const char *path)
{
	LOCKED(symlink_locked(target, dir, path));
}

static int
readlink_locked(vaddr dir, const char *path, char *buf, uint32_t len,
				uint32_t *done)
{
	struct walk w;
	int			err = walk_existing(dir, path, false, &w);

	if (err)
		return err;
	if (walk_type(&w) != VFS_T_SYMLINK)
		return VFS_EINVAL;
	*done = vfs_data_read(vfs_inode_at(w.inode), buf, len, 0);
	return 0;
}

int
vfs_path_readlink(vaddr dir, const char *path, char *buf, uint32_t len,
				  uint32_t *done)
{
	LOCKED(readlink_locked(dir, path, buf, len, done));
}

static int
set_mtime_locked(vaddr dir, const char *path, bool follow, uint64_t mtime_ns)
{
	struct walk w;
	int			err = walk_existing(dir, path, follow, &w);

	if (err == 0)
		vfs_inode_at(w.inode)->mtime_ns = mtime_ns;
	return err;
}

int
vfs_path_set_mtime(vaddr dir, const char *path, bool follow, uint64_t mtime_ns)
{
	LOCKED(set_mtime_locked(dir, path, follow, mtime_ns));
}

static int
set_mode_locked(vaddr dir, const char *path, uint32_t mode)
{
	struct walk w;
	int			err = walk_existing(dir, path, true, &w);

	if (err == 0)
		VFS_SET(vfs_inode_at(w.inode)->mode, (uint16_t)
				((vfs_inode_at(w.inode)->mode & ~07777) | (mode & 07777)));
	return err;
}

int
vfs_path_set_mode(vaddr dir, const char *path, uint32_t mode)
{
	LOCKED(set_mode_locked(dir, path, mode));
}

int
vfs_chmod(const char *path, uint32_t mode)
{
	int			err = vfs_path_set_mode(0, path, mode);

	return err == VFS_EHOST ? VFS_ENOTSUP : err;
}

int
vfs_stat_mode(const char *path, bool follow)
{
	struct vfs_stat st;
	int			err = vfs_path_stat(0, path, follow, &st);

	return err == 0 ? st.mode : err == VFS_EHOST ? -VFS_ENOTSUP : -err;
}

/* ---- mounting ---- */

static int
mount_locked(const char *path, int host_dirfd)
{
	struct walk w;
	int			err = walk_existing(0, path, true, &w);

	if (err)
		return err == VFS_EHOST ? VFS_EBUSY : err;
	if (walk_type(&w) != VFS_T_DIR)
		return VFS_ENOTDIR;
	mounts[nmounts].inode = w.inode;
	mounts[nmounts].dirfd = host_dirfd;
	nmounts++;
	return 0;
}

int
vfs_mount_host(const char *path, int host_dirfd)
{
	int			err = vfs_path_mkdir(0, path);

	if (err && err != VFS_EEXIST)
		return err == VFS_EHOST ? VFS_EBUSY : err;
	if (nmounts == VFS_MOUNT_MAX)
		return VFS_ENOMEM;
	LOCKED(mount_locked(path, host_dirfd));
}
