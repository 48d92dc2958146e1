/*
 * memory.c
 *	  Shared memory: anonymous mappings and System V segments, taken from SHMEM (layout.h).
 *
 * PostgreSQL asks for its main shared memory by mmap() and shmget(), and for dynamic shared memory by shmget()
 * (dynamic_shared_memory_type = sysv).  Both are rows of one table at the start of SHMEM, and nothing about them is kept outside
 * of it: resetting SHMEM to what it was at start-up, as recovery does, resets this too.  Addresses are equal in all processes,
 * so attaching is a look-up.  A segment is freed when it is removed and nobody is attached.
 */
#include <errno.h>
#include <stdbool.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/shm.h>

#include "contract.h"
#include "grow.h"
#include "../vfs/vfs_port.h"

#define PAGE 65536u
#define MAX_SEGMENTS 512

struct segment
{
	uint32_t	start;			/* 0: row is free */
	uint32_t	size;			/* bytes, a multiple of PAGE */
	uint32_t	asked;			/* what the caller wanted */
	int32_t		key;
	int32_t		attached;
	bool		is_removed;
};

struct segment_table
{
	volatile uint32_t lock;
	struct segment segments[MAX_SEGMENTS];
};
_Static_assert(sizeof(struct segment_table) <= PAGE, "fits before the first segment");

/* where the first segment can be */
#ifdef PGCELL_PORTABLE
#define SEGMENTS_START PGCELL_CHANGES_END
#else
#define SEGMENTS_START (PGCELL_SHMEM_START + PAGE)
#endif

#define TABLE ((struct segment_table *) PGCELL_SHMEM_START)

/* First fit; the table is short and the calls are rare. */
static uint32_t
find_room(uint32_t size)
{
	uint32_t	at = SEGMENTS_START;

	for (int i = 0; i < MAX_SEGMENTS; i++)
	{
		const struct segment *s = &TABLE->segments[i];

		if (s->start && at < s->start + s->size && s->start < at + size)
		{
			at = s->start + s->size;
			i = -1;
		}
		if (size > PGCELL_SHMEM_END - at)
			return 0;
	}
	return at;
}

#ifdef PGCELL_PORTABLE
/* Memory that was grown for a segment can't be given back: it is the next one's.  A row or -1. */
static int
find_released(uint32_t size)
{
	for (int i = 0; i < MAX_SEGMENTS; i++)
	{
		const struct segment *s = &TABLE->segments[i];

		if (s->start >= PGCELL_SHMEM_END && s->is_removed && s->attached <= 0 && s->size >= size)
			return i;
	}
	return -1;
}
#endif

/* Returns the row of a new segment, which reads as zeros; -1 with errno. */
static int
take(size_t asked, key_t key)
{
	uint32_t	size = ((uint32_t) asked + PAGE - 1) & ~(PAGE - 1);
	uint32_t	start = 0;

	if (asked != 0 && asked <= PGCELL_SHMEM_END - PGCELL_SHMEM_START - PAGE)
		start = find_room(size);
#ifdef PGCELL_PORTABLE
	/* nobody else has mapped the table: a segment may be anywhere */
	if (start == 0 && asked != 0 && asked < PGCELL_MEMORY_MAX)
	{
		int			row = find_released(size);

		if (row >= 0)
		{
			TABLE->segments[row].asked = asked;
			TABLE->segments[row].key = key;
			TABLE->segments[row].is_removed = false;
			return row;
		}
		start = pgcell_grow(size);
	}
#endif
	if (start == 0)
	{
		errno = ENOMEM;
		return -1;
	}
	for (int i = 0; i < MAX_SEGMENTS; i++)
	{
		struct segment *s = &TABLE->segments[i];

		if (s->start)
			continue;
		*s = (struct segment){.start = start, .size = size, .asked = asked, .key = key};
		return i;
	}
	errno = ENOSPC;
	return -1;
}

static void
release(struct segment *s)
{
	if (pgcell_discard((void *) s->start, s->size) != 0)
		memset((void *) s->start, 0, s->size);
	if (s->start < PGCELL_SHMEM_END)
		s->start = 0;
}

void *
mmap(void *addr, size_t length, int prot, int flags, int fd, off_t offset)
{
	int			row = -1;

	(void) addr, (void) prot, (void) fd, (void) offset;
	errno = ENODEV;
	if ((flags & MAP_ANONYMOUS) && (flags & MAP_SHARED))
	{
		vfs_lock(&TABLE->lock);
		row = take(length, IPC_PRIVATE);
		vfs_unlock(&TABLE->lock);
	}
	return row < 0 ? MAP_FAILED : (void *) TABLE->segments[row].start;
}

/* Anonymous mappings are PostgreSQL's main shared memory: they last as long as the cell. */
int
munmap(void *addr, size_t length)
{
	(void) addr, (void) length;
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
	(void) name, (void) oflag, (void) mode;
	errno = ENOSYS;
	return -1;
}

int
shm_unlink(const char *name)
{
	(void) name;
	errno = ENOSYS;
	return -1;
}

int
shmget(key_t key, size_t size, int flags)
{
	int			row = -1;

	vfs_lock(&TABLE->lock);
	for (int i = 0; key != IPC_PRIVATE && i < MAX_SEGMENTS && row < 0; i++)
		if (TABLE->segments[i].start && TABLE->segments[i].key == key && !TABLE->segments[i].is_removed)
			row = i;
	if (row >= 0 && (flags & IPC_CREAT) && (flags & IPC_EXCL))
	{
		errno = EEXIST;
		row = -1;
	}
	else if (row >= 0 && TABLE->segments[row].asked < size)
	{
		errno = EINVAL;
		row = -1;
	}
	else if (row < 0 && (flags & IPC_CREAT))
		row = take(size, key);
	else if (row < 0)
		errno = ENOENT;
	vfs_unlock(&TABLE->lock);
	return row;
}

void *
shmat(int id, const void *addr, int flags)
{
	void	   *at = (void *) -1;

	(void) addr, (void) flags;
	errno = EINVAL;
	if (id < 0 || id >= MAX_SEGMENTS)
		return at;
	vfs_lock(&TABLE->lock);
	if (TABLE->segments[id].start)
	{
		TABLE->segments[id].attached++;
		at = (void *) TABLE->segments[id].start;
	}
	vfs_unlock(&TABLE->lock);
	return at;
}

int
shmdt(const void *addr)
{
	int			rc = -1;

	errno = EINVAL;
	vfs_lock(&TABLE->lock);
	for (int i = 0; i < MAX_SEGMENTS; i++)
	{
		struct segment *s = &TABLE->segments[i];

		if (s->start != (uintptr_t) addr || s->start == 0)
			continue;
		if (--s->attached <= 0 && s->is_removed)
			release(s);
		rc = 0;
	}
	vfs_unlock(&TABLE->lock);
	return rc;
}

int
shmctl(int id, int cmd, struct shmid_ds *buf)
{
	int			rc = -1;

	errno = EINVAL;
	if (id < 0 || id >= MAX_SEGMENTS)
		return -1;
	vfs_lock(&TABLE->lock);
	if (TABLE->segments[id].start)
	{
		struct segment *s = &TABLE->segments[id];

		rc = 0;
		if (cmd == IPC_STAT && buf)
		{
			memset(buf, 0, sizeof *buf);
			buf->shm_segsz = s->asked;
			buf->shm_nattch = s->attached;
		}
		else if (cmd == IPC_RMID)
		{
			s->is_removed = true;
			if (s->attached <= 0)
				release(s);
		}
	}
	vfs_unlock(&TABLE->lock);
	return rc;
}
