#define _GNU_SOURCE
#include "wasi.h"

#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <time.h>
#include <unistd.h>

/* WASI's errno values */
enum { SUCCESS = 0, BADF = 8, FAULT = 21, INVAL = 28, IO = 29, NOTSUP = 58 };

typedef struct w2c_wasi__snapshot__preview1 wasi;

/* The only way to the guest's memory: NULL for a range that is not inside of it. */
static void *range(const wasi *w, u32 at, u64 len)
{
	return len <= w->memory->size && at <= w->memory->size - len ? w->memory->data + at : NULL;
}

static bool store_u32(const wasi *w, u32 at, u32 value)
{
	void *to = range(w, at, sizeof value);

	if (to)
		memcpy(to, &value, sizeof value);
	return to != NULL;
}

u32 w2c_wasi__snapshot__preview1_clock_time_get(wasi *w, u32 id, u64 precision, u32 result)
{
	struct timespec now;
	u64 ns;
	void *to = range(w, result, sizeof ns);

	(void)precision;
	if (!to)
		return FAULT;
	if (id > 1 || clock_gettime(id == 0 ? CLOCK_REALTIME : CLOCK_MONOTONIC, &now) < 0)
		return INVAL;
	ns = (u64)now.tv_sec * 1000000000 + (u64)now.tv_nsec;
	memcpy(to, &ns, sizeof ns);
	return SUCCESS;
}

u32 w2c_wasi__snapshot__preview1_random_get(wasi *w, u32 buf, u32 len)
{
	char *to = range(w, buf, len);

	if (!to)
		return FAULT;
	while (len > 0) {
		ssize_t n = getrandom(to, len, 0);

		if (n < 0)
			return IO;
		to += n;
		len -= (u32)n;
	}
	return SUCCESS;
}

/* no environment */
u32 w2c_wasi__snapshot__preview1_environ_sizes_get(wasi *w, u32 count, u32 bytes)
{
	return store_u32(w, count, 0) && store_u32(w, bytes, 0) ? SUCCESS : FAULT;
}

u32 w2c_wasi__snapshot__preview1_environ_get(wasi *w, u32 environ_at, u32 buf)
{
	(void)w, (void)environ_at, (void)buf;
	return SUCCESS;
}

/* One subscription to a clock: a sleep. https://github.com/WebAssembly/WASI/blob/main/legacy/preview1/docs.md#subscription */
u32 w2c_wasi__snapshot__preview1_poll_oneoff(wasi *w, u32 in, u32 out, u32 n, u32 done)
{
	const unsigned char *s = range(w, in, 48);
	unsigned char *event = range(w, out, 32);
	u64 ns;

	if (!s || !event)
		return FAULT;
	if (n != 1 || s[8] != 0 || s[40] != 0)
		return NOTSUP;
	memcpy(&ns, s + 24, sizeof ns);
	nanosleep(&(struct timespec){.tv_sec = (time_t)(ns / 1000000000), .tv_nsec = (long)(ns % 1000000000)}, NULL);
	memset(event, 0, 32);
	memcpy(event, s, 8); /* the subscriber's own mark */
	return store_u32(w, done, 1) ? SUCCESS : FAULT;
}

u32 w2c_wasi__snapshot__preview1_fd_fdstat_get(wasi *w, u32 fd, u32 result)
{
	unsigned char *to = range(w, result, 24);

	if (!to)
		return FAULT;
	if (fd > 2)
		return BADF;
	memset(to, 0, 24);
	to[0] = 2; /* a character device */
	return SUCCESS;
}

/* standard input is empty */
u32 w2c_wasi__snapshot__preview1_fd_read(wasi *w, u32 fd, u32 iovs, u32 n, u32 done)
{
	(void)iovs, (void)n;
	if (fd != 0)
		return BADF;
	return store_u32(w, done, 0) ? SUCCESS : FAULT;
}

u32 w2c_wasi__snapshot__preview1_fd_write(wasi *w, u32 fd, u32 iovs, u32 n, u32 done)
{
	u32 total = 0;

	if (fd != 1 && fd != 2)
		return BADF;
	for (u32 i = 0; i < n; i++) {
		const unsigned char *iov = range(w, iovs + 8 * i, 8);
		const char *from;
		u32 at, len;

		if (!iov)
			return FAULT;
		memcpy(&at, iov, 4);
		memcpy(&len, iov + 4, 4);
		from = range(w, at, len);
		if (!from)
			return FAULT;
		if (w->log_fd >= 0 && write(w->log_fd, from, len) < 0)
			return IO;
		total += len;
	}
	return store_u32(w, done, total) ? SUCCESS : FAULT;
}

/* The guest ends by returning; this is for an end in the middle of its own start. */
void w2c_wasi__snapshot__preview1_proc_exit(wasi *w, u32 code)
{
	(void)w;
	fprintf(stderr, "the guest has exited with status %u\n", code);
	exit(code ? (int)code : 1);
}
