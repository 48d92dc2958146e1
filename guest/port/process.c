/*
 * process.c
 *	  Users, processes and limits, as a cell has them: one user, no programs to run.  What PostgreSQL can do without fails with
 *	  ENOSYS; what it insists on has a fixed answer.
 */
#include <errno.h>
#include <grp.h>
#include <pwd.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ipc.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "contract.h"

/* PostgreSQL refuses to run as root, and wants to own its files: files.c reports this owner. */
#define CELL_UID 1000

static struct passwd cell_user = {
	"postgres", "", CELL_UID, CELL_UID, "", "/", "/bin/false"
};

pid_t
getpid(void)
{
	return pgcell_pid();
}

pid_t
getppid(void)
{
	return 1;
}

pid_t
setsid(void)
{
	return pgcell_pid();
}

pid_t
getpgrp(void)
{
	return pgcell_pid();
}

uid_t
getuid(void)
{
	return CELL_UID;
}

uid_t
geteuid(void)
{
	return CELL_UID;
}

gid_t
getgid(void)
{
	return CELL_UID;
}

gid_t
getegid(void)
{
	return CELL_UID;
}

struct passwd *
getpwuid(uid_t uid)
{
	return uid == CELL_UID ? &cell_user : NULL;
}

struct passwd *
getpwnam(const char *name)
{
	return strcmp(name, cell_user.pw_name) == 0 ? &cell_user : NULL;
}

int
getpwuid_r(uid_t uid, struct passwd *pwd, char *buf, size_t buflen, struct passwd **result)
{
	(void) buf, (void) buflen;
	*result = NULL;
	if (uid == CELL_UID)
	{
		*pwd = cell_user;
		*result = pwd;
	}
	return 0;
}

int
getpwnam_r(const char *name, struct passwd *pwd, char *buf, size_t buflen, struct passwd **result)
{
	return getpwuid_r(strcmp(name, cell_user.pw_name) == 0 ? CELL_UID : 0, pwd, buf, buflen, result);
}

struct group *
getgrnam(const char *name)
{
	(void) name;
	return NULL;
}

mode_t
umask(mode_t mask)
{
	static mode_t current = 077;
	mode_t		old = current;

	current = mask;
	return old;
}

/* ---- no other programs ---- */

pid_t
fork(void)
{
	errno = ENOSYS;
	return -1;
}

pid_t
waitpid(pid_t pid, int *status, int options)
{
	(void) pid, (void) status, (void) options;
	errno = ECHILD;
	return -1;
}

pid_t
wait(int *status)
{
	return waitpid(-1, status, 0);
}

int
execv(const char *path, char *const argv[])
{
	(void) path, (void) argv;
	errno = ENOSYS;
	return -1;
}

int
execl(const char *path, const char *arg, ...)
{
	(void) path, (void) arg;
	errno = ENOSYS;
	return -1;
}

int
system(const char *command)
{
	(void) command;
	errno = ENOSYS;
	return -1;
}

/* The one program that PostgreSQL asks for by itself lists the operating system's locales: there are none. */
FILE *
popen(const char *command, const char *mode)
{
	if (strcmp(command, "locale -a") == 0)
		return fopen("/dev/null", mode);
	errno = ENOSYS;
	return NULL;
}

int
pclose(FILE *stream)
{
	return fclose(stream);
}

/* ---- limits and use ---- */

int
getrlimit(int resource, struct rlimit *rlim)
{
	rlim->rlim_cur = rlim->rlim_max = resource == RLIMIT_NOFILE ? 4096 : RLIM_INFINITY;
	return 0;
}

int
setrlimit(int resource, const struct rlimit *rlim)
{
	(void) resource, (void) rlim;
	return 0;
}

int
getrusage(int who, struct rusage *usage)
{
	struct timespec now;

	(void) who;
	memset(usage, 0, sizeof *usage);
	/* WASI's process clock is optional; the time since start is the best there is then */
	if (clock_gettime(CLOCK_MONOTONIC, &now) == 0)
	{
		usage->ru_utime.tv_sec = now.tv_sec;
		usage->ru_utime.tv_usec = now.tv_nsec / 1000;
	}
	return 0;
}
