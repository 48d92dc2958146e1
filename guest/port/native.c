/*
 * native.c
 *	  Routines that the native host's machine does better than WebAssembly: strings with its vector instructions, CRC-32C with its
 *	  instruction for that.  Only the native link takes this file; the portable one has libc's and PostgreSQL's own.
 *
 * The host trusts no address: a range that leaves the memory ends in its guard pages, like any access of the guest.
 */
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "contract.h"

extern int32_t pgcell_memcmp(const void *a, const void *b, size_t n) PGCELL_IMPORT(memcmp);
extern const void *pgcell_memchr(const void *s, int c, size_t n) PGCELL_IMPORT(memchr);
extern size_t pgcell_strlen(const char *s) PGCELL_IMPORT(strlen);
extern int32_t pgcell_strcmp(const char *a, const char *b) PGCELL_IMPORT(strcmp);
extern int32_t pgcell_strncmp(const char *a, const char *b, size_t n) PGCELL_IMPORT(strncmp);
extern uint32_t pgcell_crc32c(uint32_t crc, const void *data, size_t len) PGCELL_IMPORT(crc32c);

int
memcmp(const void *a, const void *b, size_t n)
{
	return pgcell_memcmp(a, b, n);
}

void *
memchr(const void *s, int c, size_t n)
{
	return (void *) pgcell_memchr(s, c, n);
}

size_t
strlen(const char *s)
{
	return pgcell_strlen(s);
}

int
strcmp(const char *a, const char *b)
{
	return pgcell_strcmp(a, b);
}

int
strncmp(const char *a, const char *b, size_t n)
{
	return pgcell_strncmp(a, b, n);
}

/* in place of src/port/pg_crc32c_sb8.c; linked by --wrap */
extern uint32_t __wrap_pg_comp_crc32c_sb8(uint32_t crc, const void *data, size_t len);

uint32_t
__wrap_pg_comp_crc32c_sb8(uint32_t crc, const void *data, size_t len)
{
	return pgcell_crc32c(crc, data, len);
}

/*
 * 128-bit arithmetic, of which numeric has a lot: compiler-rt's versions are loops on 32-bit machines.  The results go through
 * memory: a WebAssembly function returns one value.
 */
typedef __int128 i128;
typedef unsigned __int128 u128;

extern void pgcell_multiply_128(u128 *result, uint64_t a_low, uint64_t a_high, uint64_t b_low, uint64_t b_high)
			PGCELL_IMPORT(multiply_128);
extern void pgcell_divide_128(u128 *quotient, u128 *remainder, uint64_t a_low, uint64_t a_high, uint64_t b_low, uint64_t b_high)
			PGCELL_IMPORT(divide_128);

extern i128 __multi3(i128 a, i128 b);
extern u128 __udivmodti4(u128 a, u128 b, u128 *remainder);

i128
__multi3(i128 a, i128 b)
{
	u128		result;

	pgcell_multiply_128(&result, (uint64_t) a, (uint64_t) (a >> 64), (uint64_t) b, (uint64_t) (b >> 64));
	return (i128) result;
}

u128
__udivmodti4(u128 a, u128 b, u128 *remainder)
{
	u128		quotient,
				rest;

	pgcell_divide_128(&quotient, &rest, (uint64_t) a, (uint64_t) (a >> 64), (uint64_t) b, (uint64_t) (b >> 64));
	if (remainder)
		*remainder = rest;
	return quotient;
}

/* the machine's timers interrupt the guest */
void
pgcell_poll_timer(void)
{
}
