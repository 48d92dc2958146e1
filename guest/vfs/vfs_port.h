/*
 * vfs_port.h
 *	  What the file system asks of the port it is compiled into.
 *
 * Everything here is called by the file system and defined elsewhere.  The
 * functions marked "default" have a weak definition in vfs_block.c that suits
 * one process with one contiguous FILES region; a port overrides them by
 * defining the same name.
 */
#ifndef VFS_PORT_H
#define VFS_PORT_H

#include <stdbool.h>
#include <stdint.h>

/* A guest linear-memory address.  Never a host pointer, also in unit tests. */
typedef uint32_t vaddr;

/*
 * Mutual exclusion between the processes of a cell.  `word` lies in FILES, is
 * 4-byte aligned and starts as zero, which must mean "free"; otherwise its
 * value belongs to the port, which may record the holder in it.  Not
 * recursive.  vfs_lock must order memory like an acquire, vfs_unlock like a
 * release.
 */
extern void vfs_lock(volatile uint32_t *word);
extern void vfs_unlock(volatile uint32_t *word);

/*
 * Get `nblocks` contiguous 8 KiB blocks that read as zeros, 8 KiB aligned.
 * Returns the address of the first or 0 when there is no more.  Called with
 * the allocation lock held.  Default: take them off [files_start, files_end).
 * A port whose blocks come in chunks overrides this, and sets the super
 * block's is_chunked; a block once granted stays the file system's for good.
 */
extern vaddr vfs_grow(uint32_t nblocks);

/* Blocks that vfs_grow could still grant.  Default: what is left of [files_start, files_end). */
extern uint32_t vfs_grow_left(void);

/*
 * Copy len bytes at an offset of BASE.  Only called if compiled with VFS_BASE_OUTSIDE, for a port that has BASE's contents
 * somewhere else than at its addresses, but for an import, which reads and writes BASE in memory.
 */
extern void vfs_base_read(void *to, uint32_t offset, uint32_t len);

/*
 * These blocks' contents are no longer wanted; the memory may go back to the
 * operating system.  Return true only if the blocks now read as zeros.  Called
 * with the allocation lock held, for runs of VFS_DISCARD_MIN blocks and more.
 * Default: do nothing, return false.
 */
extern bool vfs_discard(vaddr start, uint32_t nblocks);

/*
 * Is a file, by the path it is opened with, one of those that must leave some space to others (VFS_RESERVE_BLOCKS)?  Default: no.
 */
extern bool vfs_is_bulk(const char *path);

/*
 * Keep the compiler (of C to wasm, and of wasm2c's output to machine code)
 * from moving memory accesses across this call.  Default: a compiler fence in
 * a function that is not inlined.  Only called where something is published,
 * never when an existing block is read or overwritten.
 */
extern void vfs_barrier(void);

/* The process ends; may not return, to end it in another way than by the host's proc_exit.  Default: do nothing. */
extern void vfs_exit(uint32_t code);

/* Wall clock in nanoseconds since 1970.  vfs_wasi.c has it for wasm. */
extern uint64_t vfs_clock_ns(void);

/* Fill buf with len random bytes; 0 or a WASI errno.  vfs_wasi.c has it. */
extern int	vfs_random(void *buf, uint32_t len);

#endif							/* VFS_PORT_H */
