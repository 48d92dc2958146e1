/*
 * wasm_image.h - writes a module whose instantiation is PostgreSQL's start-up.
 *
 * A module is started once, at build time. The writer takes the bytes of that module and the linear memory that its instance has
 * by then, and writes a module with the same code and this memory:
 *
 *	              the baked instance's memory       the new module
 *	  private     +---------------------+
 *	              | data, heap          | --------> passive segments, applied by the function restore_export, which is
 *	              +---------------------+           the start function too: the guest may call it again at any time
 *	  cluster     | shared memory, files| --------> active segments, applied once, at instantiation
 *	              +---------------------+
 *	  base        | blocks of files     | --------> one passive segment, all of it; no memory is spent on it, the guest reads
 *	              +---------------------+           pieces with the function base_read_export
 *	  elsewhere                                     zero
 *
 * restore_export and base_read_export are the guest's own functions; their bodies are replaced. Compiler and linker must not know
 * the bodies that they had: neither inline them nor conclude that they don't return or don't write memory. The body of
 * _initialize, if the module exports it, becomes empty: constructors have run.
 *
 * What is not linear memory is not taken along. Globals and tables start as the module says, so the instance has to be baked from
 * the outside, between calls, when __stack_pointer is back where it began. For the same reason the stack belongs into none of the
 * ranges: restore_export would pull it from under its callers.
 *
 *	struct wasm_image image = {.memory = ..., ...};
 *	char err[500];
 *
 *	if (wasm_image_write(module, len, &image, to, err, sizeof err) < 0)
 *		fprintf(stderr, "%s\n", err);
 *
 * The module comes from the linker, but is not believed: whatever its bytes are, they give an error or a file. Sections that need
 * no change are copied without a look inside, so validating the result is the business of whoever runs it.
 *
 * Nothing is retained: all pointers are the caller's, and used during the call only. Errors are texts for the user. Unless it was
 * writing that failed, an error leaves `to` untouched.
 */
#ifndef PGCELL_WASM_IMAGE_H
#define PGCELL_WASM_IMAGE_H

#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#define WASM_IMAGE_PAGE 65536u
/* Segments of the new module stay below; engines take 100,000 (https://webassembly.github.io/spec/js-api/#limits). */
#define WASM_IMAGE_MAX_SEGMENTS 10000u

/* Ranges are guest addresses, with the end excluded; they don't overlap, and may be empty. */
struct wasm_image {
	const uint8_t *memory; /* the baked instance's linear memory, from address 0 */
	uint64_t memory_bytes;
	uint32_t private_start, private_end;
	uint32_t cluster_start, cluster_end;
	uint32_t base_start, base_end; /* may lie beyond memory_pages, or where the new module's heap grows */
	uint32_t memory_pages; /* the new module's memory at first, in pages of 64 KiB: private and cluster are inside */
	uint32_t max_pages;
	const char *restore_export; /* func () -> () */
	const char *base_read_export; /* func (to, offset in base, len: i32) -> (); traps when that is not inside of base */
	const char *const *drop_exports; /* more exports to remove, each has to be there; NULL-terminated, NULL means none */
};

/* Returns 0, or -1 with `err` filled. `to` is flushed, not closed. */
int wasm_image_write(const uint8_t *module, size_t len, const struct wasm_image *image, FILE *to, char *err, size_t err_len)
	__attribute__((warn_unused_result));

/*
 * Do two modules start with the same memory, globals and size of table, as it has to be if the memory of one is to become the
 * other's? 0 if they do; -1 with `err` filled. That functions have the same places in the table is up to the linker: it does
 * that if both are linked from the same objects in the same order, but for a last one whose functions nobody takes the address of.
 */
int wasm_image_same_start(const uint8_t *a, size_t a_len, const uint8_t *b, size_t b_len, char *err, size_t err_len)
	__attribute__((warn_unused_result));

#endif
