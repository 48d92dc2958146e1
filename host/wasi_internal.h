/*
 * wasi_internal.h - what the wasi*.c files share, and preview 1's constants. Not for the rest of the host.
 *
 * Functions here return a WASI errno unless they say otherwise.
 */
#ifndef PGCELL_WASI_INTERNAL_H
#define PGCELL_WASI_INTERNAL_H

#include <errno.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <time.h>

#include "wasi.h"

enum wasi_filetype {
	WASI_FILETYPE_UNKNOWN = 0,
	WASI_FILETYPE_BLOCK_DEVICE = 1,
	WASI_FILETYPE_CHARACTER_DEVICE = 2,
	WASI_FILETYPE_DIRECTORY = 3,
	WASI_FILETYPE_REGULAR_FILE = 4,
	WASI_FILETYPE_SOCKET_DGRAM = 5,
	WASI_FILETYPE_SOCKET_STREAM = 6,
	WASI_FILETYPE_SYMBOLIC_LINK = 7,
	WASI_FILETYPE_UNASKED = 255, /* ours, never given to the guest */
};

enum wasi_fdflags {
	WASI_FDFLAG_APPEND = 1,
	WASI_FDFLAG_DSYNC = 2,
	WASI_FDFLAG_NONBLOCK = 4,
	WASI_FDFLAG_RSYNC = 8,
	WASI_FDFLAG_SYNC = 16,
	WASI_FDFLAGS_ALL = 31,
};

enum wasi_oflags {
	WASI_OFLAG_CREAT = 1,
	WASI_OFLAG_DIRECTORY = 2,
	WASI_OFLAG_EXCL = 4,
	WASI_OFLAG_TRUNC = 8,
	WASI_OFLAGS_ALL = 15,
};

enum wasi_lookupflags { WASI_LOOKUP_SYMLINK_FOLLOW = 1 };

#define WASI_RIGHT_FD_READ (UINT64_C(1) << 1)
#define WASI_RIGHT_FD_SEEK (UINT64_C(1) << 2)
#define WASI_RIGHT_FD_TELL (UINT64_C(1) << 5)
#define WASI_RIGHT_FD_WRITE (UINT64_C(1) << 6)
#define WASI_RIGHT_FD_READDIR (UINT64_C(1) << 14)
#define WASI_RIGHTS_ALL ((UINT64_C(1) << 30) - 1)

/* Memory layouts of preview 1; the padding is explicit so that no host byte leaks through it. */
struct wasi_filestat {
	uint64_t dev, ino;
	uint8_t filetype, pad[7];
	uint64_t nlink, size, atim_ns, mtim_ns, ctim_ns;
};
_Static_assert(sizeof(struct wasi_filestat) == 64, "preview 1 layout");

struct wasi_iovec {
	guest_addr buf;
	uint32_t len_bytes;
};
_Static_assert(sizeof(struct wasi_iovec) == 8, "preview 1 layout");

/* wasi.c */
uint32_t wasi_errno_from_host(int host_errno);
/* For "return wasi_result(syscall(...))": 0 unless the call gave -1. */
static inline uint32_t
wasi_result(int64_t result)
{
	return result < 0 ? wasi_errno_from_host(errno) : WASI_SUCCESS;
}
uint8_t wasi_filetype_from_mode(mode_t mode);
uint8_t wasi_filetype_of(struct wasi_fd *f); /* cached after the first call */
/* The lowest free descriptor, or -1. It stays free until wasi_fd_install(). */
int wasi_fd_lowest_free(const wasi_ctx *ctx);
void wasi_fd_install(wasi_ctx *ctx, uint32_t fd, const struct wasi_fd *f);

/* NULL if fd is not open: BADF. */
__attribute__((warn_unused_result)) static inline struct wasi_fd *
wasi_fd_get(wasi_ctx *ctx, uint32_t fd)
{
	if (fd >= WASI_MAX_FDS || ctx->fds[fd].kind == WASI_FD_FREE)
		return NULL;
	return &ctx->fds[fd];
}

/* wasi_fd.c */
int wasi_open_flags(uint32_t fdflags);
/* Checks the guest's vector and copies it into `host`, WASI_MAX_IOVS long. */
uint32_t wasi_iovs_load(guest_addr iovs, uint32_t iovs_len, struct iovec *host);
uint32_t wasi_filestat_store(const struct stat *st, guest_addr out);
uint32_t wasi_times_load(uint64_t atim_ns, uint64_t mtim_ns, uint32_t fstflags, struct timespec times[2]);

#endif
