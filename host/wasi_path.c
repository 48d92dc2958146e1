/*
 * wasi_path.c - paths: path_*.
 *
 * Three ways to stay beneath the directory a path is relative to, cheapest first:
 *	- path_open is one openat2() of the whole path;
 *	- what acts on a name (mkdir, unlink, rename, ...) opens the parent with openat2() and gives the
 *	  kernel only the last component, which it does not follow. A path of one component needs no parent;
 *	- what acts on the file (stat, utimes) opens it with openat2(O_PATH).
 */
#define _GNU_SOURCE
#include "wasi_internal.h"

#include <fcntl.h>
#include <linux/openat2.h>
#include <stdio.h>
#include <sys/syscall.h>
#include <unistd.h>

/* openat2 gives EAGAIN when a rename elsewhere raced with a ".." in the path. */
#define OPENAT2_TRIES 64

struct path {
	uint32_t len_bytes;
	char text[WASI_MAX_PATH_BYTES + 1];
};

/* A name in an open directory; the name points into the struct path it came from. */
struct place {
	int dir_fd;
	bool owns_dir_fd;
	bool has_trailing_slash;
	const char *name; /* one component, with its trailing slashes if it has any */
};

static uint32_t
path_load(guest_addr addr, uint32_t len_bytes, struct path *path)
{
	const char *p = guest_range(addr, len_bytes);

	if (!p)
		return WASI_EFAULT;
	if (len_bytes == 0)
		return WASI_ENOENT;
	if (len_bytes > WASI_MAX_PATH_BYTES)
		return WASI_ENAMETOOLONG;
	memcpy(path->text, p, len_bytes);
	path->text[len_bytes] = '\0';
	path->len_bytes = len_bytes;
	if (memchr(path->text, '\0', len_bytes))
		return WASI_EILSEQ;
	/* openat2 would refuse it as well, but RESOLVE_IN_ROOT would not. */
	if (path->text[0] == '/')
		return WASI_ENOTCAPABLE;
	return WASI_SUCCESS;
}

/* openat2 confined to dir; `flags` as for open(), O_CLOEXEC is added. */
static uint32_t
open_beneath(const struct wasi_fd *dir, const char *path, int flags, mode_t mode, int *host_fd)
{
	struct open_how how = {
	    .flags = (uint64_t)(unsigned)(flags | O_CLOEXEC),
	    .mode = (flags & O_CREAT) ? mode : 0,
	    .resolve = RESOLVE_NO_MAGICLINKS | (dir->is_host_root ? RESOLVE_IN_ROOT : RESOLVE_BENEATH),
	};

	for (int tries = 0; tries < OPENAT2_TRIES; tries++) {
		*host_fd = (int)syscall(SYS_openat2, dir->host_fd, path, &how, sizeof(how));
		if (*host_fd >= 0)
			return WASI_SUCCESS;
		if (errno != EAGAIN)
			break;
	}
	return errno == EXDEV ? WASI_ENOTCAPABLE : wasi_errno_from_host(errno);
}

/* Cuts path->text in two. On success, place_release() is due. */
static uint32_t
place_init(struct place *place, const struct wasi_fd *dir, struct path *path)
{
	uint32_t name_end = path->len_bytes;
	uint32_t name_start;
	uint32_t err;

	/* The text does not begin with a slash, so both loops end inside it. */
	while (path->text[name_end - 1] == '/')
		name_end--;
	name_start = name_end;
	while (name_start > 0 && path->text[name_start - 1] != '/')
		name_start--;

	place->has_trailing_slash = name_end < path->len_bytes;
	place->name = path->text + name_start;
	/* The kernel would leave the parent for it. None of the calls can succeed on it anyway. */
	if (name_end - name_start == 2 && memcmp(place->name, "..", 2) == 0)
		return WASI_ENOTCAPABLE;

	place->owns_dir_fd = name_start > 0;
	place->dir_fd = dir->host_fd;
	if (!place->owns_dir_fd)
		return WASI_SUCCESS;
	path->text[name_start - 1] = '\0';
	err = open_beneath(dir, path->text, O_PATH | O_DIRECTORY, 0, &place->dir_fd);
	if (err)
		place->owns_dir_fd = false;
	return err;
}

/* Keeps errno. */
static void
place_release(struct place *place)
{
	int saved_errno = errno;

	if (place->owns_dir_fd)
		close(place->dir_fd);
	errno = saved_errno;
}

/* From a guest's path to a place, in one step. `path` must live as long as `place`. */
static uint32_t
place_load(wasi_ctx *ctx, uint32_t fd, guest_addr addr, uint32_t len_bytes, struct path *path, struct place *place)
{
	struct wasi_fd *dir = wasi_fd_get(ctx, fd);
	uint32_t err;

	if (!dir)
		return WASI_EBADF;
	err = path_load(addr, len_bytes, path);
	return err ? err : place_init(place, dir, path);
}

/* ---- acting on the whole path ---- */

uint32_t
WASI(path_open)(wasi_ctx *ctx, uint32_t fd, uint32_t lookupflags, guest_addr path, uint32_t path_len, uint32_t oflags,
		uint64_t rights_base, uint64_t rights_inheriting, uint32_t fdflags, guest_addr fd_out)
{
	struct wasi_fd opened = {
	    .kind = WASI_FD_OPENED,
	    .filetype = (oflags & WASI_OFLAG_DIRECTORY) ? WASI_FILETYPE_DIRECTORY : WASI_FILETYPE_UNASKED,
	    .fdflags = (uint8_t)fdflags,
	    .is_readable = (rights_base & (WASI_RIGHT_FD_READ | WASI_RIGHT_FD_READDIR)) != 0,
	    .is_writable = (rights_base & WASI_RIGHT_FD_WRITE) != 0 && !(oflags & WASI_OFLAG_DIRECTORY),
	};
	struct wasi_fd *dir = wasi_fd_get(ctx, fd);
	int guest_fd = wasi_fd_lowest_free(ctx);
	struct path host_path;
	int flags;
	uint32_t err;

	(void)rights_inheriting;
	if (!dir)
		return WASI_EBADF;
	if ((oflags & ~(uint32_t)WASI_OFLAGS_ALL) || (fdflags & ~(uint32_t)WASI_FDFLAGS_ALL)
	    || ((oflags & WASI_OFLAG_CREAT) && (oflags & WASI_OFLAG_DIRECTORY)))
		return WASI_EINVAL;
	err = path_load(path, path_len, &host_path);
	if (err)
		return err;
	if (guest_fd < 0)
		return WASI_EMFILE;
	if (!guest_range(fd_out, 4))
		return WASI_EFAULT;

	/* Neither right (O_SEARCH) opens for reading: the kernel has nothing between that and O_PATH. */
	if (!opened.is_writable)
		opened.is_readable = true;
	flags = !opened.is_writable ? O_RDONLY : opened.is_readable ? O_RDWR : O_WRONLY;
	flags |= O_NOCTTY | wasi_open_flags(fdflags);
	flags |= (lookupflags & WASI_LOOKUP_SYMLINK_FOLLOW) ? 0 : O_NOFOLLOW;
	flags |= (oflags & WASI_OFLAG_CREAT) ? O_CREAT : 0;
	flags |= (oflags & WASI_OFLAG_DIRECTORY) ? O_DIRECTORY : 0;
	flags |= (oflags & WASI_OFLAG_EXCL) ? O_EXCL : 0;
	flags |= (oflags & WASI_OFLAG_TRUNC) ? O_TRUNC : 0;
	err = open_beneath(dir, host_path.text, flags, 0600, &opened.host_fd);
	if (err)
		return err;

	/* Whoever opens "." of the host's root gets the root again. */
	if (dir->is_host_root && opened.filetype == WASI_FILETYPE_DIRECTORY) {
		struct stat st, root;

		opened.is_host_root = fstat(opened.host_fd, &st) == 0 && fstat(dir->host_fd, &root) == 0
				      && st.st_dev == root.st_dev && st.st_ino == root.st_ino;
	}
	wasi_fd_install(ctx, (uint32_t)guest_fd, &opened);
	return guest_store_u32(fd_out, (uint32_t)guest_fd) ? WASI_SUCCESS : WASI_EFAULT;
}

uint32_t
WASI(path_filestat_get)(wasi_ctx *ctx, uint32_t fd, uint32_t lookupflags, guest_addr path, uint32_t path_len,
			guest_addr filestat_out)
{
	bool follows = lookupflags & WASI_LOOKUP_SYMLINK_FOLLOW;
	struct wasi_fd *dir = wasi_fd_get(ctx, fd);
	struct path host_path;
	struct stat st;
	int host_fd;
	uint32_t err;

	if (!dir)
		return WASI_EBADF;
	err = path_load(path, path_len, &host_path);
	if (err)
		return err;

	/* One component that is not a link is already beneath: one system call instead of three. */
	if (!strchr(host_path.text, '/') && strcmp(host_path.text, "..") != 0) {
		if (fstatat(dir->host_fd, host_path.text, &st, AT_SYMLINK_NOFOLLOW) != 0)
			return wasi_errno_from_host(errno);
		if (!follows || !S_ISLNK(st.st_mode))
			return wasi_filestat_store(&st, filestat_out);
	}
	err = open_beneath(dir, host_path.text, O_PATH | (follows ? 0 : O_NOFOLLOW), 0, &host_fd);
	if (err)
		return err;
	err = wasi_result(fstat(host_fd, &st));
	close(host_fd);
	return err ? err : wasi_filestat_store(&st, filestat_out);
}

uint32_t
WASI(path_filestat_set_times)(wasi_ctx *ctx, uint32_t fd, uint32_t lookupflags, guest_addr path, uint32_t path_len,
			      uint64_t atim_ns, uint64_t mtim_ns, uint32_t fstflags)
{
	struct wasi_fd *dir = wasi_fd_get(ctx, fd);
	bool follows = lookupflags & WASI_LOOKUP_SYMLINK_FOLLOW;
	struct timespec times[2];
	struct path host_path;
	int host_fd;
	uint32_t err;

	if (!dir)
		return WASI_EBADF;
	err = path_load(path, path_len, &host_path);
	if (!err)
		err = wasi_times_load(atim_ns, mtim_ns, fstflags, times);
	if (!err)
		err = open_beneath(dir, host_path.text, O_PATH | (follows ? 0 : O_NOFOLLOW), 0, &host_fd);
	if (err)
		return err;
	err = wasi_result(utimensat(host_fd, "", times, AT_EMPTY_PATH));
	close(host_fd);
	return err;
}

/* ---- acting on a name ---- */

uint32_t
WASI(path_create_directory)(wasi_ctx *ctx, uint32_t fd, guest_addr path, uint32_t path_len)
{
	struct path host_path;
	struct place place;
	uint32_t err = place_load(ctx, fd, path, path_len, &host_path, &place);

	if (err)
		return err;
	err = wasi_result(mkdirat(place.dir_fd, place.name, 0700));
	place_release(&place);
	return err;
}

static uint32_t
unlink_place(wasi_ctx *ctx, uint32_t fd, guest_addr path, uint32_t path_len, int flags)
{
	struct path host_path;
	struct place place;
	uint32_t err = place_load(ctx, fd, path, path_len, &host_path, &place);

	if (err)
		return err;
	err = wasi_result(unlinkat(place.dir_fd, place.name, flags));
	place_release(&place);
	return err;
}

uint32_t
WASI(path_unlink_file)(wasi_ctx *ctx, uint32_t fd, guest_addr path, uint32_t path_len)
{
	return unlink_place(ctx, fd, path, path_len, 0);
}

uint32_t
WASI(path_remove_directory)(wasi_ctx *ctx, uint32_t fd, guest_addr path, uint32_t path_len)
{
	return unlink_place(ctx, fd, path, path_len, AT_REMOVEDIR);
}

uint32_t
WASI(path_rename)(wasi_ctx *ctx, uint32_t old_fd, guest_addr old_path, uint32_t old_path_len, uint32_t new_fd,
		  guest_addr new_path, uint32_t new_path_len)
{
	struct path old_host_path, new_host_path;
	struct place old_place, new_place;
	uint32_t err = place_load(ctx, old_fd, old_path, old_path_len, &old_host_path, &old_place);

	if (err)
		return err;
	err = place_load(ctx, new_fd, new_path, new_path_len, &new_host_path, &new_place);
	if (!err) {
		err = wasi_result(renameat(old_place.dir_fd, old_place.name, new_place.dir_fd, new_place.name));
		place_release(&new_place);
	}
	place_release(&old_place);
	return err;
}

uint32_t
WASI(path_link)(wasi_ctx *ctx, uint32_t old_fd, uint32_t lookupflags, guest_addr old_path, uint32_t old_path_len,
		uint32_t new_fd, guest_addr new_path, uint32_t new_path_len)
{
	struct path old_host_path, new_host_path;
	struct place old_place, new_place;
	uint32_t err;

	if (lookupflags & WASI_LOOKUP_SYMLINK_FOLLOW)
		return WASI_EINVAL; /* as the other hosts: it can't be done without leaving the directory to chance */
	err = place_load(ctx, old_fd, old_path, old_path_len, &old_host_path, &old_place);
	if (err)
		return err;
	/* A slash at the end makes linkat follow a link. It can only mean a directory, which can't be linked. */
	if (old_place.has_trailing_slash)
		err = WASI_EPERM;
	if (!err)
		err = place_load(ctx, new_fd, new_path, new_path_len, &new_host_path, &new_place);
	if (!err) {
		err = wasi_result(linkat(old_place.dir_fd, old_place.name, new_place.dir_fd, new_place.name, 0));
		place_release(&new_place);
	}
	place_release(&old_place);
	return err;
}

uint32_t
WASI(path_symlink)(wasi_ctx *ctx, guest_addr target, uint32_t target_len, uint32_t fd, guest_addr path,
		   uint32_t path_len)
{
	struct path host_target, host_path;
	struct place place;
	/* Refuses absolute targets: the guest could not follow such a link, only the host's other programs would. */
	uint32_t err = path_load(target, target_len, &host_target);

	if (!err)
		err = place_load(ctx, fd, path, path_len, &host_path, &place);
	if (err)
		return err;
	err = wasi_result(symlinkat(host_target.text, place.dir_fd, place.name));
	place_release(&place);
	return err;
}

/* Like readlink(2): no terminator, and what does not fit is cut. */
uint32_t
WASI(path_readlink)(wasi_ctx *ctx, uint32_t fd, guest_addr path, uint32_t path_len, guest_addr buf, uint32_t buf_len,
		    guest_addr used_out)
{
	char *out = guest_range(buf, buf_len);
	struct path host_path;
	struct place place;
	ssize_t n = -1;
	uint32_t err;

	if (!out || !guest_range(used_out, 4))
		return WASI_EFAULT;
	err = place_load(ctx, fd, path, path_len, &host_path, &place);
	if (err)
		return err;
	/* With a slash at the end it is the directory behind the link that is meant, and that is no link. */
	if (place.has_trailing_slash)
		err = WASI_EINVAL;
	if (!err) {
		n = readlinkat(place.dir_fd, place.name, out, buf_len < INT32_MAX ? buf_len : INT32_MAX);
		err = wasi_result(n);
	}
	place_release(&place);
	if (!err && !guest_store_u32(used_out, (uint32_t)n))
		err = WASI_EFAULT;
	return err;
}
