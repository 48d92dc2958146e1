/*
 * intrinsics.h - imports of module "pgcell" that the C compiler inlines into the translated guest.
 *
 * Included before wasm2c's output (-include), whose own declarations of these functions then find them defined. An address needs
 * no check: it has 32 bits, and 4 GiB from guest_base on are reserved (runtime.c). The operations are sequentially consistent,
 * as those of PostgreSQL's port/atomics.h are; the sessions of a cell share the memory as processes.
 */
#ifndef PGCELL_INTRINSICS_H
#define PGCELL_INTRINSICS_H

#include <stdint.h>
#include <string.h>

struct w2c_pgcell;
extern uint8_t *guest_base;
extern char *runtime_stack_top; /* where the guest was entered (runtime.c) */

#define PGCELL_RMW(name, bits, builtin)                                                                                \
	static inline uint##bits##_t w2c_pgcell_atomic_##name##_##bits(                                                \
		struct w2c_pgcell *host, uint32_t addr, uint##bits##_t value)                                          \
	{                                                                                                              \
		(void)host;                                                                                            \
		return builtin((uint##bits##_t *)(guest_base + addr), value, __ATOMIC_SEQ_CST);                        \
	}

PGCELL_RMW(exchange, 32, __atomic_exchange_n)
PGCELL_RMW(exchange, 64, __atomic_exchange_n)
PGCELL_RMW(add, 32, __atomic_fetch_add)
PGCELL_RMW(add, 64, __atomic_fetch_add)
PGCELL_RMW(and, 32, __atomic_fetch_and)
PGCELL_RMW(and, 64, __atomic_fetch_and)
PGCELL_RMW(or, 32, __atomic_fetch_or)
PGCELL_RMW(or, 64, __atomic_fetch_or)

#define PGCELL_CAS(bits)                                                                                               \
	static inline uint##bits##_t w2c_pgcell_atomic_cas_##bits(                                                     \
		struct w2c_pgcell *host, uint32_t addr, uint##bits##_t expected, uint##bits##_t desired)               \
	{                                                                                                              \
		(void)host;                                                                                            \
		__atomic_compare_exchange_n((uint##bits##_t *)(guest_base + addr), &expected, desired, 0,              \
			__ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST);                                                           \
		return expected;                                                                                       \
	}

PGCELL_CAS(32)
PGCELL_CAS(64)

static inline void w2c_pgcell_fence(struct w2c_pgcell *host)
{
	(void)host;
	__asm__ volatile("" ::: "memory"); /* the fence orders atomic accesses only: clang sinks plain loads past it */
	__atomic_thread_fence(__ATOMIC_SEQ_CST);
	__asm__ volatile("" ::: "memory");
}

static inline void w2c_pgcell_fence_acqrel(struct w2c_pgcell *host)
{
	(void)host;
	__asm__ volatile("" ::: "memory");
	__atomic_thread_fence(__ATOMIC_ACQ_REL);
	__asm__ volatile("" ::: "memory");
}

/*
 * Strings: an address outside of the memory, or a string that does not end in it, runs into the reservation's guard pages and is
 * the guest's trap.
 */
static inline uint32_t w2c_pgcell_memcmp(struct w2c_pgcell *host, uint32_t a, uint32_t b, uint32_t n)
{
	(void)host;
	return (uint32_t)memcmp(guest_base + a, guest_base + b, n);
}

static inline uint32_t w2c_pgcell_memchr(struct w2c_pgcell *host, uint32_t s, uint32_t c, uint32_t n)
{
	const uint8_t *at = memchr(guest_base + s, (int)c, n);

	(void)host;
	return at ? (uint32_t)(at - guest_base) : 0;
}

static inline uint32_t w2c_pgcell_strlen(struct w2c_pgcell *host, uint32_t s)
{
	(void)host;
	return (uint32_t)strlen((const char *)guest_base + s);
}

static inline uint32_t w2c_pgcell_strcmp(struct w2c_pgcell *host, uint32_t a, uint32_t b)
{
	(void)host;
	return (uint32_t)strcmp((const char *)guest_base + a, (const char *)guest_base + b);
}

static inline uint32_t w2c_pgcell_strncmp(struct w2c_pgcell *host, uint32_t a, uint32_t b, uint32_t n)
{
	(void)host;
	return (uint32_t)strncmp((const char *)guest_base + a, (const char *)guest_base + b, n);
}

static inline void w2c_pgcell_multiply_128(
	struct w2c_pgcell *host, uint32_t to, uint64_t a_low, uint64_t a_high, uint64_t b_low, uint64_t b_high)
{
	unsigned __int128 result =
		((unsigned __int128)a_high << 64 | a_low) * ((unsigned __int128)b_high << 64 | b_low);

	(void)host;
	memcpy(guest_base + to, &result, sizeof result);
}

/* Division by zero is the guest's mistake, and its result anything. */
static inline void w2c_pgcell_divide_128(struct w2c_pgcell *host, uint32_t quotient, uint32_t remainder, uint64_t a_low,
	uint64_t a_high, uint64_t b_low, uint64_t b_high)
{
	unsigned __int128 a = (unsigned __int128)a_high << 64 | a_low, b = (unsigned __int128)b_high << 64 | b_low;
	unsigned __int128 q = b ? a / b : 0, r = b ? a % b : 0;

	(void)host;
	memcpy(guest_base + quotient, &q, sizeof q);
	memcpy(guest_base + remainder, &r, sizeof r);
}

static inline uint32_t w2c_pgcell_engine_stack(struct w2c_pgcell *host)
{
	(void)host;
	return (uint32_t)(runtime_stack_top - (char *)__builtin_frame_address(0));
}

#endif
