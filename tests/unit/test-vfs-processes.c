/*
 * test-vfs-processes.c
 *	  Several forked processes use one file system at once.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <sched.h>
#include <sys/wait.h>

#define TEST_VFS_OWN_LOCKS
#include "test-vfs-lib.h"

#define PROCESSES	4
#define ROUNDS		1500
#define OWN_FILES	50

void
vfs_lock(volatile uint32_t *word)
{
	while (__atomic_exchange_n(word, 1, __ATOMIC_ACQUIRE))
		sched_yield();
}

void
vfs_unlock(volatile uint32_t *word)
{
	__atomic_store_n(word, 0, __ATOMIC_RELEASE);
}

/*
 * Churn through files of its own, and extend one shared file by pages that
 * interleave with the others'.  Returns the line of the first mistake, or 0.
 */
static int
use_files(int me)
{
	unsigned char page[BLK];
	char		path[32];
	char		moved[32];
	int			shared;

	vfs_after_fork();
	shared = must_open("/shared", 0);
	for (int i = 0; i < ROUNDS; i++)
	{
		uint64_t	at = (uint64_t) (i % 90) * BLK;
		int			byte = (me * OWN_FILES + i % OWN_FILES) & 255;
		int			fd;

		snprintf(path, sizeof(path), "/p%d-%d", me, i % OWN_FILES);
		fd = must_open(path, i % 3 ? VFS_O_CREAT : VFS_O_CREAT | VFS_O_TRUNC);
		must_put(fd, block_of(byte), BLK, at);
		if (byte_at(fd, at + 5) != byte)
			return __LINE__;
		must_close(fd);
		snprintf(moved, sizeof(moved), "/moved%d-%d", me, i % OWN_FILES);
		if (i % 7 == 0 && vfs_path_rename(0, path, 0, moved))
			return __LINE__;
		if (i % 7 && i % 11 == 0 && vfs_path_unlink(0, path))
			return __LINE__;

		at = (uint64_t) (i * PROCESSES + me) * BLK;
		must_put(shared, block_of(me + 1), BLK, at);
		if (get(shared, page, BLK, at) != BLK ||
			memcmp(page, block_of(me + 1), BLK) != 0)
			return __LINE__;
	}
	must_close(shared);
	vfs_close_all();
	return 0;
}

static void
processes_do_not_disturb_each_other(void **state)
{
	int			inherited;
	int			fd;

	(void) state;
	fresh(60000);
	inherited = must_open("/shared", VFS_O_CREAT);
	for (int me = 0; me < PROCESSES; me++)
		if (fork() == 0)
			_exit(use_files(me) ? 1 : 0);
	for (int me = 0; me < PROCESSES; me++)
	{
		int			status;

		assert_true(wait(&status) > 0);
		assert_int_equal(status, 0);
	}
	must_close(inherited);
	fd = must_open("/shared", 0);
	assert_int_equal(size_of(fd), ROUNDS * PROCESSES * BLK);
	for (int i = 0; i < ROUNDS * PROCESSES; i++)
		assert_int_equal(byte_at(fd, (uint64_t) i * BLK + 1), i % PROCESSES + 1);
	assert_int_equal(vfs_inode_at(vfs_fd_get(fd)->inode)->opens, 1);
	must_close(fd);
	assert_sound(true);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(processes_do_not_disturb_each_other),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
