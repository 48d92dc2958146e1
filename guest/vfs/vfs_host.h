/*
 * vfs_host.h
 *	  The host's WASI functions that vfs_wasi.c calls, as imports.
 *
 * With VFS_HOST_MOUNTS=0 only what standard streams, clocks and the like need
 * is imported; the others become calls that answer "not supported".
 */
#ifndef VFS_HOST_H
#define VFS_HOST_H

#include <wasi/api.h>

#ifndef VFS_HOST_MOUNTS
#define VFS_HOST_MOUNTS 1
#endif

typedef __wasi_errno_t err_t;
typedef __wasi_size_t len_t;

#define IMPORT(name) \
	__attribute__((import_module("wasi_snapshot_preview1"), import_name(#name)))

IMPORT(args_get) err_t host_args_get(uint8_t **, uint8_t *);
IMPORT(args_sizes_get) err_t host_args_sizes_get(len_t *, len_t *);
IMPORT(environ_get) err_t host_environ_get(uint8_t **, uint8_t *);
IMPORT(environ_sizes_get) err_t host_environ_sizes_get(len_t *, len_t *);
IMPORT(clock_res_get) err_t host_clock_res_get(uint32_t, uint64_t *);
IMPORT(clock_time_get) err_t host_clock_time_get(uint32_t, uint64_t, uint64_t *);
IMPORT(random_get) err_t host_random_get(uint8_t *, len_t);
IMPORT(poll_oneoff) err_t host_poll_oneoff(const __wasi_subscription_t *, __wasi_event_t *, len_t, len_t *);
IMPORT(sched_yield) err_t host_sched_yield(void);
IMPORT(proc_exit) _Noreturn void host_proc_exit(uint32_t);
IMPORT(fd_read) err_t host_fd_read(int, const __wasi_iovec_t *, len_t, len_t *);
IMPORT(fd_write) err_t host_fd_write(int, const __wasi_ciovec_t *, len_t, len_t *);
IMPORT(fd_fdstat_get) err_t host_fd_fdstat_get(int, __wasi_fdstat_t *);

#if VFS_HOST_MOUNTS
IMPORT(fd_fdstat_set_flags) err_t host_fd_fdstat_set_flags(int, uint32_t);
IMPORT(fd_filestat_get) err_t host_fd_filestat_get(int, __wasi_filestat_t *);
IMPORT(fd_close) err_t host_fd_close(int);
IMPORT(fd_sync) err_t host_fd_sync(int);
IMPORT(fd_datasync) err_t host_fd_datasync(int);
IMPORT(fd_allocate) err_t host_fd_allocate(int, uint64_t, uint64_t);
IMPORT(fd_filestat_set_size) err_t host_fd_filestat_set_size(int, uint64_t);
IMPORT(fd_filestat_set_times) err_t host_fd_filestat_set_times(int, uint64_t, uint64_t, uint32_t);
IMPORT(fd_pread) err_t host_fd_pread(int, const __wasi_iovec_t *, len_t, uint64_t, len_t *);
IMPORT(fd_pwrite) err_t host_fd_pwrite(int, const __wasi_ciovec_t *, len_t, uint64_t, len_t *);
IMPORT(fd_readdir) err_t host_fd_readdir(int, uint8_t *, len_t, uint64_t, len_t *);
IMPORT(fd_seek) err_t host_fd_seek(int, int64_t, uint32_t, uint64_t *);
IMPORT(path_create_directory) err_t host_path_create_directory(int, const char *, len_t);
IMPORT(path_filestat_get) err_t host_path_filestat_get(int, uint32_t, const char *, len_t, __wasi_filestat_t *);
IMPORT(path_filestat_set_times) err_t host_path_filestat_set_times(int, uint32_t, const char *, len_t, uint64_t, uint64_t, uint32_t);
IMPORT(path_link) err_t host_path_link(int, uint32_t, const char *, len_t, int, const char *, len_t);
IMPORT(path_open) err_t host_path_open(int, uint32_t, const char *, len_t, uint32_t, uint64_t, uint64_t, uint32_t, int *);
IMPORT(path_readlink) err_t host_path_readlink(int, const char *, len_t, uint8_t *, len_t, len_t *);
IMPORT(path_remove_directory) err_t host_path_remove_directory(int, const char *, len_t);
IMPORT(path_rename) err_t host_path_rename(int, const char *, len_t, int, const char *, len_t);
IMPORT(path_symlink) err_t host_path_symlink(const char *, len_t, int, const char *, len_t);
IMPORT(path_unlink_file) err_t host_path_unlink_file(int, const char *, len_t);
#else
static inline err_t
no_host(int fd, ...)
{
	(void) fd;
	return __WASI_ERRNO_NOTSUP;
}
#define host_fd_fdstat_set_flags no_host
#define host_fd_filestat_get	no_host
#define host_fd_close			no_host
#define host_fd_sync			no_host
#define host_fd_datasync		no_host
#define host_fd_allocate		no_host
#define host_fd_filestat_set_size no_host
#define host_fd_filestat_set_times no_host
#define host_fd_pread			no_host
#define host_fd_pwrite			no_host
#define host_fd_readdir			no_host
#define host_fd_seek			no_host
#define host_path_create_directory no_host
#define host_path_filestat_get	no_host
#define host_path_filestat_set_times no_host
#define host_path_link			no_host
#define host_path_open			no_host
#define host_path_readlink		no_host
#define host_path_remove_directory no_host
#define host_path_rename		no_host
#define host_path_symlink(target, target_len, ...) no_host(__VA_ARGS__)
#define host_path_unlink_file	no_host
#endif							/* VFS_HOST_MOUNTS */

#endif							/* VFS_HOST_H */
