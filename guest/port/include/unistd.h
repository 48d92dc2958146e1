#ifndef PGCELL_UNISTD_H
#define PGCELL_UNISTD_H
#include_next <unistd.h>
extern int	dup(int fd);
extern int	dup2(int fd, int fd2);
extern int	pipe(int fd[2]);
extern pid_t fork(void);
extern pid_t getpid(void);
extern pid_t getppid(void);
extern pid_t setsid(void);
extern pid_t getpgrp(void);
extern uid_t getuid(void);
extern uid_t geteuid(void);
extern gid_t getgid(void);
extern gid_t getegid(void);
extern int	execv(const char *path, char *const argv[]);
extern int	execl(const char *path, const char *arg, ...);
extern int	chown(const char *path, uid_t uid, gid_t gid);
extern void sync(void);
extern unsigned int alarm(unsigned int seconds);
extern ssize_t copy_file_range(int fd_in, off_t *off_in, int fd_out, off_t *off_out, size_t len, unsigned int flags);
#endif
