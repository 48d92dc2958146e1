/*
 * wasi.c - the descriptor table, arguments, clocks, randomness, exit.
 */
#define _GNU_SOURCE
#include "wasi_internal.h"

#include <fcntl.h>
#include <linux/openat2.h>
#include <sched.h>
#include <stdlib.h>
#include <sys/random.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

void (*wasi_exit_hook)(int code);

#define WASI_ERRNO_ROW(name, number) [name] = (number),
static const uint8_t errno_from_host[] = {WASI_ERRNO_MAP(WASI_ERRNO_ROW)};
#undef WASI_ERRNO_ROW

uint32_t
wasi_errno_from_host(int host_errno)
{
	if (host_errno > 0 && (size_t)host_errno < sizeof(errno_from_host) && errno_from_host[host_errno])
		return errno_from_host[host_errno];
	return WASI_EIO;
}

uint8_t
wasi_filetype_from_mode(mode_t mode)
{
	switch (mode & S_IFMT) {
	case S_IFREG:
		return WASI_FILETYPE_REGULAR_FILE;
	case S_IFDIR:
		return WASI_FILETYPE_DIRECTORY;
	case S_IFLNK:
		return WASI_FILETYPE_SYMBOLIC_LINK;
	case S_IFCHR:
		return WASI_FILETYPE_CHARACTER_DEVICE;
	case S_IFBLK:
		return WASI_FILETYPE_BLOCK_DEVICE;
	case S_IFSOCK:
		return WASI_FILETYPE_SOCKET_STREAM;
	default:
		return WASI_FILETYPE_UNKNOWN; /* preview 1 has no pipe */
	}
}

uint8_t
wasi_filetype_of(struct wasi_fd *f)
{
	if (f->filetype == WASI_FILETYPE_UNASKED) {
		struct stat st;
		int type = 0;
		socklen_t type_len = sizeof(type);

		if (fstat(f->host_fd, &st) != 0)
			return WASI_FILETYPE_UNKNOWN;
		f->filetype = wasi_filetype_from_mode(st.st_mode);
		if (S_ISSOCK(st.st_mode) && getsockopt(f->host_fd, SOL_SOCKET, SO_TYPE, &type, &type_len) == 0
		    && type == SOCK_DGRAM)
			f->filetype = WASI_FILETYPE_SOCKET_DGRAM;
	}
	return f->filetype;
}

int
wasi_fd_lowest_free(const wasi_ctx *ctx)
{
	for (int word = 0; word < WASI_MAX_FDS / 64; word++) {
		if (ctx->used[word] != UINT64_MAX)
			return word * 64 + __builtin_ctzll(~ctx->used[word]);
	}
	return -1;
}

void
wasi_fd_install(wasi_ctx *ctx, uint32_t fd, const struct wasi_fd *f)
{
	ctx->fds[fd] = *f;
	if (f->kind == WASI_FD_FREE)
		ctx->used[fd / 64] &= ~(UINT64_C(1) << (fd % 64));
	else
		ctx->used[fd / 64] |= UINT64_C(1) << (fd % 64);
}

/* ---- set-up ---- */

/* Counts the strings of a list that ends with NULL or after max; -1 if they are too many or too long. */
static int
count_strings(const char *const *list, int max)
{
	size_t bytes = 0;
	int count = 0;

	while (list && count < max && list[count]) {
		bytes += strlen(list[count]) + 1;
		if (bytes > WASI_MAX_ARG_BYTES)
			return -1;
		count++;
	}
	return count;
}

static int
install_stdio(wasi_ctx *ctx, bool allow_stdio)
{
	if (!allow_stdio) {
		ctx->null_fd = open("/dev/null", O_RDWR | O_CLOEXEC);
		if (ctx->null_fd < 0)
			return -errno;
	}
	for (uint32_t fd = 0; fd < 3; fd++) {
		struct wasi_fd f = {
		    .host_fd = allow_stdio ? (int)fd : ctx->null_fd,
		    .kind = WASI_FD_STDIO,
		    .filetype = WASI_FILETYPE_UNASKED,
		};
		int flags = fcntl(f.host_fd, F_GETFL);

		if (flags < 0)
			continue; /* the host runs without this one, so does the guest; its number gets reused as in POSIX */
		f.is_readable = (flags & O_ACCMODE) != O_WRONLY;
		f.is_writable = (flags & O_ACCMODE) != O_RDONLY;
		wasi_fd_install(ctx, fd, &f);
	}
	return 0;
}

static int
install_preopen(wasi_ctx *ctx, uint32_t fd, const struct wasi_preopen *preopen)
{
	/* Opening "." both gives us a descriptor of our own and shows that openat2 works. */
	struct open_how how = {
	    .flags = O_RDONLY | O_DIRECTORY | O_CLOEXEC,
	    .resolve = RESOLVE_BENEATH,
	};
	struct wasi_fd f = {
	    .kind = WASI_FD_PREOPEN,
	    .filetype = WASI_FILETYPE_DIRECTORY,
	    .is_readable = true,
	    .preopen_name = preopen->guest_name,
	};
	struct stat st, root;

	f.host_fd = (int)syscall(SYS_openat2, preopen->host_dir_fd, ".", &how, sizeof(how));
	if (f.host_fd < 0)
		return -errno;
	if (fstat(f.host_fd, &st) == 0 && stat("/", &root) == 0)
		f.is_host_root = st.st_dev == root.st_dev && st.st_ino == root.st_ino;
	wasi_fd_install(ctx, fd, &f);
	return 0;
}

int
wasi_init(wasi_ctx *ctx, const struct wasi_config *config)
{
	int err;

	memset(ctx, 0, sizeof(*ctx));
	ctx->null_fd = -1;
	if (config->argc < 0 || config->argc > WASI_MAX_ARG_BYTES || config->preopens_len > WASI_MAX_FDS - 3)
		return -E2BIG;
	ctx->argv = config->argv;
	ctx->argc = count_strings(config->argv, config->argc);
	ctx->envp = config->envp;
	ctx->envc = count_strings(config->envp, WASI_MAX_ARG_BYTES);
	if (ctx->argc < 0 || ctx->envc < 0)
		return -E2BIG;

	err = install_stdio(ctx, config->allow_stdio);
	for (size_t i = 0; err == 0 && i < config->preopens_len; i++)
		err = install_preopen(ctx, 3 + (uint32_t)i, &config->preopens[i]);
	if (err != 0)
		wasi_release(ctx);
	return err;
}

void
wasi_release(wasi_ctx *ctx)
{
	for (int fd = 0; fd < WASI_MAX_FDS; fd++) {
		uint8_t kind = ctx->fds[fd].kind;

		if (kind == WASI_FD_PREOPEN || kind == WASI_FD_OPENED)
			close(ctx->fds[fd].host_fd);
	}
	if (ctx->null_fd >= 0)
		close(ctx->null_fd);
	memset(ctx, 0, sizeof(*ctx));
	ctx->null_fd = -1;
}

/* ---- arguments and environment ---- */

static uint32_t
strings_bytes(const char *const *list, int count)
{
	uint32_t bytes = 0; /* wasi_init saw that it is at most WASI_MAX_ARG_BYTES */

	for (int i = 0; i < count; i++)
		bytes += (uint32_t)strlen(list[i]) + 1;
	return bytes;
}

static uint32_t
strings_sizes_get(const char *const *list, int count, guest_addr count_out, guest_addr bytes_out)
{
	if (!guest_store_u32(count_out, (uint32_t)count) || !guest_store_u32(bytes_out, strings_bytes(list, count)))
		return WASI_EFAULT;
	return WASI_SUCCESS;
}

static uint32_t
strings_get(const char *const *list, int count, guest_addr pointers, guest_addr buf)
{
	char *host_buf = guest_range(buf, strings_bytes(list, count));
	uint32_t used = 0;

	if (!host_buf || !guest_range(pointers, (uint64_t)count * 4))
		return WASI_EFAULT;
	for (int i = 0; i < count; i++) {
		uint32_t bytes = (uint32_t)strlen(list[i]) + 1;

		memcpy(host_buf + used, list[i], bytes);
		if (!guest_store_u32(pointers + (uint32_t)i * 4, buf + used))
			return WASI_EFAULT;
		used += bytes;
	}
	return WASI_SUCCESS;
}

uint32_t
WASI(args_get)(wasi_ctx *ctx, guest_addr argv, guest_addr argv_buf)
{
	return strings_get(ctx->argv, ctx->argc, argv, argv_buf);
}

uint32_t
WASI(args_sizes_get)(wasi_ctx *ctx, guest_addr argc_out, guest_addr bytes_out)
{
	return strings_sizes_get(ctx->argv, ctx->argc, argc_out, bytes_out);
}

uint32_t
WASI(environ_get)(wasi_ctx *ctx, guest_addr environ_ptrs, guest_addr environ_buf)
{
	return strings_get(ctx->envp, ctx->envc, environ_ptrs, environ_buf);
}

uint32_t
WASI(environ_sizes_get)(wasi_ctx *ctx, guest_addr count_out, guest_addr bytes_out)
{
	return strings_sizes_get(ctx->envp, ctx->envc, count_out, bytes_out);
}

/* ---- clocks ---- */

static const clockid_t host_clocks[] = {
    CLOCK_REALTIME,
    CLOCK_MONOTONIC,
    CLOCK_PROCESS_CPUTIME_ID,
    CLOCK_THREAD_CPUTIME_ID,
};
#define HOST_CLOCKS_LEN (sizeof(host_clocks) / sizeof(host_clocks[0]))

uint32_t
WASI(clock_time_get)(wasi_ctx *ctx, uint32_t clock_id, uint64_t precision_ns, guest_addr ns_out)
{
	struct timespec ts;

	(void)ctx, (void)precision_ns;
	if (clock_id >= HOST_CLOCKS_LEN || clock_gettime(host_clocks[clock_id], &ts) != 0)
		return WASI_EINVAL;
	if (!guest_store_u64(ns_out, (uint64_t)ts.tv_sec * 1000000000u + (uint64_t)ts.tv_nsec))
		return WASI_EFAULT;
	return WASI_SUCCESS;
}

uint32_t
WASI(clock_res_get)(wasi_ctx *ctx, uint32_t clock_id, guest_addr ns_out)
{
	struct timespec ts;

	(void)ctx;
	if (clock_id >= HOST_CLOCKS_LEN || clock_getres(host_clocks[clock_id], &ts) != 0)
		return WASI_EINVAL;
	if (!guest_store_u64(ns_out, (uint64_t)ts.tv_sec * 1000000000u + (uint64_t)ts.tv_nsec))
		return WASI_EFAULT;
	return WASI_SUCCESS;
}

/* ---- the rest of the process ---- */

uint32_t
WASI(random_get)(wasi_ctx *ctx, guest_addr buf, uint32_t buf_len)
{
	uint8_t *p = guest_range(buf, buf_len);
	size_t done = 0;

	(void)ctx;
	if (!p)
		return WASI_EFAULT;
	while (done < buf_len) {
		ssize_t n = getrandom(p + done, buf_len - done, 0);

		/* Callers take any error for "no entropy", so a signal must not become one. */
		if (n < 0 && errno != EINTR)
			return wasi_errno_from_host(errno);
		if (n > 0)
			done += (size_t)n;
	}
	return WASI_SUCCESS;
}

uint32_t
WASI(sched_yield)(wasi_ctx *ctx)
{
	(void)ctx;
	sched_yield();
	return WASI_SUCCESS;
}

void
WASI(proc_exit)(wasi_ctx *ctx, uint32_t code)
{
	(void)ctx;
	if (wasi_exit_hook)
		wasi_exit_hook((int)code);
	_exit((int)code);
}
