#define _GNU_SOURCE
#include "image.h"

#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "../guest/port/layout.h"

static uint64_t fnv1a(uint64_t hash, const void *data, size_t len)
{
	const unsigned char *p = data;

	for (size_t i = 0; i < len; i++)
		hash = (hash ^ p[i]) * 0x100000001b3u;
	return hash;
}

/* FNV-1a, 64 bits: http://www.isthe.com/chongo/tech/comp/fnv/ */
uint64_t image_checksum(const struct image_header *header, const struct image_run *runs)
{
	struct image_header copy = *header;

	copy.checksum = 0;
	return fnv1a(fnv1a(0xcbf29ce484222325u, &copy, sizeof copy), runs, header->total_runs * sizeof *runs);
}

/* What may lie where: the part's guest range is inside its segment. */
static const struct {
	uint32_t start, end;
	const char *name;
} segments[IMAGE_PARTS] = {
	[IMAGE_PRIVATE] = {0, PGCELL_PRIVATE_END, "PRIVATE"},
	[IMAGE_BASE] = {PGCELL_BASE_START, PGCELL_BASE_END, "BASE"},
	[IMAGE_CLUSTER_READY] = {PGCELL_CLUSTER_START, PGCELL_CLUSTER_END, "CLUSTER"},
	[IMAGE_CLUSTER_CRASHED] = {PGCELL_CLUSTER_START, PGCELL_FILES_START, "shared memory"},
};

static bool part_is_sane(const struct image_header *h, const struct image_run *runs, enum image_part i)
{
	const struct image_part_header *p = &h->parts[i];
	uint64_t segment = segments[i].end - segments[i].start;
	uint64_t pages = 0;

	if (p->offset % IMAGE_PAGE || p->len_bytes % IMAGE_PAGE || p->guest_start % IMAGE_PAGE ||
		p->offset > h->file_bytes || p->len_bytes > h->file_bytes - p->offset)
		return false;
	if (i < IMAGE_CLUSTER_READY)
		return p->guest_start >= segments[i].start && p->guest_start <= segments[i].end &&
			p->len_bytes <= segments[i].end - p->guest_start;
	if (p->first_run > h->total_runs || p->runs > h->total_runs - p->first_run || p->guest_start != segments[i].start)
		return false;
	for (uint32_t r = p->first_run; r < p->first_run + p->runs; r++) {
		if (runs[r].page > segment / IMAGE_PAGE || runs[r].pages > segment / IMAGE_PAGE - runs[r].page)
			return false;
		pages += runs[r].pages;
	}
	return pages * IMAGE_PAGE == p->len_bytes;
}

int image_open(struct image *image, const char *path, const char *build_id, char *err, size_t errlen)
{
	struct stat st;
	const struct image_header *h;
	void *at = MAP_FAILED;

	image->fd = open(path, O_RDONLY | O_CLOEXEC);
	if (image->fd < 0 || fstat(image->fd, &st) < 0) {
		snprintf(err, errlen, "can't open the image %s: %s", path, strerror(errno));
		goto fail;
	}
	if (!S_ISREG(st.st_mode) || (uint64_t)st.st_size < sizeof *h) {
		snprintf(err, errlen, "%s is not a pgcell image", path);
		goto fail;
	}
	image->map_bytes = (size_t)st.st_size;
	at = mmap(NULL, image->map_bytes, PROT_READ, MAP_SHARED, image->fd, 0);
	if (at == MAP_FAILED) {
		snprintf(err, errlen, "can't map the image %s: %s", path, strerror(errno));
		goto fail;
	}
	h = image->header = at;
	image->runs = (const struct image_run *)((const char *)at + IMAGE_PAGE);
	if (memcmp(h->magic, IMAGE_MAGIC, sizeof IMAGE_MAGIC) != 0) {
		snprintf(err, errlen, "%s is not a pgcell image", path);
		goto fail;
	}
	if (h->format_version != IMAGE_FORMAT_VERSION || memcmp(h->build_id, build_id, sizeof h->build_id) != 0) {
		snprintf(err, errlen,
			"the image %s belongs to another build of pgcell (%.12s, this is %.12s): make it anew with 'make', or use the "
			"one beside the program",
			path, h->format_version == IMAGE_FORMAT_VERSION ? h->build_id : "other format", build_id);
		goto fail;
	}
	if (h->file_bytes != image->map_bytes || h->total_runs > IMAGE_MAX_RUNS ||
		IMAGE_PAGE + h->total_runs * sizeof *image->runs > image->map_bytes ||
		h->checksum != image_checksum(h, image->runs)) {
		snprintf(err, errlen, "the image %s is damaged: %s", path,
			h->file_bytes != image->map_bytes ? "its length is wrong" : "its checksum does not match");
		goto fail;
	}
	for (int i = 0; i < IMAGE_PARTS; i++)
		if (!part_is_sane(h, image->runs, i)) {
			snprintf(err, errlen, "the image %s is damaged: the part %s does not fit", path, segments[i].name);
			goto fail;
		}
	/* the run table is the two CLUSTER parts' runs, and nothing else */
	if (h->parts[IMAGE_CLUSTER_CRASHED].first_run != 0 ||
		h->parts[IMAGE_CLUSTER_READY].first_run != h->parts[IMAGE_CLUSTER_CRASHED].runs ||
		h->total_runs != h->parts[IMAGE_CLUSTER_READY].first_run + h->parts[IMAGE_CLUSTER_READY].runs) {
		snprintf(err, errlen, "the image %s is damaged: its run table does not fit", path);
		goto fail;
	}
	return 0;
fail:
	if (at != MAP_FAILED)
		munmap(at, image->map_bytes);
	if (image->fd >= 0)
		close(image->fd);
	return -1;
}

void image_release(struct image *image)
{
	munmap((void *)(uintptr_t)image->header, image->map_bytes);
	close(image->fd);
}

static int write_all(int fd, const char *data, size_t len, off_t offset)
{
	while (len > 0) {
		ssize_t n = pwrite(fd, data, len, offset);

		if (n < 0 && errno != EINTR)
			return -errno;
		if (n > 0) {
			data += n;
			len -= (size_t)n;
			offset += n;
		}
	}
	return 0;
}

int image_write_cluster(const struct image *image, enum image_part part, int fd)
{
	const struct image_part_header *p = &image->header->parts[part];
	const char *data = (const char *)image->header + p->offset;

	for (uint32_t r = p->first_run; r < p->first_run + p->runs; r++) {
		size_t len = (size_t)image->runs[r].pages * IMAGE_PAGE;
		int rc = write_all(fd, data, len, (off_t)image->runs[r].page * IMAGE_PAGE);

		if (rc < 0)
			return rc;
		data += len;
	}
	return 0;
}
