/*
 * single.c
 *	  The contract's "pgcell" functions for hosts that have none: one session in one process, nobody to share memory with.  Only
 *	  the portable link takes this file.
 */
#include <errno.h>
#include <signal.h>
#include <wasi/api.h>

#include "contract.h"

#define RMW(name, bits, expression) \
	uint##bits##_t pgcell_atomic_##name##_##bits(volatile void *p, uint##bits##_t value) \
	{ \
		volatile uint##bits##_t *at = p; \
		uint##bits##_t old = *at; \
		*at = expression; \
		return old; \
	}

RMW(exchange, 32, value)
RMW(exchange, 64, value)
RMW(add, 32, old + value)
RMW(add, 64, old + value)
RMW(and, 32, old & value)
RMW(and, 64, old & value)
RMW(or, 32, old | value)
RMW(or, 64, old | value)

#define CAS(bits) \
	uint##bits##_t pgcell_atomic_cas_##bits(volatile void *p, uint##bits##_t expected, uint##bits##_t desired) \
	{ \
		volatile uint##bits##_t *at = p; \
		uint##bits##_t old = *at; \
		if (old == expected) \
			*at = desired; \
		return old; \
	}

CAS(32)
CAS(64)

void
pgcell_fence(void)
{
}

void
pgcell_fence_acqrel(void)
{
}

/* wasi-libc's getpid() has no better idea either */
int32_t
pgcell_pid(void)
{
	return 42;
}

int32_t
pgcell_kill(int32_t pid, int32_t signo)
{
	(void) pid, (void) signo;
	return -ESRCH;
}

/*
 * There is nothing to wait with: what the host has given is there at once, and more comes when it calls again.  A plain wait for
 * time to pass sleeps.
 */
int32_t
pgcell_wait(int32_t events, int32_t timeout_ms)
{
	__wasi_subscription_t sleep = {.u = {.tag = __WASI_EVENTTYPE_CLOCK}};
	__wasi_event_t event;
	__wasi_size_t got;

	if (events)
		return events;
	if (timeout_ms > 0)
	{
		sleep.u.u.clock.id = __WASI_CLOCKID_MONOTONIC;
		sleep.u.u.clock.timeout = (uint64_t) timeout_ms * 1000000;
		(void) __wasi_poll_oneoff(&sleep, &event, 1, &got);
	}
	return timeout_ms < 0 ? -EINTR : 0;
}

int32_t
pgcell_set_timer(int64_t delay_us, int64_t interval_us)
{
	(void) delay_us, (void) interval_us;
	return 0;
}

int32_t
pgcell_futex_wait(volatile uint32_t *word, uint32_t expected, int64_t timeout_us)
{
	(void) word, (void) expected, (void) timeout_us;
	return -EAGAIN;
}

int32_t
pgcell_futex_wake(volatile uint32_t *word, int32_t count)
{
	(void) word, (void) count;
	return 0;
}

int32_t
pgcell_engine_stack(void)
{
	return 0;
}

uint32_t
pgcell_private_limit(void)
{
	return PGCELL_PRIVATE_END;
}

int32_t
pgcell_discard(void *start, uint32_t len_bytes)
{
	(void) start, (void) len_bytes;
	return -ENOSYS;
}
