/*
 * test-vfs-kill.c
 *	  A process is killed at every step of a workload: recovery must find a
 *	  valid tree, lose nothing that was there before, and heal every leak.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <sys/wait.h>

#include "test-vfs-lib.h"

#define SPACE_BLOCKS	400

/* What exists before the workload, some of it untouched by it. */
static void
prepare(void)
{
	static unsigned char image[6 * BLK];
	int			fd;

	fresh(SPACE_BLOCKS);
	for (size_t i = 0; i < sizeof(image); i++)
		image[i] = (unsigned char) (i / BLK + 'a');
	assert_int_equal(vfs_import_begin(), 0);
	assert_int_equal(vfs_import_file("/base/1/untouched", image, sizeof(image), 0600), 0);
	assert_int_equal(vfs_import_file("/base/1/changed", image, sizeof(image), 0600), 0);
	vfs_import_end();
	fd = must_open("/control", VFS_O_CREAT);
	must_put(fd, "old!", 4, 0);
	must_close(fd);
	fd = must_open("/long", VFS_O_CREAT);
	for (int i = 0; i < 80; i++)
		must_put(fd, block_of('l'), BLK, (uint64_t) i * BLK);
	must_close(fd);
	assert_int_equal(vfs_path_mkdir(0, "/dir"), 0);
	must_close(must_open("/dir/inside", VFS_O_CREAT));
}

/* One of everything that changes the file system. */
static void
workload(void)
{
	uint64_t	done;
	char		path[32];
	int			fd;
	int			copy;

	fd = must_open("/control.tmp", VFS_O_CREAT | VFS_O_TRUNC);
	must_put(fd, "new!", 4, 0);
	must_close(fd);
	assert_int_equal(vfs_path_rename(0, "/control.tmp", 0, "/control"), 0);

	fd = must_open("/base/1/changed", 0);
	must_put(fd, "C", 1, 2 * BLK + 9);
	must_put(fd, block_of('e'), BLK, 6 * BLK);
	must_put(fd, "s", 1, 300 * BLK);
	copy = must_open("/base/1/copy", VFS_O_CREAT);
	assert_int_equal(vfs_copy_file_range(fd, &(uint64_t) {0}, copy, &(uint64_t) {0}, 50 * BLK, &done), 0);
	must_put(copy, "d", 1, 6 * BLK);
	must_close(copy);
	assert_int_equal(vfs_fd_resize(vfs_fd_get(fd), 3 * BLK + 7), 0);
	must_close(fd);

	fd = must_open("/long", 0);
	assert_int_equal(vfs_fd_resize(vfs_fd_get(fd), 70 * BLK), 0);
	assert_int_equal(vfs_path_unlink(0, "/long"), 0);
	must_close(fd);

	assert_int_equal(vfs_path_rename(0, "/dir", 0, "/base/moved"), 0);
	assert_int_equal(vfs_path_link(0, "/control", true, 0, "/base/control"), 0);
	assert_int_equal(vfs_path_symlink("/base", 0, "/link"), 0);
	assert_int_equal(vfs_path_mkdir(0, "/empty"), 0);
	assert_int_equal(vfs_path_rename(0, "/empty", 0, "/empty2"), 0);
	assert_int_equal(vfs_path_rmdir(0, "/empty2"), 0);

	for (int i = 0; i < 20; i++)
	{
		snprintf(path, sizeof(path), "/many-%d", i);
		must_close(must_open(path, VFS_O_CREAT));
	}
	assert_int_equal(vfs_path_unlink(0, "/many-7"), 0);
}

/* Run fn in a child that ends after `steps` steps; did it get to its end? */
static bool
run_killed(void (*fn) (void), long steps)
{
	int			status;
	pid_t		pid = fork();

	if (pid == 0)
	{
		steps_left = steps;
		fn();
		_exit(0);
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_true(WIFEXITED(status));
	assert_true(WEXITSTATUS(status) == 0 || WEXITSTATUS(status) == 99);
	return WEXITSTATUS(status) == 0;
}

static void
recover(void)
{
	vfs_recover();
}

/* What must hold whenever the process was killed. */
static void
assert_nothing_lost(long step)
{
	unsigned char buf[8];
	int			fd;

	(void) step;
	fd = must_open("/control", 0);
	assert_int_equal(get(fd, buf, 8, 0), 4);
	assert_true(memcmp(buf, "old!", 4) == 0 || memcmp(buf, "new!", 4) == 0);
	must_close(fd);
	fd = must_open("/base/1/untouched", 0);
	assert_int_equal(size_of(fd), 6 * BLK);
	for (int i = 0; i < 6; i++)
		assert_int_equal(byte_at(fd, (uint64_t) i * BLK + 9), 'a' + i);
	must_close(fd);
	fd = must_open("/base/1/changed", 0);
	assert_int_equal(byte_at(fd, 2 * BLK + 10), 'c');
	assert_int_equal(byte_at(fd, 3 * BLK), 'd');
	must_close(fd);

	/* The directory is in one place, with what is in it. */
	fd = try_open("/dir/inside", 0);
	if (fd == -VFS_ENOENT)
		fd = must_open("/base/moved/inside", 0);
	else
		assert_int_equal(try_open("/base/moved/inside", 0), -VFS_ENOENT);
	must_close(fd);
}

/* All space comes back when everything is removed. */
static void
assert_still_usable(void)
{
	int			fd = must_open("/after", VFS_O_CREAT);

	for (int i = 0; i < 100; i++)
		must_put(fd, block_of('n'), BLK, (uint64_t) i * BLK);
	must_close(fd);
	assert_int_equal(vfs_path_unlink(0, "/after"), 0);
	assert_sound(true);
}

static void
kill_at_every_step_loses_nothing(void **state)
{
	long		n = 0;
	bool		finished = false;

	(void) state;
	for (; !finished; n++)
	{
		prepare();
		finished = run_killed(workload, n);
		assert_int_equal(vfs_recover(), 0);
		assert_sound(true);
		assert_nothing_lost(n);
		assert_still_usable();
	}
	print_message("%ld steps\n", n);
	assert_true(n > 300);
}

static void
killed_recovery_can_be_repeated(void **state)
{
	(void) state;
	for (long n = 5; n < 700; n += 13)
	{
		long		m = 0;
		bool		finished = false;

		prepare();
		run_killed(workload, n);
		for (; !finished; m++)
			finished = run_killed(recover, m);
		assert_int_equal(vfs_recover(), 0);
		assert_sound(true);
		assert_nothing_lost(n);
		assert_still_usable();
	}
}

/* The check must be able to fail, or it proves nothing. */
static void
check_finds_planted_damage(void **state)
{
	vaddr		entry;
	struct vfs_inode *ip;

	(void) state;
	prepare();
	assert_null(vfs_check(true));
	vfs_sb->nfree++;
	assert_non_null(vfs_check(true));
	vfs_sb->nfree--;

	entry = vfs_entry_find(vfs_sb->root, "long", 4);
	ip = vfs_inode_at(vfs_dirent_at(entry)->inode);
	*vfs_counter(ip->list.direct[0]) = VFS_CNT_FREE;
	assert_non_null(vfs_check(false));
	*vfs_counter(ip->list.direct[0]) = 2;
	assert_non_null(vfs_check(true));
	*vfs_counter(ip->list.direct[0]) = 1;
	ip->list.direct[1] = ip->list.direct[0];
	assert_non_null(vfs_check(false));
	assert_int_equal(vfs_recover(), 0);
	assert_null(vfs_check(true));
	ip->nlink = 2;
	assert_non_null(vfs_check(true));
	ip->nlink = 1;
	vfs_dirent_at(entry)->name[0] = 'L';
	assert_non_null(vfs_check(true));
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(kill_at_every_step_loses_nothing),
		cmocka_unit_test(killed_recovery_can_be_repeated),
		cmocka_unit_test(check_finds_planted_damage),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
