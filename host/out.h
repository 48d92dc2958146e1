/*
 * Buffered output to a descriptor, blocking or not; writing waits until it is taken. An error is remembered, and what follows is dropped.
 *
 * Calling sequence: out_init(), out_put() and its like, out_flush(). Nothing to release.
 */
#ifndef PGCELL_OUT_H
#define PGCELL_OUT_H

#include <stddef.h>
#include <stdint.h>

#define OUT_BUFFER_LEN 65536

struct out {
	int fd;
	int error; /* 0 or an errno */
	size_t len;
	uint8_t buf[OUT_BUFFER_LEN];
};

void out_init(struct out *out, int fd);
void out_put(struct out *out, const void *bytes, size_t len);
void out_text(struct out *out, const char *text);
void out_repeat(struct out *out, char c, size_t count);
void out_flush(struct out *out);

#endif
