#ifndef PGCELL_GRP_H
#define PGCELL_GRP_H
#include <sys/types.h>
struct group { char *gr_name; char *gr_passwd; gid_t gr_gid; char **gr_mem; };
extern struct group *getgrnam(const char *name);
#endif
