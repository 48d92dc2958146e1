/*
 * single.c
 *	  The contract's "pgcell" functions for hosts that have none: one session in one process, nobody to share memory with.  Only
 *	  the portable link takes this file.
 */
#include <errno.h>
#include <signal.h>
#include <string.h>
#include <wasi/api.h>

#include "contract.h"

/* for whoever waits without a limit: the host gets a chance to raise a signal */
#define LONGEST_SLEEP_NS UINT64_C(1000000000)

extern volatile sig_atomic_t InterruptPending;

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

/* ---- time ---- */

static uint64_t deadline_ns;	/* on the monotonic clock; 0: no timer */
static uint64_t interval_ns;

static uint64_t
now_ns(void)
{
	__wasi_timestamp_t now = 0;

	(void) __wasi_clock_time_get(__WASI_CLOCKID_MONOTONIC, 1000, &now);
	return now;
}

int32_t
pgcell_set_timer(int64_t delay_us, int64_t interval_us)
{
	deadline_ns = delay_us > 0 ? now_ns() + delay_us * 1000 : 0;
	interval_ns = interval_us * 1000;
	pgcell_timer_is_polled = deadline_ns != 0;
	if (pgcell_timer_is_polled)
		InterruptPending = true;
	return 0;
}

static void
check_timer(void)
{
	uint64_t	now;

	if (deadline_ns == 0 || (now = now_ns()) < deadline_ns)
		return;
	deadline_ns = interval_ns ? now + interval_ns : 0;
	pgcell_timer_is_polled = deadline_ns != 0;
	pgcell_signal_pending |= 1u << SIGALRM;
}

void
pgcell_fire_timer(void)
{
	deadline_ns = 0;
	pgcell_timer_is_polled = false;
	pgcell_signal_pending |= 1u << SIGALRM;
	InterruptPending = true;
}

/* Asking the clock leaves the module: not at each of the many calls. */
void
pgcell_poll_timer(void)
{
	static uint32_t calls;

	if (++calls % 64 == 0)
		check_timer();
}

/*
 * There is nothing to wait for: what the host has given is there at once (cell/serve.c), and nobody else is there to set a
 * latch.  Only time passes.
 */
int32_t
pgcell_wait(int32_t events, int32_t timeout_ms)
{
	__wasi_subscription_t sleep = {.u = {.tag = __WASI_EVENTTYPE_CLOCK}};
	__wasi_event_t event;
	__wasi_size_t got;
	uint64_t	wait_ns = timeout_ms < 0 ? LONGEST_SLEEP_NS : (uint64_t) timeout_ms * 1000000;

	if (events)
		return events;
	if (deadline_ns != 0)
	{
		uint64_t	now = now_ns();
		uint64_t	left = deadline_ns > now ? deadline_ns - now : 0;

		if (left < wait_ns)
		{
			wait_ns = left;
			timeout_ms = -1;
		}
	}
	if (wait_ns > 0)
	{
		sleep.u.u.clock.id = __WASI_CLOCKID_MONOTONIC;
		sleep.u.u.clock.timeout = wait_ns;
		(void) __wasi_poll_oneoff(&sleep, &event, 1, &got);
	}
	check_timer();
	return timeout_ms < 0 ? -EINTR : 0;
}

/* ---- the rest ---- */

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

int32_t
pgcell_discard(void *start, uint32_t len_bytes)
{
	memset(start, 0, len_bytes);
	return 0;
}
