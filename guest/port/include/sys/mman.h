/* Mappings that PostgreSQL asks for: anonymous shared memory (from CLUSTER) and POSIX shared memory objects.  See memory.c. */
#ifndef PGCELL_MMAN_H
#define PGCELL_MMAN_H
#include <sys/types.h>
#define PROT_NONE 0
#define PROT_READ 1
#define PROT_WRITE 2
#define PROT_EXEC 4
#define MAP_FAILED ((void *) -1)
#define MAP_SHARED 0x01
#define MAP_PRIVATE 0x02
#define MAP_FIXED 0x10
#define MAP_ANONYMOUS 0x20
#define MAP_ANON MAP_ANONYMOUS
#define MAP_NORESERVE 0x4000
#define MS_ASYNC 1
#define MS_SYNC 4
extern void *mmap(void *addr, size_t length, int prot, int flags, int fd, off_t offset);
extern int	munmap(void *addr, size_t length);
extern int	mprotect(void *addr, size_t length, int prot);
extern int	msync(void *addr, size_t length, int flags);
extern int	shm_open(const char *name, int oflag, mode_t mode);
extern int	shm_unlink(const char *name);
#endif
