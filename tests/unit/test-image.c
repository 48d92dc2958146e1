/* What image_open() refuses and what it says, on images made here. */
#define _GNU_SOURCE
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "../../guest/port/layout.h"
#include "../../host/image.h"

#define BUILD_ID "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"
#define PAGES 8

struct file {
	struct image_header header;
	char pad[IMAGE_PAGE - sizeof(struct image_header)];
	struct image_run runs[IMAGE_PAGE / sizeof(struct image_run)];
	char data[PAGES][IMAGE_PAGE];
};

static char path[64];

static void seal(struct file *f)
{
	f->header.checksum = image_checksum(&f->header, f->runs);
}

/* PRIVATE and BASE have a page each; CLUSTER two runs of one and two pages, crashed one of one. */
static struct file *new_file(void)
{
	struct file *f = calloc(1, sizeof *f);
	struct image_header *h = &f->header;

	memcpy(h->magic, IMAGE_MAGIC, sizeof IMAGE_MAGIC);
	h->format_version = IMAGE_FORMAT_VERSION;
	memcpy(h->build_id, BUILD_ID, 64);
	h->total_runs = 3;
	f->runs[0] = (struct image_run){3, 1};
	f->runs[1] = (struct image_run){0, 1};
	f->runs[2] = (struct image_run){5, 2};
	h->file_bytes = sizeof *f;
	h->parts[IMAGE_PRIVATE] = (struct image_part_header){offsetof(struct file, data[0]), IMAGE_PAGE, 0x800000, 0, 0, 0};
	h->parts[IMAGE_BASE] = (struct image_part_header){offsetof(struct file, data[1]), IMAGE_PAGE, PGCELL_BASE_START, 0, 0, 0};
	h->parts[IMAGE_CLUSTER_READY] =
		(struct image_part_header){offsetof(struct file, data[2]), 3 * IMAGE_PAGE, PGCELL_CLUSTER_START, 1, 2, 0};
	h->parts[IMAGE_CLUSTER_CRASHED] =
		(struct image_part_header){offsetof(struct file, data[5]), IMAGE_PAGE, PGCELL_CLUSTER_START, 0, 1, 0};
	for (int i = 0; i < PAGES; i++)
		memset(f->data[i], 'a' + i, IMAGE_PAGE);
	seal(f);
	return f;
}

static int open_file(const struct file *f, size_t len, struct image *image, char *err)
{
	int fd;

	strcpy(path, "/tmp/test-image.XXXXXX");
	fd = mkstemp(path);
	assert_true(fd >= 0);
	assert_int_equal(write(fd, f, len), len);
	close(fd);
	*err = 0;
	return image_open(image, path, BUILD_ID, err, 500);
}

static void expect_refused(const struct file *f, size_t len, const char *why)
{
	struct image image;
	char err[500];

	assert_int_equal(open_file(f, len, &image, err), -1);
	unlink(path);
	if (!strstr(err, why))
		fail_msg("\"%s\" does not say \"%s\"", err, why);
	assert_non_null(strstr(err, path));
}

static void test_good_image_fills_a_cell(void **state)
{
	struct file *f = new_file();
	struct image image;
	char err[500], page[IMAGE_PAGE];
	int fd = memfd_create("cell", MFD_CLOEXEC);

	(void)state;
	assert_int_equal(open_file(f, sizeof *f, &image, err), 0);
	assert_int_equal(image_write_cluster(&image, IMAGE_CLUSTER_READY, fd), 0);
	assert_int_equal(pread(fd, page, sizeof page, 6 * IMAGE_PAGE), sizeof page);
	assert_int_equal(page[0], 'e');
	assert_int_equal(pread(fd, page, sizeof page, 1 * IMAGE_PAGE), sizeof page);
	assert_int_equal(page[0], 0);
	image_release(&image);
	unlink(path);
	close(fd);
	free(f);
}

static void test_other_files_are_refused(void **state)
{
	struct file *f = new_file();
	struct image image;
	char err[500];

	(void)state;
	expect_refused(f, 0, "not a pgcell image");
	expect_refused(f, 100, "not a pgcell image");
	expect_refused(f, sizeof *f - 1, "its length is wrong");
	f->header.magic[0] = 'x';
	expect_refused(f, sizeof *f, "not a pgcell image");
	assert_int_equal(image_open(&image, "/nonexistent/pgcell.img", BUILD_ID, err, sizeof err), -1);
	assert_non_null(strstr(err, "No such file"));
	free(f);
}

static void test_image_of_another_build_is_refused(void **state)
{
	struct file *f = new_file();

	(void)state;
	f->header.build_id[3] = 'x';
	seal(f);
	expect_refused(f, sizeof *f, "another build");
	free(f);
	f = new_file();
	f->header.format_version++;
	seal(f);
	expect_refused(f, sizeof *f, "another build");
	free(f);
}

static void test_every_flipped_bit_of_header_and_table_is_noticed(void **state)
{
	struct file *f = new_file();
	size_t end = sizeof f->header;

	(void)state;
	for (size_t i = 0; i < end + 3 * sizeof *f->runs; i++) {
		char *byte = i < end ? (char *)f + i : (char *)f->runs + (i - end);

		*byte ^= 0x10;
		expect_refused(f, sizeof *f, "image");
		*byte ^= 0x10;
	}
	free(f);
}

/* A header whose checksum is right but whose numbers lie. */
static void test_parts_that_do_not_fit_are_refused(void **state)
{
	static const uint64_t bad_lengths[] = {1, 1ull << 40, UINT64_MAX - 4095, UINT64_MAX};

	(void)state;
	for (int part = 0; part < IMAGE_PARTS; part++) {
		for (size_t i = 0; i < sizeof bad_lengths / sizeof *bad_lengths; i++) {
			struct file *f = new_file();

			f->header.parts[part].len_bytes = bad_lengths[i];
			seal(f);
			expect_refused(f, sizeof *f, "does not fit");
			f->header.parts[part].len_bytes = IMAGE_PAGE;
			f->header.parts[part].offset = bad_lengths[i];
			seal(f);
			expect_refused(f, sizeof *f, "does not fit");
			free(f);
		}
	}
	for (int kind = 0; kind < 5; kind++) {
		struct file *f = new_file();

		switch (kind) {
		case 0: f->runs[1].page = UINT32_MAX; break;
		case 1: f->runs[1].pages = UINT32_MAX; break;
		case 2: f->header.parts[IMAGE_CLUSTER_READY].first_run = 2; break;
		case 3: f->header.parts[IMAGE_CLUSTER_READY].runs = UINT32_MAX; break;
		case 4: f->header.parts[IMAGE_PRIVATE].guest_start = PGCELL_PRIVATE_END; break;
		}
		seal(f);
		expect_refused(f, sizeof *f, "does not fit");
		free(f);
	}
	{
		struct file *f = new_file();

		f->header.total_runs = IMAGE_MAX_RUNS;
		expect_refused(f, sizeof *f, "damaged");
		f->header.total_runs = 4; /* one more than the parts have */
		seal(f);
		expect_refused(f, sizeof *f, "does not fit");
		free(f);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_good_image_fills_a_cell),
		cmocka_unit_test(test_other_files_are_refused),
		cmocka_unit_test(test_image_of_another_build_is_refused),
		cmocka_unit_test(test_every_flipped_bit_of_header_and_table_is_noticed),
		cmocka_unit_test(test_parts_that_do_not_fit_are_refused),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
