/*
 * WASI preview 1 on the host: what the guest may do to files, and what it may not.
 *
 * Each test gets a fresh folder with two directories, `inside` (preopened as "/") and `outside`. The calls are the
 * ones the translated guest makes; GUEST_BYTES of ordinary heap play the guest's memory, so that the address
 * sanitizer sees any step over its edges.
 */
#define _GNU_SOURCE
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include <fcntl.h>
#include <ftw.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <unistd.h>

#include "../../host/wasi_internal.h"

/* Where things are in the guest's memory. */
enum {
	GUEST_BYTES = 4 << 20,
	AT_RESULT = 16, /* a count or descriptor */
	AT_RESULT2 = 32,
	AT_IOVS = 64,
	AT_STRUCT = 1024, /* fdstat, filestat, prestat */
	AT_PATH = 4096,
	AT_PATH2 = 16384,
	AT_SUBS = 32768,
	AT_EVENTS = 65536,
	AT_DATA = 1 << 20,
	BAD = GUEST_BYTES - 1, /* begins inside, ends outside */
};

enum { DIR_FD = 3, READ = 2, WRITE = 64, RW = 66 };

uint8_t *guest_base;
uint64_t guest_memory_bytes;

static wasi_ctx ctx;
static char folder[64];

/* ---- helpers ---- */

static uint32_t
u32_at(guest_addr addr)
{
	uint32_t v;

	assert_true(guest_load_u32(addr, &v));
	return v;
}

static uint64_t
u64_at(guest_addr addr)
{
	uint64_t v;

	assert_true(guest_load_u64(addr, &v));
	return v;
}

static uint32_t
put(guest_addr addr, const char *text)
{
	uint32_t len = (uint32_t)strlen(text);

	memcpy(guest_range(addr, len), text, len);
	return len;
}

static void
put_iov(int i, guest_addr buf, uint32_t len)
{
	assert_true(guest_store_u32(AT_IOVS + 8 * (uint32_t)i, buf));
	assert_true(guest_store_u32(AT_IOVS + 8 * (uint32_t)i + 4, len));
}

static uint32_t
open_at(uint32_t dir, const char *path, uint32_t oflags, uint64_t rights, uint32_t fdflags, uint32_t *fd)
{
	uint32_t err = WASI(path_open)(&ctx, dir, WASI_LOOKUP_SYMLINK_FOLLOW, AT_PATH, put(AT_PATH, path), oflags, rights,
				       0, fdflags, AT_RESULT);

	if (!err)
		*fd = u32_at(AT_RESULT);
	return err;
}

static uint32_t
open_ok(const char *path, uint32_t oflags, uint64_t rights)
{
	uint32_t fd = 0;

	assert_int_equal(open_at(DIR_FD, path, oflags, rights, 0, &fd), 0);
	return fd;
}

static uint32_t
open_error(const char *path, uint32_t oflags, uint64_t rights)
{
	uint32_t fd;

	return open_at(DIR_FD, path, oflags, rights, 0, &fd);
}

static void
write_ok(uint32_t fd, const char *text)
{
	uint32_t len = put(AT_DATA, text);

	put_iov(0, AT_DATA, len);
	assert_int_equal(WASI(fd_write)(&ctx, fd, AT_IOVS, 1, AT_RESULT), 0);
	assert_int_equal(u32_at(AT_RESULT), len);
}

static void
create(const char *path, const char *text)
{
	uint32_t fd = open_ok(path, WASI_OFLAG_CREAT | WASI_OFLAG_TRUNC, WRITE);

	write_ok(fd, text);
	assert_int_equal(WASI(fd_close)(&ctx, fd), 0);
}

static uint32_t
mkdir_at(const char *path)
{
	return WASI(path_create_directory)(&ctx, DIR_FD, AT_PATH, put(AT_PATH, path));
}

static uint32_t
rmdir_at(const char *path)
{
	return WASI(path_remove_directory)(&ctx, DIR_FD, AT_PATH, put(AT_PATH, path));
}

static uint32_t
unlink_at(const char *path)
{
	return WASI(path_unlink_file)(&ctx, DIR_FD, AT_PATH, put(AT_PATH, path));
}

static uint32_t
rename_at(const char *from, const char *to)
{
	return WASI(path_rename)(&ctx, DIR_FD, AT_PATH, put(AT_PATH, from), DIR_FD, AT_PATH2, put(AT_PATH2, to));
}

static uint32_t
link_at(const char *from, const char *to)
{
	return WASI(path_link)(&ctx, DIR_FD, 0, AT_PATH, put(AT_PATH, from), DIR_FD, AT_PATH2, put(AT_PATH2, to));
}

static uint32_t
symlink_at(const char *target, const char *path)
{
	return WASI(path_symlink)(&ctx, AT_PATH2, put(AT_PATH2, target), DIR_FD, AT_PATH, put(AT_PATH, path));
}

static uint32_t
readlink_at(const char *path, uint32_t buf_len)
{
	return WASI(path_readlink)(&ctx, DIR_FD, AT_PATH, put(AT_PATH, path), AT_DATA, buf_len, AT_RESULT);
}

static uint32_t
stat_at(const char *path, bool follows)
{
	return WASI(path_filestat_get)(&ctx, DIR_FD, follows, AT_PATH, put(AT_PATH, path), AT_STRUCT);
}

static uint32_t
utimes_at(const char *path, bool follows)
{
	return WASI(path_filestat_set_times)(&ctx, DIR_FD, follows, AT_PATH, put(AT_PATH, path), 5, 7000000009, 5);
}

/* Path of something in the test's folder, as the host sees it. Good until the next call but one. */
static const char *
host_path(const char *name)
{
	static char paths[2][256];
	static int next;
	char *path = paths[next ^= 1];

	snprintf(path, sizeof(paths[0]), "%s/%s", folder, name);
	return path;
}

static void
host_symlink(const char *target, const char *name)
{
	assert_int_equal(symlink(target, host_path(name)), 0);
}

static int
setup(void **state)
{
	static const char *const argv[] = {"postgres", "--single", NULL};
	static const char *const envp[] = {"TZ=UTC", NULL};
	struct wasi_preopen preopen = {.guest_name = "/"};
	struct wasi_config config = {.argc = 2, .argv = argv, .envp = envp, .preopens = &preopen, .preopens_len = 1};
	int fd;

	(void)state;
	guest_memory_bytes = GUEST_BYTES;
	guest_base = calloc(1, GUEST_BYTES);
	strcpy(folder, "/tmp/test-wasi-XXXXXX");
	if (!guest_base || !mkdtemp(folder) || mkdir(host_path("inside"), 0700) || mkdir(host_path("outside"), 0700))
		return -1;
	fd = open(host_path("outside/secret"), O_CREAT | O_WRONLY, 0600);
	if (fd < 0 || write(fd, "secret", 6) != 6)
		return -1;
	close(fd);
	preopen.host_dir_fd = open(host_path("inside"), O_PATH | O_DIRECTORY);
	if (wasi_init(&ctx, &config) != 0)
		return -1;
	close(preopen.host_dir_fd);
	return 0;
}

static int
remove_entry(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
	(void)st, (void)type, (void)ftw;
	return remove(path);
}

static int
teardown(void **state)
{
	(void)state;
	wasi_release(&ctx);
	free(guest_base);
	return nftw(folder, remove_entry, 8, FTW_DEPTH | FTW_PHYS);
}

/* ---- files ---- */

static void
test_written_data_reads_back(void **state)
{
	uint32_t fd = open_ok("file", WASI_OFLAG_CREAT | WASI_OFLAG_EXCL, RW);

	(void)state;
	assert_int_equal(fd, DIR_FD + 1);
	write_ok(fd, "hello world");
	assert_int_equal(WASI(fd_tell)(&ctx, fd, AT_RESULT), 0);
	assert_int_equal(u64_at(AT_RESULT), 11);

	assert_int_equal(WASI(fd_seek)(&ctx, fd, 6, 0, AT_RESULT), 0);
	put_iov(0, AT_DATA + 100, 2);
	put_iov(1, AT_DATA + 200, 100);
	assert_int_equal(WASI(fd_read)(&ctx, fd, AT_IOVS, 2, AT_RESULT), 0);
	assert_int_equal(u32_at(AT_RESULT), 5);
	assert_memory_equal(guest_base + AT_DATA + 100, "wo", 2);
	assert_memory_equal(guest_base + AT_DATA + 200, "rld", 3);

	put(AT_DATA, "J");
	put_iov(0, AT_DATA, 1);
	assert_int_equal(WASI(fd_pwrite)(&ctx, fd, AT_IOVS, 1, 0, AT_RESULT), 0);
	put_iov(0, AT_DATA, 5);
	assert_int_equal(WASI(fd_pread)(&ctx, fd, AT_IOVS, 1, 0, AT_RESULT), 0);
	assert_memory_equal(guest_base + AT_DATA, "Jello", 5);

	assert_int_equal(WASI(fd_seek)(&ctx, fd, (uint64_t)-3, 2, AT_RESULT), 0);
	assert_int_equal(u64_at(AT_RESULT), 8);
	assert_int_equal(WASI(fd_seek)(&ctx, fd, (uint64_t)-9, 1, AT_RESULT), WASI_EINVAL);
	assert_int_equal(WASI(fd_seek)(&ctx, fd, 0, 3, AT_RESULT), WASI_EINVAL);
	assert_int_equal(WASI(fd_pread)(&ctx, fd, AT_IOVS, 1, UINT64_MAX, AT_RESULT), WASI_EINVAL);

	assert_int_equal(WASI(fd_sync)(&ctx, fd), 0);
	assert_int_equal(WASI(fd_datasync)(&ctx, fd), 0);
	assert_int_equal(WASI(fd_advise)(&ctx, fd, 0, 0, 3), 0);
	assert_int_equal(WASI(fd_advise)(&ctx, fd, 0, 0, 6), WASI_EINVAL);
	assert_int_equal(WASI(fd_allocate)(&ctx, fd, 0, 8192), 0);
	assert_int_equal(WASI(fd_allocate)(&ctx, fd, 0, UINT64_MAX), WASI_EINVAL);
	assert_int_equal(WASI(fd_filestat_set_size)(&ctx, fd, 20), 0);
	assert_int_equal(WASI(fd_filestat_set_size)(&ctx, fd, UINT64_MAX), WASI_EINVAL);
	assert_int_equal(WASI(fd_filestat_set_times)(&ctx, fd, 5, 7000000009, 5), 0);
	assert_int_equal(WASI(fd_filestat_set_times)(&ctx, fd, 0, 0, 3), WASI_EINVAL);
	assert_int_equal(WASI(fd_filestat_get)(&ctx, fd, AT_STRUCT), 0);
	assert_int_equal(guest_base[AT_STRUCT + 16], WASI_FILETYPE_REGULAR_FILE);
	assert_int_equal(u64_at(AT_STRUCT + 32), 20);
	assert_int_equal(u64_at(AT_STRUCT + 40), 5);
	assert_int_equal(u64_at(AT_STRUCT + 48), 7000000009);

	assert_int_equal(WASI(fd_close)(&ctx, fd), 0);
	assert_int_equal(WASI(fd_close)(&ctx, fd), WASI_EBADF);
	assert_int_equal(WASI(fd_sync)(&ctx, UINT32_MAX), WASI_EBADF);
}

static void
test_open_honours_flags(void **state)
{
	struct stat st;
	uint32_t fd;

	(void)state;
	create("file", "0123");
	assert_int_equal(stat(host_path("inside/file"), &st), 0);
	assert_int_equal(st.st_mode & 0777, 0600);

	assert_int_equal(open_error("none", 0, READ), WASI_ENOENT);
	assert_int_equal(open_error("file", WASI_OFLAG_CREAT | WASI_OFLAG_EXCL, RW), WASI_EEXIST);
	assert_int_equal(open_error("file", WASI_OFLAG_DIRECTORY, READ), WASI_ENOTDIR);
	assert_int_equal(open_error("d", WASI_OFLAG_DIRECTORY | WASI_OFLAG_CREAT, READ), WASI_EINVAL);
	assert_int_equal(open_error("file", 16, READ), WASI_EINVAL);

	fd = open_ok("file", 0, READ);
	put_iov(0, AT_DATA, 1);
	assert_int_equal(WASI(fd_write)(&ctx, fd, AT_IOVS, 1, AT_RESULT), WASI_EBADF);
	assert_true(fcntl(ctx.fds[fd].host_fd, F_GETFD) & FD_CLOEXEC);
	fd = open_ok("file", 0, WRITE);
	assert_int_equal(WASI(fd_read)(&ctx, fd, AT_IOVS, 1, AT_RESULT), WASI_EBADF);

	assert_int_equal(open_at(DIR_FD, "file", 0, RW, WASI_FDFLAG_APPEND | WASI_FDFLAG_DSYNC, &fd), 0);
	assert_int_equal(fcntl(ctx.fds[fd].host_fd, F_GETFL) & (O_APPEND | O_SYNC), O_APPEND | O_DSYNC);
	write_ok(fd, "45");
	assert_int_equal(WASI(fd_filestat_get)(&ctx, fd, AT_STRUCT), 0);
	assert_int_equal(u64_at(AT_STRUCT + 32), 6);
	assert_int_equal(WASI(fd_fdstat_get)(&ctx, fd, AT_STRUCT), 0);
	assert_int_equal(guest_base[AT_STRUCT], WASI_FILETYPE_REGULAR_FILE);
	assert_int_equal(guest_base[AT_STRUCT + 2], WASI_FDFLAG_APPEND | WASI_FDFLAG_DSYNC);
	assert_int_equal(u64_at(AT_STRUCT + 8), WASI_RIGHTS_ALL);
	assert_int_equal(u64_at(AT_STRUCT + 16), WASI_RIGHTS_ALL);

	/* O_NONBLOCK and O_APPEND can change, O_DSYNC can't. */
	assert_int_equal(WASI(fd_fdstat_set_flags)(&ctx, fd, WASI_FDFLAG_NONBLOCK), WASI_ENOTSUP);
	assert_int_equal(WASI(fd_fdstat_set_flags)(&ctx, fd, 32), WASI_EINVAL);
	assert_int_equal(WASI(fd_fdstat_set_flags)(&ctx, fd, WASI_FDFLAG_DSYNC), 0);
	assert_false(fcntl(ctx.fds[fd].host_fd, F_GETFL) & O_APPEND);
	assert_int_equal(WASI(fd_fdstat_set_rights)(&ctx, fd, READ, 0), 0);
	assert_int_equal(WASI(fd_fdstat_set_rights)(&ctx, fd, UINT64_MAX, 0), WASI_ENOTCAPABLE);

	fd = open_ok("file", WASI_OFLAG_TRUNC, RW);
	assert_int_equal(WASI(fd_filestat_get)(&ctx, fd, AT_STRUCT), 0);
	assert_int_equal(u64_at(AT_STRUCT + 32), 0);
}

/* fcntl(F_GETFL) of wasi-libc reads the access mode from the rights, and PostgreSQL asserts on it before an fsync. */
static void
test_fdstat_tells_access_mode(void **state)
{
	uint32_t fd;

	(void)state;
	create("file", "");
	fd = open_ok("file", 0, READ);
	assert_int_equal(WASI(fd_fdstat_get)(&ctx, fd, AT_STRUCT), 0);
	assert_int_equal(u64_at(AT_STRUCT + 8) & RW, READ);
	fd = open_ok("file", 0, WRITE);
	assert_int_equal(WASI(fd_fdstat_get)(&ctx, fd, AT_STRUCT), 0);
	assert_int_equal(u64_at(AT_STRUCT + 8) & RW, WRITE);
	assert_int_equal(WASI(fd_fdstat_get)(&ctx, DIR_FD, AT_STRUCT), 0);
	assert_int_equal(guest_base[AT_STRUCT], WASI_FILETYPE_DIRECTORY);
	assert_int_equal(u64_at(AT_STRUCT + 8) & RW, READ);
}

static void
test_terminal_has_no_seek_right(void **state)
{
	int master = posix_openpt(O_RDWR | O_NOCTTY);
	struct wasi_fd f = {.host_fd = master, .kind = WASI_FD_OPENED, .filetype = WASI_FILETYPE_UNASKED};

	(void)state;
	if (master < 0)
		skip();
	wasi_fd_install(&ctx, 10, &f);
	assert_int_equal(WASI(fd_fdstat_get)(&ctx, 10, AT_STRUCT), 0);
	assert_int_equal(guest_base[AT_STRUCT], WASI_FILETYPE_CHARACTER_DEVICE);
	assert_int_equal(u64_at(AT_STRUCT + 8) & (WASI_RIGHT_FD_SEEK | WASI_RIGHT_FD_TELL), 0);
}

static void
test_names_are_made_moved_and_removed(void **state)
{
	struct stat st;

	(void)state;
	assert_int_equal(mkdir_at("d"), 0);
	assert_int_equal(stat(host_path("inside/d"), &st), 0);
	assert_int_equal(st.st_mode & 0777, 0700);
	assert_int_equal(mkdir_at("d"), WASI_EEXIST);
	assert_int_equal(mkdir_at("d/"), WASI_EEXIST);
	assert_int_equal(mkdir_at("."), WASI_EEXIST);
	assert_int_equal(mkdir_at("d/e/"), 0);
	assert_int_equal(mkdir_at("x/y"), WASI_ENOENT);
	create("d/e/file", "x");
	assert_int_equal(rmdir_at("d/e"), WASI_ENOTEMPTY);
	assert_int_equal(rmdir_at("d/e/file"), WASI_ENOTDIR);
	assert_true(unlink_at("d/e") != 0);
	assert_int_equal(unlink_at("d/e/file/"), WASI_ENOTDIR);
	assert_int_equal(rename_at("d/e/file", "d//moved"), 0);
	assert_int_equal(stat_at("d/e/file", true), WASI_ENOENT);
	assert_int_equal(stat_at("d/moved", true), 0);
	assert_int_equal(rename_at("d/nothing", "moved"), WASI_ENOENT);
	assert_int_equal(rename_at("d/moved", "nowhere/moved"), WASI_ENOENT);
	assert_int_equal(rename_at("d/moved", "moved"), 0);

	assert_int_equal(link_at("moved", "d/linked"), 0);
	assert_int_equal(stat_at("d/linked", false), 0);
	assert_int_equal(u64_at(AT_STRUCT + 24), 2);
	assert_int_equal(link_at("moved", "d/linked"), WASI_EEXIST);
	assert_int_equal(link_at("d", "d2"), WASI_EPERM);
	assert_int_equal(link_at("d/", "d2"), WASI_EPERM);

	assert_int_equal(utimes_at("d/linked", true), 0);
	assert_int_equal(stat_at("moved", false), 0);
	assert_int_equal(u64_at(AT_STRUCT + 48), 7000000009);

	assert_int_equal(unlink_at("moved"), 0);
	assert_int_equal(unlink_at("moved"), WASI_ENOENT);
	assert_int_equal(unlink_at("d/linked"), 0);
	assert_int_equal(rmdir_at("d/e/"), 0);
	assert_int_equal(rmdir_at("d"), 0);
	assert_int_equal(rmdir_at("."), WASI_EINVAL);
}

static void
test_symlinks_inside_work(void **state)
{
	(void)state;
	assert_int_equal(mkdir_at("d"), 0);
	create("d/file", "abc");
	assert_int_equal(symlink_at("d/file", "link"), 0);
	assert_int_equal(symlink_at("../link", "d/back"), 0);
	assert_int_equal(symlink_at("loop", "loop"), 0);

	assert_int_equal(readlink_at("d/back", 100), 0);
	assert_int_equal(u32_at(AT_RESULT), 7);
	assert_memory_equal(guest_base + AT_DATA, "../link", 7);
	guest_base[AT_DATA + 3] = '#';
	assert_int_equal(readlink_at("link", 3), 0);
	assert_int_equal(u32_at(AT_RESULT), 3);
	assert_memory_equal(guest_base + AT_DATA, "d/f#", 4);
	assert_int_equal(readlink_at("d/file", 100), WASI_EINVAL);
	assert_int_equal(readlink_at("link/", 100), WASI_EINVAL);

	assert_int_equal(stat_at("d/back", true), 0);
	assert_int_equal(u64_at(AT_STRUCT + 32), 3);
	assert_int_equal(stat_at("link", true), 0);
	assert_int_equal(guest_base[AT_STRUCT + 16], WASI_FILETYPE_REGULAR_FILE);
	assert_int_equal(stat_at("link", false), 0);
	assert_int_equal(guest_base[AT_STRUCT + 16], WASI_FILETYPE_SYMBOLIC_LINK);
	assert_int_equal(stat_at("d/back", false), 0);
	assert_int_equal(guest_base[AT_STRUCT + 16], WASI_FILETYPE_SYMBOLIC_LINK);
	assert_int_equal(stat_at("loop", true), WASI_ELOOP);
	assert_int_equal(utimes_at("link", false), 0);
	assert_int_equal(open_ok("d/../d/back", 0, READ), DIR_FD + 1);
	/* Without SYMLINK_FOLLOW the link itself is meant, and that can't be opened. */
	assert_int_equal(WASI(path_open)(&ctx, DIR_FD, 0, AT_PATH, put(AT_PATH, "link"), 0, READ, 0, 0, AT_RESULT),
			 WASI_ELOOP);
	/* unlink takes the link, not the file */
	assert_int_equal(unlink_at("link"), 0);
	assert_int_equal(stat_at("d/file", true), 0);
}

/* ---- what must not be reachable ---- */

static void
test_nothing_leads_outside(void **state)
{
	static const char *const ways[] = {
	    "../outside/secret", "d/../../outside/secret", "/outside/secret", "/etc/passwd", "abs", "rel",
	    "absdir/secret",     "reldir/secret",         "reldir/../secret", "d/up/outside/secret", "reldir/../outside/secret",
	};
	uint32_t sub;
	struct stat st;
	uint32_t fd;

	(void)state;
	assert_int_equal(mkdir_at("d"), 0);
	create("mine", "mine");
	host_symlink(host_path("outside/secret"), "inside/abs");
	host_symlink("../outside/secret", "inside/rel");
	host_symlink(host_path("outside"), "inside/absdir");
	host_symlink("../outside", "inside/reldir");
	host_symlink("../..", "inside/d/up");

	for (size_t i = 0; i < sizeof(ways) / sizeof(ways[0]); i++) {
		const char *way = ways[i];
		bool is_link = strcmp(way, "abs") == 0 || strcmp(way, "rel") == 0;

		assert_int_equal(open_error(way, 0, READ), WASI_ENOTCAPABLE);
		assert_int_equal(open_error(way, WASI_OFLAG_CREAT | WASI_OFLAG_TRUNC, RW), WASI_ENOTCAPABLE);
		assert_int_equal(stat_at(way, true), WASI_ENOTCAPABLE);
		assert_int_equal(utimes_at(way, true), WASI_ENOTCAPABLE);
		if (is_link)
			continue; /* these may act on the link, which is inside */
		assert_int_equal(stat_at(way, false), WASI_ENOTCAPABLE);
		assert_int_equal(utimes_at(way, false), WASI_ENOTCAPABLE);
		assert_int_equal(unlink_at(way), WASI_ENOTCAPABLE);
		assert_int_equal(rmdir_at(way), WASI_ENOTCAPABLE);
		assert_int_equal(mkdir_at(way), WASI_ENOTCAPABLE);
		assert_int_equal(rename_at(way, "stolen"), WASI_ENOTCAPABLE);
		assert_int_equal(rename_at("mine", way), WASI_ENOTCAPABLE);
		assert_int_equal(link_at(way, "stolen"), WASI_ENOTCAPABLE);
		assert_int_equal(link_at("mine", way), WASI_ENOTCAPABLE);
		assert_int_equal(symlink_at("mine", way), WASI_ENOTCAPABLE);
		assert_int_equal(readlink_at(way, 100), WASI_ENOTCAPABLE);
	}

	/* The parent itself, as a last component and with slashes after links. */
	assert_int_equal(stat_at("..", true), WASI_ENOTCAPABLE);
	assert_int_equal(stat_at("..", false), WASI_ENOTCAPABLE);
	assert_int_equal(stat_at("../", false), WASI_ENOTCAPABLE);
	assert_int_equal(stat_at("reldir/", false), WASI_ENOTCAPABLE);
	assert_int_equal(utimes_at("reldir/", false), WASI_ENOTCAPABLE);
	assert_int_equal(utimes_at("..", false), WASI_ENOTCAPABLE);
	assert_int_equal(open_error("..", WASI_OFLAG_DIRECTORY, READ), WASI_ENOTCAPABLE);
	assert_int_equal(open_error("reldir", WASI_OFLAG_DIRECTORY, READ), WASI_ENOTCAPABLE);
	assert_int_equal(mkdir_at("reldir/"), WASI_EEXIST);
	assert_int_equal(rmdir_at("reldir/"), WASI_ENOTDIR);
	assert_int_equal(rmdir_at("d/.."), WASI_ENOTCAPABLE);
	assert_true(rename_at("reldir/", "stolen") != 0);
	assert_int_equal(link_at("rel/", "stolen"), WASI_EPERM);
	assert_int_equal(readlink_at("rel/", 100), WASI_EINVAL);
	assert_int_equal(rename_at("..", "stolen"), WASI_ENOTCAPABLE);
	assert_int_equal(rename_at("d", "d/../.."), WASI_ENOTCAPABLE);

	/* A directory opened by the guest confines like the preopen it came from. */
	sub = open_ok("d", WASI_OFLAG_DIRECTORY, READ);
	assert_int_equal(open_at(sub, "../mine", 0, READ, 0, &fd), WASI_ENOTCAPABLE);
	assert_int_equal(open_at(sub, "up/inside/mine", 0, READ, 0, &fd), WASI_ENOTCAPABLE);

	/* A hard link to a symbolic link is a second link, not the file behind it. */
	assert_int_equal(link_at("rel", "rel2"), 0);
	assert_int_equal(open_error("rel2", 0, READ), WASI_ENOTCAPABLE);
	/* No links for the host's other programs to stumble over. */
	assert_int_equal(symlink_at("/etc/passwd", "trap"), WASI_ENOTCAPABLE);

	assert_int_equal(stat(host_path("outside/secret"), &st), 0);
	assert_int_equal(st.st_size, 6);
	assert_int_equal(st.st_nlink, 1);
	assert_true(st.st_mtime > 7);
}

static void
test_host_root_preopen_stays_in_root(void **state)
{
	struct wasi_preopen preopen = {.guest_name = "/", .host_dir_fd = open("/", O_PATH | O_DIRECTORY)};
	struct wasi_config config = {.preopens = &preopen, .preopens_len = 1};
	uint32_t fd;

	(void)state;
	wasi_release(&ctx);
	assert_int_equal(wasi_init(&ctx, &config), 0);
	close(preopen.host_dir_fd);
	assert_true(ctx.fds[DIR_FD].is_host_root);

	/* Absolute links work here: what they name is within the preopen. */
	host_symlink(host_path("outside/secret"), "inside/abs");
	assert_int_equal(open_at(DIR_FD, host_path("inside/abs") + 1, 0, READ, 0, &fd), 0);
	assert_int_equal(open_at(DIR_FD, "../../etc", WASI_OFLAG_DIRECTORY, READ, 0, &fd), 0);
	assert_int_equal(open_at(DIR_FD, "/etc", WASI_OFLAG_DIRECTORY, READ, 0, &fd), WASI_ENOTCAPABLE);

	/* "." is the root again, any other directory is not. */
	assert_int_equal(open_at(DIR_FD, ".", WASI_OFLAG_DIRECTORY, READ, 0, &fd), 0);
	assert_true(ctx.fds[fd].is_host_root);
	assert_int_equal(open_at(DIR_FD, host_path("inside") + 1, WASI_OFLAG_DIRECTORY, READ, 0, &fd), 0);
	assert_false(ctx.fds[fd].is_host_root);
	assert_int_equal(open_at(fd, "abs", 0, READ, 0, &fd), WASI_ENOTCAPABLE);
}

static void
test_odd_paths_are_refused(void **state)
{
	(void)state;
	assert_int_equal(open_error("", 0, READ), WASI_ENOENT);
	memcpy(guest_base + AT_PATH, "a\0b", 3);
	assert_int_equal(WASI(path_open)(&ctx, DIR_FD, 1, AT_PATH, 3, 1, RW, 0, 0, AT_RESULT), WASI_EILSEQ);
	assert_int_equal(WASI(path_unlink_file)(&ctx, DIR_FD, AT_PATH, 3), WASI_EILSEQ);
	memset(guest_base + AT_PATH, 'x', 8192);
	assert_int_equal(WASI(path_unlink_file)(&ctx, DIR_FD, AT_PATH, 256), WASI_ENAMETOOLONG);
	assert_int_equal(WASI(path_unlink_file)(&ctx, DIR_FD, AT_PATH, 4096), WASI_ENAMETOOLONG);
	assert_int_equal(WASI(path_unlink_file)(&ctx, DIR_FD, AT_PATH, GUEST_BYTES - AT_PATH), WASI_ENAMETOOLONG);
	assert_int_equal(WASI(path_unlink_file)(&ctx, DIR_FD, AT_PATH, UINT32_MAX), WASI_EFAULT);
	create("file", "");
	assert_int_equal(unlink_at("file/x"), WASI_ENOTDIR);
	assert_int_equal(WASI(path_unlink_file)(&ctx, 99, AT_PATH, put(AT_PATH, "file")), WASI_EBADF);
	assert_int_equal(WASI(path_unlink_file)(&ctx, open_ok("file", 0, READ), AT_PATH, put(AT_PATH, "x")), WASI_ENOTDIR);
}

/* ---- bad addresses ---- */

static void
test_bad_addresses_fault(void **state)
{
	static const guest_addr bads[] = {BAD, GUEST_BYTES, UINT32_MAX};
	uint32_t file = open_ok("file", WASI_OFLAG_CREAT, RW);
	uint32_t path_len;

	(void)state;
	write_ok(file, "0123456789");
	for (size_t i = 0; i < sizeof(bads) / sizeof(bads[0]); i++) {
		guest_addr bad = bads[i];

		put_iov(0, AT_DATA, 4);
		assert_int_equal(WASI(fd_read)(&ctx, file, AT_IOVS, 1, bad), WASI_EFAULT);
		assert_int_equal(WASI(fd_read)(&ctx, file, bad, 1, AT_RESULT), WASI_EFAULT);
		assert_int_equal(WASI(fd_write)(&ctx, file, AT_IOVS, 1, bad), WASI_EFAULT);
		put_iov(1, bad, 4);
		assert_int_equal(WASI(fd_read)(&ctx, file, AT_IOVS, 2, AT_RESULT), WASI_EFAULT);
		assert_int_equal(WASI(fd_write)(&ctx, file, AT_IOVS, 2, AT_RESULT), WASI_EFAULT);
		assert_int_equal(WASI(fd_pread)(&ctx, file, AT_IOVS, 2, 0, AT_RESULT), WASI_EFAULT);
		assert_int_equal(WASI(fd_pwrite)(&ctx, file, AT_IOVS, 2, 0, AT_RESULT), WASI_EFAULT);
		assert_int_equal(WASI(fd_seek)(&ctx, file, 0, 0, bad), WASI_EFAULT);
		assert_int_equal(WASI(fd_tell)(&ctx, file, bad), WASI_EFAULT);
		assert_int_equal(WASI(fd_fdstat_get)(&ctx, file, bad), WASI_EFAULT);
		assert_int_equal(WASI(fd_filestat_get)(&ctx, file, bad), WASI_EFAULT);
		assert_int_equal(WASI(fd_prestat_get)(&ctx, DIR_FD, bad), WASI_EFAULT);
		assert_int_equal(WASI(fd_readdir)(&ctx, DIR_FD, bad, 100, 0, AT_RESULT), WASI_EFAULT);
		assert_int_equal(WASI(fd_readdir)(&ctx, DIR_FD, AT_DATA, 100, 0, bad), WASI_EFAULT);
		assert_int_equal(WASI(args_get)(&ctx, bad, AT_DATA), WASI_EFAULT);
		assert_int_equal(WASI(args_get)(&ctx, AT_DATA, bad), WASI_EFAULT);
		assert_int_equal(WASI(args_sizes_get)(&ctx, AT_DATA, bad), WASI_EFAULT);
		assert_int_equal(WASI(environ_get)(&ctx, bad, AT_DATA), WASI_EFAULT);
		assert_int_equal(WASI(environ_sizes_get)(&ctx, bad, AT_DATA), WASI_EFAULT);
		assert_int_equal(WASI(clock_time_get)(&ctx, 0, 0, bad), WASI_EFAULT);
		assert_int_equal(WASI(clock_res_get)(&ctx, 0, bad), WASI_EFAULT);
		assert_int_equal(WASI(random_get)(&ctx, bad, 2), WASI_EFAULT);
		assert_int_equal(WASI(poll_oneoff)(&ctx, bad, AT_EVENTS, 1, AT_RESULT), WASI_EFAULT);
		assert_int_equal(WASI(poll_oneoff)(&ctx, AT_SUBS, bad, 1, AT_RESULT), WASI_EFAULT);
		assert_int_equal(WASI(poll_oneoff)(&ctx, AT_SUBS, AT_EVENTS, 1, bad), WASI_EFAULT);
		assert_int_equal(WASI(sock_recv)(&ctx, file, AT_IOVS, 1, 0, AT_RESULT, bad), WASI_EFAULT);
		assert_int_equal(WASI(sock_send)(&ctx, file, AT_IOVS, 1, 0, bad), WASI_EFAULT);
		assert_int_equal(WASI(sock_accept)(&ctx, file, 0, bad), WASI_EFAULT);

		path_len = put(AT_PATH, "new");
		assert_int_equal(WASI(path_open)(&ctx, DIR_FD, 1, bad, 2, 1, RW, 0, 0, AT_RESULT), WASI_EFAULT);
		assert_int_equal(WASI(path_open)(&ctx, DIR_FD, 1, AT_PATH, path_len, 1, RW, 0, 0, bad), WASI_EFAULT);
		assert_int_equal(WASI(path_create_directory)(&ctx, DIR_FD, bad, 2), WASI_EFAULT);
		assert_int_equal(WASI(path_rename)(&ctx, DIR_FD, AT_PATH, path_len, DIR_FD, bad, 2), WASI_EFAULT);
		assert_int_equal(WASI(path_link)(&ctx, DIR_FD, 0, bad, 2, DIR_FD, AT_PATH, path_len), WASI_EFAULT);
		assert_int_equal(WASI(path_symlink)(&ctx, bad, 2, DIR_FD, AT_PATH, path_len), WASI_EFAULT);
		assert_int_equal(WASI(path_readlink)(&ctx, DIR_FD, AT_PATH, path_len, bad, 2, AT_RESULT), WASI_EFAULT);
		path_len = put(AT_PATH, "file");
		assert_int_equal(WASI(path_filestat_get)(&ctx, DIR_FD, 1, AT_PATH, path_len, bad), WASI_EFAULT);
	}
	/* None of these failures had an effect. */
	assert_int_equal(stat_at("new", false), WASI_ENOENT);
	assert_int_equal(WASI(fd_tell)(&ctx, file, AT_RESULT), 0);
	assert_int_equal(u64_at(AT_RESULT), 10);
	assert_int_equal(open_ok("file", 0, READ), file + 1);

	/* The last byte belongs to the guest, and an empty range may sit at the very end. */
	assert_int_equal(WASI(random_get)(&ctx, BAD, 1), 0);
	assert_non_null(guest_range(GUEST_BYTES, 0));
	assert_null(guest_range(GUEST_BYTES + 1, 0));
	assert_null(guest_range(0, UINT64_MAX));
}

static void
test_vectors_are_bounded(void **state)
{
	uint32_t fd = open_ok("file", WASI_OFLAG_CREAT, RW);

	(void)state;
	for (int i = 0; i < WASI_MAX_IOVS + 1; i++) {
		assert_true(guest_store_u32(AT_DATA + 8 * (uint32_t)i, AT_PATH));
		assert_true(guest_store_u32(AT_DATA + 8 * (uint32_t)i + 4, 1));
	}
	assert_int_equal(WASI(fd_write)(&ctx, fd, AT_DATA, WASI_MAX_IOVS, AT_RESULT), 0);
	assert_int_equal(u32_at(AT_RESULT), WASI_MAX_IOVS);
	assert_int_equal(WASI(fd_write)(&ctx, fd, AT_DATA, WASI_MAX_IOVS + 1, AT_RESULT), WASI_EINVAL);
	assert_int_equal(WASI(fd_write)(&ctx, fd, AT_DATA, UINT32_MAX, AT_RESULT), WASI_EINVAL);
	assert_int_equal(WASI(fd_write)(&ctx, fd, AT_DATA, 0, AT_RESULT), 0);
	assert_int_equal(u32_at(AT_RESULT), 0);

	/* The same memory over and over: each piece is fine, the sum does not fit 32 bits. */
	for (int i = 0; i < WASI_MAX_IOVS; i++) {
		assert_true(guest_store_u32(AT_DATA + 8 * (uint32_t)i, 0));
		assert_true(guest_store_u32(AT_DATA + 8 * (uint32_t)i + 4, GUEST_BYTES));
	}
	assert_int_equal(WASI(fd_write)(&ctx, fd, AT_DATA, WASI_MAX_IOVS, AT_RESULT), WASI_EINVAL);
}

/* ---- directories ---- */

/* Reads a directory as wasi-libc does, with a buffer of buf_len; counts the names and marks the numbered ones. */
static int
read_directory(uint32_t fd, uint32_t buf_len, uint8_t *seen, int seen_len)
{
	uint64_t cookie = 0;
	uint32_t used;
	int names = 0;

	do {
		uint32_t at = 0, err;

		err = WASI(fd_readdir)(&ctx, fd, AT_DATA, buf_len, cookie, AT_RESULT);
		assert_int_equal(err, 0);
		used = u32_at(AT_RESULT);
		assert_true(used <= buf_len);
		while (used - at >= 24) {
			uint32_t name_len = u32_at(AT_DATA + at + 16);
			char name[256] = "";
			int number;

			assert_true(name_len < sizeof(name));
			if (used - at - 24 < name_len)
				break; /* cut: the next call brings it */
			memcpy(name, guest_base + AT_DATA + at + 24, name_len);
			if (sscanf(name, "name-%d", &number) == 1) {
				assert_in_range(number, 0, seen_len - 1);
				assert_int_equal(guest_base[AT_DATA + at + 20], WASI_FILETYPE_REGULAR_FILE);
				seen[number]++;
			}
			cookie = u64_at(AT_DATA + at);
			at += 24 + name_len;
			names++;
		}
		if (used == buf_len && at == 0)
			return -1; /* not one entry fits */
	} while (used == buf_len);
	return names;
}

static void
test_readdir_gives_each_name_once(void **state)
{
	enum { NAMES = 600 };
	static const uint32_t buf_lens[] = {40, 64, 77, 300, 4096, 100000};
	uint32_t fd;

	(void)state;
	assert_int_equal(mkdir_at("d"), 0);
	for (int i = 0; i < NAMES; i++) {
		char name[32];

		snprintf(name, sizeof(name), "d/name-%d", i);
		create(name, "");
	}
	fd = open_ok("d", WASI_OFLAG_DIRECTORY, READ);
	for (size_t i = 0; i < sizeof(buf_lens) / sizeof(buf_lens[0]); i++) {
		uint8_t seen[NAMES] = {0};

		assert_int_equal(read_directory(fd, buf_lens[i], seen, NAMES), NAMES + 2);
		for (int n = 0; n < NAMES; n++)
			assert_int_equal(seen[n], 1);
	}
	assert_int_equal(read_directory(fd, 24, NULL, 0), -1);
	assert_int_equal(WASI(fd_readdir)(&ctx, fd, AT_DATA, 0, 0, AT_RESULT), 0);
	assert_int_equal(u32_at(AT_RESULT), 0);
	assert_int_equal(WASI(fd_readdir)(&ctx, fd, AT_DATA, 100, UINT64_MAX, AT_RESULT), WASI_EINVAL);
	assert_int_equal(WASI(fd_readdir)(&ctx, open_ok("d/name-1", 0, READ), AT_DATA, 100, 0, AT_RESULT), WASI_ENOTDIR);
}

static void
test_readdir_of_removed_directory_is_empty(void **state)
{
	uint32_t fd;

	(void)state;
	assert_int_equal(mkdir_at("d"), 0);
	fd = open_ok("d", WASI_OFLAG_DIRECTORY, READ);
	assert_int_equal(rmdir_at("d"), 0);
	assert_int_equal(read_directory(fd, 4096, NULL, 0), 0);
}

/* ---- the table ---- */

static void
test_too_many_files_is_mfile(void **state)
{
	struct rlimit old, enough;
	uint32_t fd, last = DIR_FD;

	(void)state;
	create("file", "");
	assert_int_equal(getrlimit(RLIMIT_NOFILE, &old), 0);

	/* The host's limit first. */
	enough = old;
	enough.rlim_cur = 64;
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &enough), 0);
	while (open_at(DIR_FD, "file", 0, READ, 0, &fd) == 0)
		assert_int_equal(fd, ++last);
	assert_int_equal(open_error("file", 0, READ), WASI_EMFILE);

	/* Then ours. */
	enough.rlim_cur = WASI_MAX_FDS + 100;
	if (enough.rlim_cur > old.rlim_max)
		enough.rlim_cur = old.rlim_max;
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &enough), 0);
	while (open_at(DIR_FD, "file", 0, READ, 0, &fd) == 0)
		assert_int_equal(fd, ++last);
	if (enough.rlim_cur == WASI_MAX_FDS + 100)
		assert_int_equal(last, WASI_MAX_FDS - 1);
	assert_int_equal(open_error("file", 0, READ), WASI_EMFILE);
	assert_int_equal(open_error("new", WASI_OFLAG_CREAT, RW), WASI_EMFILE);

	/* The lowest free number comes next. */
	assert_int_equal(WASI(fd_close)(&ctx, 70), 0);
	assert_int_equal(WASI(fd_close)(&ctx, 7), 0);
	assert_int_equal(open_ok("file", 0, READ), 7);
	assert_int_equal(open_ok("file", 0, READ), 70);
	wasi_release(&ctx);
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &old), 0);
}

static void
test_renumber_replaces_the_target(void **state)
{
	uint32_t a, b;

	(void)state;
	create("a", "A");
	create("b", "B");
	a = open_ok("a", 0, READ);
	b = open_ok("b", 0, READ);
	assert_int_equal(WASI(fd_renumber)(&ctx, b, a), 0);
	assert_int_equal(WASI(fd_sync)(&ctx, b), WASI_EBADF);
	put_iov(0, AT_DATA, 1);
	assert_int_equal(WASI(fd_read)(&ctx, a, AT_IOVS, 1, AT_RESULT), 0);
	assert_int_equal(guest_base[AT_DATA], 'B');
	assert_int_equal(WASI(fd_renumber)(&ctx, a, a), 0);
	assert_int_equal(WASI(fd_renumber)(&ctx, a, 99), WASI_EBADF);
	assert_int_equal(WASI(fd_renumber)(&ctx, 99, a), WASI_EBADF);

	/* Standard error becomes a file; the host keeps its own. */
	assert_int_equal(WASI(fd_renumber)(&ctx, a, 2), 0);
	assert_true(fcntl(2, F_GETFD) >= 0);
	assert_int_equal(open_ok("a", 0, READ), a);
}

static void
test_stdio_is_null_unless_allowed(void **state)
{
	struct wasi_config config = {.allow_stdio = true};
	int pipe_fds[2], saved;
	char got[8] = "";

	(void)state;
	put_iov(0, AT_DATA, 5);
	assert_int_equal(WASI(fd_read)(&ctx, 0, AT_IOVS, 1, AT_RESULT), 0);
	assert_int_equal(u32_at(AT_RESULT), 0);
	write_ok(2, "nobody hears this");
	assert_int_equal(WASI(fd_fdstat_get)(&ctx, 2, AT_STRUCT), 0);
	assert_int_equal(guest_base[AT_STRUCT], WASI_FILETYPE_CHARACTER_DEVICE);

	wasi_release(&ctx);
	assert_int_equal(pipe(pipe_fds), 0);
	saved = dup(2);
	dup2(pipe_fds[1], 2);
	assert_int_equal(wasi_init(&ctx, &config), 0);
	write_ok(2, "heard");
	/* The guest may close its own, not the host's. */
	assert_int_equal(WASI(fd_close)(&ctx, 2), 0);
	assert_int_equal(WASI(fd_write)(&ctx, 2, AT_IOVS, 1, AT_RESULT), WASI_EBADF);
	assert_true(fcntl(2, F_GETFD) >= 0);
	dup2(saved, 2);
	assert_int_equal(read(pipe_fds[0], got, 5), 5);
	assert_string_equal(got, "heard");
	close(saved);
	close(pipe_fds[0]);
	close(pipe_fds[1]);
}

static void
test_preopens_are_announced(void **state)
{
	(void)state;
	assert_int_equal(WASI(fd_prestat_get)(&ctx, DIR_FD, AT_STRUCT), 0);
	assert_int_equal(u32_at(AT_STRUCT), 0);
	assert_int_equal(u32_at(AT_STRUCT + 4), 1);
	guest_base[AT_DATA + 1] = '#';
	assert_int_equal(WASI(fd_prestat_dir_name)(&ctx, DIR_FD, AT_DATA, 0), WASI_ENAMETOOLONG);
	assert_int_equal(WASI(fd_prestat_dir_name)(&ctx, DIR_FD, BAD + 1, 1), WASI_EFAULT);
	assert_int_equal(WASI(fd_prestat_dir_name)(&ctx, DIR_FD, AT_DATA, 1), 0);
	assert_memory_equal(guest_base + AT_DATA, "/#", 2);
	assert_int_equal(WASI(fd_prestat_get)(&ctx, DIR_FD + 1, AT_STRUCT), WASI_EBADF);
	assert_int_equal(WASI(fd_prestat_get)(&ctx, 2, AT_STRUCT), WASI_EBADF);
	assert_int_equal(WASI(fd_prestat_get)(&ctx, open_ok(".", WASI_OFLAG_DIRECTORY, READ), AT_STRUCT), WASI_EBADF);
}

static void
test_bad_configurations_are_refused(void **state)
{
	static char long_arg[WASI_MAX_ARG_BYTES + 1];
	const char *const argv[] = {long_arg, NULL};
	struct wasi_preopen preopen = {.guest_name = "/", .host_dir_fd = -1};
	struct wasi_config config = {.argc = 1, .argv = argv};

	(void)state;
	wasi_release(&ctx);
	memset(long_arg, 'x', WASI_MAX_ARG_BYTES);
	assert_int_equal(wasi_init(&ctx, &config), -E2BIG);
	config = (struct wasi_config){.preopens = &preopen, .preopens_len = 1};
	assert_int_equal(wasi_init(&ctx, &config), -EBADF);
	preopen.host_dir_fd = open(host_path("outside/secret"), O_RDONLY);
	assert_int_equal(wasi_init(&ctx, &config), -ENOTDIR);
	close(preopen.host_dir_fd);
	config.preopens_len = WASI_MAX_FDS;
	assert_int_equal(wasi_init(&ctx, &config), -E2BIG);
}

/* ---- the process ---- */

static void
test_arguments_and_environment_are_the_given_ones(void **state)
{
	(void)state;
	assert_int_equal(setenv("PGPASSWORD", "host", 1), 0);
	assert_int_equal(WASI(args_sizes_get)(&ctx, AT_RESULT, AT_RESULT2), 0);
	assert_int_equal(u32_at(AT_RESULT), 2);
	assert_int_equal(u32_at(AT_RESULT2), 18);
	assert_int_equal(WASI(args_get)(&ctx, AT_STRUCT, AT_DATA), 0);
	assert_int_equal(u32_at(AT_STRUCT), AT_DATA);
	assert_int_equal(u32_at(AT_STRUCT + 4), AT_DATA + 9);
	assert_memory_equal(guest_base + AT_DATA, "postgres\0--single", 18);

	assert_int_equal(WASI(environ_sizes_get)(&ctx, AT_RESULT, AT_RESULT2), 0);
	assert_int_equal(u32_at(AT_RESULT), 1);
	assert_int_equal(WASI(environ_get)(&ctx, AT_STRUCT, AT_DATA), 0);
	assert_string_equal((char *)guest_base + u32_at(AT_STRUCT), "TZ=UTC");
}

static void
test_clocks_run(void **state)
{
	uint64_t before;

	(void)state;
	for (uint32_t clock = 0; clock < 4; clock++) {
		assert_int_equal(WASI(clock_res_get)(&ctx, clock, AT_RESULT), 0);
		assert_true(u64_at(AT_RESULT) > 0);
		assert_int_equal(WASI(clock_time_get)(&ctx, clock, 0, AT_RESULT), 0);
		before = u64_at(AT_RESULT);
		assert_int_equal(WASI(clock_time_get)(&ctx, clock, 0, AT_RESULT), 0);
		assert_true(u64_at(AT_RESULT) >= before);
	}
	assert_int_equal(WASI(clock_time_get)(&ctx, 4, 0, AT_RESULT), WASI_EINVAL);
	assert_int_equal(WASI(clock_res_get)(&ctx, UINT32_MAX, AT_RESULT), WASI_EINVAL);
	assert_int_equal(WASI(clock_time_get)(&ctx, 0, 0, AT_RESULT + 3), 0); /* any alignment */
	assert_true(u64_at(AT_RESULT + 3) / 1000000000 - (uint64_t)time(NULL) + 2 < 4);
	assert_int_equal(WASI(sched_yield)(&ctx), 0);
}

static void
test_random_bytes_differ(void **state)
{
	(void)state;
	assert_int_equal(WASI(random_get)(&ctx, AT_DATA, 1 << 20), 0); /* more than one getrandom gives */
	assert_memory_not_equal(guest_base + AT_DATA, guest_base + AT_DATA + 64, 64);
	assert_memory_not_equal(guest_base + AT_DATA + (1 << 20) - 64, guest_base + AT_DATA, 64);
	assert_int_equal(guest_base[AT_DATA + (1 << 20)], 0);
}

static jmp_buf exit_jump;

static void
leave_by_longjmp(int code)
{
	longjmp(exit_jump, code);
}

static void
return_from_hook(int code)
{
	(void)code;
}

static void
test_proc_exit_asks_the_hook_first(void **state)
{
	void (*hooks[])(int) = {NULL, return_from_hook};
	volatile int code;

	(void)state;
	wasi_exit_hook = leave_by_longjmp;
	code = setjmp(exit_jump);
	if (code == 0)
		WASI(proc_exit)(&ctx, 7);
	assert_int_equal(code, 7);

	for (int i = 0; i < 2; i++) {
		int status;
		pid_t pid = fork();

		if (pid == 0) {
			wasi_exit_hook = hooks[i];
			WASI(proc_exit)(&ctx, 3);
		}
		assert_int_equal(waitpid(pid, &status, 0), pid);
		assert_true(WIFEXITED(status));
		assert_int_equal(WEXITSTATUS(status), 3);
	}
	wasi_exit_hook = NULL;
}

static void
test_fork_inherits_the_table(void **state)
{
	uint32_t fd = open_ok("file", WASI_OFLAG_CREAT, RW);
	pid_t pid = fork();
	int status;

	(void)state;
	if (pid == 0) {
		put(AT_DATA, "child");
		put_iov(0, AT_DATA, 5);
		_exit(WASI(fd_write)(&ctx, fd, AT_IOVS, 1, AT_RESULT) ? 1 : 0);
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_int_equal(status, 0);
	assert_int_equal(WASI(fd_filestat_get)(&ctx, fd, AT_STRUCT), 0);
	assert_int_equal(u64_at(AT_STRUCT + 32), 5);
}

/* ---- poll_oneoff ---- */

static void
put_clock(uint32_t i, uint32_t clock, uint64_t timeout_ns, uint16_t flags)
{
	guest_addr at = AT_SUBS + 48 * i;

	memset(guest_range(at, 48), 0, 48);
	assert_true(guest_store_u64(at, 1000 + i));
	assert_true(guest_store_u32(at + 16, clock));
	assert_true(guest_store_u64(at + 24, timeout_ns));
	assert_true(guest_store_u16(at + 40, flags));
}

static void
put_fd_subscription(uint32_t i, uint8_t type, uint32_t fd)
{
	guest_addr at = AT_SUBS + 48 * i;

	memset(guest_range(at, 48), 0, 48);
	assert_true(guest_store_u64(at, 1000 + i));
	assert_true(guest_store_u8(at + 8, type));
	assert_true(guest_store_u32(at + 16, fd));
}

static uint32_t
poll_ok(uint32_t count)
{
	assert_int_equal(WASI(poll_oneoff)(&ctx, AT_SUBS, AT_EVENTS, count, AT_RESULT), 0);
	return u32_at(AT_RESULT);
}

static void
assert_event(uint32_t i, uint64_t userdata, uint16_t error, uint8_t type)
{
	uint16_t got_error;

	assert_int_equal(u64_at(AT_EVENTS + 32 * i), userdata);
	assert_true(guest_load_u16(AT_EVENTS + 32 * i + 8, &got_error));
	assert_int_equal(got_error, error);
	assert_int_equal(guest_base[AT_EVENTS + 32 * i + 10], type);
}

static uint64_t
now_ns(clockid_t clock)
{
	struct timespec ts;

	clock_gettime(clock, &ts);
	return (uint64_t)ts.tv_sec * 1000000000u + (uint64_t)ts.tv_nsec;
}

static void
test_poll_waits_for_clocks(void **state)
{
	const uint64_t wait_ns = 30000000;

	(void)state;
	for (uint32_t clock = 0; clock < 2; clock++) {
		clockid_t host_clock = clock == 0 ? CLOCK_REALTIME : CLOCK_MONOTONIC;

		for (uint16_t is_absolute = 0; is_absolute < 2; is_absolute++) {
			uint64_t start_ns = now_ns(CLOCK_MONOTONIC);

			put_clock(0, clock, UINT64_MAX, 0);
			put_clock(1, clock, wait_ns + (is_absolute ? now_ns(host_clock) : 0), is_absolute);
			assert_int_equal(poll_ok(2), 1);
			assert_event(0, 1001, 0, 0);
			assert_true(now_ns(CLOCK_MONOTONIC) - start_ns >= wait_ns - 5000000);
		}
	}
	put_clock(0, 1, 1, 1); /* long past */
	assert_int_equal(poll_ok(1), 1);
	put_clock(0, 2, 1, 0);
	put_clock(1, 9, 1, 0);
	assert_int_equal(poll_ok(2), 2);
	assert_event(0, 1000, WASI_ENOTSUP, 0);
	assert_event(1, 1001, WASI_EINVAL, 0);
}

static void
test_poll_waits_for_descriptors(void **state)
{
	int pipe_fds[2];
	struct wasi_fd reader = {.kind = WASI_FD_OPENED, .filetype = WASI_FILETYPE_UNASKED, .is_readable = true};
	struct wasi_fd writer = {.kind = WASI_FD_OPENED, .filetype = WASI_FILETYPE_UNASKED, .is_writable = true};

	(void)state;
	assert_int_equal(pipe(pipe_fds), 0);
	reader.host_fd = pipe_fds[0];
	writer.host_fd = pipe_fds[1];
	wasi_fd_install(&ctx, 10, &reader);
	wasi_fd_install(&ctx, 11, &writer);

	put_fd_subscription(0, 1, 10);
	put_fd_subscription(1, 2, 11);
	assert_int_equal(poll_ok(2), 1);
	assert_event(0, 1001, 0, 2);

	put_clock(1, 1, 10000000, 0);
	assert_int_equal(poll_ok(2), 1);
	assert_event(0, 1001, 0, 0);

	write_ok(11, "abc");
	put_clock(1, 1, 10000000000, 0);
	assert_int_equal(poll_ok(2), 1);
	assert_event(0, 1000, 0, 1);
	assert_int_equal(u64_at(AT_EVENTS + 16), 3);
	assert_int_equal(u64_at(AT_EVENTS + 24), 0);

	/* The other end went away. */
	assert_int_equal(WASI(fd_close)(&ctx, 11), 0);
	assert_int_equal(poll_ok(1), 1);
	assert_int_equal(u64_at(AT_EVENTS + 24), 1);

	/* A closed descriptor is an event, and nothing is waited for. */
	put_fd_subscription(0, 2, 11);
	assert_int_equal(poll_ok(2), 1);
	assert_event(0, 1000, WASI_EBADF, 2);

	put_fd_subscription(0, 3, 10);
	assert_int_equal(WASI(poll_oneoff)(&ctx, AT_SUBS, AT_EVENTS, 1, AT_RESULT), WASI_EINVAL);
	assert_int_equal(WASI(poll_oneoff)(&ctx, AT_SUBS, AT_EVENTS, 0, AT_RESULT), WASI_EINVAL);
	assert_int_equal(WASI(poll_oneoff)(&ctx, AT_SUBS, AT_EVENTS, UINT32_MAX, AT_RESULT), WASI_EINVAL);
	assert_int_equal(WASI(poll_oneoff)(&ctx, AT_SUBS, AT_EVENTS, WASI_MAX_SUBSCRIPTIONS + 1, AT_RESULT), WASI_EINVAL);
}

static void
ignore_alarm(int signo)
{
	(void)signo;
}

static void
test_poll_is_interrupted_by_a_signal(void **state)
{
	struct sigaction action = {.sa_handler = ignore_alarm, .sa_flags = SA_RESTART};
	struct itimerval soon = {.it_value.tv_usec = 20000};
	uint64_t start_ns = now_ns(CLOCK_MONOTONIC);

	(void)state;
	assert_int_equal(sigaction(SIGALRM, &action, NULL), 0);
	assert_int_equal(setitimer(ITIMER_REAL, &soon, NULL), 0);
	put_clock(0, 1, 10000000000, 0);
	assert_int_equal(WASI(poll_oneoff)(&ctx, AT_SUBS, AT_EVENTS, 1, AT_RESULT), WASI_EINTR);
	assert_true(now_ns(CLOCK_MONOTONIC) - start_ns < 5000000000);
	signal(SIGALRM, SIG_DFL);
	alarm(60);
}

/* ---- sockets ---- */

static void
test_sockets_send_receive_and_accept(void **state)
{
	struct wasi_fd f = {.kind = WASI_FD_OPENED, .filetype = WASI_FILETYPE_UNASKED, .is_readable = true, .is_writable = true};
	int stream[2], dgram[2], listener, client;
	struct sockaddr addr = {.sa_family = AF_UNIX}; /* autobind: an abstract name of the kernel's choice */
	struct sockaddr_storage bound;
	socklen_t bound_len = sizeof(bound);
	uint16_t roflags;

	(void)state;
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, stream), 0);
	assert_int_equal(socketpair(AF_UNIX, SOCK_DGRAM, 0, dgram), 0);
	f.host_fd = stream[0], wasi_fd_install(&ctx, 10, &f);
	f.host_fd = stream[1], wasi_fd_install(&ctx, 11, &f);
	f.host_fd = dgram[0], wasi_fd_install(&ctx, 12, &f);
	f.host_fd = dgram[1], wasi_fd_install(&ctx, 13, &f);

	put(AT_DATA, "abcdef");
	put_iov(0, AT_DATA, 6);
	assert_int_equal(WASI(sock_send)(&ctx, 10, AT_IOVS, 1, 0, AT_RESULT), 0);
	assert_int_equal(u32_at(AT_RESULT), 6);
	put_iov(0, AT_DATA + 10, 3);
	assert_int_equal(WASI(sock_recv)(&ctx, 11, AT_IOVS, 1, 1, AT_RESULT, AT_RESULT2), 0); /* peek */
	assert_int_equal(WASI(sock_recv)(&ctx, 11, AT_IOVS, 1, 2, AT_RESULT, AT_RESULT2), 0);
	assert_memory_equal(guest_base + AT_DATA + 10, "abc", 3);
	assert_int_equal(WASI(sock_recv)(&ctx, 11, AT_IOVS, 1, 4, AT_RESULT, AT_RESULT2), WASI_EINVAL);
	assert_int_equal(WASI(sock_send)(&ctx, 11, AT_IOVS, 1, 1, AT_RESULT), WASI_EINVAL);
	assert_int_equal(WASI(sock_shutdown)(&ctx, 10, 0), WASI_EINVAL);
	assert_int_equal(WASI(sock_shutdown)(&ctx, 10, 3), 0);
	assert_int_equal(WASI(sock_send)(&ctx, 10, AT_IOVS, 1, 0, AT_RESULT), WASI_EPIPE); /* and no SIGPIPE */

	put_iov(0, AT_DATA, 6);
	assert_int_equal(WASI(sock_send)(&ctx, 12, AT_IOVS, 1, 0, AT_RESULT), 0);
	put_iov(0, AT_DATA, 2);
	assert_int_equal(WASI(sock_recv)(&ctx, 13, AT_IOVS, 1, 0, AT_RESULT, AT_RESULT2), 0);
	assert_true(guest_load_u16(AT_RESULT2, &roflags));
	assert_int_equal(roflags, 1);
	assert_int_equal(WASI(fd_fdstat_get)(&ctx, 12, AT_STRUCT), 0);
	assert_int_equal(guest_base[AT_STRUCT], WASI_FILETYPE_SOCKET_DGRAM);
	assert_int_equal(WASI(fd_fdstat_get)(&ctx, 10, AT_STRUCT), 0);
	assert_int_equal(guest_base[AT_STRUCT], WASI_FILETYPE_SOCKET_STREAM);

	listener = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0);
	assert_int_equal(bind(listener, &addr, sizeof(sa_family_t)), 0);
	assert_int_equal(listen(listener, 1), 0);
	assert_int_equal(getsockname(listener, (struct sockaddr *)&bound, &bound_len), 0);
	f.host_fd = listener, wasi_fd_install(&ctx, 14, &f);
	assert_int_equal(WASI(sock_accept)(&ctx, 14, 0, AT_RESULT), WASI_EAGAIN);
	client = socket(AF_UNIX, SOCK_STREAM, 0);
	assert_int_equal(connect(client, (struct sockaddr *)&bound, bound_len), 0);
	assert_int_equal(WASI(sock_accept)(&ctx, 14, 1, AT_RESULT), WASI_EINVAL);
	assert_int_equal(WASI(sock_accept)(&ctx, 14, WASI_FDFLAG_NONBLOCK, AT_RESULT), 0);
	assert_int_equal(u32_at(AT_RESULT), DIR_FD + 1);
	assert_int_equal(WASI(sock_accept)(&ctx, DIR_FD, 0, AT_RESULT), WASI_ENOTSOCK);
	close(client);
}

static void
test_errno_table_translates(void **state)
{
	(void)state;
	assert_int_equal(wasi_errno_from_host(E2BIG), 1);
	assert_int_equal(wasi_errno_from_host(EWOULDBLOCK), 6);
	assert_int_equal(wasi_errno_from_host(EBADF), 8);
	assert_int_equal(wasi_errno_from_host(EFAULT), 21);
	assert_int_equal(wasi_errno_from_host(EINTR), 27);
	assert_int_equal(wasi_errno_from_host(EMFILE), 33);
	assert_int_equal(wasi_errno_from_host(ENOENT), 44);
	assert_int_equal(wasi_errno_from_host(ENOSPC), 51);
	assert_int_equal(wasi_errno_from_host(EOPNOTSUPP), 58);
	assert_int_equal(wasi_errno_from_host(EXDEV), 75);
	/* Numbers that preview 1 does not have, or nobody has. */
	assert_int_equal(wasi_errno_from_host(EMEDIUMTYPE), WASI_EIO);
	assert_int_equal(wasi_errno_from_host(0), WASI_EIO);
	assert_int_equal(wasi_errno_from_host(-1), WASI_EIO);
	assert_int_equal(wasi_errno_from_host(100000), WASI_EIO);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    TEST(test_written_data_reads_back),
	    TEST(test_open_honours_flags),
	    TEST(test_fdstat_tells_access_mode),
	    TEST(test_terminal_has_no_seek_right),
	    TEST(test_names_are_made_moved_and_removed),
	    TEST(test_symlinks_inside_work),
	    TEST(test_nothing_leads_outside),
	    TEST(test_host_root_preopen_stays_in_root),
	    TEST(test_odd_paths_are_refused),
	    TEST(test_bad_addresses_fault),
	    TEST(test_vectors_are_bounded),
	    TEST(test_readdir_gives_each_name_once),
	    TEST(test_readdir_of_removed_directory_is_empty),
	    TEST(test_too_many_files_is_mfile),
	    TEST(test_renumber_replaces_the_target),
	    TEST(test_stdio_is_null_unless_allowed),
	    TEST(test_preopens_are_announced),
	    TEST(test_bad_configurations_are_refused),
	    TEST(test_arguments_and_environment_are_the_given_ones),
	    TEST(test_clocks_run),
	    TEST(test_random_bytes_differ),
	    TEST(test_proc_exit_asks_the_hook_first),
	    TEST(test_fork_inherits_the_table),
	    TEST(test_poll_waits_for_clocks),
	    TEST(test_poll_waits_for_descriptors),
	    TEST(test_poll_is_interrupted_by_a_signal),
	    TEST(test_sockets_send_receive_and_accept),
	    TEST(test_errno_table_translates),
	};

	signal(SIGPIPE, SIG_IGN);
	alarm(60);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
