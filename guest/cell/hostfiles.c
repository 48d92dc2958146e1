/*
 * hostfiles.c
 *	  The cell's files for its host: to copy a database out and in, and for what a query reads and writes as a file.  Only the
 *	  portable link takes this file.
 *
 * To be called between commands.  Paths are zero-terminated; results below 0 are negated WASI errnos.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "cell.h"

/* What pgcell_file_stat() fills in. */
struct pgcell_file_info
{
	uint32_t	type;			/* as WASI numbers them: 3 directory, 4 file, 7 symbolic link */
	uint32_t	mode;			/* permission bits */
	uint64_t	size;			/* bytes */
	uint64_t	mtime_ms;		/* since 1970 */
};
_Static_assert(sizeof(struct pgcell_file_info) == 24, "known to hosts");

extern int32_t pgcell_file_open(const char *path, int32_t for_writing) PGCELL_EXPORT(pgcell_file_open);
extern int32_t pgcell_file_read(int32_t fd, void *buf, uint32_t len) PGCELL_EXPORT(pgcell_file_read);
extern int32_t pgcell_file_write(int32_t fd, const void *buf, uint32_t len) PGCELL_EXPORT(pgcell_file_write);
extern int32_t pgcell_file_close(int32_t fd) PGCELL_EXPORT(pgcell_file_close);
extern int32_t pgcell_file_stat(const char *path, struct pgcell_file_info *to) PGCELL_EXPORT(pgcell_file_stat);
extern int32_t pgcell_file_list(const char *path, char *to, uint32_t len) PGCELL_EXPORT(pgcell_file_list);
extern int32_t pgcell_file_mkdir(const char *path) PGCELL_EXPORT(pgcell_file_mkdir);
extern int32_t pgcell_file_remove(const char *path) PGCELL_EXPORT(pgcell_file_remove);

static int32_t
result(int64_t rc)
{
	return rc < 0 ? -errno : (int32_t) rc;
}

/* A descriptor.  for_writing: the file is made, or made empty. */
int32_t
pgcell_file_open(const char *path, int32_t for_writing)
{
	return result(open(path, for_writing ? O_WRONLY | O_CREAT | O_TRUNC : O_RDONLY, 0600));
}

/* How many bytes, 0 at the end. */
int32_t
pgcell_file_read(int32_t fd, void *buf, uint32_t len)
{
	return result(read(fd, buf, len < INT32_MAX ? len : INT32_MAX));
}

int32_t
pgcell_file_write(int32_t fd, const void *buf, uint32_t len)
{
	return result(write(fd, buf, len < INT32_MAX ? len : INT32_MAX));
}

int32_t
pgcell_file_close(int32_t fd)
{
	return result(close(fd));
}

int32_t
pgcell_file_stat(const char *path, struct pgcell_file_info *to)
{
	struct stat st;

	if (lstat(path, &st) < 0)
		return -errno;
	*to = (struct pgcell_file_info) {
		.type = S_ISDIR(st.st_mode) ? 3 : S_ISLNK(st.st_mode) ? 7 : S_ISREG(st.st_mode) ? 4 : 2,
		.mode = st.st_mode & 07777,
		.size = st.st_size,
		.mtime_ms = (uint64_t) st.st_mtim.tv_sec * 1000 + st.st_mtim.tv_nsec / 1000000,
	};
	return 0;
}

/* The names in a directory, each with a zero behind it.  How many bytes that is: what does not fit into len is left out. */
int32_t
pgcell_file_list(const char *path, char *to, uint32_t len)
{
	DIR		   *dir = opendir(path);
	struct dirent *entry;
	uint32_t	needed = 0;

	if (!dir)
		return -errno;
	while ((entry = readdir(dir)) != NULL)
	{
		uint32_t	size = strlen(entry->d_name) + 1;

		if (strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0)
			continue;
		if (needed + size <= len)
			memcpy(to + needed, entry->d_name, size);
		needed += size;
	}
	closedir(dir);
	return (int32_t) needed;
}

int32_t
pgcell_file_mkdir(const char *path)
{
	return result(mkdir(path, 0700));
}

/* A file, or a directory that is empty. */
int32_t
pgcell_file_remove(const char *path)
{
	struct stat st;

	if (lstat(path, &st) < 0)
		return -errno;
	return result(S_ISDIR(st.st_mode) ? rmdir(path) : unlink(path));
}
