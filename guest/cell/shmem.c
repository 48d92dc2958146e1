/*
 * shmem.c
 *	  PostgreSQL's hash tables in shared memory begin small.  Its lock tables take half of their largest size at the start, a megabyte
 *	  that every cell would have and hardly one would use; the rest they allocate when they need it, as here nearly all of it
 *	  (src/backend/utils/hash/dynahash.c: what a table may grow to is reserved either way).
 */
#include "postgres.h"

#include "storage/shmem.h"

/* so many times less; a partitioned table keeps the number of buckets that it began with, and chains grow by as much at most */
#define START_DIVISOR 8

extern HTAB *__real_ShmemInitHash(const char *name, long init_size, long max_size, HASHCTL *info, int flags);
extern HTAB *__wrap_ShmemInitHash(const char *name, long init_size, long max_size, HASHCTL *info, int flags);

HTAB *
__wrap_ShmemInitHash(const char *name, long init_size, long max_size, HASHCTL *info, int flags)
{
	if ((flags & HASH_FIXED_SIZE) == 0)
		init_size = Max(init_size / START_DIVISOR, 1);
	return __real_ShmemInitHash(name, init_size, max_size, info, flags);
}
