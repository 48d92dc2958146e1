/*
 * vfs_fd.h
 *	  Descriptors: the table, open files, devices and pipes.
 *
 * A descriptor is an index into a table of pointers to open files; dup makes
 * two entries point to one open file, so that they share the offset.  All of it
 * is private to the process.  A descriptor number outlives nothing: it is
 * reused, lowest first, as POSIX wants.
 */
#ifndef VFS_FD_H
#define VFS_FD_H

#include "vfs_name.h"

enum vfs_file_kind
{
	VFS_FK_FILE,				/* inode */
	VFS_FK_DIR,					/* inode, 0 = the root */
	VFS_FK_DEVICE,				/* device */
	VFS_FK_PIPE_READ,			/* pipe */
	VFS_FK_PIPE_WRITE,
	VFS_FK_HOST					/* host_fd; offset and all else is the host's */
};

struct vfs_pipe;

struct vfs_file
{
	uint32_t	refs;			/* descriptors; 0 = free the struct */
	uint8_t		kind;
	uint8_t		acc;			/* VFS_ACC_* */
	uint8_t		fdflags;		/* VFS_FD_* */
	bool		wrote;			/* since open: mtime was set, set it at close */
	bool		is_static;		/* one of the standard descriptors' */
	bool		host_keep;		/* host_fd is not ours to close */
	bool		is_bulk;		/* may not use the last of the space */
	vaddr		inode;			/* counted in its opens */
	uint32_t	device;
	int			host_fd;
	uint64_t	offset;
	struct vfs_pipe *pipe;
	struct vfs_dir_hint hint;
};

/* The open file of a descriptor, or NULL. */
extern struct vfs_file *vfs_fd_get(int fd);

/*
 * A descriptor for a new open file of this kind, all else zero; or a negative
 * errno.  Whoever calls fills in *file.
 */
extern int	vfs_fd_new(enum vfs_file_kind kind, struct vfs_file **file);

/*
 * Close.  If that was the last descriptor of a host file, *host_fd is what to
 * close there, else -1.
 */
extern int	vfs_fd_close(int fd, int *host_fd);

/* Make `to` what `from` is and close `from`; *host_fd as above. */
extern int	vfs_fd_renumber(int from, int to, int *host_fd);

/*
 * Open a path relative to a directory descriptor of this file system; see
 * vfs_path_open.  A descriptor or a negative errno, -VFS_EHOST included.
 */
extern int	vfs_fd_open(int dirfd, const char *path, uint32_t oflags,
						bool follow, uint32_t acc, uint32_t fdflags);

/*
 * The directory inode behind a descriptor for vfs_path_*: 0, VFS_EBADF,
 * VFS_ENOTDIR, or VFS_EHOST if the host has it (host_fd in *file).
 */
extern int	vfs_fd_dir(int fd, vaddr *dir, struct vfs_file **file);

/*
 * Reads and writes; not for host files.  `offset` NULL means the file's own,
 * which advances.
 */
extern int	vfs_fd_read(struct vfs_file *f, void *buf, uint32_t len,
						const uint64_t *offset, uint32_t *done);
extern int	vfs_fd_write(struct vfs_file *f, const void *buf, uint32_t len,
						 const uint64_t *offset, uint32_t *done);
extern int	vfs_fd_seek(struct vfs_file *f, int64_t delta, enum vfs_whence whence,
						uint64_t *offset);
extern int	vfs_fd_resize(struct vfs_file *f, uint64_t size);

/* posix_fallocate: grow to offset + len, holes allowed. */
extern int	vfs_fd_allocate(struct vfs_file *f, uint64_t offset, uint64_t len);
extern int	vfs_fd_stat(struct vfs_file *f, struct vfs_stat *st);
extern int	vfs_fd_set_mtime(struct vfs_file *f, uint64_t mtime_ns);

#endif							/* VFS_FD_H */
