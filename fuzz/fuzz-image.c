/* The image reader: any file with a right checksum is refused or can fill a cell without touching what is not its own. */
#define _GNU_SOURCE
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "../host/image.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	char build_id[65] = {0}, path[64], err[500];
	struct image image;
	uint8_t *file;
	int fd;

	if (size < sizeof(struct image_header) || size > 64 * IMAGE_PAGE)
		return 0;
	file = malloc(size);
	memcpy(file, data, size);
	{
		struct image_header *h = (struct image_header *)file;

		memcpy(h->magic, IMAGE_MAGIC, sizeof h->magic);
		h->format_version = IMAGE_FORMAT_VERSION;
		memset(h->build_id, 0, sizeof h->build_id);
		h->file_bytes = size;
		h->total_runs %= 64;
		if (IMAGE_PAGE + h->total_runs * sizeof(struct image_run) <= size)
			h->checksum = image_checksum(h, (const struct image_run *)(file + IMAGE_PAGE));
	}
	fd = memfd_create("image", 0);
	if (write(fd, file, size) == (ssize_t)size) {
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
