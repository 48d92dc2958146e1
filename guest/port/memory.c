/*
 * memory.c
 *	  Where a cell's memory comes from: the heap grows in PRIVATE, shared memory is taken from SHMEM (see layout.h), and
 *	  POSIX shared memory objects are contiguous files of the memory file system.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/shm.h>
#include <unistd.h>

#include "contract.h"
#include "../vfs/vfs.h"

#define PAGE 65536u

/* Main shared memory and System V segments are made once, at start-up, and never given back. */
static uint32_t shmem_next = PGCELL_SHMEM_START;

static struct
{
	key_t		key;
	uint32_t	start,
				size;
}			segments[4];

static void *
shmem_take(size_t size)
{
	uint32_t	start = shmem_next;

	if (size == 0 || size > PGCELL_SHMEM_END - start)
	{
		errno = ENOMEM;
		return MAP_FAILED;
	}
	shmem_next = (start + (uint32_t) size + PAGE - 1) & ~(PAGE - 1);
	return (void *) start;
}

uint32_t
pgcell_shmem_end(void)
{
	return shmem_next;
}

void *
mmap(void *addr, size_t length, int prot, int flags, int fd, off_t offset)
{
	(void) addr;
	(void) prot;
	if ((flags & MAP_ANONYMOUS) && (flags & MAP_SHARED))
		return shmem_take(length);
	if (!(flags & MAP_ANONYMOUS) && (flags & MAP_SHARED) && offset == 0)
	{
		uint32_t	start = vfs_shm_map(fd, length);

		if (start)
			return (void *) start;
	}
	errno = ENOMEM;
	return MAP_FAILED;
}

int
munmap(void *addr, size_t length)
{
	(void) length;
	if ((uintptr_t) addr >= PGCELL_FILES_START)
		vfs_shm_unmap((uintptr_t) addr);
	return 0;
}

int
mprotect(void *addr, size_t length, int prot)
{
	(void) addr, (void) length, (void) prot;
	return 0;
}

int
msync(void *addr, size_t length, int flags)
{
	(void) addr, (void) length, (void) flags;
	return 0;
}

int
shm_open(const char *name, int oflag, mode_t mode)
{
	int			fd = vfs_shm_open(name, oflag);

	(void) mode;
	if (fd >= 0)
		return fd;
	errno = -fd;
	return -1;
}

int
shm_unlink(const char *name)
{
	int			rc = vfs_shm_unlink(name);

	if (rc == 0)
		return 0;
	errno = rc < 0 ? -rc : rc;
	return -1;
}

int
shmget(key_t key, size_t size, int flags)
{
	for (size_t i = 0; i < sizeof segments / sizeof *segments; i++)
	{
		void	   *start;

		if (segments[i].size && segments[i].key == key)
		{
			errno = EEXIST;
			return flags & IPC_EXCL ? -1 : (int) i;
		}
		if (segments[i].size)
			continue;
		if (!(flags & IPC_CREAT))
			break;
		start = shmem_take(size);
		if (start == MAP_FAILED)
			return -1;
		segments[i].key = key;
		segments[i].start = (uintptr_t) start;
		segments[i].size = size;
		return i;
	}
	errno = ENOENT;
	return -1;
}

void *
shmat(int id, const void *addr, int flags)
{
	(void) addr, (void) flags;
	return (void *) segments[id].start;
}

int
shmdt(const void *addr)
{
	(void) addr;
	return 0;
}

int
shmctl(int id, int cmd, struct shmid_ds *buf)
{
	(void) id;
	if (cmd == IPC_STAT && buf)
		memset(buf, 0, sizeof *buf);
	return 0;
}
