/*
 * vfs_name.h
 *	  Inodes, directories, path walks and the operations on paths.
 *
 * Paths are relative to the directory inode `dir` (0 = the root) unless they
 * begin with a slash.  The vfs_path_* functions take the names lock.  If the
 * walk enters a host mount they change nothing, return VFS_EHOST and leave in
 * vfs_host_ref[] what to ask of the host instead; the two-path operations use
 * both elements, the others the first.
 */
#ifndef VFS_NAME_H
#define VFS_NAME_H

#include "vfs_block.h"

struct vfs_host_ref
{
	int			dirfd;			/* the host's, preopened */
	char		path[VFS_PATH_MAX];	/* relative to it, no "..", "." for itself */
};

extern struct vfs_host_ref vfs_host_ref[2];

static inline void
vfs_lock_names(void)
{
	vfs_lock(&vfs_sb->lock_names);
}

static inline void
vfs_unlock_names(void)
{
	vfs_unlock(&vfs_sb->lock_names);
}

/*
 * Open or create; counts an open of *inode, to be given back with
 * vfs_inode_close.  `acc` is VFS_ACC_*, `mode` permissions of a new file.
 */
extern int	vfs_path_open(vaddr dir, const char *path, uint32_t oflags,
						  bool follow, uint32_t acc, uint32_t mode,
						  vaddr *inode);
extern void vfs_inode_open(vaddr inode);
extern void vfs_inode_close(vaddr inode);
extern void vfs_inode_stat(vaddr inode, struct vfs_stat *st);

extern int	vfs_path_stat(vaddr dir, const char *path, bool follow,
						  struct vfs_stat *st);
extern int	vfs_path_mkdir(vaddr dir, const char *path);
extern int	vfs_path_rmdir(vaddr dir, const char *path);
extern int	vfs_path_unlink(vaddr dir, const char *path);
extern int	vfs_path_rename(vaddr from_dir, const char *from, vaddr to_dir,
							const char *to);
extern int	vfs_path_link(vaddr from_dir, const char *from, bool follow,
						  vaddr to_dir, const char *to);
extern int	vfs_path_symlink(const char *target, vaddr dir, const char *path);

/* Fills at most len bytes, without terminator; *done is how many. */
extern int	vfs_path_readlink(vaddr dir, const char *path, char *buf,
							  uint32_t len, uint32_t *done);
extern int	vfs_path_set_mtime(vaddr dir, const char *path, bool follow,
							   uint64_t mtime_ns);
extern int	vfs_path_set_mode(vaddr dir, const char *path, uint32_t mode);

/*
 * Directory entries from `cookie` (0 at first) on, "." and ".." included, until
 * emit returns false.  `next` is the cookie to go on after this entry.  `hint`
 * belongs to the reader, starts zeroed, and makes the next call quick.  The
 * names lock is held while emit runs.
 */
struct vfs_dir_hint
{
	vaddr		entry;
	uint32_t	cookie;
	uint32_t	changes;
};
typedef bool (*vfs_emit) (void *context, uint64_t next, uint64_t ino,
						  unsigned type, const char *name, uint32_t len);
extern int	vfs_dir_read(vaddr dir, uint64_t cookie, struct vfs_dir_hint *hint,
						 vfs_emit emit, void *context);

/* ---- for the other files of guest/vfs, names lock held ---- */

/* A new inode with nlink 0 and no name; 0 when out of space. */
extern vaddr vfs_inode_new(unsigned type, uint32_t mode);

/* Free the inode and its contents if it has neither a name nor an open. */
extern void vfs_inode_reap(vaddr inode);

extern vaddr vfs_entry_find(vaddr dir, const char *name, uint32_t len);

/* Append an entry (inode may be 0); its address or 0 when out of space. */
extern vaddr vfs_entry_add(vaddr dir, const char *name, uint32_t len,
						   vaddr inode);

/* Take the entry out of its directory and free it. */
extern void vfs_entry_remove(vaddr entry);
extern uint32_t *vfs_hash_head(vaddr dir, const char *name, uint32_t len);

#endif							/* VFS_NAME_H */
