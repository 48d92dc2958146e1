/*
 * test-vfs-model.c
 *	  Random operations, each compared with a plain in-memory model.
 *
 * The seed is printed; "test-vfs-model SEED [OPERATIONS]" repeats a run.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "test-vfs-lib.h"
#include "vfs_changes.h"

#define NODES		400
#define NAMES		600
#define MAX_BYTES	(400 * BLK)
#define OPEN_FILES	24

/* A file or directory; free when it has neither links nor opens. */
struct node
{
	bool		is_dir;
	int			nlink;
	int			opens;
	uint32_t	size;
	unsigned char *data;
};

/* A name in a directory node; free when node < 0. */
struct name
{
	int			dir;
	int			node;
	char		text[40];
};

static struct node nodes[NODES];
static struct name names[NAMES];
static struct
{
	int			fd;
	int			node;
}			open_files[OPEN_FILES];

static uint64_t seed;
static long operations = 6000;
static uint64_t rng;

static uint32_t
rnd(uint32_t below)
{
	rng = rng * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
	return (uint32_t) (rng >> 33) % below;
}

/* ---- the model ---- */

static void
model_release(int n)
{
	if (nodes[n].nlink == 0 && nodes[n].opens == 0)
	{
		free(nodes[n].data);
		memset(&nodes[n], 0, sizeof(nodes[n]));
	}
}

static int
model_new_node(bool is_dir)
{
	for (int n = 1; n < NODES; n++)
		if (nodes[n].nlink == 0 && nodes[n].opens == 0)
		{
			nodes[n].is_dir = is_dir;
			nodes[n].data = is_dir ? NULL : calloc(1, MAX_BYTES);
			return n;
		}
	return -1;
}

/* Room for what one more operation may add? */
static bool
model_has_room(void)
{
	int			free_names = 0;
	int			free_nodes = 0;

	for (int i = 0; i < NAMES; i++)
		free_names += names[i].node < 0;
	for (int n = 1; n < NODES; n++)
		free_nodes += nodes[n].nlink == 0 && nodes[n].opens == 0;
	return free_names > 0 && free_nodes > 0;
}

static struct name *
model_find(int dir, const char *text)
{
	for (int i = 0; i < NAMES; i++)
		if (names[i].node >= 0 && names[i].dir == dir && strcmp(names[i].text, text) == 0)
			return &names[i];
	return NULL;
}

static int
model_count(int dir)
{
	int			count = 0;

	for (int i = 0; i < NAMES; i++)
		count += names[i].node >= 0 && names[i].dir == dir;
	return count;
}

static void
model_add(int dir, const char *text, int node)
{
	for (int i = 0; i < NAMES; i++)
		if (names[i].node < 0)
		{
			names[i].dir = dir;
			names[i].node = node;
			strcpy(names[i].text, text);
			nodes[node].nlink++;
			return;
		}
	fail_msg("the model has no room");
}

static void
model_remove(struct name *e)
{
	int			n = e->node;

	e->node = -1;
	nodes[n].nlink--;
	model_release(n);
}

static struct name *
model_dir_name(int dir)
{
	for (int i = 0; i < NAMES; i++)
		if (names[i].node == dir)
			return &names[i];
	return NULL;
}

static bool
model_is_below(int dir, int top)
{
	while (dir != top && dir != 0)
		dir = model_dir_name(dir)->dir;
	return dir == top;
}

static void
path_of(char *path, int dir, const char *text)
{
	char		rest[2000];

	snprintf(rest, sizeof(rest), "/%s", text);
	while (dir != 0)
	{
		struct name *e = model_dir_name(dir);

		snprintf(path, 2000, "/%s%s", e->text, rest);
		strcpy(rest, path);
		dir = e->dir;
	}
	strcpy(path, rest);
}

/* ---- choosing ---- */

static int
some_dir(void)
{
	for (int tries = 0; tries < 8; tries++)
	{
		int			n = (int) rnd(NODES);

		if (n == 0 || (nodes[n].is_dir && nodes[n].nlink > 0))
			return n;
	}
	return 0;
}

static void
some_text(char *text)
{
	static const char *shape[] = {"%u", "n%u", "%u_fsm", "a-longer-name-%u"};

	snprintf(text, 40, shape[rnd(4)], rnd(12));
}

static void
fill_random(unsigned char *buf, uint32_t len)
{
	unsigned	c = rnd(256);

	for (uint32_t i = 0; i < len; i++)
		buf[i] = (unsigned char) (c + i / 7);
}

/* ---- operations: on both, results compared ---- */

static unsigned char buffer[MAX_BYTES];

static void
op_create(int dir, const char *text)
{
	struct name *e = model_find(dir, text);
	char		path[2000];
	int			slot = (int) rnd(OPEN_FILES);
	uint32_t	oflags = rnd(4) ? VFS_O_CREAT : VFS_O_CREAT | VFS_O_TRUNC;
	int			fd;
	int			n;

	if (open_files[slot].fd || !model_has_room())
		return;
	path_of(path, dir, text);
	fd = try_open(path, oflags);
	if (e && nodes[e->node].is_dir)
	{
		assert_int_equal(fd, -VFS_EISDIR);
		return;
	}
	assert_true(fd > 3);
	n = e ? e->node : model_new_node(false);
	assert_true(n > 0);
	if (e == NULL)
		model_add(dir, text, n);
	else if (oflags & VFS_O_TRUNC)
	{
		memset(nodes[n].data, 0, nodes[n].size);
		nodes[n].size = 0;
	}
	nodes[n].opens++;
	open_files[slot].fd = fd;
	open_files[slot].node = n;
}

static void
op_close(int slot)
{
	if (open_files[slot].fd == 0)
		return;
	must_close(open_files[slot].fd);
	nodes[open_files[slot].node].opens--;
	model_release(open_files[slot].node);
	open_files[slot].fd = 0;
}

static void
op_write(int slot)
{
	uint32_t	at = rnd(3) ? rnd(20 * BLK) : rnd(300 * BLK);
	uint32_t	len = rnd(2) ? 1 + rnd(3 * BLK) : BLK;
	struct node *n = &nodes[open_files[slot].node];

	if (open_files[slot].fd == 0)
		return;
	if (rnd(2))
		at -= at % BLK;
	fill_random(buffer, len);
	must_put(open_files[slot].fd, buffer, len, at);
	memcpy(n->data + at, buffer, len);
	if (n->size < at + len)
		n->size = at + len;
}

static void
op_truncate(int slot)
{
	uint32_t	size = rnd(2) ? rnd(20 * BLK) : rnd(300 * BLK);
	struct node *n = &nodes[open_files[slot].node];

	if (open_files[slot].fd == 0)
		return;
	assert_int_equal(vfs_fd_resize(vfs_fd_get(open_files[slot].fd), size), 0);
	if (size < n->size)
		memset(n->data + size, 0, n->size - size);
	n->size = size;
}

static void
op_copy(int a, int b)
{
	struct node *from = &nodes[open_files[a].node];
	struct node *to = &nodes[open_files[b].node];
	uint64_t	at_from = rnd(20) * BLK + (rnd(3) ? 0 : rnd(BLK));
	uint64_t	at_to = rnd(20) * BLK + (rnd(3) ? at_from % BLK : rnd(BLK));
	uint64_t	len = rnd(2) ? rnd(40 * BLK) : (1 + rnd(40)) * BLK;
	uint64_t	f = at_from;
	uint64_t	t = at_to;
	uint64_t	done;

	if (!open_files[a].fd || !open_files[b].fd || from == to)
		return;
	assert_int_equal(vfs_copy_file_range(open_files[a].fd, &f, open_files[b].fd, &t, len, &done), 0);
	if (at_from >= from->size)
		len = 0;
	else if (len > from->size - at_from)
		len = from->size - at_from;
	assert_int_equal(done, len);
	assert_int_equal(f, at_from + len);
	memcpy(to->data + at_to, from->data + at_from, len);
	if (len && to->size < at_to + len)
		to->size = (uint32_t) (at_to + len);
}

static void
op_verify(int slot)
{
	struct node *n = &nodes[open_files[slot].node];

	if (open_files[slot].fd == 0)
		return;
	assert_int_equal(size_of(open_files[slot].fd), n->size);
	assert_int_equal(get(open_files[slot].fd, buffer, MAX_BYTES, 0), n->size);
	assert_memory_equal(buffer, n->data, n->size);
}

static void
op_mkdir(int dir, const char *text)
{
	char		path[2000];
	int			err;

	if (!model_has_room())
		return;
	path_of(path, dir, text);
	err = vfs_path_mkdir(0, path);
	assert_int_equal(err, model_find(dir, text) ? VFS_EEXIST : 0);
	if (err == 0)
		model_add(dir, text, model_new_node(true));
}

static void
op_remove(int dir, const char *text, bool as_dir)
{
	struct name *e = model_find(dir, text);
	char		path[2000];
	int			expect = 0;

	path_of(path, dir, text);
	if (e == NULL)
		expect = VFS_ENOENT;
	else if (as_dir && !nodes[e->node].is_dir)
		expect = VFS_ENOTDIR;
	else if (!as_dir && nodes[e->node].is_dir)
		expect = VFS_EISDIR;
	else if (as_dir && model_count(e->node))
		expect = VFS_ENOTEMPTY;
	assert_int_equal((as_dir ? vfs_path_rmdir : vfs_path_unlink) (0, path), expect);
	if (expect == 0)
		model_remove(e);
}

static void
op_rename(int dir, const char *text, int to_dir, const char *to_text)
{
	struct name *e = model_find(dir, text);
	struct name *over = model_find(to_dir, to_text);
	char		path[2000];
	char		to[2000];
	int			expect = 0;

	path_of(path, dir, text);
	path_of(to, to_dir, to_text);
	if (e == NULL)
		expect = VFS_ENOENT;
	else if (nodes[e->node].is_dir && model_is_below(to_dir, e->node))
		expect = VFS_EINVAL;
	else if (over && over->node != e->node)
	{
		if (nodes[e->node].is_dir && !nodes[over->node].is_dir)
			expect = VFS_ENOTDIR;
		else if (!nodes[e->node].is_dir && nodes[over->node].is_dir)
			expect = VFS_EISDIR;
		else if (nodes[over->node].is_dir && model_count(over->node))
			expect = VFS_ENOTEMPTY;
	}
	assert_int_equal(vfs_path_rename(0, path, 0, to), expect);
	if (expect || (over && over->node == e->node))
		return;
	if (over)
		model_remove(over);
	e->dir = to_dir;
	strcpy(e->text, to_text);
}

static void
op_link(int dir, const char *text, int to_dir, const char *to_text)
{
	struct name *e = model_find(dir, text);
	char		path[2000];
	char		to[2000];
	int			expect = 0;

	if (!model_has_room())
		return;
	path_of(path, dir, text);
	path_of(to, to_dir, to_text);
	if (e == NULL)
		expect = VFS_ENOENT;
	else if (nodes[e->node].is_dir)
		expect = VFS_EPERM;
	else if (model_find(to_dir, to_text))
		expect = VFS_EEXIST;
	assert_int_equal(vfs_path_link(0, path, true, 0, to), expect);
	if (expect == 0)
		model_add(to_dir, to_text, e->node);
}

struct count
{
	int			dir;
	int			n;
};

static bool
count_name(void *context, uint64_t next, uint64_t ino, unsigned type,
		   const char *name, uint32_t len)
{
	struct count *c = context;
	char		text[40];
	struct name *e;

	(void) next;
	(void) ino;
	memcpy(text, name, len);
	text[len] = '\0';
	if (strcmp(text, ".") == 0 || strcmp(text, "..") == 0 ||
		(c->dir == 0 && strcmp(text, "dev") == 0))
		return true;
	e = model_find(c->dir, text);
	assert_non_null(e);
	assert_int_equal(type, nodes[e->node].is_dir ? VFS_T_DIR : VFS_T_FILE);
	c->n++;
	return true;
}

static void
op_list(int dir)
{
	struct count c = {dir, 0};
	struct vfs_dir_hint hint = {0};
	struct vfs_file *f;
	vaddr		inode;
	char		path[2000];
	int			fd;

	path_of(path, dir, ".");
	fd = vfs_fd_open(VFS_FD_ROOT, path, VFS_O_DIRECTORY, true, VFS_ACC_READ, 0);
	assert_true(fd > 3);
	assert_int_equal(vfs_fd_dir(fd, &inode, &f), 0);
	assert_int_equal(vfs_dir_read(inode, 0, &hint, count_name, &c), 0);
	assert_int_equal(c.n, model_count(dir));
	must_close(fd);
}

/* Recovery frees what is open without a name; so close all before. */
static void
op_recover(void)
{
	for (int i = 0; i < OPEN_FILES; i++)
		op_close(i);
	assert_sound(true);
	assert_int_equal(vfs_recover(), 0);
	assert_sound(true);
}

/* ---- a copy made of what changed (vfs_changes.h) ---- */

static struct vfs_changes changes;
struct vfs_changes *const vfs_changes = &changes;
static unsigned char *copy;

static void
op_copy_changes(void)
{
	uint32_t	taken[7];
	uint32_t	n;

	do
	{
		n = vfs_changes_take(taken, 7);
		for (uint32_t i = 0; i < n; i++)
		{
			uint32_t	block = taken[i] & ~VFS_CHANGE_FREED;
			unsigned char *to = copy + (block << VFS_BLOCK_SHIFT);

			assert_true(block >= FILES_START >> VFS_BLOCK_SHIFT && block < vfs_sb->bump >> VFS_BLOCK_SHIFT);
			if (taken[i] & VFS_CHANGE_FREED)
				memset(to, 0x55, BLK);	/* a copy need not have it any more, and may have anything there */
			else
				memcpy(to, vfs_block_ptr(block), BLK);
		}
	} while (n == 7);
}

/* The copy takes the place of the file system, after which only the model knows how it was. */
static void
op_restore(void)
{
	uint32_t	bytes;

	for (int i = 0; i < OPEN_FILES; i++)
		op_close(i);
	op_copy_changes();
	bytes = vfs_sb->bump - FILES_START;
	vfs_close_all();
	memcpy(vfs_ptr(FILES_START), copy + FILES_START, bytes);
	assert_int_equal(vfs_attach(FILES_START), 0);
	assert_int_equal(vfs_recover(), 0);
	assert_sound(true);
	for (int i = 0; i < NAMES; i++)
		if (names[i].node > 0 && !nodes[names[i].node].is_dir)
		{
			static unsigned char data[MAX_BYTES + 1];
			char		path[2000];
			int			fd;
			uint32_t	got;

			path_of(path, names[i].dir, names[i].text);
			fd = must_open(path, 0);
			assert_int_equal(vfs_fd_read(vfs_fd_get(fd), data, sizeof data, NULL, &got), 0);
			assert_int_equal(got, nodes[names[i].node].size);
			assert_memory_equal(data, nodes[names[i].node].data, got);
			must_close(fd);
		}
		else if (names[i].node > 0)
			op_list(names[i].node);
	op_list(0);
}

static void
random_operations_match_the_model(void **state)
{
	char		a[40];
	char		b[40];

	(void) state;
	print_message("seed %llu\n", (unsigned long long) seed);
	rng = seed;
	copy = mmap(NULL, SPACE_BYTES, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	assert_true(copy != MAP_FAILED);
	fresh(30000);
	nodes[0].is_dir = true;
	nodes[0].nlink = 1;
	for (int i = 0; i < NAMES; i++)
		names[i].node = -1;

	for (long i = 0; i < operations; i++)
	{
		int			slot = (int) rnd(OPEN_FILES);
		int			dir = some_dir();

		some_text(a);
		some_text(b);
		switch (rnd(20))
		{
			case 0: case 1: case 2:
				op_create(dir, a);
				break;
			case 3:
				op_close(slot);
				break;
			case 4: case 5: case 6: case 7: case 8:
				op_write(slot);
				break;
			case 9:
				op_truncate(slot);
				break;
			case 10: case 11:
				op_copy(slot, (int) rnd(OPEN_FILES));
				break;
			case 12:
				op_verify(slot);
				break;
			case 13:
				if (rnd(3) == 0)
					op_mkdir(dir, a);
				break;
			case 14:
				op_remove(dir, a, rnd(2));
				break;
			case 15: case 16:
				op_rename(dir, a, some_dir(), b);
				break;
			case 17:
				op_link(dir, a, some_dir(), b);
				break;
			case 18:
				op_list(dir);
				break;
			default:
				if (rnd(10) == 0)
					assert_sound(false);
				else if (rnd(30) == 0)
					op_recover();
				else if (rnd(30) == 0)
					op_restore();
				else if (rnd(2) == 0)
					op_copy_changes();
		}
	}
	for (int i = 0; i < OPEN_FILES; i++)
	{
		op_verify(i);
		op_close(i);
	}
	assert_sound(true);
	op_restore();
}

int
main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(random_operations_match_the_model),
	};

	seed = argc > 1 ? strtoull(argv[1], NULL, 10) : (uint64_t) getpid() * 7919;
	if (argc > 2)
		operations = atol(argv[2]);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
