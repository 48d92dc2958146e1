/*
 * test-vfs-lib.h
 *	  A file system in a mapping of this process, and the port it needs.
 *
 * Included by each test-vfs*.c once, after cmocka.h.
 */
#ifndef TEST_VFS_LIB_H
#define TEST_VFS_LIB_H

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "vfs_fd.h"
#include "vfs_name.h"

#define BLK			VFS_BLOCK_SIZE
#define BASE_START	0x00100000u
#define BASE_END	0x00900000u
#define FILES_START	0x03f00000u	/* a zone boundary lies inside FILES */
#define SPACE_BYTES	0x40000000u

/*
 * Steps (see VFS_STEP) until the process ends as if killed; negative: never.
 * Set in a forked child.
 */
static long steps_left = -1;
static long steps_taken;
static uint64_t clock_now = 1000;
static uint32_t discarded_blocks;

void
vfs_test_step(void)
{
	steps_taken++;
	if (steps_left >= 0 && steps_left-- == 0)
		_exit(99);
}

#ifndef TEST_VFS_OWN_LOCKS
/* One process at a time, so a held lock is a mistake of the file system. */
void
vfs_lock(volatile uint32_t *word)
{
	if (*word)
		abort();
	vfs_test_step();
	*word = 1;
}

void
vfs_unlock(volatile uint32_t *word)
{
	vfs_test_step();
	*word = 0;
}
#endif							/* TEST_VFS_OWN_LOCKS */

uint64_t
vfs_clock_ns(void)
{
	return ++clock_now;
}

int
vfs_random(void *buf, uint32_t len)
{
	memset(buf, 0x5a, len);
	return 0;
}

bool
vfs_discard(vaddr start, uint32_t nblocks)
{
	discarded_blocks += nblocks;
	return madvise(vfs_ptr(start), (size_t) nblocks * BLK, MADV_REMOVE) == 0;
}

/* Zero the whole space and format `nblocks` of it as FILES. */
static inline void
fresh(uint32_t nblocks)
{
	struct vfs_region r = {BASE_START, BASE_END, FILES_START, FILES_START + nblocks * BLK};

	vfs_close_all();
	if (vfs_native_base == NULL)
	{
		vfs_native_base = mmap(NULL, SPACE_BYTES, PROT_READ | PROT_WRITE,
							   MAP_SHARED | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
		assert_true(vfs_native_base != MAP_FAILED);
	}
	else
		assert_int_equal(madvise(vfs_native_base, SPACE_BYTES, MADV_REMOVE), 0);
	assert_int_equal(vfs_format(&r), 0);
}

static inline void
assert_sound(bool exact)
{
	const char *found = vfs_check(exact);

	if (found)
		fail_msg("file system check: %s", found);
}

static inline int
try_open(const char *path, uint32_t oflags)
{
	return vfs_fd_open(VFS_FD_ROOT, path, oflags, true,
					   VFS_ACC_READ | VFS_ACC_WRITE, 0);
}

static inline int
must_open(const char *path, uint32_t oflags)
{
	int			fd = try_open(path, oflags);

	assert_true(fd > VFS_FD_ROOT);
	return fd;
}

static inline void
must_close(int fd)
{
	int			host_fd;

	assert_int_equal(vfs_fd_close(fd, &host_fd), 0);
	assert_int_equal(host_fd, -1);
}

/* Write at an offset; the errno, with the count in *done. */
static inline int
put(int fd, const void *data, uint32_t len, uint64_t at, uint32_t *done)
{
	return vfs_fd_write(vfs_fd_get(fd), data, len, &at, done);
}

static inline void
must_put(int fd, const void *data, uint32_t len, uint64_t at)
{
	uint32_t	done;

	assert_int_equal(put(fd, data, len, at, &done), 0);
	assert_int_equal(done, len);
}

static inline uint32_t
get(int fd, void *data, uint32_t len, uint64_t at)
{
	uint32_t	done;

	assert_int_equal(vfs_fd_read(vfs_fd_get(fd), data, len, &at, &done), 0);
	return done;
}

static inline uint64_t
size_of(int fd)
{
	struct vfs_stat st;

	assert_int_equal(vfs_fd_stat(vfs_fd_get(fd), &st), 0);
	return st.size;
}

/* A block filled with a byte, valid until the next call. */
static inline const unsigned char *
block_of(int byte)
{
	static unsigned char block[BLK];

	memset(block, byte, sizeof(block));
	return block;
}

/* The byte at an offset. */
static inline int
byte_at(int fd, uint64_t at)
{
	unsigned char c;

	assert_int_equal(get(fd, &c, 1, at), 1);
	return c;
}

static inline struct vfs_stats
stats_now(void)
{
	struct vfs_stats s;

	vfs_stats(&s);
	return s;
}

#endif							/* TEST_VFS_LIB_H */
