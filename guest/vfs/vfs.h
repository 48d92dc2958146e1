/*
 * vfs.h
 *	  The file system inside the guest: copy-on-write blocks in linear memory.
 *
 * Where things are (guest addresses, low to high, the two regions in any order)
 *
 *	  BASE   base_start ............ base_next ...... base_end
 *	         8 KiB blocks of the image; the same for all cells, never written
 *	         except between vfs_import_begin() and vfs_import_end()
 *
 *	  FILES  files_start .................. bump ........ files_end
 *	         [super block][blocks handed out ...][untouched, reads as zeros]
 *
 *	  super block ──> hash blocks: heads of chains of directory entries
 *	              ──> counter pages: one byte per block of the address space
 *	                  (see vfs_block.h), only for the 64 MiB zones in use
 *	              ──> slabs: 8 KiB blocks cut into objects of one size, for
 *	                  inodes (64 bytes), directory entries and short block lists
 *	              ──> root directory ──> first entry ──next──> entry ──> ...
 *	                                        └─> inode ──> block list ──> blocks
 *
 * A block reference is address >> 13, so that blocks of BASE and FILES have one
 * encoding and 0 can mean a hole.  Everything that outlives a process is in
 * FILES and is found again from files_start; descriptors and mounts are private
 * to a process.
 *
 * Calling sequence
 *	  image build:  vfs_format, vfs_import_begin, vfs_import_*, vfs_import_end
 *	  any process:  vfs_attach (after restoring an image; not after fork)
 *	  forked child: vfs_after_fork, ... , vfs_close_all before it exits
 *	  after a kill: with no process left in the cell, vfs_recover
 *
 * Errors are WASI errno numbers (enum vfs_errno, equal to __WASI_ERRNO_*).
 * Functions returning a descriptor return it or a *negative* errno; functions
 * returning "0 or errno" return it positive.  Nothing here sets errno.
 *
 * Several processes: names, inodes and allocation are under two locks in the
 * super block.  Reading, and overwriting a block that the file already owns,
 * takes no lock.  That is right under these assumptions, which PostgreSQL
 * meets through its buffer, relation and control-file locks:
 *	  - the same 8 KiB page is not written by two processes at once;
 *	  - nobody reads or writes pages that another process truncates away, nor
 *		the source of vfs_copy_file_range while it is being shared.
 * A freed block may be reused at once.
 *
 * Kills: a process may vanish at any instruction.  What matters is a chain of
 * single-word stores ordered so that the tree is always valid; counters, hash
 * chains and back links are redundant and vfs_recover rebuilds them.  At worst
 * space is lost until then.
 */
#ifndef VFS_H
#define VFS_H

#include <stddef.h>

#include "vfs_port.h"

#define VFS_BLOCK_SHIFT		13
#define VFS_BLOCK_SIZE		(1u << VFS_BLOCK_SHIFT)
#define VFS_NAME_MAX		255
#define VFS_PATH_MAX		4096	/* bytes, with the terminating zero */
#define VFS_SYMLINK_MAX		40		/* links followed in one walk */
#define VFS_FD_MAX			4096	/* descriptors per process */
#define VFS_FD_ROOT			3		/* the one preopen, "/" */
#define VFS_MOUNT_MAX		8

/* The WASI errnos used here; vfs_wasi.c asserts that the numbers agree. */
enum vfs_errno
{
	VFS_OK = 0,
	VFS_EAGAIN = 6,
	VFS_EBADF = 8,
	VFS_EBUSY = 10,
	VFS_EEXIST = 20,
	VFS_EFBIG = 22,
	VFS_EINVAL = 28,
	VFS_EISDIR = 31,
	VFS_ELOOP = 32,
	VFS_EMFILE = 33,
	VFS_EMLINK = 34,
	VFS_ENAMETOOLONG = 37,
	VFS_ENOENT = 44,
	VFS_ENOMEM = 48,
	VFS_ENOSPC = 51,
	VFS_ENOSYS = 52,
	VFS_ENOTDIR = 54,
	VFS_ENOTEMPTY = 55,
	VFS_ENOTSOCK = 57,
	VFS_ENOTSUP = 58,
	VFS_EPERM = 63,
	VFS_EPIPE = 64,
	VFS_ESPIPE = 70,
	VFS_EXDEV = 75,
	VFS_EHOST = 1000			/* internal: the path leads into a host mount */
};

/* File types, the numbers of WASI. */
enum vfs_type
{
	VFS_T_CHAR = 2,
	VFS_T_DIR = 3,
	VFS_T_FILE = 4,
	VFS_T_STREAM = 6,
	VFS_T_SYMLINK = 7
};

/* How to open, the numbers of WASI's oflags and fdflags. */
#define VFS_O_CREAT			1u
#define VFS_O_DIRECTORY		2u
#define VFS_O_EXCL			4u
#define VFS_O_TRUNC			8u
#define VFS_FD_APPEND		1u
#define VFS_FD_NONBLOCK		4u
#define VFS_ACC_READ		1u
#define VFS_ACC_WRITE		2u

enum vfs_whence
{
	VFS_SEEK_SET = 0,
	VFS_SEEK_CUR = 1,
	VFS_SEEK_END = 2
};

/* Bounds of the regions, bytes, multiples of 8 KiB; ends are exclusive. */
struct vfs_region
{
	vaddr		base_start;
	vaddr		base_end;
	vaddr		files_start;
	vaddr		files_end;
};

struct vfs_stat
{
	uint64_t	ino;
	uint64_t	size;			/* bytes */
	uint64_t	mtime_ns;
	uint32_t	nlink;
	uint16_t	mode;			/* permission bits only */
	uint8_t		type;			/* enum vfs_type */
};

struct vfs_stats
{
	uint32_t	inodes;
	uint32_t	blocks_used;	/* FILES blocks, metadata included */
	uint32_t	blocks_free;	/* granted once and free again */
	uint32_t	base_blocks;	/* BASE blocks in use */
	uint32_t	metadata_bytes; /* super block, counter pages, hash blocks and
								 * slabs; not long files' list blocks */
	uint32_t	object_bytes;	/* of which live inodes, names and short lists */
};

#ifdef __wasm__
static inline void *
vfs_ptr(vaddr a)
{
	return (void *) (uintptr_t) a;
}
#else
extern unsigned char *vfs_native_base;	/* where guest address 0 is mapped */

static inline void *
vfs_ptr(vaddr a)
{
	return vfs_native_base + a;
}
#endif

/* ---- life cycle (vfs.c, vfs_recover.c) ---- */

/* Make an empty file system with /dev in it.  0 or errno. */
extern int	vfs_format(const struct vfs_region *region);

/* Use the file system at files_start.  0, or VFS_EINVAL if there is none. */
extern int	vfs_attach(vaddr files_start);

/*
 * Put the file system right after processes were killed.  No other process of
 * the cell may exist, and this one must hold no descriptor but the standard
 * ones.  May itself be interrupted and repeated.
 */
extern int	vfs_recover(void);

/* FILES ends here from now on, a multiple of 8 KiB; or where it has got to, if that is more. */
extern void vfs_limit(vaddr files_end);

/*
 * Check every invariant; NULL or a static text naming the first violation.
 * `exact` also counts what nothing refers to, which is only right while no
 * unlinked file is open.
 */
extern const char *vfs_check(bool exact);

extern void vfs_stats(struct vfs_stats *out);

/*
 * In the child of fork(), before it uses any descriptor.  Until it has run, the
 * parent must not close what the child inherits, or the file could be freed.
 */
extern void vfs_after_fork(void);

/* Close every descriptor of this process, the standard ones stay. */
extern void vfs_close_all(void);

/* ---- image build (vfs_import.c) ---- */

/* Between these two, imported contents go to BASE.  0 or errno. */
extern int	vfs_import_begin(void);
extern void vfs_import_end(void);

/*
 * Create or replace a file, parents included.  `data` is copied: equal blocks
 * are stored once, blocks of zeros not at all.
 */
extern int	vfs_import_file(const char *path, const void *data, uint32_t len,
							uint32_t mode);
extern int	vfs_import_dir(const char *path);

/*
 * Move every block that files have in FILES into BASE, so that a cell made
 * from the image starts with metadata only.  0 or errno; after VFS_ENOSPC the
 * tree is valid and some blocks have stayed behind.
 */
extern int	vfs_import_rebase(void);

extern vaddr vfs_base_used_end(void);

/* ---- mounts ---- */

/*
 * From now on everything under `path` ("/" allowed, created if missing) is
 * what the host shows under its preopened directory `host_dirfd`.  /dev and
 * other mount points below stay reachable.  Per process, inherited by fork.
 */
extern int	vfs_mount_host(const char *path, int host_dirfd);

/* ---- what libc has no WASI call for ---- */

/* Second descriptor for the same open file, offset shared. */
extern int	vfs_dup(int fd);

/*
 * A byte pipe inside this process: fd[0] reads, fd[1] writes, both
 * non-blocking (VFS_EAGAIN).  0 or errno.
 */
extern int	vfs_pipe(int fd[2]);

/* Would a read return at once?  Files always; pipes with bytes or no writer. */
extern bool vfs_fd_readable(int fd);

/*
 * Like Linux's copy_file_range: NULL offsets mean the descriptors' own.  Whole
 * aligned blocks are shared, not copied.  Bytes done in *done; 0 or errno.
 */
extern int	vfs_copy_file_range(int fd_in, uint64_t *off_in, int fd_out,
								uint64_t *off_out, uint64_t len, uint64_t *done);

/*
 * Permission bits (mode & 07777).  Kept, not enforced.  vfs_*stat_mode return
 * them or a negative errno.  All give VFS_ENOTSUP for what is on the host.
 */
extern int	vfs_chmod(const char *path, uint32_t mode);
extern int	vfs_fchmod(int fd, uint32_t mode);
extern int	vfs_stat_mode(const char *path, bool follow);
extern int	vfs_fstat_mode(int fd);

#endif							/* VFS_H */
