/*
 * The reader of snapshots: any file with a right checksum is refused, or fills a cell's memory and nothing beyond. As in fuzz-image.c, the
 * input is what the file says, in small numbers unless a bit asks for raw ones.
 */
#include "../host/copy.c" /* for its checksum */
#include "input.h"

#define PAGES_MAX 24u
#define RUNS_MAX 48u
#define MEMORY_PAGES_MAX 64u

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct input in = {data, size};
	size_t file_bytes = (2 + take(&in, 1) % PAGES_MAX) * IMAGE_PAGE - (take(&in, 1) == 0 ? 0 : take(&in, 2) % IMAGE_PAGE);
	uint8_t *file = calloc(1, file_bytes);
	struct snapshot_header *header = (struct snapshot_header *)file;
	struct image_run *runs = (struct image_run *)(file + IMAGE_PAGE);
	int from, to;

	memcpy(header->magic, SNAPSHOT_MAGIC, sizeof(header->magic));
	header->format_version = SNAPSHOT_FORMAT_VERSION;
	header->is_clean = (uint32_t)take(&in, 1);
	memcpy(header->build_id, build_id, strnlen(build_id, sizeof(header->build_id)));
	header->memory_bytes = take(&in, 1) % 8 == 0 ? take(&in, 8) : take(&in, 1) % MEMORY_PAGES_MAX * IMAGE_PAGE;
	header->runs = take(&in, 1) % 8 == 0 ? take(&in, 8) : take(&in, 1) % RUNS_MAX;
	for (size_t i = 0; i < RUNS_MAX && file_bytes >= IMAGE_PAGE + (i + 1) * sizeof(*runs) && in.left > 0; i++) {
		bool is_raw = take(&in, 1) % 8 == 0;

		runs[i].page = (uint32_t)take(&in, is_raw ? 4 : 1);
		runs[i].pages = (uint32_t)take(&in, is_raw ? 4 : 1);
	}
	if (header->runs <= (file_bytes - IMAGE_PAGE) / sizeof(*runs))
		header->checksum = checksum(header, runs);

	from = memfd_create("snapshot", 0);
	to = memfd_create("cell", 0);
	if (write(from, file, file_bytes) == (ssize_t)file_bytes &&
	    copy_run(COPY_RESTORE, from, to, true, NULL, 0) <= COPY_NEEDS_RECOVERY) {
		struct stat info;

		if (fstat(to, &info) != 0 || (uint64_t)info.st_size != header->memory_bytes)
			abort(); /* something was written beyond the end */
	}
	close(from);
	close(to);
	free(file);
	return 0;
}
