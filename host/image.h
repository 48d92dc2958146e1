/*
 * image.h - the file that cells start from.
 *
 *	+--------+-----------+----------------+------------------+-------------------+------------------------+
 *	| header | run table | PRIVATE        | BASE             | CLUSTER as it is  | CLUSTER's shared memory|
 *	| 4 KiB  |           | data and heap  | blocks of files  | after recovery    | before recovery        |
 *	+--------+-----------+----------------+------------------+-------------------+------------------------+
 *
 * Every part starts on a page, so that PRIVATE and BASE are mapped as they are. The two CLUSTER parts hold only the pages that
 * are not zero: the run table says where they belong. A new cell gets the first; a cell that recovers from a crash gets the
 * second over its shared memory, keeps its files, and replays its WAL.
 *
 * An image belongs to one build of the module (addresses and code must match): image_open() compares the build id. Everything in
 * the header and the table is checked before use; the parts' contents are as trusted as the program itself.
 *
 * Errors are texts for the user: functions return -1 and fill `err`.
 */
#ifndef PGCELL_IMAGE_H
#define PGCELL_IMAGE_H

#include <stddef.h>
#include <stdint.h>

#define IMAGE_MAGIC "pgcell image\n\x1a\0" /* 16 bytes with the terminator */
#define IMAGE_FORMAT_VERSION 1
#define IMAGE_PAGE 4096u
#define IMAGE_MAX_RUNS 65536u

enum image_part { IMAGE_PRIVATE, IMAGE_BASE, IMAGE_CLUSTER_READY, IMAGE_CLUSTER_CRASHED, IMAGE_PARTS };

struct image_part_header {
	uint64_t offset; /* in the file, bytes */
	uint64_t len_bytes;
	uint32_t guest_start; /* where it belongs; for CLUSTER parts the segment's start */
	uint32_t first_run; /* CLUSTER parts: in the run table */
	uint32_t runs;
	uint32_t reserved;
};

/* Consecutive pages of a CLUSTER part. */
struct image_run {
	uint32_t page; /* from the segment's start */
	uint32_t pages;
};

struct image_header {
	char magic[16];
	uint32_t format_version;
	uint32_t contract_version;
	char build_id[64];
	char postgres_version[32];
	uint32_t total_runs;
	uint32_t reserved;
	struct image_part_header parts[IMAGE_PARTS];
	uint64_t file_bytes;
	uint64_t checksum; /* of the header with this field 0, and of the run table: FNV-1a, against truncation and mix-ups */
};

struct image {
	int fd;
	const struct image_header *header; /* the mapped file */
	const struct image_run *runs;
	size_t map_bytes;
};

uint64_t image_checksum(const struct image_header *header, const struct image_run *runs);

/* Maps and checks the file. `image` is to be released after success only. */
int image_open(struct image *image, const char *path, const char *build_id, char *err, size_t errlen)
	__attribute__((warn_unused_result));
void image_release(struct image *image);

/* Writes a CLUSTER part's pages into fd, a file that holds the segment. Returns 0 or -errno. */
int image_write_cluster(const struct image *image, enum image_part part, int fd) __attribute__((warn_unused_result));

#endif
