/*
 * wasi_fd.c - what the guest does with a descriptor it has: fd_* and sock_*.
 *
 * Order in every function: descriptor, arguments, the place for the result, then the system call. So an error
 * of the guest's making never leaves half an effect behind.
 */
#define _GNU_SOURCE
#include "wasi_internal.h"

#include <dirent.h>
#include <fcntl.h>
#include <sys/socket.h>
#include <unistd.h>

/* Declares f; leaves the function with BADF if fd is not open. */
#define GET_FD_OR_RETURN(f, ctx, fd)                                                                                   \
	struct wasi_fd *f = wasi_fd_get((ctx), (fd));                                                                  \
	if (!(f))                                                                                                      \
		return WASI_EBADF

/* ---- shared helpers ---- */

int
wasi_open_flags(uint32_t fdflags)
{
	return ((fdflags & WASI_FDFLAG_APPEND) ? O_APPEND : 0) | ((fdflags & WASI_FDFLAG_DSYNC) ? O_DSYNC : 0)
	       | ((fdflags & WASI_FDFLAG_NONBLOCK) ? O_NONBLOCK : 0) | ((fdflags & WASI_FDFLAG_RSYNC) ? O_RSYNC : 0)
	       | ((fdflags & WASI_FDFLAG_SYNC) ? O_SYNC : 0);
}

uint32_t
wasi_iovs_load(guest_addr iovs, uint32_t iovs_len, struct iovec *host)
{
	const uint8_t *p;
	uint64_t total_bytes = 0;

	if (iovs_len > WASI_MAX_IOVS)
		return WASI_EINVAL;
	p = guest_range(iovs, (uint64_t)iovs_len * sizeof(struct wasi_iovec));
	if (!p)
		return WASI_EFAULT;
	for (uint32_t i = 0; i < iovs_len; i++) {
		struct wasi_iovec v;

		memcpy(&v, p + i * sizeof(v), sizeof(v));
		host[i].iov_base = guest_range(v.buf, v.len_bytes);
		host[i].iov_len = v.len_bytes;
		if (!host[i].iov_base)
			return WASI_EFAULT;
		total_bytes += v.len_bytes;
	}
	/* The count that was moved must fit the guest's size_t. */
	return total_bytes > UINT32_MAX ? WASI_EINVAL : WASI_SUCCESS;
}

/* Result of a call that moves bytes: the count goes to `out`, which was checked before. */
static uint32_t
count_result(ssize_t n, guest_addr out)
{
	if (n < 0)
		return wasi_errno_from_host(errno);
	return guest_store_u32(out, (uint32_t)n) ? WASI_SUCCESS : WASI_EFAULT;
}

static uint64_t
timespec_ns(const struct timespec *ts)
{
	if (ts->tv_sec < 0)
		return 0;
	return (uint64_t)ts->tv_sec * 1000000000u + (uint64_t)ts->tv_nsec;
}

uint32_t
wasi_filestat_store(const struct stat *st, guest_addr out)
{
	struct wasi_filestat ws = {
	    .dev = st->st_dev,
	    .ino = st->st_ino,
	    .filetype = wasi_filetype_from_mode(st->st_mode),
	    .nlink = st->st_nlink,
	    .size = (uint64_t)st->st_size,
	    .atim_ns = timespec_ns(&st->st_atim),
	    .mtim_ns = timespec_ns(&st->st_mtim),
	    .ctim_ns = timespec_ns(&st->st_ctim),
	};
	void *p = guest_range(out, sizeof(ws));

	if (!p)
		return WASI_EFAULT;
	memcpy(p, &ws, sizeof(ws));
	return WASI_SUCCESS;
}

uint32_t
wasi_times_load(uint64_t atim_ns, uint64_t mtim_ns, uint32_t fstflags, struct timespec times[2])
{
	const uint64_t ns[2] = {atim_ns, mtim_ns};

	if (fstflags > 15)
		return WASI_EINVAL;
	for (int i = 0; i < 2; i++) {
		uint32_t which = (fstflags >> (2 * i)) & 3; /* bit 0: the time given, bit 1: now */

		if (which == 3)
			return WASI_EINVAL;
		times[i].tv_sec = (time_t)(ns[i] / 1000000000u);
		times[i].tv_nsec = (long)(ns[i] % 1000000000u);
		if (which != 1)
			times[i].tv_nsec = which == 2 ? UTIME_NOW : UTIME_OMIT;
	}
	return WASI_SUCCESS;
}

/* ---- reading and writing ---- */

ssize_t (*wasi_stderr_hook)(const struct iovec *host, uint32_t iovs_len);

enum transfer { TRANSFER_READ, TRANSFER_WRITE, TRANSFER_PREAD, TRANSFER_PWRITE };

static inline uint32_t
transfer(wasi_ctx *ctx, uint32_t fd, enum transfer how, guest_addr iovs, uint32_t iovs_len, uint64_t offset,
	 guest_addr count_out)
{
	struct iovec host[WASI_MAX_IOVS];
	uint32_t err;
	ssize_t n = -1;

	GET_FD_OR_RETURN(f, ctx, fd);
	err = wasi_iovs_load(iovs, iovs_len, host);
	if (err)
		return err;
	if (!guest_range(count_out, 4))
		return WASI_EFAULT;
	if (offset > INT64_MAX)
		return WASI_EINVAL;
	switch (how) {
	case TRANSFER_READ:
		n = readv(f->host_fd, host, (int)iovs_len);
		break;
	case TRANSFER_WRITE:
		if (f->host_fd == STDERR_FILENO && wasi_stderr_hook != NULL)
			n = wasi_stderr_hook(host, iovs_len);
		else
			n = writev(f->host_fd, host, (int)iovs_len);
		break;
	case TRANSFER_PREAD:
		n = preadv(f->host_fd, host, (int)iovs_len, (off_t)offset);
		break;
	case TRANSFER_PWRITE:
		n = pwritev(f->host_fd, host, (int)iovs_len, (off_t)offset);
		break;
	}
	return count_result(n, count_out);
}

uint32_t
WASI(fd_read)(wasi_ctx *ctx, uint32_t fd, guest_addr iovs, uint32_t iovs_len, guest_addr nread_out)
{
	return transfer(ctx, fd, TRANSFER_READ, iovs, iovs_len, 0, nread_out);
}

uint32_t
WASI(fd_write)(wasi_ctx *ctx, uint32_t fd, guest_addr iovs, uint32_t iovs_len, guest_addr nwritten_out)
{
	return transfer(ctx, fd, TRANSFER_WRITE, iovs, iovs_len, 0, nwritten_out);
}

uint32_t
WASI(fd_pread)(wasi_ctx *ctx, uint32_t fd, guest_addr iovs, uint32_t iovs_len, uint64_t offset, guest_addr nread_out)
{
	return transfer(ctx, fd, TRANSFER_PREAD, iovs, iovs_len, offset, nread_out);
}

uint32_t
WASI(fd_pwrite)(wasi_ctx *ctx, uint32_t fd, guest_addr iovs, uint32_t iovs_len, uint64_t offset,
		guest_addr nwritten_out)
{
	return transfer(ctx, fd, TRANSFER_PWRITE, iovs, iovs_len, offset, nwritten_out);
}

uint32_t
WASI(fd_seek)(wasi_ctx *ctx, uint32_t fd, uint64_t offset, uint32_t whence, guest_addr position_out)
{
	static const int host_whence[] = {SEEK_SET, SEEK_CUR, SEEK_END};
	off_t position;

	GET_FD_OR_RETURN(f, ctx, fd);
	if (whence > 2)
		return WASI_EINVAL;
	if (!guest_range(position_out, 8))
		return WASI_EFAULT;
	position = lseek(f->host_fd, (off_t)offset, host_whence[whence]);
	if (position < 0)
		return wasi_errno_from_host(errno);
	return guest_store_u64(position_out, (uint64_t)position) ? WASI_SUCCESS : WASI_EFAULT;
}

uint32_t
WASI(fd_tell)(wasi_ctx *ctx, uint32_t fd, guest_addr position_out)
{
	return WASI(fd_seek)(ctx, fd, 0, 1, position_out);
}

uint32_t
WASI(fd_sync)(wasi_ctx *ctx, uint32_t fd)
{
	GET_FD_OR_RETURN(f, ctx, fd);
	return wasi_result(fsync(f->host_fd));
}

uint32_t
WASI(fd_datasync)(wasi_ctx *ctx, uint32_t fd)
{
	GET_FD_OR_RETURN(f, ctx, fd);
	return wasi_result(fdatasync(f->host_fd));
}

uint32_t
WASI(fd_advise)(wasi_ctx *ctx, uint32_t fd, uint64_t offset, uint64_t len_bytes, uint32_t advice)
{
	static const int host_advice[] = {
	    POSIX_FADV_NORMAL,
	    POSIX_FADV_SEQUENTIAL,
	    POSIX_FADV_RANDOM,
	    POSIX_FADV_WILLNEED,
	    POSIX_FADV_DONTNEED,
	    POSIX_FADV_NOREUSE,
	};
	int err;

	GET_FD_OR_RETURN(f, ctx, fd);
	if (offset > INT64_MAX || len_bytes > INT64_MAX || advice >= sizeof(host_advice) / sizeof(host_advice[0]))
		return WASI_EINVAL;
	err = posix_fadvise(f->host_fd, (off_t)offset, (off_t)len_bytes, host_advice[advice]);
	return err ? wasi_errno_from_host(err) : WASI_SUCCESS;
}

uint32_t
WASI(fd_allocate)(wasi_ctx *ctx, uint32_t fd, uint64_t offset, uint64_t len_bytes)
{
	int err;

	GET_FD_OR_RETURN(f, ctx, fd);
	if (offset > INT64_MAX || len_bytes > INT64_MAX)
		return WASI_EINVAL;
	err = posix_fallocate(f->host_fd, (off_t)offset, (off_t)len_bytes);
	return err ? wasi_errno_from_host(err) : WASI_SUCCESS;
}

/* ---- the descriptor itself ---- */

static uint32_t
close_host_fd(const struct wasi_fd *f)
{
	/*
	 * Closing the host's 0..2 would let its next open() become its standard error.
	 * After EINTR Linux has closed the descriptor all the same.
	 */
	if (f->kind == WASI_FD_STDIO || close(f->host_fd) == 0 || errno == EINTR)
		return WASI_SUCCESS;
	return wasi_errno_from_host(errno);
}

uint32_t
WASI(fd_close)(wasi_ctx *ctx, uint32_t fd)
{
	const struct wasi_fd empty = {.kind = WASI_FD_FREE};
	uint32_t err;

	GET_FD_OR_RETURN(f, ctx, fd);
	err = close_host_fd(f);
	wasi_fd_install(ctx, fd, &empty);
	return err;
}

uint32_t
WASI(fd_renumber)(wasi_ctx *ctx, uint32_t fd, uint32_t to)
{
	const struct wasi_fd empty = {.kind = WASI_FD_FREE};

	GET_FD_OR_RETURN(f, ctx, fd);
	GET_FD_OR_RETURN(target, ctx, to);
	if (f == target)
		return WASI_SUCCESS;
	close_host_fd(target); /* as dup2: an error of the old file has nobody to go to */
	wasi_fd_install(ctx, to, f);
	wasi_fd_install(ctx, fd, &empty);
	return WASI_SUCCESS;
}

uint32_t
WASI(fd_fdstat_get)(wasi_ctx *ctx, uint32_t fd, guest_addr fdstat_out)
{
	struct {
		uint8_t filetype, pad1;
		uint16_t fdflags;
		uint32_t pad2;
		uint64_t rights_base, rights_inheriting;
	} fdstat = {.rights_base = WASI_RIGHTS_ALL, .rights_inheriting = WASI_RIGHTS_ALL};
	void *p = guest_range(fdstat_out, sizeof(fdstat));

	_Static_assert(sizeof(fdstat) == 24, "preview 1 layout");
	GET_FD_OR_RETURN(f, ctx, fd);
	if (!p)
		return WASI_EFAULT;
	/* wasi-libc asks this of the directory before each open: no system call on that path. */
	fdstat.filetype = wasi_filetype_of(f);
	fdstat.fdflags = f->fdflags;
	if (f->kind == WASI_FD_STDIO) {
		int flags = fcntl(f->host_fd, F_GETFL);

		if (flags < 0)
			return wasi_errno_from_host(errno);
		fdstat.fdflags = (uint16_t)(((flags & O_APPEND) ? WASI_FDFLAG_APPEND : 0)
					    | ((flags & O_NONBLOCK) ? WASI_FDFLAG_NONBLOCK : 0));
	}
	/* All rights, but for two things wasi-libc reads from them: fcntl(F_GETFL)'s access mode, and isatty(). */
	if (!f->is_readable)
		fdstat.rights_base &= ~(WASI_RIGHT_FD_READ | WASI_RIGHT_FD_READDIR);
	if (!f->is_writable)
		fdstat.rights_base &= ~WASI_RIGHT_FD_WRITE;
	if (fdstat.filetype == WASI_FILETYPE_CHARACTER_DEVICE && isatty(f->host_fd))
		fdstat.rights_base &= ~(WASI_RIGHT_FD_SEEK | WASI_RIGHT_FD_TELL);
	memcpy(p, &fdstat, sizeof(fdstat));
	return WASI_SUCCESS;
}

uint32_t
WASI(fd_fdstat_set_flags)(wasi_ctx *ctx, uint32_t fd, uint32_t fdflags)
{
	const uint32_t settable = WASI_FDFLAG_APPEND | WASI_FDFLAG_NONBLOCK;

	GET_FD_OR_RETURN(f, ctx, fd);
	if (fdflags & ~(uint32_t)WASI_FDFLAGS_ALL)
		return WASI_EINVAL;
	/* Linux can't switch O_SYNC afterwards and would silently ignore it: say so. */
	if ((fdflags ^ f->fdflags) & ~settable)
		return WASI_ENOTSUP;
	if (fcntl(f->host_fd, F_SETFL, wasi_open_flags(fdflags)) != 0)
		return wasi_errno_from_host(errno);
	f->fdflags = (uint8_t)fdflags;
	return WASI_SUCCESS;
}

/* There are no rights to take away: accepted as long as none beyond the existing ones is asked for. */
uint32_t
WASI(fd_fdstat_set_rights)(wasi_ctx *ctx, uint32_t fd, uint64_t base, uint64_t inheriting)
{
	GET_FD_OR_RETURN(f, ctx, fd);
	return ((base | inheriting) & ~WASI_RIGHTS_ALL) ? WASI_ENOTCAPABLE : WASI_SUCCESS;
}

uint32_t
WASI(fd_filestat_get)(wasi_ctx *ctx, uint32_t fd, guest_addr filestat_out)
{
	struct stat st;

	GET_FD_OR_RETURN(f, ctx, fd);
	if (fstat(f->host_fd, &st) != 0)
		return wasi_errno_from_host(errno);
	return wasi_filestat_store(&st, filestat_out);
}

uint32_t
WASI(fd_filestat_set_size)(wasi_ctx *ctx, uint32_t fd, uint64_t size_bytes)
{
	GET_FD_OR_RETURN(f, ctx, fd);
	if (size_bytes > INT64_MAX)
		return WASI_EINVAL;
	return wasi_result(ftruncate(f->host_fd, (off_t)size_bytes));
}

uint32_t
WASI(fd_filestat_set_times)(wasi_ctx *ctx, uint32_t fd, uint64_t atim_ns, uint64_t mtim_ns, uint32_t fstflags)
{
	struct timespec times[2];
	uint32_t err = wasi_times_load(atim_ns, mtim_ns, fstflags, times);

	GET_FD_OR_RETURN(f, ctx, fd);
	if (err)
		return err;
	return wasi_result(futimens(f->host_fd, times));
}

/* ---- preopens ---- */

uint32_t
WASI(fd_prestat_get)(wasi_ctx *ctx, uint32_t fd, guest_addr prestat_out)
{
	GET_FD_OR_RETURN(f, ctx, fd);
	if (f->kind != WASI_FD_PREOPEN)
		return WASI_EBADF; /* where wasi-libc's search for preopens ends */
	/* {uint8_t tag (0: a directory), padding, uint32_t name_len} */
	if (!guest_store_u64(prestat_out, (uint64_t)strlen(f->preopen_name) << 32))
		return WASI_EFAULT;
	return WASI_SUCCESS;
}

uint32_t
WASI(fd_prestat_dir_name)(wasi_ctx *ctx, uint32_t fd, guest_addr name, uint32_t name_len)
{
	size_t len;
	void *p;

	GET_FD_OR_RETURN(f, ctx, fd);
	if (f->kind != WASI_FD_PREOPEN)
		return WASI_EBADF;
	len = strlen(f->preopen_name);
	if (name_len < len)
		return WASI_ENAMETOOLONG;
	p = guest_range(name, len);
	if (!p)
		return WASI_EFAULT;
	memcpy(p, f->preopen_name, len); /* no terminator */
	return WASI_SUCCESS;
}

/* ---- directories ---- */

struct wasi_dirent {
	uint64_t next, ino;
	uint32_t name_len;
	uint8_t filetype, pad[3];
};
_Static_assert(sizeof(struct wasi_dirent) == 24, "preview 1 layout");

static uint8_t
filetype_from_dirent(uint8_t d_type)
{
	/* The DT_ constants are the file type bits of a mode; a stream socket is a guess here as it is there. */
	return d_type == DT_UNKNOWN ? WASI_FILETYPE_UNKNOWN : wasi_filetype_from_mode(DTTOIF((mode_t)d_type));
}

/*
 * The cookie is the kernel's own d_off, so nothing needs to be remembered between calls, and a fork that
 * reads the same directory does no harm between two of ours. An entry that does not fit is cut; used == buf_len
 * tells the guest that there is more.
 */
uint32_t
WASI(fd_readdir)(wasi_ctx *ctx, uint32_t fd, guest_addr buf, uint32_t buf_len, uint64_t cookie, guest_addr used_out)
{
	_Alignas(struct dirent64) uint8_t batch[8192];
	uint32_t used = 0;
	uint8_t *out = guest_range(buf, buf_len);

	GET_FD_OR_RETURN(f, ctx, fd);
	if (!out || !guest_range(used_out, 4))
		return WASI_EFAULT;
	if (cookie > INT64_MAX)
		return WASI_EINVAL;
	if (wasi_filetype_of(f) != WASI_FILETYPE_DIRECTORY)
		return WASI_ENOTDIR;
	if (lseek(f->host_fd, (off_t)cookie, SEEK_SET) < 0)
		return wasi_errno_from_host(errno);

	while (used < buf_len) {
		ssize_t got = getdents64(f->host_fd, batch, sizeof(batch));

		if (got == 0 || (got < 0 && errno == ENOENT))
			break; /* ENOENT: the directory was removed; to readdir(3) too that is just its end */
		if (got < 0)
			return wasi_errno_from_host(errno);
		for (ssize_t at = 0; at < got && used < buf_len;) {
			const struct dirent64 *d = (const void *)(batch + at);
			struct wasi_dirent wd = {
			    .next = (uint64_t)d->d_off,
			    .ino = d->d_ino,
			    .name_len = (uint32_t)strlen(d->d_name),
			    .filetype = filetype_from_dirent(d->d_type),
			};
			const void *parts[2] = {&wd, d->d_name};
			const uint32_t parts_len[2] = {sizeof(wd), wd.name_len};

			for (int i = 0; i < 2; i++) {
				uint32_t n = buf_len - used < parts_len[i] ? buf_len - used : parts_len[i];

				memcpy(out + used, parts[i], n);
				used += n;
			}
			at += d->d_reclen;
		}
	}
	return count_result((ssize_t)used, used_out);
}

/* ---- sockets ---- */

uint32_t
WASI(sock_accept)(wasi_ctx *ctx, uint32_t fd, uint32_t fdflags, guest_addr fd_out)
{
	struct wasi_fd accepted = {
	    .kind = WASI_FD_OPENED,
	    .filetype = WASI_FILETYPE_UNASKED,
	    .fdflags = (uint8_t)fdflags,
	    .is_readable = true,
	    .is_writable = true,
	};
	int guest_fd = wasi_fd_lowest_free(ctx);

	GET_FD_OR_RETURN(f, ctx, fd);
	if (fdflags & ~(uint32_t)WASI_FDFLAG_NONBLOCK)
		return WASI_EINVAL;
	if (guest_fd < 0)
		return WASI_EMFILE;
	if (!guest_range(fd_out, 4))
		return WASI_EFAULT;
	accepted.host_fd = accept4(f->host_fd, NULL, NULL, SOCK_CLOEXEC | (fdflags ? SOCK_NONBLOCK : 0));
	if (accepted.host_fd < 0)
		return wasi_errno_from_host(errno);
	wasi_fd_install(ctx, (uint32_t)guest_fd, &accepted);
	return count_result(guest_fd, fd_out);
}

uint32_t
WASI(sock_recv)(wasi_ctx *ctx, uint32_t fd, guest_addr iovs, uint32_t iovs_len, uint32_t riflags, guest_addr nread_out,
		guest_addr roflags_out)
{
	struct iovec host[WASI_MAX_IOVS];
	struct msghdr msg = {.msg_iov = host, .msg_iovlen = iovs_len};
	uint32_t err;
	ssize_t n;

	GET_FD_OR_RETURN(f, ctx, fd);
	err = wasi_iovs_load(iovs, iovs_len, host);
	if (err)
		return err;
	if (riflags > 3)
		return WASI_EINVAL;
	if (!guest_range(nread_out, 4) || !guest_range(roflags_out, 2))
		return WASI_EFAULT;
	n = recvmsg(f->host_fd, &msg, ((riflags & 1) ? MSG_PEEK : 0) | ((riflags & 2) ? MSG_WAITALL : 0));
	if (n >= 0 && !guest_store_u16(roflags_out, (msg.msg_flags & MSG_TRUNC) ? 1 : 0))
		return WASI_EFAULT;
	return count_result(n, nread_out);
}

uint32_t
WASI(sock_send)(wasi_ctx *ctx, uint32_t fd, guest_addr iovs, uint32_t iovs_len, uint32_t siflags,
		guest_addr nwritten_out)
{
	struct iovec host[WASI_MAX_IOVS];
	struct msghdr msg = {.msg_iov = host, .msg_iovlen = iovs_len};
	uint32_t err;

	GET_FD_OR_RETURN(f, ctx, fd);
	err = wasi_iovs_load(iovs, iovs_len, host);
	if (err)
		return err;
	if (siflags)
		return WASI_EINVAL; /* preview 1 defines none */
	if (!guest_range(nwritten_out, 4))
		return WASI_EFAULT;
	return count_result(sendmsg(f->host_fd, &msg, MSG_NOSIGNAL), nwritten_out);
}

uint32_t
WASI(sock_shutdown)(wasi_ctx *ctx, uint32_t fd, uint32_t how)
{
	static const int host_how[] = {-1, SHUT_RD, SHUT_WR, SHUT_RDWR};

	GET_FD_OR_RETURN(f, ctx, fd);
	if (how == 0 || how > 3)
		return WASI_EINVAL;
	return wasi_result(shutdown(f->host_fd, host_how[how]));
}
