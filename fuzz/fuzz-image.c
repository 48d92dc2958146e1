/*
 * The image reader: any file with a right checksum is refused or can fill a cell without touching what is not its own.
 *
 * The input is not the file but what it says: most files that random bytes make fail at the first number, so numbers come as small ones
 * (pages, choices of what is right) unless a bit asks for raw ones.
 */
#define _GNU_SOURCE
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "../host/image.h"

#include "../guest/port/layout.h"
#include "input.h"

#define PAGES_MAX 24u
#define RUNS_MAX 48u

/* A small number of pages, or anything. */
static uint64_t take_bytes(struct input *in, bool is_raw)
{
	return is_raw ? take(in, 8) : take(in, 1) % (PAGES_MAX + 2) * IMAGE_PAGE;
}

static void fill_part(struct input *in, struct image_part_header *part, int which)
{
	static const uint32_t starts[IMAGE_PARTS] = {0, PGCELL_BASE_START, PGCELL_CLUSTER_START, PGCELL_CLUSTER_START};
	uint8_t how = (uint8_t)take(in, 1);

	part->offset = take_bytes(in, how & 1);
	part->len_bytes = take_bytes(in, how & 2);
	part->guest_start = how & 4 ? (uint32_t)take(in, 4) : starts[which];
	part->first_run = how & 8 ? (uint32_t)take(in, 4) : (uint32_t)take(in, 1) % RUNS_MAX;
	part->runs = how & 16 ? (uint32_t)take(in, 4) : (uint32_t)take(in, 1) % RUNS_MAX;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct input in = {data, size};
	size_t file_bytes = (2 + take(&in, 1) % PAGES_MAX) * IMAGE_PAGE - (take(&in, 1) == 0 ? 0 : take(&in, 2) % IMAGE_PAGE);
	char build_id[65] = {0}, path[64], err[500];
	uint8_t *file = calloc(1, file_bytes);
	struct image_header *h = (struct image_header *)file;
	struct image_run *runs = (struct image_run *)(file + IMAGE_PAGE);
	struct image image;
	int fd;

	memcpy(h->magic, IMAGE_MAGIC, sizeof h->magic);
	h->format_version = IMAGE_FORMAT_VERSION;
	h->file_bytes = take(&in, 1) == 0 ? file_bytes : take(&in, 8);
	for (int i = 0; i < IMAGE_PARTS; i++)
		fill_part(&in, &h->parts[i], i);
	h->total_runs = (uint32_t)take(&in, 1) % 8 == 0 ? (uint32_t)take(&in, 4) :
		h->parts[IMAGE_CLUSTER_CRASHED].runs + h->parts[IMAGE_CLUSTER_READY].runs;
	for (size_t i = 0; i < RUNS_MAX && file_bytes >= IMAGE_PAGE + (i + 1) * sizeof *runs && in.left > 0; i++) {
		bool is_raw = take(&in, 1) % 8 == 0;

		runs[i].page = (uint32_t)take(&in, is_raw ? 4 : 1);
		runs[i].pages = (uint32_t)take(&in, is_raw ? 4 : 1);
	}
	if (IMAGE_PAGE + (uint64_t)h->total_runs * sizeof *runs <= file_bytes)
		h->checksum = image_checksum(h, runs);

	fd = memfd_create("image", 0);
	if (write(fd, file, file_bytes) == (ssize_t)file_bytes) {
		snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
		if (image_open(&image, path, build_id, err, sizeof err) == 0) {
			int cell = memfd_create("cell", 0);

			(void)!image_write_cluster(&image, IMAGE_CLUSTER_READY, cell);
			(void)!image_write_cluster(&image, IMAGE_CLUSTER_CRASHED, cell);
			close(cell);
			image_release(&image);
		}
	}
	close(fd);
	free(file);
	return 0;
}
