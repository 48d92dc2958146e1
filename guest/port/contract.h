/*
 * contract.h
 *	  What a cell's guest imports beyond WASI preview 1: the transport (env) and what only the native host can do (pgcell).
 *
 * The native link takes the pgcell functions from the host.  The portable link defines them in single.c, for one session in
 * one process.  docs/contract.md describes each of them; the atomics are in include/pgcell_atomics.h.
 * Results: 0 or a count; failures are negated WASI errno values unless noted.
 */
#ifndef PGCELL_CONTRACT_H
#define PGCELL_CONTRACT_H

#include <stdbool.h>
#include <stdint.h>
#include <stddef.h>
#include "pgcell_atomics.h"
#include "layout.h"

extern int32_t pgcell_pid(void) PGCELL_IMPORT(pid);
extern int32_t pgcell_kill(int32_t pid, int32_t signo) PGCELL_IMPORT(kill);

/* Waits for events (PGCELL_WAIT_*) on the client's socket, none allowed; timeout in ms, -1 = no limit.  Returns the events that
 * are there, 0 at the time-out, -EINTR when a signal came. */
extern int32_t pgcell_wait(int32_t events, int32_t timeout_ms) PGCELL_IMPORT(wait);
/* SIGALRM after delay_us, then every interval_us; 0 stops.  Where nothing can interrupt the guest, the timer is looked at in
 * ProcessInterrupts() (pgcell_poll_timer()), which comes by as long as pgcell_timer_is_polled. */
extern int32_t pgcell_set_timer(int64_t delay_us, int64_t interval_us) PGCELL_IMPORT(set_timer);

extern volatile bool pgcell_timer_is_polled;
extern void pgcell_poll_timer(void);
/* The signal comes now, if a polled timer runs. */
extern void pgcell_fire_timer(void);

/* Sleeps while *word == expected; timeout in us, -1 = no limit.  0, -EAGAIN (other value), -ETIMEDOUT or -EINTR. */
extern int32_t pgcell_futex_wait(volatile uint32_t *word, uint32_t expected, int64_t timeout_us) PGCELL_IMPORT(futex_wait);
extern int32_t pgcell_futex_wake(volatile uint32_t *word, int32_t count) PGCELL_IMPORT(futex_wake);

/* Bytes of the engine's stack in use since the guest was entered; 0 where that can't be told. */
extern int32_t pgcell_engine_stack(void) PGCELL_IMPORT(engine_stack);

/* Bytes of PRIVATE memory that this process may use in all; natively. */
extern uint32_t pgcell_private_limit(void) PGCELL_IMPORT(private_limit);

/* Gives the pages of a range of CLUSTER back; they read as zeros afterwards. */
extern int32_t pgcell_discard(void *start, uint32_t len_bytes) PGCELL_IMPORT(discard);

/* What the host counts and shows, and could otherwise only find by parsing the protocol; natively (PGCELL_NOTE_*). */
extern void pgcell_note(int32_t what, int32_t value) PGCELL_IMPORT(note);

#endif
