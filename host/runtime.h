/*
 * runtime.h - one guest instance in this process: its memory, its stack, its traps.
 *
 * Calling sequence:
 *	runtime_open()		reserves the memory and instantiates the module; PRIVATE holds the module's data segments
 *	runtime_map_*()		put an image's parts or a cell's CLUSTER in their places
 *	runtime_enter()		calls an export on the guest's own stack; returns when the export does
 *
 * There is one instance per process; fork() copies it. A trap (the guest's address out of range, a stack that ran over, unreachable
 * code) ends the process with RUNTIME_EXIT_TRAP after trap_hook has been told. A SIGSEGV outside the guest's reservation is a bug
 * of ours and is left to kill the process.
 *
 * The reservation is 8 GiB of address space: a guest address and a constant offset have 32 bits each. Only what is mapped below 4 GiB
 * can be touched (docs/architecture.md).
 */
#ifndef PGCELL_RUNTIME_H
#define PGCELL_RUNTIME_H

#include <stdint.h>

#include "guest_memory.h"
#include "wasi.h"

/* the translated module; its struct comes from wasm2c */
struct w2c_guest;
extern struct w2c_guest *runtime_guest;

enum { RUNTIME_EXIT_TRAP = 86 };

/* Called on a trap with a text for a log line, on an alternate stack; must not use the heap. NULL for none. */
extern void (*runtime_trap_hook)(const char *what);

/* Identifies the module that was compiled in: 64 hexadecimal digits. An image belongs to one build. */
extern const char runtime_build_id[65];

/* Returns 0 or -errno. `wasi` is retained. */
int runtime_open(wasi_ctx *wasi) __attribute__((warn_unused_result));

/*
 * Maps len_bytes of fd from offset on at a guest address. All are page-aligned. `flags` are mmap's: MAP_SHARED or MAP_PRIVATE.
 * Returns 0 or -errno.
 */
int runtime_map(guest_addr start, uint64_t len_bytes, int prot, int flags, int fd, uint64_t offset)
	__attribute__((warn_unused_result));

/* Calls fn(arg) on the guest's stack. */
void runtime_enter(void (*fn)(void *), void *arg);

#endif
