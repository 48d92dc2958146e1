#ifndef PGCELL_STAT_H
#define PGCELL_STAT_H
#include_next <sys/stat.h>
extern int	chmod(const char *path, mode_t mode);
extern int	fchmod(int fd, mode_t mode);
extern mode_t umask(mode_t mask);
#endif
