/*
 * wasi.h - WASI preview 1 for the native host, as wasm2c's output imports it.
 *
 * Calling sequence:
 *	wasi_init()		once per process, before the guest runs
 *	w2c_wasi__snapshot__preview1_*()	called by the translated guest, never by us
 *	wasi_release()		only where the process outlives the guest (tests)
 *
 * The guest reaches the host's files only through the preopened directories: every path is resolved by
 * openat2(RESOLVE_BENEATH), so neither "..", nor an absolute path, nor a symbolic link leads out (NOTCAPABLE). Hence
 * absolute links can't be followed, and none can be made. A preopen that is the host's own root directory resolves
 * with RESOLVE_IN_ROOT instead: the same reach, and existing absolute links work. New files are 0600 and new
 * directories 0700, before the umask; all descriptors are close-on-exec. Needs Linux 5.8.
 *
 * Errors: each import returns a WASI errno (enum wasi_errno), 0 for success. A guest address outside
 * the guest's memory gives FAULT before anything was done. A signal gives INTR (random_get alone carries
 * on), and the guest looks at what is pending.
 *
 * One guest per process and no threads. After fork() both processes have the table and share the
 * open files, as with any descriptors. SIGPIPE must be ignored by the host. On exit nothing
 * needs to be flushed.
 */
#ifndef PGCELL_WASI_H
#define PGCELL_WASI_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "guest_memory.h"

/* What wasm2c makes of the names in module wasi_snapshot_preview1. */
#define WASI(name) w2c_wasi__snapshot__preview1_##name

enum {
	WASI_MAX_FDS = 4096,
	WASI_MAX_IOVS = 1024,
	WASI_MAX_SUBSCRIPTIONS = 1024,
	WASI_MAX_PATH_BYTES = 4095, /* without the terminator */
	WASI_MAX_ARG_BYTES = 1 << 20, /* all of argv, and all of envp */
};

/*
 * Preview 1's error numbers and the host's. One row per number gives enum wasi_errno and the translation.
 */
#define WASI_ERRNO_MAP(X)                                                                                              \
	X(E2BIG, 1) X(EACCES, 2) X(EADDRINUSE, 3) X(EADDRNOTAVAIL, 4) X(EAFNOSUPPORT, 5)                               \
	X(EAGAIN, 6) X(EALREADY, 7) X(EBADF, 8) X(EBADMSG, 9) X(EBUSY, 10)                                             \
	X(ECANCELED, 11) X(ECHILD, 12) X(ECONNABORTED, 13) X(ECONNREFUSED, 14) X(ECONNRESET, 15)                       \
	X(EDEADLK, 16) X(EDESTADDRREQ, 17) X(EDOM, 18) X(EDQUOT, 19) X(EEXIST, 20)                                     \
	X(EFAULT, 21) X(EFBIG, 22) X(EHOSTUNREACH, 23) X(EIDRM, 24) X(EILSEQ, 25)                                      \
	X(EINPROGRESS, 26) X(EINTR, 27) X(EINVAL, 28) X(EIO, 29) X(EISCONN, 30)                                        \
	X(EISDIR, 31) X(ELOOP, 32) X(EMFILE, 33) X(EMLINK, 34) X(EMSGSIZE, 35)                                         \
	X(EMULTIHOP, 36) X(ENAMETOOLONG, 37) X(ENETDOWN, 38) X(ENETRESET, 39) X(ENETUNREACH, 40)                       \
	X(ENFILE, 41) X(ENOBUFS, 42) X(ENODEV, 43) X(ENOENT, 44) X(ENOEXEC, 45)                                        \
	X(ENOLCK, 46) X(ENOLINK, 47) X(ENOMEM, 48) X(ENOMSG, 49) X(ENOPROTOOPT, 50)                                    \
	X(ENOSPC, 51) X(ENOSYS, 52) X(ENOTCONN, 53) X(ENOTDIR, 54) X(ENOTEMPTY, 55)                                    \
	X(ENOTRECOVERABLE, 56) X(ENOTSOCK, 57) X(ENOTSUP, 58) X(ENOTTY, 59) X(ENXIO, 60)                               \
	X(EOVERFLOW, 61) X(EOWNERDEAD, 62) X(EPERM, 63) X(EPIPE, 64) X(EPROTO, 65)                                     \
	X(EPROTONOSUPPORT, 66) X(EPROTOTYPE, 67) X(ERANGE, 68) X(EROFS, 69) X(ESPIPE, 70)                              \
	X(ESRCH, 71) X(ESTALE, 72) X(ETIMEDOUT, 73) X(ETXTBSY, 74) X(EXDEV, 75)

#define WASI_ERRNO_ENUM(name, number) WASI_##name = (number),
enum wasi_errno { WASI_SUCCESS = 0, WASI_ERRNO_MAP(WASI_ERRNO_ENUM) WASI_ENOTCAPABLE = 76 };
#undef WASI_ERRNO_ENUM

enum wasi_fd_kind {
	WASI_FD_FREE, /* must be 0: an all-zero table is an empty one */
	WASI_FD_STDIO, /* the host's own 0..2 or /dev/null: fd_close leaves the host's descriptor open */
	WASI_FD_PREOPEN, /* directory with a name the guest can ask for */
	WASI_FD_OPENED, /* by path_open or sock_accept */
};

struct wasi_fd {
	int host_fd;
	uint8_t kind; /* enum wasi_fd_kind */
	uint8_t filetype; /* WASI's; WASI_FILETYPE_UNASKED until somebody wants to know */
	uint8_t fdflags; /* WASI's, as they were set through this table; unused for WASI_FD_STDIO */
	bool is_readable;
	bool is_writable;
	bool is_host_root; /* this is the host's "/" */
	const char *preopen_name; /* NULL unless WASI_FD_PREOPEN */
};

struct wasi_preopen {
	const char *guest_name; /* as the guest's libc matches it, usually "/"; retained */
	int host_dir_fd; /* any open directory, O_PATH will do; not retained, stays the caller's */
};

struct wasi_config {
	int argc;
	const char *const *argv; /* retained */
	const char *const *envp; /* "NAME=value", NULL at the end; NULL for none; retained. Nothing is inherited */
	const struct wasi_preopen *preopens; /* given the descriptors 3, 4, ... in this order */
	size_t preopens_len;
	bool allow_stdio; /* the host's 0..2 as the guest's; if false, /dev/null takes their place */
};

struct w2c_wasi__snapshot__preview1 {
	int argc;
	const char *const *argv;
	int envc;
	const char *const *envp;
	int null_fd; /* /dev/null behind the guest's stdio, -1 if that is the host's */
	uint64_t used[WASI_MAX_FDS / 64]; /* bit set: fds[] entry in use */
	struct wasi_fd fds[WASI_MAX_FDS];
};
typedef struct w2c_wasi__snapshot__preview1 wasi_ctx;

/* Called by proc_exit with the guest's exit code; may leave by longjmp. If NULL or if it returns: _exit(code). */
extern void (*wasi_exit_hook)(int code);

/* In the place of writing to the host's standard error, if not NULL: takes all of `host` (`iovs_len` long) and returns how many bytes. */
struct iovec;
extern ssize_t (*wasi_stderr_hook)(const struct iovec *host, uint32_t iovs_len);

/*
 * Overwrites *ctx. Returns 0 or -errno: ENOSYS (or EPERM, from a seccomp filter) means that there is no
 * openat2, E2BIG too many arguments or preopens. After an error there is nothing to release.
 */
int wasi_init(wasi_ctx *ctx, const struct wasi_config *config) __attribute__((warn_unused_result));
void wasi_release(wasi_ctx *ctx);

/* The imports, in the order of their names. Parameters ending in _out are where the guest wants the result. */
uint32_t WASI(args_get)(wasi_ctx *ctx, guest_addr argv, guest_addr argv_buf);
uint32_t WASI(args_sizes_get)(wasi_ctx *ctx, guest_addr argc_out, guest_addr bytes_out);
uint32_t WASI(clock_res_get)(wasi_ctx *ctx, uint32_t clock_id, guest_addr ns_out);
uint32_t WASI(clock_time_get)(wasi_ctx *ctx, uint32_t clock_id, uint64_t precision_ns,
	guest_addr ns_out);
uint32_t WASI(environ_get)(wasi_ctx *ctx, guest_addr environ_ptrs, guest_addr environ_buf);
uint32_t WASI(environ_sizes_get)(wasi_ctx *ctx, guest_addr count_out, guest_addr bytes_out);
uint32_t WASI(fd_advise)(wasi_ctx *ctx, uint32_t fd, uint64_t offset, uint64_t len_bytes,
	uint32_t advice);
uint32_t WASI(fd_allocate)(wasi_ctx *ctx, uint32_t fd, uint64_t offset, uint64_t len_bytes);
uint32_t WASI(fd_close)(wasi_ctx *ctx, uint32_t fd);
uint32_t WASI(fd_datasync)(wasi_ctx *ctx, uint32_t fd);
uint32_t WASI(fd_fdstat_get)(wasi_ctx *ctx, uint32_t fd, guest_addr fdstat_out);
uint32_t WASI(fd_fdstat_set_flags)(wasi_ctx *ctx, uint32_t fd, uint32_t fdflags);
uint32_t WASI(fd_fdstat_set_rights)(wasi_ctx *ctx, uint32_t fd, uint64_t base, uint64_t inheriting);
uint32_t WASI(fd_filestat_get)(wasi_ctx *ctx, uint32_t fd, guest_addr filestat_out);
uint32_t WASI(fd_filestat_set_size)(wasi_ctx *ctx, uint32_t fd, uint64_t size_bytes);
uint32_t WASI(fd_filestat_set_times)(wasi_ctx *ctx, uint32_t fd, uint64_t atim_ns,
	uint64_t mtim_ns, uint32_t fstflags);
uint32_t WASI(fd_pread)(wasi_ctx *ctx, uint32_t fd, guest_addr iovs, uint32_t iovs_len,
	uint64_t offset, guest_addr nread_out);
uint32_t WASI(fd_prestat_dir_name)(wasi_ctx *ctx, uint32_t fd, guest_addr name, uint32_t name_len);
uint32_t WASI(fd_prestat_get)(wasi_ctx *ctx, uint32_t fd, guest_addr prestat_out);
uint32_t WASI(fd_pwrite)(wasi_ctx *ctx, uint32_t fd, guest_addr iovs, uint32_t iovs_len,
	uint64_t offset, guest_addr nwritten_out);
uint32_t WASI(fd_read)(wasi_ctx *ctx, uint32_t fd, guest_addr iovs, uint32_t iovs_len,
	guest_addr nread_out);
uint32_t WASI(fd_readdir)(wasi_ctx *ctx, uint32_t fd, guest_addr buf, uint32_t buf_len,
	uint64_t cookie, guest_addr used_out);
uint32_t WASI(fd_renumber)(wasi_ctx *ctx, uint32_t fd, uint32_t to);
uint32_t WASI(fd_seek)(wasi_ctx *ctx, uint32_t fd, uint64_t offset, uint32_t whence,
	guest_addr position_out);
uint32_t WASI(fd_sync)(wasi_ctx *ctx, uint32_t fd);
uint32_t WASI(fd_tell)(wasi_ctx *ctx, uint32_t fd, guest_addr position_out);
uint32_t WASI(fd_write)(wasi_ctx *ctx, uint32_t fd, guest_addr iovs, uint32_t iovs_len,
	guest_addr nwritten_out);
uint32_t WASI(path_create_directory)(wasi_ctx *ctx, uint32_t fd, guest_addr path,
	uint32_t path_len);
uint32_t WASI(path_filestat_get)(wasi_ctx *ctx, uint32_t fd, uint32_t lookupflags, guest_addr path,
	uint32_t path_len, guest_addr filestat_out);
uint32_t WASI(path_filestat_set_times)(wasi_ctx *ctx, uint32_t fd, uint32_t lookupflags,
	guest_addr path, uint32_t path_len, uint64_t atim_ns, uint64_t mtim_ns, uint32_t fstflags);
uint32_t WASI(path_link)(wasi_ctx *ctx, uint32_t old_fd, uint32_t lookupflags, guest_addr old_path,
	uint32_t old_path_len, uint32_t new_fd, guest_addr new_path, uint32_t new_path_len);
uint32_t WASI(path_open)(wasi_ctx *ctx, uint32_t fd, uint32_t lookupflags, guest_addr path,
	uint32_t path_len, uint32_t oflags, uint64_t rights_base, uint64_t rights_inheriting,
	uint32_t fdflags, guest_addr fd_out);
uint32_t WASI(path_readlink)(wasi_ctx *ctx, uint32_t fd, guest_addr path, uint32_t path_len,
	guest_addr buf, uint32_t buf_len, guest_addr used_out);
uint32_t WASI(path_remove_directory)(wasi_ctx *ctx, uint32_t fd, guest_addr path,
	uint32_t path_len);
uint32_t WASI(path_rename)(wasi_ctx *ctx, uint32_t old_fd, guest_addr old_path,
	uint32_t old_path_len, uint32_t new_fd, guest_addr new_path, uint32_t new_path_len);
uint32_t WASI(path_symlink)(wasi_ctx *ctx, guest_addr target, uint32_t target_len, uint32_t fd,
	guest_addr path, uint32_t path_len);
uint32_t WASI(path_unlink_file)(wasi_ctx *ctx, uint32_t fd, guest_addr path, uint32_t path_len);
uint32_t WASI(poll_oneoff)(wasi_ctx *ctx, guest_addr subscriptions, guest_addr events,
	uint32_t count, guest_addr events_out);
void WASI(proc_exit)(wasi_ctx *ctx, uint32_t code);
uint32_t WASI(random_get)(wasi_ctx *ctx, guest_addr buf, uint32_t buf_len);
uint32_t WASI(sched_yield)(wasi_ctx *ctx);
uint32_t WASI(sock_accept)(wasi_ctx *ctx, uint32_t fd, uint32_t fdflags, guest_addr fd_out);
uint32_t WASI(sock_recv)(wasi_ctx *ctx, uint32_t fd, guest_addr iovs, uint32_t iovs_len,
	uint32_t riflags, guest_addr nread_out, guest_addr roflags_out);
uint32_t WASI(sock_send)(wasi_ctx *ctx, uint32_t fd, guest_addr iovs, uint32_t iovs_len,
	uint32_t siflags, guest_addr nwritten_out);
uint32_t WASI(sock_shutdown)(wasi_ctx *ctx, uint32_t fd, uint32_t how);

#endif
