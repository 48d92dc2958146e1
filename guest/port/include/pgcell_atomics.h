/*
 * pgcell_atomics.h
 *	  Atomic operations for PostgreSQL on WebAssembly, included before everything else.
 *
 * PostgreSQL's port/atomics/generic-gcc.h and storage/s_lock.h use the compiler's __sync and __atomic builtins.  For a module
 * without shared memory clang turns those into plain loads and stores, and so does wasm2c with the atomic instructions of an
 * unshared memory.  Sessions of a native cell do share memory (they are processes), so the builtins become calls of the
 * contract: the native link imports them and the host's C compiler inlines them; the portable link takes the plain versions
 * of single.c.  Only what PostgreSQL uses is here: an unknown operation fails to compile or stays a builtin that the
 * check of the build (no atomics left over) finds.
 */
#ifndef PGCELL_ATOMICS_H
#define PGCELL_ATOMICS_H

#ifdef __wasm__
#include <stdint.h>

#define PGCELL_IMPORT(name) __attribute__((import_module("pgcell"), import_name(#name)))

extern uint32_t pgcell_atomic_exchange_32(volatile void *p, uint32_t value) PGCELL_IMPORT(atomic_exchange_32);
extern uint64_t pgcell_atomic_exchange_64(volatile void *p, uint64_t value) PGCELL_IMPORT(atomic_exchange_64);
extern uint32_t pgcell_atomic_add_32(volatile void *p, uint32_t value) PGCELL_IMPORT(atomic_add_32);
extern uint64_t pgcell_atomic_add_64(volatile void *p, uint64_t value) PGCELL_IMPORT(atomic_add_64);
extern uint32_t pgcell_atomic_and_32(volatile void *p, uint32_t value) PGCELL_IMPORT(atomic_and_32);
extern uint32_t pgcell_atomic_or_32(volatile void *p, uint32_t value) PGCELL_IMPORT(atomic_or_32);
extern uint64_t pgcell_atomic_and_64(volatile void *p, uint64_t value) PGCELL_IMPORT(atomic_and_64);
extern uint64_t pgcell_atomic_or_64(volatile void *p, uint64_t value) PGCELL_IMPORT(atomic_or_64);
/* compare and swap: returns the old value; it was replaced if that equals expected */
extern uint32_t pgcell_atomic_cas_32(volatile void *p, uint32_t expected, uint32_t desired) PGCELL_IMPORT(atomic_cas_32);
extern uint64_t pgcell_atomic_cas_64(volatile void *p, uint64_t expected, uint64_t desired) PGCELL_IMPORT(atomic_cas_64);
extern void pgcell_fence(void) PGCELL_IMPORT(fence);	/* full barrier */
extern void pgcell_fence_acqrel(void) PGCELL_IMPORT(fence_acqrel);	/* orders all but a store before a later load */

static inline _Bool
pgcell_cas_n32(volatile void *p, uint32_t *expected, uint32_t desired)
{
	uint32_t	old = pgcell_atomic_cas_32(p, *expected, desired);

	if (old == *expected)
		return 1;
	*expected = old;
	return 0;
}

static inline _Bool
pgcell_cas_n64(volatile void *p, uint64_t *expected, uint64_t desired)
{
	uint64_t	old = pgcell_atomic_cas_64(p, *expected, desired);

	if (old == *expected)
		return 1;
	*expected = old;
	return 0;
}

#define PGCELL_SIZED(p, op32, op64) (sizeof(*(p)) == 8 ? (op64) : (op32))

#define __sync_lock_test_and_set(p, v) ((int) pgcell_atomic_exchange_32((p), (v)))
#define __sync_lock_release(p) do { pgcell_fence_acqrel(); *(p) = 0; } while (0)
#define __sync_fetch_and_add(p, v) PGCELL_SIZED(p, pgcell_atomic_add_32((p), (uint32_t) (v)), pgcell_atomic_add_64((p), (v)))
#define __sync_fetch_and_sub(p, v) PGCELL_SIZED(p, pgcell_atomic_add_32((p), -(uint32_t) (v)), pgcell_atomic_add_64((p), -(uint64_t) (v)))
#define __sync_fetch_and_and(p, v) PGCELL_SIZED(p, pgcell_atomic_and_32((p), (uint32_t) (v)), pgcell_atomic_and_64((p), (v)))
#define __sync_fetch_and_or(p, v) PGCELL_SIZED(p, pgcell_atomic_or_32((p), (uint32_t) (v)), pgcell_atomic_or_64((p), (v)))
#define __sync_synchronize() pgcell_fence()
#define __atomic_thread_fence(order) ((order) == __ATOMIC_SEQ_CST ? pgcell_fence() : pgcell_fence_acqrel())
#define __atomic_exchange_n(p, v, order) \
	PGCELL_SIZED(p, pgcell_atomic_exchange_32((p), (uint32_t) (v)), pgcell_atomic_exchange_64((p), (v)))
#define __atomic_compare_exchange_n(p, expected, desired, weak, success, failure) \
	PGCELL_SIZED(p, pgcell_cas_n32((p), (uint32_t *) (expected), (uint32_t) (desired)), \
				 pgcell_cas_n64((p), (uint64_t *) (expected), (desired)))

/* aligned 8-byte loads and stores are single instructions, in wasm and in what wasm2c makes of them */
#define PG_HAVE_8BYTE_SINGLE_COPY_ATOMICITY

#endif							/* __wasm__ */
#endif
