/*
 * vfs_wasi.c
 *	  What wasi-libc calls: the __wasi_* functions, all of them.
 *
 * They replace libc.a's __wasilibc_real.o, which is only left out of a link if
 * every symbol it defines is defined here.  libc sees one preopened directory,
 * descriptor 3 = "/".  Files are served by the file system in this module;
 * standard streams, clocks and the like, and what lies under a host mount, by
 * the host's WASI functions, with descriptor numbers translated.
 *
 * Compile with VFS_HOST_MOUNTS=0 for a module that has no host mounts and so
 * imports only what the standard streams need.
 */
#include <string.h>

#include "vfs_fd.h"
#include "vfs_host.h"

/* The errnos of the native build are those of WASI. */
#define SAME(name) \
	_Static_assert((int) VFS_E##name == (int) __WASI_ERRNO_##name, "VFS_E" #name)
SAME(AGAIN);
SAME(BUSY);
SAME(FBIG);
SAME(INVAL);
SAME(LOOP);
SAME(MFILE);
SAME(MLINK);
SAME(NAMETOOLONG);
SAME(NOENT);
SAME(NOMEM);
SAME(NOSPC);
SAME(NOSYS);
SAME(NOTDIR);
SAME(NOTEMPTY);
SAME(NOTSOCK);
SAME(NOTSUP);
SAME(PERM);
SAME(PIPE);
SAME(SPIPE);
SAME(XDEV);
_Static_assert((int) VFS_EBADF == (int) __WASI_ERRNO_BADF, "VFS_EBADF");
_Static_assert((int) VFS_EEXIST == (int) __WASI_ERRNO_EXIST, "VFS_EEXIST");
_Static_assert((int) VFS_EISDIR == (int) __WASI_ERRNO_ISDIR, "VFS_EISDIR");
_Static_assert((int) VFS_T_CHAR == __WASI_FILETYPE_CHARACTER_DEVICE &&
			   (int) VFS_T_DIR == __WASI_FILETYPE_DIRECTORY &&
			   (int) VFS_T_FILE == __WASI_FILETYPE_REGULAR_FILE &&
			   (int) VFS_T_STREAM == __WASI_FILETYPE_SOCKET_STREAM &&
			   (int) VFS_T_SYMLINK == __WASI_FILETYPE_SYMBOLIC_LINK, "file types");
_Static_assert(VFS_O_CREAT == __WASI_OFLAGS_CREAT &&
			   VFS_O_DIRECTORY == __WASI_OFLAGS_DIRECTORY &&
			   VFS_O_EXCL == __WASI_OFLAGS_EXCL &&
			   VFS_O_TRUNC == __WASI_OFLAGS_TRUNC &&
			   VFS_FD_APPEND == __WASI_FDFLAGS_APPEND &&
			   VFS_FD_NONBLOCK == __WASI_FDFLAGS_NONBLOCK, "open flags");

/* ---- the port's clock and entropy ---- */

uint64_t
vfs_clock_ns(void)
{
	uint64_t	now = 0;

	/* A failing clock must not fail a write. */
	(void) host_clock_time_get(__WASI_CLOCKID_REALTIME, 1000000, &now);
	return now;
}

int
vfs_random(void *buf, uint32_t len)
{
	return host_random_get(buf, len);
}

/* ---- handed through ---- */

err_t
__wasi_args_get(uint8_t **argv, uint8_t *buf)
{
	return host_args_get(argv, buf);
}

err_t
__wasi_args_sizes_get(len_t *count, len_t *bytes)
{
	return host_args_sizes_get(count, bytes);
}

err_t
__wasi_environ_get(uint8_t **environ, uint8_t *buf)
{
	return host_environ_get(environ, buf);
}

err_t
__wasi_environ_sizes_get(len_t *count, len_t *bytes)
{
	return host_environ_sizes_get(count, bytes);
}

err_t
__wasi_clock_res_get(__wasi_clockid_t id, __wasi_timestamp_t *res)
{
	return host_clock_res_get(id, res);
}

err_t
__wasi_clock_time_get(__wasi_clockid_t id, __wasi_timestamp_t precision,
					  __wasi_timestamp_t *time)
{
	return host_clock_time_get(id, precision, time);
}

err_t
__wasi_random_get(uint8_t *buf, len_t len)
{
	return host_random_get(buf, len);
}

/* Only for clocks and the standard streams: descriptors are not translated. */
err_t
__wasi_poll_oneoff(const __wasi_subscription_t *in, __wasi_event_t *out,
				   len_t n, len_t *done)
{
	return host_poll_oneoff(in, out, n, done);
}

err_t
__wasi_sched_yield(void)
{
	return host_sched_yield();
}

__attribute__((weak)) void
vfs_exit(uint32_t code)
{
	(void) code;
}

void
__wasi_proc_exit(__wasi_exitcode_t code)
{
	vfs_exit(code);
	host_proc_exit(code);
}

/* Sockets belong to the transports. */

err_t
__wasi_sock_accept(__wasi_fd_t fd, __wasi_fdflags_t flags, __wasi_fd_t *conn)
{
	(void) flags;
	(void) conn;
	return vfs_fd_get((int) fd) ? VFS_ENOTSOCK : VFS_EBADF;
}

err_t
__wasi_sock_recv(__wasi_fd_t fd, const __wasi_iovec_t *iovs, size_t n,
				 __wasi_riflags_t flags, len_t *done, __wasi_roflags_t *out)
{
	(void) iovs;
	(void) n;
	(void) flags;
	(void) done;
	(void) out;
	return vfs_fd_get((int) fd) ? VFS_ENOTSOCK : VFS_EBADF;
}

err_t
__wasi_sock_send(__wasi_fd_t fd, const __wasi_ciovec_t *iovs, size_t n,
				 __wasi_siflags_t flags, len_t *done)
{
	(void) iovs;
	(void) n;
	(void) flags;
	(void) done;
	return vfs_fd_get((int) fd) ? VFS_ENOTSOCK : VFS_EBADF;
}

err_t
__wasi_sock_shutdown(__wasi_fd_t fd, __wasi_sdflags_t how)
{
	(void) how;
	return vfs_fd_get((int) fd) ? VFS_ENOTSOCK : VFS_EBADF;
}

/* ---- descriptors ---- */

/* Get the open file of a descriptor or return BADF. */
#define FILE_OF(f, fd) \
	struct vfs_file *f = vfs_fd_get((int) (fd)); \
	if (f == NULL) \
		return __WASI_ERRNO_BADF
#define IS_HOST(f)	((f)->kind == VFS_FK_HOST)

err_t
__wasi_fd_prestat_get(__wasi_fd_t fd, __wasi_prestat_t *st)
{
	if (fd != VFS_FD_ROOT)
		return __WASI_ERRNO_BADF;	/* tells libc that there are no more */
	st->tag = __WASI_PREOPENTYPE_DIR;
	st->u.dir.pr_name_len = 1;
	return 0;
}

err_t
__wasi_fd_prestat_dir_name(__wasi_fd_t fd, uint8_t *path, len_t len)
{
	if (fd != VFS_FD_ROOT)
		return __WASI_ERRNO_BADF;
	if (len < 1)
		return __WASI_ERRNO_NAMETOOLONG;
	path[0] = '/';
	return 0;
}

err_t
__wasi_fd_advise(__wasi_fd_t fd, __wasi_filesize_t offset,
				 __wasi_filesize_t len, __wasi_advice_t advice)
{
	FILE_OF(f, fd);

	(void) f;
	(void) offset;
	(void) len;
	(void) advice;
	return 0;
}

err_t
__wasi_fd_allocate(__wasi_fd_t fd, __wasi_filesize_t offset,
				   __wasi_filesize_t len)
{
	FILE_OF(f, fd);

	if (IS_HOST(f))
		return host_fd_allocate(f->host_fd, offset, len);
	return (err_t) vfs_fd_allocate(f, offset, len);
}

err_t
__wasi_fd_close(__wasi_fd_t fd)
{
	int			host_fd;
	int			err = vfs_fd_close((int) fd, &host_fd);

	return host_fd >= 0 ? host_fd_close(host_fd) : (err_t) err;
}

err_t
__wasi_fd_renumber(__wasi_fd_t fd, __wasi_fd_t to)
{
	int			host_fd;
	int			err = vfs_fd_renumber((int) fd, (int) to, &host_fd);

	if (host_fd >= 0)
		(void) host_fd_close(host_fd);	/* as dup2, which cannot report it */
	return (err_t) err;
}

static void
note_sync(void)
{
#ifdef VFS_TRACK_CHANGES
	vfs_changes->is_wanted = 1;
#endif
}

err_t
__wasi_fd_sync(__wasi_fd_t fd)
{
	FILE_OF(f, fd);

	note_sync();
	return IS_HOST(f) ? host_fd_sync(f->host_fd) : 0;
}

err_t
__wasi_fd_datasync(__wasi_fd_t fd)
{
	FILE_OF(f, fd);

	note_sync();
	return IS_HOST(f) ? host_fd_datasync(f->host_fd) : 0;
}

#define RIGHTS_ALL		((__wasi_rights_t) 0x1fffffff)
#define RIGHTS_READ		(__WASI_RIGHTS_FD_READ | __WASI_RIGHTS_FD_READDIR)
#define RIGHTS_WRITE	(__WASI_RIGHTS_FD_WRITE | __WASI_RIGHTS_FD_ALLOCATE | \
						 __WASI_RIGHTS_FD_FILESTAT_SET_SIZE | \
						 __WASI_RIGHTS_FD_DATASYNC)

err_t
__wasi_fd_fdstat_get(__wasi_fd_t fd, __wasi_fdstat_t *st)
{
	struct vfs_stat vst;

	FILE_OF(f, fd);

	if (IS_HOST(f))
		return host_fd_fdstat_get(f->host_fd, st);
	memset(st, 0, sizeof(*st));
	if (f->kind == VFS_FK_DIR)
		st->fs_filetype = VFS_T_DIR;	/* also before there are files */
	else if (vfs_fd_stat(f, &vst) == 0)
		st->fs_filetype = vst.type;
	st->fs_flags = f->fdflags;

	/*
	 * libc derives F_GETFL from the rights and lets openat pass on no more
	 * than the directory's inheriting ones.
	 */
	st->fs_rights_base = RIGHTS_ALL;
	if (!(f->acc & VFS_ACC_READ))
		st->fs_rights_base &= ~(__wasi_rights_t) RIGHTS_READ;
	if (!(f->acc & VFS_ACC_WRITE))
		st->fs_rights_base &= ~(__wasi_rights_t) RIGHTS_WRITE;
	st->fs_rights_inheriting = f->kind == VFS_FK_DIR ? RIGHTS_ALL : 0;
	return 0;
}

err_t
__wasi_fd_fdstat_set_flags(__wasi_fd_t fd, __wasi_fdflags_t flags)
{
	FILE_OF(f, fd);

	if (IS_HOST(f))
		return host_fd_fdstat_set_flags(f->host_fd, flags);
	f->fdflags = (uint8_t) flags;
	return 0;
}

err_t
__wasi_fd_fdstat_set_rights(__wasi_fd_t fd, __wasi_rights_t base,
							__wasi_rights_t inheriting)
{
	FILE_OF(f, fd);

	(void) f;
	(void) base;
	(void) inheriting;
	return 0;
}

static void
to_filestat(const struct vfs_stat *from, __wasi_filestat_t *st)
{
	memset(st, 0, sizeof(*st));
	st->dev = 1;
	st->ino = from->ino;
	st->filetype = from->type;
	st->nlink = from->nlink;
	st->size = from->size;
	st->atim = st->mtim = st->ctim = from->mtime_ns;
}

err_t
__wasi_fd_filestat_get(__wasi_fd_t fd, __wasi_filestat_t *st)
{
	struct vfs_stat vst;
	int			err;

	FILE_OF(f, fd);

#if VFS_HOST_MOUNTS
	if (IS_HOST(f))
		return host_fd_filestat_get(f->host_fd, st);
#else
	if (IS_HOST(f))
	{
		memset(st, 0, sizeof(*st));
		st->filetype = VFS_T_CHAR;
		st->nlink = 1;
		return 0;
	}
#endif
	err = vfs_fd_stat(f, &vst);
	if (err == 0)
		to_filestat(&vst, st);
	return (err_t) err;
}

err_t
__wasi_fd_filestat_set_size(__wasi_fd_t fd, __wasi_filesize_t size)
{
	FILE_OF(f, fd);

	if (IS_HOST(f))
		return host_fd_filestat_set_size(f->host_fd, size);
	return (err_t) vfs_fd_resize(f, size);
}

/* The new mtime, or false if it is to stay.  There is no atime. */
static bool
new_mtime(uint64_t mtim, uint32_t flags, uint64_t *mtime_ns)
{
	if (flags & __WASI_FSTFLAGS_MTIM_NOW)
		*mtime_ns = vfs_clock_ns();
	else if (flags & __WASI_FSTFLAGS_MTIM)
		*mtime_ns = mtim;
	else
		return false;
	return true;
}

err_t
__wasi_fd_filestat_set_times(__wasi_fd_t fd, __wasi_timestamp_t atim,
							 __wasi_timestamp_t mtim, __wasi_fstflags_t flags)
{
	uint64_t	mtime_ns;

	FILE_OF(f, fd);

	if (IS_HOST(f))
		return host_fd_filestat_set_times(f->host_fd, atim, mtim, flags);
	return (err_t) (new_mtime(mtim, flags, &mtime_ns) ?
					vfs_fd_set_mtime(f, mtime_ns) : 0);
}

/*
 * One loop for the four ways to read and write: stops at the first short
 * count, and reports an error only if nothing was done before.
 */
#define TRANSFER(f, iovs, n, position, done, call) \
	do { \
		*(done) = 0; \
		for (size_t i_ = 0; i_ < (n); i_++) \
		{ \
			uint32_t	part_; \
			int			err_ = call(f, (iovs)[i_].buf, (uint32_t) (iovs)[i_].buf_len, \
									position, &part_); \
			if (err_) \
				return *(done) ? 0 : (err_t) err_; \
			*(done) += part_; \
			if ((position) != NULL) \
				offset += part_; \
			if (part_ < (iovs)[i_].buf_len) \
				break; \
		} \
		return 0; \
	} while (0)

err_t
__wasi_fd_read(__wasi_fd_t fd, const __wasi_iovec_t *iovs, size_t n, len_t *done)
{
	uint64_t	offset = 0;

	FILE_OF(f, fd);

	if (IS_HOST(f))
		return host_fd_read(f->host_fd, iovs, n, done);
	TRANSFER(f, iovs, n, (uint64_t *) NULL, done, vfs_fd_read);
	(void) offset;
}

err_t
__wasi_fd_write(__wasi_fd_t fd, const __wasi_ciovec_t *iovs, size_t n, len_t *done)
{
	uint64_t	offset = 0;

	FILE_OF(f, fd);

	if (IS_HOST(f))
		return host_fd_write(f->host_fd, iovs, n, done);
	TRANSFER(f, iovs, n, (uint64_t *) NULL, done, vfs_fd_write);
	(void) offset;
}

err_t
__wasi_fd_pread(__wasi_fd_t fd, const __wasi_iovec_t *iovs, size_t n,
				__wasi_filesize_t offset, len_t *done)
{
	FILE_OF(f, fd);

	if (IS_HOST(f))
		return host_fd_pread(f->host_fd, iovs, n, offset, done);
	TRANSFER(f, iovs, n, &offset, done, vfs_fd_read);
}

err_t
__wasi_fd_pwrite(__wasi_fd_t fd, const __wasi_ciovec_t *iovs, size_t n,
				 __wasi_filesize_t offset, len_t *done)
{
	FILE_OF(f, fd);

	if (IS_HOST(f))
		return host_fd_pwrite(f->host_fd, iovs, n, offset, done);
	TRANSFER(f, iovs, n, &offset, done, vfs_fd_write);
}

err_t
__wasi_fd_seek(__wasi_fd_t fd, __wasi_filedelta_t delta, __wasi_whence_t whence,
			   __wasi_filesize_t *offset)
{
	FILE_OF(f, fd);

	if (IS_HOST(f))
		return host_fd_seek(f->host_fd, delta, whence, offset);
	return (err_t) vfs_fd_seek(f, delta, (enum vfs_whence) whence, offset);
}

err_t
__wasi_fd_tell(__wasi_fd_t fd, __wasi_filesize_t *offset)
{
	return __wasi_fd_seek(fd, 0, VFS_SEEK_CUR, offset);
}

/* ---- directories ---- */

struct readdir_buffer
{
	uint8_t    *buf;
	uint32_t	len;
	uint32_t	used;
};

static void
put_bytes(struct readdir_buffer *b, const void *from, uint32_t n)
{
	if (n > b->len - b->used)
		n = b->len - b->used;
	memcpy(b->buf + b->used, from, n);
	b->used += n;
}

/* WASI wants the entry that does not fit cut off: a full buffer means more. */
static bool
put_entry(void *context, uint64_t next, uint64_t ino, unsigned type,
		  const char *name, uint32_t len)
{
	struct readdir_buffer *b = context;
	__wasi_dirent_t d;

	memset(&d, 0, sizeof(d));
	d.d_next = next;
	d.d_ino = ino;
	d.d_namlen = len;
	d.d_type = (__wasi_filetype_t) type;
	put_bytes(b, &d, sizeof(d));
	put_bytes(b, name, len);
	return b->used < b->len;
}

err_t
__wasi_fd_readdir(__wasi_fd_t fd, uint8_t *buf, len_t len,
				  __wasi_dircookie_t cookie, len_t *used)
{
	struct readdir_buffer b = {buf, len, 0};
	int			err;

	FILE_OF(f, fd);

	if (IS_HOST(f))
		return host_fd_readdir(f->host_fd, buf, len, cookie, used);
	if (f->kind != VFS_FK_DIR)
		return __WASI_ERRNO_NOTDIR;
	if (vfs_sb == NULL)
		return __WASI_ERRNO_NOSYS;
	err = vfs_dir_read(f->inode ? f->inode : vfs_sb->root, cookie, &f->hint,
					   put_entry, &b);
	*used = b.used;
	return (err_t) err;
}

/* ---- paths ---- */

/*
 * Where a path starts.  For a directory of the host's the path goes there as
 * it is: vfs_host_ref[which] is filled in and VFS_EHOST returned.
 */
static int
start(__wasi_fd_t fd, const char *path, vaddr *dir, int which)
{
	struct vfs_host_ref *ref = &vfs_host_ref[which];
	struct vfs_file *f;
	int			err = vfs_fd_dir((int) fd, dir, &f);

	if (err == VFS_EHOST)
	{
		size_t		len = strlen(path);

		if (len >= sizeof(ref->path))
			return VFS_ENAMETOOLONG;
		ref->dirfd = f->host_fd;
		memcpy(ref->path, path, len + 1);
	}
	return err;
}

/* Arguments for a host call: directory, path, length. */
#define REF(n)	vfs_host_ref[n].dirfd, vfs_host_ref[n].path, \
	(len_t) strlen(vfs_host_ref[n].path)
#define REF_FLAGS(n, flags)	vfs_host_ref[n].dirfd, flags, vfs_host_ref[n].path, \
	(len_t) strlen(vfs_host_ref[n].path)

/* Start both paths of an operation; they must start on the same side. */
static int
start_two(__wasi_fd_t fd0, const char *path0, vaddr *dir0,
		  __wasi_fd_t fd1, const char *path1, vaddr *dir1)
{
	int			err0 = start(fd0, path0, dir0, 0);
	int			err1 = start(fd1, path1, dir1, 1);

	if (err0 && err0 != VFS_EHOST)
		return err0;
	if (err1 && err1 != VFS_EHOST)
		return err1;
	return err0 == err1 ? err0 : VFS_EXDEV;
}

err_t
__wasi_path_create_directory(__wasi_fd_t fd, const char *path)
{
	vaddr		dir;
	int			err = start(fd, path, &dir, 0);

	if (err == 0)
		err = vfs_path_mkdir(dir, path);
	return err == VFS_EHOST ? host_path_create_directory(REF(0)) : (err_t) err;
}

err_t
__wasi_path_filestat_get(__wasi_fd_t fd, __wasi_lookupflags_t flags,
						 const char *path, __wasi_filestat_t *st)
{
	struct vfs_stat vst;
	vaddr		dir;
	int			err = start(fd, path, &dir, 0);

	if (err == 0)
		err = vfs_path_stat(dir, path, flags & __WASI_LOOKUPFLAGS_SYMLINK_FOLLOW, &vst);
	if (err == 0)
		to_filestat(&vst, st);
	return err == VFS_EHOST ? host_path_filestat_get(REF_FLAGS(0, flags), st) : (err_t) err;
}

err_t
__wasi_path_filestat_set_times(__wasi_fd_t fd, __wasi_lookupflags_t flags,
							   const char *path, __wasi_timestamp_t atim,
							   __wasi_timestamp_t mtim, __wasi_fstflags_t fst)
{
	bool		follow = flags & __WASI_LOOKUPFLAGS_SYMLINK_FOLLOW;
	uint64_t	mtime_ns;
	struct vfs_stat vst;
	vaddr		dir;
	int			err = start(fd, path, &dir, 0);

	if (err == 0)
		err = new_mtime(mtim, fst, &mtime_ns) ?
			vfs_path_set_mtime(dir, path, follow, mtime_ns) :
			vfs_path_stat(dir, path, follow, &vst);
	return err == VFS_EHOST ?
		host_path_filestat_set_times(REF_FLAGS(0, flags), atim, mtim, fst) : (err_t) err;
}

err_t
__wasi_path_link(__wasi_fd_t old_fd, __wasi_lookupflags_t flags,
				 const char *old_path, __wasi_fd_t new_fd, const char *new_path)
{
	vaddr		from;
	vaddr		to;
	int			err = start_two(old_fd, old_path, &from, new_fd, new_path, &to);

	if (err == 0)
		err = vfs_path_link(from, old_path, flags & __WASI_LOOKUPFLAGS_SYMLINK_FOLLOW,
							to, new_path);
	return err == VFS_EHOST ? host_path_link(REF_FLAGS(0, flags), REF(1)) : (err_t) err;
}

/* Open on the host what vfs_host_ref[0] names, and give it a descriptor. */
static err_t
open_on_host(uint32_t dirflags, uint32_t oflags, uint64_t base,
			 uint64_t inheriting, uint32_t fdflags, __wasi_fd_t *opened)
{
	__wasi_fdstat_t st;
	struct vfs_file *f;
	err_t		err = host_fd_fdstat_get(vfs_host_ref[0].dirfd, &st);
	int			host_fd;
	int			fd;

	/* libc offered what our root may pass on; this directory may have less. */
	if (err == 0)
		err = host_path_open(REF_FLAGS(0, dirflags), oflags,
							 base & st.fs_rights_inheriting,
							 inheriting & st.fs_rights_inheriting, fdflags, &host_fd);
	if (err)
		return err;
	fd = vfs_fd_new(VFS_FK_HOST, &f);
	if (fd < 0)
	{
		(void) host_fd_close(host_fd);
		return (err_t) -fd;
	}
	f->host_fd = host_fd;
	*opened = (__wasi_fd_t) fd;
	return 0;
}

err_t
__wasi_path_open(__wasi_fd_t fd, __wasi_lookupflags_t dirflags, const char *path,
				 __wasi_oflags_t oflags, __wasi_rights_t base,
				 __wasi_rights_t inheriting, __wasi_fdflags_t fdflags,
				 __wasi_fd_t *opened)
{
	uint32_t	acc = 0;
	vaddr		dir;
	int			err = start(fd, path, &dir, 0);

	if (base & RIGHTS_READ)
		acc |= VFS_ACC_READ;
	if (base & __WASI_RIGHTS_FD_WRITE)
		acc |= VFS_ACC_WRITE;
	if (err == 0)
	{
		int			res = vfs_fd_open((int) fd, path, oflags,
									  dirflags & __WASI_LOOKUPFLAGS_SYMLINK_FOLLOW,
									  acc, fdflags);

		if (res >= 0)
			*opened = (__wasi_fd_t) res;
		else
			err = -res;
	}
	return err == VFS_EHOST ?
		open_on_host(dirflags, oflags, base, inheriting, fdflags, opened) : (err_t) err;
}

err_t
__wasi_path_readlink(__wasi_fd_t fd, const char *path, uint8_t *buf, len_t len,
					 len_t *used)
{
	vaddr		dir;
	uint32_t	done = 0;
	int			err = start(fd, path, &dir, 0);

	if (err == 0)
		err = vfs_path_readlink(dir, path, (char *) buf, len, &done);
	if (err == VFS_EHOST)
		return host_path_readlink(REF(0), buf, len, used);
	*used = done;
	return (err_t) err;
}

err_t
__wasi_path_remove_directory(__wasi_fd_t fd, const char *path)
{
	vaddr		dir;
	int			err = start(fd, path, &dir, 0);

	if (err == 0)
		err = vfs_path_rmdir(dir, path);
	return err == VFS_EHOST ? host_path_remove_directory(REF(0)) : (err_t) err;
}

err_t
__wasi_path_rename(__wasi_fd_t fd, const char *old_path, __wasi_fd_t new_fd,
				   const char *new_path)
{
	vaddr		from;
	vaddr		to;
	int			err = start_two(fd, old_path, &from, new_fd, new_path, &to);

	if (err == 0)
		err = vfs_path_rename(from, old_path, to, new_path);
	return err == VFS_EHOST ? host_path_rename(REF(0), REF(1)) : (err_t) err;
}

err_t
__wasi_path_symlink(const char *target, __wasi_fd_t fd, const char *path)
{
	vaddr		dir;
	int			err = start(fd, path, &dir, 0);

	if (err == 0)
		err = vfs_path_symlink(target, dir, path);
	return err == VFS_EHOST ?
		host_path_symlink(target, (len_t) strlen(target), REF(0)) : (err_t) err;
}

err_t
__wasi_path_unlink_file(__wasi_fd_t fd, const char *path)
{
	vaddr		dir;
	int			err = start(fd, path, &dir, 0);

	if (err == 0)
		err = vfs_path_unlink(dir, path);
	return err == VFS_EHOST ? host_path_unlink_file(REF(0)) : (err_t) err;
}
