/*
 * locks.c
 *	  Semaphores and the file system's lock, on the contract's atomics and futexes.  The words live in CLUSTER.
 */
#include <errno.h>
#include <semaphore.h>

#include <signal.h>

#include "contract.h"
#include "../vfs/vfs_port.h"

/* The first word of a sem_t is the count, the second the number of sleepers. */
#define COUNT(sem) ((volatile uint32_t *) &(sem)->__val[0])
#define SLEEPERS(sem) ((volatile uint32_t *) &(sem)->__val[1])

int
sem_init(sem_t *sem, int pshared, unsigned value)
{
	(void) pshared;
	*COUNT(sem) = value;
	*SLEEPERS(sem) = 0;
	return 0;
}

int
sem_destroy(sem_t *sem)
{
	(void) sem;
	return 0;
}

int
sem_trywait(sem_t *sem)
{
	uint32_t	count = *COUNT(sem);

	while (count > 0)
	{
		uint32_t	old = pgcell_atomic_cas_32(COUNT(sem), count, count - 1);

		if (old == count)
			return 0;
		count = old;
	}
	errno = EAGAIN;
	return -1;
}

int
sem_wait(sem_t *sem)
{
	while (sem_trywait(sem) < 0)
	{
		int			rc;

		pgcell_atomic_add_32(SLEEPERS(sem), 1);
		rc = pgcell_futex_wait(COUNT(sem), 0, -1);
		pgcell_atomic_add_32(SLEEPERS(sem), (uint32_t) -1);
		if (rc == -EINTR)
		{
			pgcell_signal_dispatch();
			errno = EINTR;
			return -1;
		}
	}
	return 0;
}

int
sem_post(sem_t *sem)
{
	pgcell_atomic_add_32(COUNT(sem), 1);
	if (*SLEEPERS(sem) > 0)
		pgcell_futex_wake(COUNT(sem), 1);
	return 0;
}

/*
 * A lock word holds the process id of its holder, so that a holder who died can be found; the top bit says that somebody
 * waits (U. Drepper, "Futexes Are Tricky", mutex 3).
 */
#define WAITERS 0x80000000u

void
vfs_lock(volatile uint32_t *word)
{
	uint32_t	me = (uint32_t) pgcell_pid();
	uint32_t	old = pgcell_atomic_cas_32(word, 0, me);

	while (old != 0)
	{
		if (!(old & WAITERS))
		{
			uint32_t	seen = pgcell_atomic_cas_32(word, old, old | WAITERS);

			if (seen != old)
			{
				old = seen ? seen : pgcell_atomic_cas_32(word, 0, me | WAITERS);
				continue;
			}
			old |= WAITERS;
		}
		pgcell_futex_wait(word, old, -1);
		old = pgcell_atomic_cas_32(word, 0, me | WAITERS);
	}
}

void
vfs_unlock(volatile uint32_t *word)
{
	if (pgcell_atomic_exchange_32(word, 0) & WAITERS)
		pgcell_futex_wake(word, 1);
}

void
vfs_barrier(void)
{
	pgcell_fence_acqrel();
}

bool
vfs_discard(vaddr start, uint32_t nblocks)
{
	return pgcell_discard((void *) start, nblocks * 8192) == 0;
}
