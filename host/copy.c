#define _GNU_SOURCE
#include "copy.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "log.h"

#ifndef GUEST_BUILD_ID
#define GUEST_BUILD_ID "none" /* the tests' engine */
#endif

#define COPY_THREADS 2
#define COPY_CHUNK_PAGES 256u /* what a thread takes at a time */
#define PAUSE_WAIT_MS 5000
#define MEMORY_MAX (UINT64_C(4) << 30)

static const char build_id[] = GUEST_BUILD_ID;

struct runs {
	struct image_run *items;
	size_t count, cap;
};

/* Pages of `from` at its offsets go to `to`; of one side the offsets are packed, the other's are page numbers. */
struct work {
	const char *from;
	int to;
	const struct runs *runs;
	bool from_is_packed, to_is_packed;
	uint64_t packed_start; /* bytes */
	atomic_size_t next;
	atomic_int error;
};

/* ---- stopping the source ---- */

/* Stopped, or gone. */
static bool is_stopped(pid_t pid)
{
	char path[64], text[512];
	const char *name_end;
	ssize_t len;
	int fd;

	snprintf(path, sizeof(path), "/proc/%d/stat", (int)pid);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return true;
	len = read(fd, text, sizeof(text) - 1);
	close(fd);
	if (len <= 0)
		return true;
	text[len] = '\0';
	name_end = strrchr(text, ')');
	return name_end != NULL && name_end[1] == ' ' && strchr("TtZXx", name_end[2]) != NULL;
}

static int pause_all(const uint32_t *pids, size_t count)
{
	static const struct timespec nap = {.tv_nsec = 200000};
	int tries_left = PAUSE_WAIT_MS * 5;

	for (size_t i = 0; i < count; i++)
		kill((pid_t)pids[i], SIGSTOP);
	for (size_t i = 0; i < count; i++) {
		while (!is_stopped((pid_t)pids[i])) {
			if (tries_left-- == 0)
				return -ETIMEDOUT;
			nanosleep(&nap, NULL);
		}
	}
	return 0;
}

/* ---- what is there ---- */

static int add_run(struct runs *runs, uint32_t page, uint32_t pages)
{
	if (runs->count == runs->cap) {
		size_t cap = runs->cap == 0 ? 1024 : runs->cap * 2;
		struct image_run *grown = realloc(runs->items, cap * sizeof(*grown));

		if (grown == NULL)
			return -ENOMEM;
		runs->items = grown;
		runs->cap = cap;
	}
	runs->items[runs->count++] = (struct image_run){.page = page, .pages = pages};
	return 0;
}

/* In chunks, so that threads can share them. */
static int find_runs(int memfd, uint64_t bytes, struct runs *runs)
{
	off_t at = 0;

	while ((uint64_t)at < bytes) {
		off_t data = lseek(memfd, at, SEEK_DATA);
		off_t hole = data < 0 ? -1 : lseek(memfd, data, SEEK_HOLE);
		uint32_t page, end;

		if (data < 0 && errno == ENXIO)
			return 0;
		if (hole < 0)
			return -errno;
		page = (uint32_t)(data / IMAGE_PAGE);
		end = (uint32_t)((hole + IMAGE_PAGE - 1) / IMAGE_PAGE);
		for (; page < end; page += COPY_CHUNK_PAGES) {
			uint32_t pages = end - page < COPY_CHUNK_PAGES ? end - page : COPY_CHUNK_PAGES;
			int rc = add_run(runs, page, pages);

			if (rc != 0)
				return rc;
		}
		at = hole;
	}
	return 0;
}

/* ---- copying ---- */

/* packed_at: where the run is in a snapshot, bytes from packed_start. */
static int copy_one(const struct work *work, const struct image_run *run, uint64_t packed_at)
{
	uint64_t plain = (uint64_t)run->page * IMAGE_PAGE;
	uint64_t packed = work->packed_start + packed_at;
	const char *from = work->from + (work->from_is_packed ? packed : plain);
	uint64_t to = work->to_is_packed ? packed : plain;
	uint64_t left = (uint64_t)run->pages * IMAGE_PAGE;

	madvise((void *)(uintptr_t)from, left, MADV_POPULATE_READ); /* at once instead of by faults */
	while (left > 0) {
		ssize_t done = pwrite(work->to, from, left, (off_t)to);

		if (done < 0 && errno == EINTR)
			continue;
		if (done <= 0)
			return done < 0 ? -errno : -EIO;
		from += done;
		to += (uint64_t)done;
		left -= (uint64_t)done;
	}
	return 0;
}

static void *copy_runs(void *arg)
{
	struct work *work = arg;
	uint64_t packed_at = 0;
	size_t at = 0;

	for (;;) {
		size_t mine = atomic_fetch_add(&work->next, 1);
		int rc;

		if (mine >= work->runs->count || atomic_load(&work->error) != 0)
			return NULL;
		for (; at < mine; at++)
			packed_at += (uint64_t)work->runs->items[at].pages * IMAGE_PAGE;
		rc = copy_one(work, &work->runs->items[mine], packed_at);
		if (rc != 0)
			atomic_store(&work->error, rc);
	}
}

static int copy_all(struct work *work)
{
	pthread_t threads[COPY_THREADS - 1];
	size_t started = 0;

	while (started < COPY_THREADS - 1 && pthread_create(&threads[started], NULL, copy_runs, work) == 0)
		started++;
	copy_runs(work);
	while (started > 0)
		pthread_join(threads[--started], NULL);
	return atomic_load(&work->error);
}

static uint64_t table_bytes(uint64_t runs)
{
	return (runs * sizeof(struct image_run) + IMAGE_PAGE - 1) / IMAGE_PAGE * IMAGE_PAGE;
}

static uint64_t checksum(const struct snapshot_header *header, const struct image_run *runs)
{
	struct snapshot_header copy = *header;
	const uint8_t *bytes[2] = {(const uint8_t *)&copy, (const uint8_t *)runs};
	size_t lens[2] = {sizeof(copy), header->runs * sizeof(*runs)};
	uint64_t hash = UINT64_C(0xcbf29ce484222325);

	copy.checksum = 0;
	for (size_t part = 0; part < 2; part++) {
		for (size_t i = 0; i < lens[part]; i++)
			hash = (hash ^ bytes[part][i]) * UINT64_C(0x100000001b3);
	}
	return hash;
}

static int write_table(int fd, const struct runs *runs, uint64_t memory_bytes, bool is_clean)
{
	struct snapshot_header header = {.magic = SNAPSHOT_MAGIC, .format_version = SNAPSHOT_FORMAT_VERSION, .is_clean = is_clean,
		.memory_bytes = memory_bytes, .runs = runs->count};
	size_t len = runs->count * sizeof(*runs->items);

	memcpy(header.build_id, build_id, strnlen(build_id, sizeof(header.build_id))); /* may fill it, without a terminator */
	header.checksum = checksum(&header, runs->items);
	if (ftruncate(fd, 0) != 0 || pwrite(fd, &header, sizeof(header), 0) != (ssize_t)sizeof(header) ||
	    pwrite(fd, runs->items, len, IMAGE_PAGE) != (ssize_t)len)
		return errno != 0 ? -errno : -EIO;
	return 0;
}

/* Every number is checked against the file's size and the memory's. Returns 0, or an exit status. */
static int read_table(const char *file, uint64_t file_bytes, struct snapshot_header *header, struct runs *runs)
{
	uint64_t next_page = 0, pages = 0;

	if (file_bytes < IMAGE_PAGE)
		return COPY_NO_SNAPSHOT;
	memcpy(header, file, sizeof(*header));
	if (memcmp(header->magic, SNAPSHOT_MAGIC, sizeof(header->magic)) != 0 || header->format_version != SNAPSHOT_FORMAT_VERSION)
		return COPY_NO_SNAPSHOT;
	if (strncmp(header->build_id, build_id, sizeof(header->build_id)) != 0)
		return COPY_OTHER_BUILD;
	if (header->memory_bytes == 0 || header->memory_bytes > MEMORY_MAX || header->memory_bytes % IMAGE_PAGE != 0 ||
	    header->runs > header->memory_bytes / IMAGE_PAGE || file_bytes < IMAGE_PAGE + table_bytes(header->runs))
		return COPY_NO_SNAPSHOT;
	runs->items = malloc(header->runs * sizeof(*runs->items) + 1);
	if (runs->items == NULL)
		return COPY_FAILED;
	memcpy(runs->items, file + IMAGE_PAGE, header->runs * sizeof(*runs->items)); /* the file may change under our eyes */
	runs->count = header->runs;
	if (checksum(header, runs->items) != header->checksum)
		return COPY_NO_SNAPSHOT;
	for (size_t i = 0; i < runs->count; i++) {
		const struct image_run *run = &runs->items[i];

		if (run->page < next_page || run->pages == 0 || run->pages > COPY_CHUNK_PAGES)
			return COPY_NO_SNAPSHOT;
		next_page = (uint64_t)run->page + run->pages;
		pages += run->pages;
	}
	if (next_page > header->memory_bytes / IMAGE_PAGE || file_bytes < IMAGE_PAGE + table_bytes(runs->count) + pages * IMAGE_PAGE)
		return COPY_NO_SNAPSHOT;
	return 0;
}

static int failed(const char *what, int rc)
{
	log_error(NULL, 0, "a cell could not be copied: %s: %s", what, strerror(-rc));
	return COPY_FAILED;
}

static int restore(const char *file, uint64_t file_bytes, int to)
{
	struct snapshot_header header;
	struct runs runs = {0};
	struct work work = {.from = file, .to = to, .runs = &runs, .from_is_packed = true};
	int status = read_table(file, file_bytes, &header, &runs);
	int rc;

	if (status == 0 && ftruncate(to, (off_t)header.memory_bytes) != 0)
		status = failed("its size", -errno);
	if (status == 0) {
		work.packed_start = IMAGE_PAGE + table_bytes(runs.count);
		rc = copy_all(&work);
		if (rc != 0)
			status = failed("reading the snapshot", rc);
	}
	if (status == 0 && !header.is_clean)
		status = COPY_NEEDS_RECOVERY;
	free(runs.items);
	return status;
}

static int save(enum copy_kind kind, const char *memory, uint64_t bytes, int from, int to, bool is_clean)
{
	struct runs runs = {0};
	struct work work = {.from = memory, .to = to, .runs = &runs, .to_is_packed = kind == COPY_SNAPSHOT};
	int rc = find_runs(from, bytes, &runs);

	work.packed_start = IMAGE_PAGE + table_bytes(runs.count);
	if (rc == 0)
		rc = kind == COPY_SNAPSHOT ? write_table(to, &runs, bytes, is_clean) : ftruncate(to, (off_t)bytes) == 0 ? 0 : -errno;
	if (rc == 0)
		rc = copy_all(&work);
	if (rc == 0 && kind == COPY_SNAPSHOT && fdatasync(to) != 0 && errno != EINVAL)
		rc = -errno;
	free(runs.items);
	if (rc != 0)
		return failed("writing", rc);
	return is_clean ? COPY_CLEAN : COPY_NEEDS_RECOVERY;
}

int copy_run(enum copy_kind kind, int from, int to, bool is_clean, const uint32_t *paused, size_t paused_count)
{
	struct stat info;
	char *memory;
	int status;
	int rc;

	if (fstat(from, &info) != 0 || !S_ISREG(info.st_mode) || info.st_size <= 0)
		return kind == COPY_RESTORE ? COPY_NO_SNAPSHOT : failed("its memory", -errno);
	rc = pause_all(paused, paused_count);
	if (rc != 0)
		return failed("stopping its sessions", rc);
	memory = mmap(NULL, (size_t)info.st_size, PROT_READ, MAP_SHARED, from, 0);
	if (memory == MAP_FAILED)
		return failed("mapping it", -errno);
	if (kind == COPY_RESTORE)
		status = restore(memory, (uint64_t)info.st_size, to);
	else
		status = save(kind, memory, (uint64_t)info.st_size, from, to, is_clean);
	munmap(memory, (size_t)info.st_size);
	return status;
}
