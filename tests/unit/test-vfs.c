/*
 * test-vfs.c
 *	  How the in-guest file system behaves, one test per behaviour.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "test-vfs-lib.h"

static void
write_to_image_block_copies_it(void **state)
{
	unsigned char image[3 * BLK];
	uint32_t	used;
	int			a;
	int			b;

	(void) state;
	fresh(1000);
	memset(image, 'i', sizeof(image));
	image[BLK] = 'j';
	assert_int_equal(vfs_import_begin(), 0);
	assert_int_equal(vfs_import_file("/t/one", image, sizeof(image), 0600), 0);
	assert_int_equal(vfs_import_file("/t/deep/two", image, sizeof(image) - 5, 0600), 0);
	vfs_import_end();

	/* Blocks 0 and 2 are equal; the short last block of "two" is the third. */
	assert_int_equal(vfs_base_used_end(), BASE_START + 3 * BLK);
	used = stats_now().blocks_used;
	a = must_open("/t/one", 0);
	b = must_open("/t/deep/two", 0);
	assert_int_equal(byte_at(a, BLK), 'j');
	assert_int_equal(size_of(b), sizeof(image) - 5);
	must_put(a, "X", 1, 10);
	assert_int_equal(byte_at(a, 10), 'X');
	assert_int_equal(byte_at(a, 11), 'i');
	assert_int_equal(byte_at(b, 10), 'i');
	assert_int_equal(stats_now().blocks_used, used + 1);
	must_put(a, "Y", 1, 11);
	assert_int_equal(stats_now().blocks_used, used + 1);
	must_close(a);
	must_close(b);
	assert_sound(true);
}

static void
zero_blocks_of_an_import_are_holes(void **state)
{
	static unsigned char zeros[4 * BLK];
	int			fd;

	(void) state;
	fresh(100);
	assert_int_equal(vfs_import_begin(), 0);
	assert_int_equal(vfs_import_file("/z", zeros, sizeof(zeros), 0640), 0);
	vfs_import_end();
	assert_int_equal(vfs_base_used_end(), BASE_START);
	assert_int_equal(vfs_stat_mode("/z", true), 0640);
	fd = must_open("/z", 0);
	assert_int_equal(size_of(fd), sizeof(zeros));
	assert_int_equal(byte_at(fd, 4 * BLK - 1), 0);
	must_close(fd);
	assert_sound(true);
}

static void
rebase_moves_changed_blocks_into_base(void **state)
{
	uint32_t	used;
	int			fd;

	(void) state;
	fresh(1000);
	used = stats_now().blocks_used;
	fd = must_open("/f", VFS_O_CREAT);
	for (int i = 0; i < 40; i++)
		must_put(fd, block_of('a' + i % 3), BLK, (uint64_t) i * BLK);
	must_put(fd, "tail", 4, 40 * BLK);
	assert_int_equal(vfs_import_begin(), 0);
	assert_int_equal(vfs_import_rebase(), 0);
	vfs_import_end();
	assert_int_equal(stats_now().base_blocks, 4);
	assert_true(stats_now().blocks_used <= used + 2);	/* pieces of the list */
	for (int i = 0; i < 40; i++)
		assert_int_equal(byte_at(fd, (uint64_t) i * BLK + 77), 'a' + i % 3);
	assert_int_equal(byte_at(fd, 40 * BLK + 3), 'l');
	must_close(fd);
	assert_sound(true);
}

static void
holes_read_as_zeros(void **state)
{
	int			fd;

	(void) state;
	fresh(100);

	/* Dirty a block and free it, so that reused memory is not zero. */
	fd = must_open("/dirty", VFS_O_CREAT);
	must_put(fd, block_of('d'), BLK, 0);
	must_close(fd);
	assert_int_equal(vfs_path_unlink(0, "/dirty"), 0);

	fd = must_open("/f", VFS_O_CREAT);
	must_put(fd, "x", 1, 5 * BLK + 100);
	assert_int_equal(size_of(fd), 5 * BLK + 101);
	assert_int_equal(byte_at(fd, 0), 0);
	assert_int_equal(byte_at(fd, 5 * BLK + 99), 0);
	assert_int_equal(byte_at(fd, 5 * BLK + 100), 'x');
	must_close(fd);
	assert_sound(true);
}

static void
growing_over_a_truncated_tail_reads_zeros(void **state)
{
	int			fd;

	(void) state;
	fresh(100);
	fd = must_open("/f", VFS_O_CREAT);
	must_put(fd, block_of('t'), BLK, 0);
	assert_int_equal(vfs_fd_resize(vfs_fd_get(fd), 10), 0);
	assert_int_equal(vfs_fd_resize(vfs_fd_get(fd), 100), 0);
	assert_int_equal(byte_at(fd, 9), 't');
	assert_int_equal(byte_at(fd, 10), 0);
	assert_int_equal(vfs_fd_resize(vfs_fd_get(fd), 5), 0);
	must_put(fd, "z", 1, 50);
	assert_int_equal(byte_at(fd, 5), 0);
	assert_int_equal(byte_at(fd, 49), 0);
	must_close(fd);
}

static void
sparse_file_of_many_gigabytes(void **state)
{
	static const uint64_t places[] = {
		0, 3 * BLK, 4 * BLK, 15 * BLK, 16 * BLK, 63 * BLK, 64 * BLK, 255 * BLK,
		256 * BLK, 2303 * BLK, 2304 * BLK, 131071ull * BLK, 131072ull * BLK,
		4000000ull * BLK
	};
	uint32_t	used;
	uint32_t	done;
	int			fd;

	(void) state;
	fresh(1000);
	used = stats_now().blocks_used;
	fd = must_open("/big", VFS_O_CREAT);
	for (size_t i = 0; i < sizeof(places) / sizeof(places[0]); i++)
		must_put(fd, &(char) {(char) ('A' + i)}, 1, places[i]);
	for (size_t i = 0; i < sizeof(places) / sizeof(places[0]); i++)
	{
		assert_int_equal(byte_at(fd, places[i]), 'A' + i);
		assert_int_equal(byte_at(fd, places[i] / 2 + 1), 0);
	}
	assert_int_equal(put(fd, "x", 1, UINT64_C(1) << 40, &done), VFS_EFBIG);
	assert_sound(false);
	assert_int_equal(vfs_fd_resize(vfs_fd_get(fd), 64 * BLK), 0);
	assert_int_equal(byte_at(fd, 63 * BLK), 'F');
	assert_sound(true);
	must_close(fd);
	assert_int_equal(vfs_path_unlink(0, "/big"), 0);
	assert_true(stats_now().blocks_used <= used + 3);	/* slabs stay */
	assert_sound(true);
}

static void
rename_replaces_the_target(void **state)
{
	uint32_t	inodes;
	int			fd;

	(void) state;
	fresh(100);
	inodes = stats_now().inodes;
	fd = must_open("/new", VFS_O_CREAT);
	must_put(fd, "new", 3, 0);
	must_close(fd);
	must_close(must_open("/old", VFS_O_CREAT));
	assert_int_equal(vfs_path_rename(0, "/new", 0, "/old"), 0);
	assert_int_equal(try_open("/new", 0), -VFS_ENOENT);
	fd = must_open("/old", 0);
	assert_int_equal(size_of(fd), 3);
	must_close(fd);
	assert_int_equal(stats_now().inodes, inodes + 1);
	assert_sound(true);
}

static void
rename_of_directories_follows_posix(void **state)
{
	(void) state;
	fresh(100);
	assert_int_equal(vfs_path_mkdir(0, "/a"), 0);
	assert_int_equal(vfs_path_mkdir(0, "/a/b"), 0);
	assert_int_equal(vfs_path_mkdir(0, "/c"), 0);
	must_close(must_open("/a/b/f", VFS_O_CREAT));
	assert_int_equal(vfs_path_rename(0, "/a", 0, "/a/b/x"), VFS_EINVAL);
	assert_int_equal(vfs_path_rename(0, "/c", 0, "/a"), VFS_ENOTEMPTY);
	assert_int_equal(vfs_path_rename(0, "/c", 0, "/a/b/f"), VFS_ENOTDIR);
	assert_int_equal(vfs_path_rename(0, "/a/b/f", 0, "/c"), VFS_EISDIR);
	assert_int_equal(vfs_path_rename(0, "/a/b", 0, "/c"), 0);
	must_close(must_open("/c/../c/f", 0));
	assert_int_equal(try_open("/a/b/f", 0), -VFS_ENOENT);
	assert_int_equal(vfs_path_rename(0, "/nope", 0, "/x"), VFS_ENOENT);
	assert_int_equal(vfs_path_rename(0, "/c/", 0, "/d/"), 0);
	assert_int_equal(vfs_path_rename(0, "/d/f", 0, "/g/"), VFS_ENOTDIR);
	assert_sound(true);
}

static void
unlinked_file_lives_until_last_close(void **state)
{
	uint32_t	used;
	int			fd;
	int			copy;

	(void) state;
	fresh(500);
	must_close(must_open("/warm", VFS_O_CREAT));
	used = stats_now().blocks_used;
	fd = must_open("/f", VFS_O_CREAT);
	for (int i = 0; i < 200; i++)
		must_put(fd, block_of('u'), BLK, (uint64_t) i * BLK);
	copy = vfs_dup(fd);
	assert_int_equal(vfs_path_unlink(0, "/f"), 0);
	assert_int_equal(try_open("/f", 0), -VFS_ENOENT);
	must_close(fd);
	assert_int_equal(byte_at(copy, 99 * BLK), 'u');
	discarded_blocks = 0;
	must_close(copy);
	assert_true(stats_now().blocks_used <= used + 4);	/* slabs, a counter page */
	assert_true(discarded_blocks >= VFS_DISCARD_MIN);
	assert_sound(true);
}

/* Collects names, and stops after `room` of them. */
struct listing
{
	int			room;
	int			n;
	uint64_t	next;
	char		name[64][32];
};

static bool
list_one(void *context, uint64_t next, uint64_t ino, unsigned type,
		 const char *name, uint32_t len)
{
	struct listing *l = context;

	(void) ino;
	(void) type;
	if (l->room-- == 0)
		return false;
	memcpy(l->name[l->n], name, len);
	l->name[l->n++][len] = '\0';
	l->next = next;
	return true;
}

static void
readdir_misses_nothing_while_entries_go(void **state)
{
	struct vfs_dir_hint hint = {0};
	struct vfs_file *f;
	struct listing l = {0};
	char		path[64];
	vaddr		dir;
	int			seen = 0;
	int			fd;

	(void) state;
	fresh(500);
	assert_int_equal(vfs_path_mkdir(0, "/d"), 0);
	for (int i = 0; i < 1000; i++)
	{
		snprintf(path, sizeof(path), "/d/%d", i);
		must_close(must_open(path, VFS_O_CREAT));
	}
	fd = vfs_fd_open(VFS_FD_ROOT, "/d", VFS_O_DIRECTORY, true, VFS_ACC_READ, 0);
	assert_int_equal(vfs_fd_dir(fd, &dir, &f), 0);
	do
	{
		l.n = 0;
		l.room = 37;
		assert_int_equal(vfs_dir_read(dir, l.next, &hint, list_one, &l), 0);
		for (int i = 0; i < l.n; i++)
		{
			if (l.name[i][0] == '.')
				continue;
			seen++;
			if (atoi(l.name[i]) % 3 == 0)
				continue;		/* some stay */
			snprintf(path, sizeof(path), "/d/%s", l.name[i]);
			assert_int_equal(vfs_path_unlink(0, path), 0);
		}
	} while (l.n > 0);
	assert_int_equal(seen, 1000);
	assert_int_equal(vfs_path_rmdir(0, "/d"), VFS_ENOTEMPTY);
	must_close(fd);
	assert_sound(true);
}

static void
full_file_system_stays_sound(void **state)
{
	static unsigned char big[64 * BLK];
	char		path[64];
	uint32_t	done = 0;
	uint32_t	nfiles = 0;
	int			err = 0;
	int			fd;

	(void) state;
	fresh(60);
	fd = must_open("/f", VFS_O_CREAT);
	memset(big, 'b', sizeof(big));
	assert_int_equal(put(fd, big, sizeof(big), 0, &done), 0);
	assert_true(done > 40 * BLK && done < 60 * BLK && done % BLK == 0);
	assert_int_equal(size_of(fd), done);
	assert_int_equal(put(fd, "x", 1, done, &(uint32_t) {0}), VFS_ENOSPC);
	assert_sound(true);

	/* Names still fit into the slabs there are; then they do not. */
	while (err == 0)
	{
		snprintf(path, sizeof(path), "/file-with-a-name-%u", nfiles++);
		err = try_open(path, VFS_O_CREAT);
		if (err >= 0)
		{
			must_close(err);
			err = 0;
		}
	}
	assert_int_equal(err, -VFS_ENOSPC);
	assert_int_equal(vfs_path_stat(0, path, true, &(struct vfs_stat) {0}), VFS_ENOENT);
	assert_int_equal(vfs_path_mkdir(0, path), VFS_ENOSPC);
	assert_int_equal(vfs_path_symlink("t", 0, "/some-link-name-here"), VFS_ENOSPC);
	assert_sound(true);
	assert_int_equal(vfs_fd_resize(vfs_fd_get(fd), 0), 0);
	assert_int_equal(vfs_path_mkdir(0, path), 0);
	must_close(fd);
	assert_sound(true);
}

static void
copied_range_is_shared_and_then_diverges(void **state)
{
	uint32_t	used;
	uint64_t	from = 0;
	uint64_t	to = 0;
	uint64_t	done;
	int			a;
	int			b;

	(void) state;
	fresh(500);
	a = must_open("/a", VFS_O_CREAT);
	b = must_open("/b", VFS_O_CREAT);
	for (int i = 0; i < 30; i++)
		must_put(a, block_of('0' + i), BLK, (uint64_t) i * BLK);
	must_put(a, "tail", 4, 30 * BLK);
	used = stats_now().blocks_used;
	assert_int_equal(vfs_copy_file_range(a, &from, b, &to, 1 << 30, &done), 0);
	assert_int_equal(done, 30 * BLK + 4);
	assert_int_equal(to, done);
	assert_int_equal(size_of(b), done);
	assert_true(stats_now().blocks_used <= used + 1);	/* a slab at most */
	must_put(b, "B", 1, 3 * BLK + 5);
	must_put(a, "A", 1, 4 * BLK + 5);
	must_put(a, "long tail", 9, 30 * BLK);
	assert_int_equal(byte_at(a, 3 * BLK + 5), '3');
	assert_int_equal(byte_at(b, 3 * BLK + 5), 'B');
	assert_int_equal(byte_at(b, 4 * BLK + 5), '4');
	assert_int_equal(byte_at(b, 30 * BLK + 3), 'l');
	assert_int_equal(size_of(b), 30 * BLK + 4);
	assert_sound(true);

	/* Not aligned to each other: plain copy, with the descriptors' offsets. */
	assert_int_equal(vfs_fd_seek(vfs_fd_get(a), 10, VFS_SEEK_SET, &from), 0);
	assert_int_equal(vfs_copy_file_range(a, NULL, b, NULL, 2 * BLK, &done), 0);
	assert_int_equal(done, 2 * BLK);
	assert_int_equal(byte_at(b, BLK - 11), '0');
	assert_int_equal(byte_at(b, BLK - 10), '1');
	assert_int_equal(vfs_path_unlink(0, "/a"), 0);
	must_close(a);
	assert_int_equal(byte_at(b, 29 * BLK), '0' + 29);
	must_close(b);
	assert_sound(true);
}

static void
block_shared_too_often_is_copied(void **state)
{
	char		path[32];
	uint64_t	done;
	int			a;

	(void) state;
	fresh(1000);
	a = must_open("/a", VFS_O_CREAT);
	must_put(a, block_of('s'), BLK, 0);
	for (int i = 0; i < 600; i++)
	{
		int			b;

		snprintf(path, sizeof(path), "/%d", i);
		b = must_open(path, VFS_O_CREAT);
		assert_int_equal(vfs_copy_file_range(a, &(uint64_t) {0}, b, &(uint64_t) {0}, BLK, &done), 0);
		assert_int_equal(byte_at(b, BLK - 1), 's');
		must_close(b);
	}
	must_close(a);
	assert_sound(true);
	assert_int_equal(vfs_recover(), 0);
	assert_sound(true);
}

static void
dup_shares_the_offset(void **state)
{
	uint32_t	done;
	char		c;
	int			fd;
	int			copy;

	(void) state;
	fresh(100);
	fd = must_open("/f", VFS_O_CREAT);
	must_put(fd, "abcd", 4, 0);
	copy = vfs_dup(fd);
	assert_int_equal(vfs_fd_read(vfs_fd_get(fd), &c, 1, NULL, &done), 0);
	assert_int_equal(vfs_fd_read(vfs_fd_get(copy), &c, 1, NULL, &done), 0);
	assert_int_equal(c, 'b');
	must_close(fd);
	assert_int_equal(vfs_fd_read(vfs_fd_get(copy), &c, 1, NULL, &done), 0);
	assert_int_equal(c, 'c');
	assert_int_equal(vfs_dup(fd), -VFS_EBADF);
	must_close(copy);
	assert_int_equal(vfs_fd_close(copy, &(int) {0}), VFS_EBADF);
	assert_sound(true);
}

static void
descriptors_run_out_with_an_error(void **state)
{
	int			fd;

	(void) state;
	fresh(100);
	must_close(must_open("/f", VFS_O_CREAT));
	for (int i = 4; i < VFS_FD_MAX; i++)
		assert_int_equal(must_open("/f", 0), i);
	assert_int_equal(try_open("/g", VFS_O_CREAT), -VFS_EMFILE);
	assert_int_equal(vfs_path_stat(0, "/g", true, &(struct vfs_stat) {0}), VFS_ENOENT);
	must_close(1234);
	fd = must_open("/f", 0);
	assert_int_equal(fd, 1234);
	vfs_close_all();
	assert_sound(true);
}

static void
append_writes_at_the_end(void **state)
{
	uint32_t	done;
	int			a;
	int			b;

	(void) state;
	fresh(100);
	a = vfs_fd_open(VFS_FD_ROOT, "/log", VFS_O_CREAT, true, VFS_ACC_WRITE, VFS_FD_APPEND);
	b = vfs_fd_open(VFS_FD_ROOT, "/log", 0, true, VFS_ACC_WRITE, VFS_FD_APPEND);
	assert_int_equal(vfs_fd_write(vfs_fd_get(a), "one", 3, NULL, &done), 0);
	assert_int_equal(vfs_fd_write(vfs_fd_get(b), "two", 3, NULL, &done), 0);
	assert_int_equal(vfs_fd_write(vfs_fd_get(a), "six", 3, NULL, &done), 0);
	assert_int_equal(size_of(a), 9);
	assert_int_equal(vfs_fd_read(vfs_fd_get(a), &(char) {0}, 1, NULL, &done), VFS_EBADF);
	must_close(a);
	must_close(b);
}

static void
walks_go_through_symlinks(void **state)
{
	char		buf[64];
	uint32_t	len;
	struct vfs_stat st;

	(void) state;
	fresh(100);
	assert_int_equal(vfs_path_mkdir(0, "/space"), 0);
	assert_int_equal(vfs_path_mkdir(0, "/pg_tblspc"), 0);
	assert_int_equal(vfs_path_symlink("/space", 0, "/pg_tblspc/16385"), 0);
	assert_int_equal(vfs_path_symlink("../space/./..//space", 0, "pg_tblspc/rel"), 0);
	must_close(must_open("/pg_tblspc/16385/f", VFS_O_CREAT));
	must_close(must_open("/pg_tblspc/rel/f", 0));
	must_close(must_open("/space/f", 0));
	assert_int_equal(vfs_path_readlink(0, "/pg_tblspc/16385", buf, sizeof(buf), &len), 0);
	assert_memory_equal(buf, "/space", len);
	assert_int_equal(vfs_path_stat(0, "/pg_tblspc/16385", false, &st), 0);
	assert_int_equal(st.type, VFS_T_SYMLINK);
	assert_int_equal(vfs_path_stat(0, "/pg_tblspc/16385", true, &st), 0);
	assert_int_equal(st.type, VFS_T_DIR);
	assert_int_equal(vfs_path_stat(0, "/pg_tblspc/16385/", false, &st), 0);
	assert_int_equal(st.type, VFS_T_DIR);

	/* Creating through a dangling link creates its target. */
	assert_int_equal(vfs_path_symlink("target", 0, "/space/dangling"), 0);
	assert_int_equal(try_open("/space/dangling", 0), -VFS_ENOENT);
	assert_int_equal(try_open("/space/dangling", VFS_O_CREAT | VFS_O_EXCL), -VFS_EEXIST);
	must_close(must_open("/space/dangling", VFS_O_CREAT));
	must_close(must_open("/space/target", 0));

	assert_int_equal(vfs_path_symlink("loop2", 0, "/loop1"), 0);
	assert_int_equal(vfs_path_symlink("loop1", 0, "/loop2"), 0);
	assert_int_equal(try_open("/loop1", 0), -VFS_ELOOP);
	assert_int_equal(try_open("/loop1/x", 0), -VFS_ELOOP);
	assert_int_equal(vfs_path_unlink(0, "/loop1"), 0);
	assert_sound(true);
}

static void
path_errors_are_those_of_posix(void **state)
{
	char		name[300];
	int			fd;

	(void) state;
	fresh(100);
	memset(name, 'n', sizeof(name));
	name[256] = '\0';
	assert_int_equal(try_open(name, VFS_O_CREAT), -VFS_ENAMETOOLONG);
	name[255] = '\0';
	must_close(must_open(name, VFS_O_CREAT));
	must_close(must_open("/f", VFS_O_CREAT));
	assert_int_equal(vfs_path_mkdir(0, "/d"), 0);
	assert_int_equal(try_open("", 0), -VFS_ENOENT);
	assert_int_equal(try_open("/f/", 0), -VFS_ENOTDIR);
	assert_int_equal(try_open("/f/x", VFS_O_CREAT), -VFS_ENOTDIR);
	assert_int_equal(try_open("/x/", VFS_O_CREAT), -VFS_EISDIR);
	assert_int_equal(try_open("/x/y", VFS_O_CREAT), -VFS_ENOENT);
	assert_int_equal(try_open("/d", 0), -VFS_EISDIR);
	assert_int_equal(try_open("/f", VFS_O_DIRECTORY), -VFS_ENOTDIR);
	assert_int_equal(try_open("/f", VFS_O_CREAT | VFS_O_EXCL), -VFS_EEXIST);
	assert_int_equal(vfs_path_mkdir(0, "/d/"), VFS_EEXIST);
	assert_int_equal(vfs_path_mkdir(0, "/"), VFS_EEXIST);
	assert_int_equal(vfs_path_mkdir(0, "/e/"), 0);
	assert_int_equal(vfs_path_rmdir(0, "/f"), VFS_ENOTDIR);
	assert_int_equal(vfs_path_rmdir(0, "/e/."), VFS_EINVAL);
	assert_int_equal(vfs_path_rmdir(0, "/"), VFS_EBUSY);
	assert_int_equal(vfs_path_unlink(0, "/d"), VFS_EISDIR);
	assert_int_equal(vfs_path_unlink(0, "/none"), VFS_ENOENT);
	assert_int_equal(vfs_path_link(0, "/d", true, 0, "/d2"), VFS_EPERM);
	assert_int_equal(vfs_path_link(0, "/f", true, 0, "/d"), VFS_EEXIST);
	assert_int_equal(vfs_path_rename(0, "/d", 0, "/d"), 0);
	assert_int_equal(vfs_path_readlink(0, "/f", name, 10, &(uint32_t) {0}), VFS_EINVAL);

	/* Nothing can be made in a directory that is gone. */
	fd = vfs_fd_open(VFS_FD_ROOT, "/d", VFS_O_DIRECTORY, true, VFS_ACC_READ, 0);
	assert_int_equal(vfs_path_rmdir(0, "/d"), 0);
	assert_int_equal(vfs_fd_open(fd, "x", VFS_O_CREAT, true, VFS_ACC_WRITE, 0), -VFS_ENOENT);
	must_close(fd);
	assert_sound(true);
}

static void
devices_answer(void **state)
{
	char		buf[8] = "12345678";
	int			fd;

	(void) state;
	fresh(100);
	fd = must_open("/dev/urandom", 0);
	assert_int_equal(get(fd, buf, 8, 0), 8);
	assert_int_equal(buf[7], 0x5a);
	must_close(fd);
	fd = must_open("/dev/zero", 0);
	assert_int_equal(get(fd, buf, 8, 0), 8);
	assert_int_equal(buf[7], 0);
	must_close(fd);
	fd = must_open("/dev/null", VFS_O_TRUNC);
	must_put(fd, buf, 8, 0);
	assert_int_equal(get(fd, buf, 8, 0), 0);
	must_close(fd);
	fd = must_open("/dev/stderr", 0);
	assert_int_equal(vfs_fd_get(fd)->kind, VFS_FK_HOST);
	assert_int_equal(vfs_fd_get(fd)->host_fd, 2);
	must_close(fd);
	assert_sound(true);
}

static void
pipe_never_blocks(void **state)
{
	char		buf[1000];
	uint32_t	done;
	int			fd[2];

	(void) state;
	fresh(100);
	assert_int_equal(vfs_pipe(fd), 0);
	assert_false(vfs_fd_readable(fd[0]));
	assert_int_equal(vfs_fd_read(vfs_fd_get(fd[0]), buf, 1, NULL, &done), VFS_EAGAIN);
	assert_int_equal(vfs_fd_write(vfs_fd_get(fd[1]), "xy", 2, NULL, &done), 0);
	assert_true(vfs_fd_readable(fd[0]));
	assert_int_equal(vfs_fd_read(vfs_fd_get(fd[0]), buf, 1000, NULL, &done), 0);
	assert_int_equal(done, 2);
	memset(buf, 0, sizeof(buf));
	assert_int_equal(vfs_fd_write(vfs_fd_get(fd[1]), buf, 1000, NULL, &done), 0);
	assert_true(done < 1000);
	assert_int_equal(vfs_fd_write(vfs_fd_get(fd[1]), buf, 1, NULL, &done), VFS_EAGAIN);
	must_close(fd[1]);
	assert_true(vfs_fd_readable(fd[0]));
	assert_int_equal(vfs_fd_read(vfs_fd_get(fd[0]), buf, 1000, NULL, &done), 0);
	assert_int_equal(vfs_fd_read(vfs_fd_get(fd[0]), buf, 1000, NULL, &done), 0);
	assert_int_equal(done, 0);
	must_close(fd[0]);
}

static void
fork_keeps_inherited_files_open(void **state)
{
	struct vfs_file *f;
	int			fd;

	(void) state;
	fresh(100);
	fd = must_open("/f", VFS_O_CREAT);
	f = vfs_fd_get(fd);
	assert_true(vfs_dup(fd) > 0);
	vfs_after_fork();			/* as the child would */
	assert_int_equal(vfs_inode_at(f->inode)->opens, 2);
	vfs_close_all();
	assert_int_equal(vfs_path_unlink(0, "/f"), 0);
	assert_sound(false);
	assert_int_equal(vfs_recover(), 0);		/* nobody is left: freed */
	assert_sound(true);
}

static void
mounted_paths_go_to_the_host(void **state)
{
	struct vfs_stat st;

	(void) state;
	fresh(100);
	assert_int_equal(vfs_path_mkdir(0, "/mnt"), 0);
	must_close(must_open("/f", VFS_O_CREAT));
	assert_int_equal(vfs_mount_host("/mnt/host", 7), 0);
	assert_int_equal(vfs_path_stat(0, "/mnt/host/a//b/../c", true, &st), VFS_EHOST);
	assert_int_equal(vfs_host_ref[0].dirfd, 7);
	assert_string_equal(vfs_host_ref[0].path, "a/c");
	assert_int_equal(vfs_path_stat(0, "/mnt/host", true, &st), VFS_EHOST);
	assert_string_equal(vfs_host_ref[0].path, ".");
	assert_int_equal(vfs_path_stat(0, "/mnt/host/x/../../../f", true, &st), 0);
	assert_int_equal(vfs_path_symlink("/mnt/host/ts", 0, "/link"), 0);
	assert_int_equal(try_open("/link/16384/1", 0), -VFS_EHOST);
	assert_string_equal(vfs_host_ref[0].path, "ts/16384/1");
	assert_int_equal(vfs_path_rename(0, "/f", 0, "/mnt/host/f"), VFS_EXDEV);
	assert_int_equal(vfs_path_rename(0, "/mnt/host/g", 0, "/mnt/host/h/"), VFS_EHOST);
	assert_string_equal(vfs_host_ref[0].path, "g");
	assert_string_equal(vfs_host_ref[1].path, "h/");
	assert_int_equal(vfs_path_rename(0, "/mnt", 0, "/moved"), VFS_EBUSY);
	assert_int_equal(vfs_path_rmdir(0, "/mnt/host"), VFS_EBUSY);

	assert_int_equal(vfs_mount_host("/", 8), 0);
	assert_int_equal(vfs_path_stat(0, "/f", true, &st), VFS_EHOST);
	assert_int_equal(vfs_host_ref[0].dirfd, 8);
	assert_int_equal(vfs_path_stat(0, "/./dev/null", true, &st), 0);
	assert_int_equal(vfs_path_stat(0, "/mnt/host/f", true, &st), VFS_EHOST);
	assert_int_equal(vfs_host_ref[0].dirfd, 7);
	assert_int_equal(vfs_path_stat(0, "/../../x", true, &st), VFS_EHOST);
	assert_string_equal(vfs_host_ref[0].path, "x");
}

static void
attach_finds_everything_again(void **state)
{
	(void) state;
	fresh(100);
	must_close(must_open("/f", VFS_O_CREAT));
	assert_int_equal(vfs_attach(FILES_START + BLK), VFS_EINVAL);
	vfs_sb = NULL;
	assert_int_equal(vfs_attach(FILES_START), 0);
	must_close(must_open("/f", 0));
}

static void
modes_and_times_are_kept(void **state)
{
	struct vfs_stat st;
	uint64_t	before;
	int			fd;

	(void) state;
	fresh(100);
	fd = must_open("/f", VFS_O_CREAT);
	assert_int_equal(vfs_fstat_mode(fd), 0600);
	assert_int_equal(vfs_fchmod(fd, 0640), 0);
	assert_int_equal(vfs_stat_mode("/f", true), 0640);
	assert_int_equal(vfs_chmod("/f", 0777), 0);
	assert_int_equal(vfs_fstat_mode(fd), 0777);
	assert_int_equal(vfs_stat_mode("/none", true), -VFS_ENOENT);
	before = clock_now;
	must_put(fd, "x", 1, 0);
	must_put(fd, "x", 1, 1);
	assert_int_equal(clock_now, before + 1);	/* not each write asks the clock */
	assert_int_equal(vfs_path_set_mtime(0, "/f", true, 42), 0);
	assert_int_equal(vfs_path_stat(0, "/f", true, &st), 0);
	assert_int_equal(st.mtime_ns, 42);
	must_close(fd);
	assert_int_equal(vfs_path_stat(0, "/f", true, &st), 0);
	assert_true(st.mtime_ns > before);
}

/* A cluster's worth of files: how much of FILES a new cell has to copy. */
static void
metadata_of_a_cluster_is_small(void **state)
{
	static unsigned char data[40 * BLK];
	struct vfs_stats s;
	uint32_t	n = 0;
	uint32_t	names = 0;

	(void) state;
	fresh(4000);
	for (size_t i = 0; i < sizeof(data); i++)
		data[i] = (unsigned char) (i / BLK + 1);
	assert_int_equal(vfs_import_begin(), 0);
	for (int db = 1; db <= 3; db++)
		for (int rel = 0; rel < 430; rel++)
		{
			for (int fork = 0; fork < (rel % 3 == 0 ? 3 : 1); fork++)
			{
				static const char *suffix[] = {"", "_fsm", "_vm"};
				char		path[64];
				uint32_t	blocks = fork == 1 ? 3 : fork == 2 ? 1 :
					rel % 20 == 0 ? 40 : rel % 4;

				snprintf(path, sizeof(path), "/data/base/%d/%d%s", db, 1247 + rel, suffix[fork]);
				assert_int_equal(vfs_import_file(path, data, blocks * BLK, 0600), 0);
				names += (uint32_t) strlen(strrchr(path, '/') + 1);
				n++;
			}
		}
	vfs_import_end();
	vfs_stats(&s);
	print_message("%u files: %u metadata bytes, %.1f per file; live objects %.1f per file, "
				  "of which names %.1f\n", n, s.metadata_bytes, (double) s.metadata_bytes / n,
				  (double) s.object_bytes / n, (double) names / n);
	assert_true(s.object_bytes <= n * 120);
	assert_sound(true);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(write_to_image_block_copies_it),
		cmocka_unit_test(zero_blocks_of_an_import_are_holes),
		cmocka_unit_test(rebase_moves_changed_blocks_into_base),
		cmocka_unit_test(holes_read_as_zeros),
		cmocka_unit_test(growing_over_a_truncated_tail_reads_zeros),
		cmocka_unit_test(sparse_file_of_many_gigabytes),
		cmocka_unit_test(rename_replaces_the_target),
		cmocka_unit_test(rename_of_directories_follows_posix),
		cmocka_unit_test(unlinked_file_lives_until_last_close),
		cmocka_unit_test(readdir_misses_nothing_while_entries_go),
		cmocka_unit_test(full_file_system_stays_sound),
		cmocka_unit_test(copied_range_is_shared_and_then_diverges),
		cmocka_unit_test(block_shared_too_often_is_copied),
		cmocka_unit_test(dup_shares_the_offset),
		cmocka_unit_test(descriptors_run_out_with_an_error),
		cmocka_unit_test(append_writes_at_the_end),
		cmocka_unit_test(walks_go_through_symlinks),
		cmocka_unit_test(path_errors_are_those_of_posix),
		cmocka_unit_test(devices_answer),
		cmocka_unit_test(pipe_never_blocks),
		cmocka_unit_test(fork_keeps_inherited_files_open),
		cmocka_unit_test(attach_finds_everything_again),
		cmocka_unit_test(modes_and_times_are_kept),
		cmocka_unit_test(metadata_of_a_cluster_is_small),
		/* Last: mounts stay for the life of the process. */
		cmocka_unit_test(mounted_paths_go_to_the_host),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
