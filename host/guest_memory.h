/*
 * guest_memory.h - the one checked way from a guest address to a host pointer.
 *
 * The guest's linear memory starts at `guest_base`.  Every guest_addr comes
 * from untrusted code, so nothing may add one to guest_base by hand: ask
 * guest_range() for the whole range about to be touched, and give the guest
 * an error (WASI: FAULT) when the answer is NULL.
 *
 * A pointer from guest_range() stays valid for the life of the instance; the
 * memory never moves.  Other processes of the cell may write to the same
 * bytes at any time, so a value is loaded once into a host variable, checked
 * there, and used from there; it is never read a second time.
 *
 * The check is against the size of the memory, not against page protection:
 * a kernel call on a protected page fails with EFAULT, a host store to one is
 * a SIGSEGV.
 *
 * guest_base and guest_memory_bytes are defined by whoever sets the memory up.
 */
#ifndef PGCELL_GUEST_MEMORY_H
#define PGCELL_GUEST_MEMORY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

_Static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__,
	       "guest memory is little-endian, loads and stores are plain copies");

typedef uint32_t guest_addr;

extern uint8_t *guest_base;
extern uint64_t guest_memory_bytes; /* accessible now; follows memory.grow */

/* Host pointer to [addr, addr + len_bytes), or NULL if any of it is outside. */
__attribute__((warn_unused_result)) static inline void *
guest_range(guest_addr addr, uint64_t len_bytes)
{
	if (len_bytes > guest_memory_bytes || addr > guest_memory_bytes - len_bytes)
		return NULL;
	return guest_base + addr;
}

/* Loads and stores tolerate any alignment and return false if out of bounds. */
#define GUEST_SCALAR(suffix, type)                                                          \
	__attribute__((warn_unused_result)) static inline bool guest_load_##suffix(         \
	    guest_addr addr, type *value)                                                   \
	{                                                                                   \
		const void *p = guest_range(addr, sizeof(*value));                          \
		if (!p)                                                                     \
			return false;                                                       \
		memcpy(value, p, sizeof(*value));                                           \
		return true;                                                                \
	}                                                                                   \
	__attribute__((warn_unused_result)) static inline bool guest_store_##suffix(        \
	    guest_addr addr, type value)                                                    \
	{                                                                                   \
		void *p = guest_range(addr, sizeof(value));                                 \
		if (!p)                                                                     \
			return false;                                                       \
		memcpy(p, &value, sizeof(value));                                           \
		return true;                                                                \
	}

GUEST_SCALAR(u8, uint8_t)
GUEST_SCALAR(u16, uint16_t)
GUEST_SCALAR(u32, uint32_t)
GUEST_SCALAR(u64, uint64_t)

#undef GUEST_SCALAR

#endif
