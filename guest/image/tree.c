#define _GNU_SOURCE
#include "tree.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#define MAX_FILE_BYTES (1 << 30)

struct walk {
	tree_fn fn;
	void *arg;
	char *err;
	size_t err_len;
};

static int fail(const struct walk *w, const char *what, const char *why)
{
	snprintf(w->err, w->err_len, "%s: %s", what, why);
	return -1;
}

static int take(const struct walk *w, const char *target, const void *data, size_t len, uint32_t mode)
{
	if (w->fn(w->arg, target, data, len, mode) < 0)
		return fail(w, target, "can't be imported");
	return 0;
}

static int walk_file(const struct walk *w, const char *target, const char *source, const struct stat *st)
{
	void *data;
	int fd, rc;

	if (st->st_size == 0)
		return take(w, target, "", 0, st->st_mode & 0777);
	if (st->st_size > MAX_FILE_BYTES)
		return fail(w, source, "too large");
	fd = open(source, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return fail(w, source, strerror(errno));
	data = mmap(NULL, (size_t)st->st_size, PROT_READ, MAP_PRIVATE, fd, 0);
	close(fd);
	if (data == MAP_FAILED)
		return fail(w, source, strerror(errno));
	rc = take(w, target, data, (size_t)st->st_size, st->st_mode & 0777);
	munmap(data, (size_t)st->st_size);
	return rc;
}

static int compare_names(const struct dirent **a, const struct dirent **b)
{
	return strcmp((*a)->d_name, (*b)->d_name);
}

static int not_dots(const struct dirent *e)
{
	return strcmp(e->d_name, ".") != 0 && strcmp(e->d_name, "..") != 0;
}

static int walk(const struct walk *w, const char *target, const char *source)
{
	struct stat st;
	struct dirent **entries = NULL;
	int n, rc = 0;

	if (stat(source, &st) < 0)
		return fail(w, source, strerror(errno));
	if (!S_ISDIR(st.st_mode))
		return S_ISREG(st.st_mode) ? walk_file(w, target, source, &st) : 0;
	if (take(w, target, NULL, 0, 0) < 0)
		return -1;
	n = scandir(source, &entries, not_dots, compare_names);
	if (n < 0)
		return fail(w, source, strerror(errno));
	for (int i = 0; i < n; i++) {
		char from[PATH_MAX], to[PATH_MAX];

		if (rc == 0 && (snprintf(from, sizeof from, "%s/%s", source, entries[i]->d_name) >= PATH_MAX ||
				       snprintf(to, sizeof to, "%s/%s", strcmp(target, "/") ? target : "", entries[i]->d_name) >= PATH_MAX))
			rc = fail(w, source, "a path in it is too long");
		if (rc == 0)
			rc = walk(w, to, from);
		free(entries[i]);
	}
	free(entries);
	return rc;
}

int tree_walk(char *const *trees, tree_fn fn, void *arg, char *err, size_t err_len)
{
	const struct walk w = {fn, arg, err, err_len};

	for (; *trees; trees++) {
		const char *sep = strchr(*trees, '=');
		char target[PATH_MAX];

		if (!sep || (size_t)(sep - *trees) >= sizeof target)
			return fail(&w, *trees, "expected TARGET=SOURCE");
		memcpy(target, *trees, (size_t)(sep - *trees));
		target[sep - *trees] = 0;
		if (walk(&w, target, sep + 1) < 0)
			return -1;
	}
	return 0;
}
