/*
 * files.c
 *	  File functions that wasi-libc lacks or answers too vaguely for PostgreSQL, on the memory file system.
 *
 * The stat family is wrapped by the linker (--wrap): WASI knows neither owners nor permission bits, and PostgreSQL checks both
 * for its data directory.
 */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <wasi/api.h>

#include "contract.h"
#include "../vfs/vfs.h"

static int
result(int rc)
{
	if (rc >= 0)
		return rc;
	errno = -rc;
	return -1;
}

int
dup(int fd)
{
	return result(vfs_dup(fd));
}

int
dup2(int fd, int fd2)
{
	(void) fd, (void) fd2;
	errno = ENOSYS;
	return -1;
}

int
pipe(int fd[2])
{
	errno = vfs_pipe(fd);
	return errno ? -1 : 0;
}

int
chown(const char *path, uid_t uid, gid_t gid)
{
	(void) path, (void) uid, (void) gid;
	return 0;
}

void
sync(void)
{
}

static mode_t
permissions(int mode, mode_t type)
{
	if (mode < 0)				/* not one of ours: a host file, which only the build reads */
		mode = 0700;
	return (type & S_IFMT) | (mode & 07777);
}

static void
complete(struct stat *st, int mode)
{
	st->st_mode = permissions(mode, st->st_mode);
	st->st_uid = geteuid();
	st->st_gid = getegid();
}

extern int	__real_stat(const char *path, struct stat *st);
extern int	__real_lstat(const char *path, struct stat *st);
extern int	__real_fstat(int fd, struct stat *st);
extern int	__wrap_stat(const char *path, struct stat *st);
extern int	__wrap_lstat(const char *path, struct stat *st);
extern int	__wrap_fstat(int fd, struct stat *st);
extern int	__wrap_chmod(const char *path, mode_t mode);
extern int	__wrap_fchmod(int fd, mode_t mode);

/* the file system's own look-up wants an absolute path */
static const char *
absolute(const char *path, char *buf, size_t size)
{
	size_t		len;

	if (path[0] == '/' || !getcwd(buf, size))
		return path;
	len = strlen(buf);
	snprintf(buf + len, size - len, "/%s", path);
	return buf;
}

int
__wrap_stat(const char *path, struct stat *st)
{
	char		buf[PATH_MAX];
	int			rc = __real_stat(path, st);

	if (rc == 0)
		complete(st, vfs_stat_mode(absolute(path, buf, sizeof buf), true));
	return rc;
}

int
__wrap_lstat(const char *path, struct stat *st)
{
	char		buf[PATH_MAX];
	int			rc = __real_lstat(path, st);

	if (rc == 0)
		complete(st, vfs_stat_mode(absolute(path, buf, sizeof buf), false));
	return rc;
}

int
__wrap_fstat(int fd, struct stat *st)
{
	int			rc = __real_fstat(fd, st);

	if (rc == 0)
		complete(st, vfs_fstat_mode(fd));
	return rc;
}

int
__wrap_chmod(const char *path, mode_t mode)
{
	char		buf[PATH_MAX];

	int			error = vfs_chmod(absolute(path, buf, sizeof buf), mode);

	if (error == 0 || error == ENOTSUP) /* what is on the host has no mode to change */
		return 0;
	errno = error;
	return -1;
}

/* Tables and indexes: when a cell is full, what fails must be them and not the WAL. */
bool
vfs_is_bulk(const char *path)
{
	return strstr(path, "data/base/") != NULL || strstr(path, "pg_tblspc/") != NULL;
}

int
__wrap_fchmod(int fd, mode_t mode)
{
	vfs_fchmod(fd, mode);
	return 0;
}

ssize_t
copy_file_range(int fd_in, off_t *off_in, int fd_out, off_t *off_out, size_t len, unsigned int flags)
{
	uint64_t	in = off_in ? *off_in : lseek(fd_in, 0, SEEK_CUR);
	uint64_t	out = off_out ? *off_out : lseek(fd_out, 0, SEEK_CUR);
	uint64_t	done;
	int			error = vfs_copy_file_range(fd_in, &in, fd_out, &out, len > INT_MAX ? INT_MAX : len, &done);

	(void) flags;
	if (error)
	{
		errno = error;
		return -1;
	}
	if (off_in)
		*off_in = in;
	else
		lseek(fd_in, in, SEEK_SET);
	if (off_out)
		*off_out = out;
	else
		lseek(fd_out, out, SEEK_SET);
	return done;
}

int
mkstemp(char *template)
{
	(void) template;
	errno = ENOSYS;
	return -1;
}

FILE *
tmpfile(void)
{
	errno = ENOSYS;
	return NULL;
}

/* Links are few and known here: a path that exists is taken as it stands. */
char *
realpath(const char *path, char *resolved)
{
	struct stat st;
	char		buf[PATH_MAX];
	const char *full = absolute(path, buf, sizeof buf);

	if (stat(full, &st) < 0)
		return NULL;
	if (!resolved)
		return strdup(full);
	return strcpy(resolved, full);
}

/* The client's socket is not a file: its flags are kept by nobody, it never blocks. */
extern int	__real_fcntl(int fd, int cmd, ...);
extern int	__wrap_fcntl(int fd, int cmd, ...);

int
__wrap_fcntl(int fd, int cmd, ...)
{
	va_list		args;
	int			value;

	if (fd == PGCELL_CLIENT_FD)
		return 0;
	va_start(args, cmd);
	value = va_arg(args, int);
	va_end(args);
	if (cmd == F_SETFD || cmd == F_GETFD)
		return 0;
	if (cmd == F_SETFL)			/* pipes never block, files always do */
		return 0;
	return __real_fcntl(fd, cmd, value);
}
