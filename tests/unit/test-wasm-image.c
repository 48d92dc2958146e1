/* What wasm_image_write() makes of a module and a memory, and what it refuses. Modules are put together here, byte by byte. */
#define _GNU_SOURCE
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "../../guest/image/wasm_image.h"

#define LEN(literal) (sizeof(literal) - 1)

/* ---- a small module ---- */

enum { CUSTOM, TYPE, IMPORT, FUNCTION, TABLE, MEMORY, GLOBAL, EXPORT, START, ELEMENT, CODE, DATA, DATA_COUNT, TAG };

struct piece {
	uint8_t id;
	const char *bytes; /* NULL: leave it out */
	size_t len;
};

#define PIECE(id, literal) ((struct piece){id, literal, LEN(literal)})
#define NO_PIECE(id) ((struct piece){id, NULL, 0})

#define PREAMBLE "\0asm\1\0\0\0"
#define TYPES "\3" "\x60\0\0" "\x60\3\x7f\x7f\x7f\0" "\x60\1\x7f\1\x7f"
#define IMPORTS "\2" "\3env\4note\0\0" "\3env\1g\3\x7f\0"
#define FUNCTIONS "\5" "\0\1\0\2\0"
#define MEMORIES "\1" "\1\1\1"
#define TAGS "\1" "\0\0"
#define GLOBALS "\1" "\x7f\1\x41\x80\x20\x0b"
#define EXPORTS "\6" "\6memory\2\0" "\7restore\0\1" "\4read\0\2" "\x0b_initialize\0\3" "\4keep\0\4" "\4bake\0\5"
#define ELEMENTS "\1" "\0\x41\0\x0b\1\1"
#define CODE_RESTORE "\3\0\0\x0b"
#define CODE_READ "\3\0\0\x0b"
#define CODE_INITIALIZE "\4\0\x10\0\x0b"
#define CODE_KEEP "\4\0\x20\0\x0b"
#define CODE_BAKE "\2\0\x0b"

/* There is room for one that modules must not have. */
static const struct piece good[] = {
	{CUSTOM, "\4name!", 6},
	{TYPE, TYPES, LEN(TYPES)},
	{IMPORT, IMPORTS, LEN(IMPORTS)},
	{FUNCTION, FUNCTIONS, LEN(FUNCTIONS)},
	{TABLE, "\1\x70\0\2", 4},
	{MEMORY, MEMORIES, LEN(MEMORIES)},
	{TAG, TAGS, LEN(TAGS)},
	{GLOBAL, GLOBALS, LEN(GLOBALS)},
	{EXPORT, EXPORTS, LEN(EXPORTS)},
	{START, NULL, 0},
	{ELEMENT, ELEMENTS, LEN(ELEMENTS)},
	{DATA_COUNT, NULL, 0},
	{CODE, "\5" CODE_RESTORE CODE_READ CODE_INITIALIZE CODE_KEEP CODE_BAKE,
		LEN("\5" CODE_RESTORE CODE_READ CODE_INITIALIZE CODE_KEEP CODE_BAKE)},
	{DATA, "\1\0\x41\x64\x0b\3old", 8},
	{CUSTOM, "\4name?", 6},
};

#define PIECES (sizeof good / sizeof *good)

struct bytes {
	uint8_t *at;
	size_t len;
};

static void append(struct bytes *b, const void *data, size_t len)
{
	b->at = realloc(b->at, b->len + len + 1);
	memcpy(b->at + b->len, data, len);
	b->len += len;
}

static void append_section(struct bytes *b, struct piece p)
{
	uint8_t head[2] = {p.id, (uint8_t)p.len};

	assert_true(p.len < 128);
	append(b, head, 2);
	append(b, p.bytes, p.len);
}

/* The good module, with another section in the place of the one of this number. */
static struct bytes module_with(struct piece other)
{
	struct bytes b = {NULL, 0};

	append(&b, PREAMBLE, LEN(PREAMBLE));
	for (size_t i = 0; i < PIECES; i++) {
		struct piece p = good[i].id == other.id ? other : good[i];

		if (p.bytes)
			append_section(&b, p);
	}
	return b;
}

static struct bytes good_module(void)
{
	return module_with((struct piece){0xff, NULL, 0});
}

/* ---- a small memory ---- */

#define MEMORY_PAGES 3
#define MEMORY_BYTES (MEMORY_PAGES * WASM_IMAGE_PAGE)

static uint8_t memory[MEMORY_BYTES];
static const char *const only_for_the_build[] = {"bake", NULL};

static struct wasm_image good_image(void)
{
	memset(memory, 0, sizeof memory);
	memcpy(memory + 100, "AB", 2);
	memcpy(memory + 800, "C", 1);
	memcpy(memory + 1030, "D\0\0E", 4);
	memcpy(memory + 2000, "F", 1);
	memcpy(memory + 2 * WASM_IMAGE_PAGE, "base\0\0", 6);
	/* in no range */
	memcpy(memory + 63, "x", 1);
	memcpy(memory + WASM_IMAGE_PAGE, "x", 1);
	return (struct wasm_image){
		.memory = memory,
		.memory_bytes = MEMORY_BYTES,
		.private_start = 64,
		.private_end = 1024,
		.cluster_start = 1024,
		.cluster_end = WASM_IMAGE_PAGE,
		.base_start = 2 * WASM_IMAGE_PAGE,
		.base_end = 2 * WASM_IMAGE_PAGE + 6,
		.memory_pages = 2,
		.max_pages = 300,
		.restore_export = "restore",
		.base_read_export = "read",
		.drop_exports = only_for_the_build,
	};
}

static int write_image(struct bytes module, const struct wasm_image *image, struct bytes *out, char *err)
{
	char *text = NULL;
	FILE *to = open_memstream(&text, &out->len);
	int rc;

	*err = 0;
	rc = wasm_image_write(module.at, module.len, image, to, err, 500);
	fclose(to);
	out->at = (uint8_t *)text;
	return rc;
}

static struct bytes write_good(struct bytes module, const struct wasm_image *image)
{
	struct bytes out;
	char err[500];

	if (write_image(module, image, &out, err) != 0)
		fail_msg("%s", err);
	free(module.at);
	return out;
}

static void expect_refused(struct bytes module, const struct wasm_image *image, const char *why)
{
	struct bytes out;
	char err[500];

	assert_int_equal(write_image(module, image, &out, err), -1);
	if (!strstr(err, why))
		fail_msg("'%s' does not say '%s'", err, why);
	assert_int_equal(out.len, 0);
	free(out.at);
	free(module.at);
}

static void expect_module_refused(struct piece other, const char *why)
{
	struct wasm_image image = good_image();

	expect_refused(module_with(other), &image, why);
}

/* ---- a reader of the results, that knows nothing of the writer ---- */

static uint64_t take_leb(const uint8_t **at, bool is_signed)
{
	uint64_t value = 0;
	unsigned shift = 0;
	uint8_t byte;

	do {
		byte = *(*at)++;
		value |= (uint64_t)(byte & 0x7f) << shift;
		shift += 7;
	} while (byte & 0x80);
	assert_true(shift <= 35);
	if (is_signed && (byte & 0x40))
		value |= ~(uint64_t)0 << shift;
	return value;
}

static uint32_t take_u32(const uint8_t **at)
{
	return (uint32_t)take_leb(at, false);
}

static uint32_t take_i32_const(const uint8_t **at)
{
	int64_t value;

	assert_int_equal(*(*at)++, 0x41);
	value = (int64_t)take_leb(at, true);
	assert_true(value >= INT32_MIN && value <= INT32_MAX);
	return (uint32_t)value;
}

struct result {
	const uint8_t *section[14];
	uint32_t segments;
	struct {
		bool active;
		uint32_t address; /* of an active one */
		const uint8_t *bytes;
		uint32_t len;
	} segment[WASM_IMAGE_MAX_SEGMENTS];
};

static struct result *parse(struct bytes out)
{
	static struct result r;
	const uint8_t *at = out.at + LEN(PREAMBLE), *end = out.at + out.len, *section_end = NULL;

	memset(&r, 0, sizeof r);
	while (at < end) {
		uint8_t id = *at++;
		uint32_t len = take_u32(&at);

		assert_true(id < 14);
		assert_true(len <= end - at);
		assert_null(r.section[id]);
		r.section[id] = at;
		at = section_end = at + len;
	}
	assert_null(r.section[CUSTOM]);
	assert_ptr_equal(at, end);
	at = r.section[DATA]; /* the last one */
	r.segments = take_u32(&at);
	assert_true(r.segments < WASM_IMAGE_MAX_SEGMENTS);
	for (uint32_t i = 0; i < r.segments; i++) {
		uint32_t flags = take_u32(&at);

		assert_true(flags <= 1);
		r.segment[i].active = flags == 0;
		if (flags == 0) {
			r.segment[i].address = take_i32_const(&at);
			assert_int_equal(*at++, 0x0b);
		}
		r.segment[i].len = take_u32(&at);
		r.segment[i].bytes = at;
		at += r.segment[i].len;
	}
	assert_ptr_equal(at, section_end);
	at = r.section[DATA_COUNT];
	assert_int_equal(take_u32(&at), r.segments);
	return &r;
}

static void instantiate(const struct result *r, uint8_t *to, size_t len)
{
	for (uint32_t i = 0; i < r->segments; i++)
		if (r->segment[i].active) {
			assert_true(r->segment[i].address <= len && r->segment[i].len <= len - r->segment[i].address);
			memcpy(to + r->segment[i].address, r->segment[i].bytes, r->segment[i].len);
		}
}

/* Runs the module's first function. Returns the number of segments that it applied. */
static uint32_t run_restore(const struct result *r, uint8_t *to, size_t len)
{
	const uint8_t *at = r->section[CODE];
	uint32_t applied = 0;

	take_u32(&at);
	take_u32(&at);
	assert_int_equal(*at++, 0);
	while (*at != 0x0b) {
		uint32_t dest = take_i32_const(&at), value = take_i32_const(&at), n = take_i32_const(&at);

		assert_int_equal(*at++, 0xfc);
		assert_true(dest <= len && n <= len - dest);
		if (take_u32(&at) == 11) {
			memset(to + dest, (int)value, n);
		} else {
			uint32_t segment = take_u32(&at);

			assert_true(segment < r->segments && !r->segment[segment].active);
			assert_int_equal(r->segment[segment].len, value + n);
			memcpy(to + dest, r->segment[segment].bytes + value, n);
			applied++;
		}
		assert_int_equal(*at++, 0);
	}
	return applied;
}

/* ---- what is written ---- */

static void test_result_is_what_a_hand_would_write(void **state)
{
	struct wasm_image image = good_image();
	struct bytes out = write_good(good_module(), &image), expected = {NULL, 0};
	struct piece pieces[] = {
		PIECE(TYPE, TYPES),
		PIECE(IMPORT, IMPORTS),
		PIECE(FUNCTION, FUNCTIONS),
		PIECE(TABLE, "\1\x70\0\2"),
		PIECE(MEMORY, "\1\1\2\xac\2"),
		PIECE(TAG, TAGS),
		PIECE(GLOBAL, GLOBALS),
		PIECE(EXPORT, "\3" "\6memory\2\0" "\x0b_initialize\0\3" "\4keep\0\4"),
		PIECE(START, "\1"),
		PIECE(ELEMENT, ELEMENTS),
		PIECE(DATA_COUNT, "\5"),
		PIECE(CODE, "\5"
			"\x23\0" "\x41\xc0\0\x41\0\x41\xc0\7\xfc\x0b\0" "\x41\xe4\0\x41\0\x41\2\xfc\x8\0\0"
			"\x41\xa0\6\x41\0\x41\1\xfc\x8\1\0" "\x0b"
			"\x0c\0" "\x20\0\x20\1\x20\2\xfc\x8\2\0" "\x0b"
			"\2\0\x0b" CODE_KEEP CODE_BAKE),
		PIECE(DATA, "\5" "\1\2\x41\x42" "\1\1\x43" "\1\6\x62\x61se\0\0"
			"\0\x41\x86\x8\x0b\4\x44\0\0\x45" "\0\x41\xd0\xf\x0b\1\x46"),
	};

	(void)state;
	append(&expected, PREAMBLE, LEN(PREAMBLE));
	for (size_t i = 0; i < sizeof pieces / sizeof *pieces; i++)
		append_section(&expected, pieces[i]);
	assert_int_equal(out.len, expected.len);
	assert_memory_equal(out.at, expected.at, expected.len);
	free(out.at);
	free(expected.at);
}

static void test_what_is_optional_may_be_missing(void **state)
{
	struct wasm_image image = good_image();
	struct bytes out;
	struct result *r;

	(void)state;
	image.drop_exports = NULL;
	image.base_end = image.base_start;
	image.cluster_end = image.cluster_start;
	image.private_end = image.private_start;
	out = write_good(module_with(PIECE(EXPORT, "\3" "\7restore\0\1" "\4read\0\2" "\4bake\0\5")), &image);
	r = parse(out);
	assert_int_equal(r->segments, 1); /* reading nothing from BASE has to work */
	assert_int_equal(r->segment[0].len, 0);
	assert_memory_equal(r->section[EXPORT], "\1" "\4bake\0\5", 8);
	free(out.at);

	image = good_image();
	out = write_good(module_with(NO_PIECE(DATA)), &image);
	assert_int_equal(parse(out)->segments, 5);
	free(out.at);
}

static void test_long_numbers_of_the_linker_are_read(void **state)
{
	struct wasm_image image = good_image();
	struct bytes plain = write_good(good_module(), &image), padded;

	(void)state;
	/* linkers leave room for what they patch: five bytes a number */
	padded = write_good(
		module_with(PIECE(CODE, "\x85\x80\x80\x80\0" "\x83\x80\x80\x80\0\0\0\x0b"
			CODE_READ CODE_INITIALIZE CODE_KEEP CODE_BAKE)),
		&image);
	assert_int_equal(plain.len, padded.len);
	assert_memory_equal(plain.at, padded.at, plain.len);
	free(plain.at);
	free(padded.at);
}

static void test_only_imported_functions_count(void **state)
{
	struct wasm_image image = good_image();
	struct bytes out;

	(void)state;
	out = write_good(
		module_with(PIECE(IMPORT, "\4" "\1e\1t\1\x70\1\0\2" "\1e\1x\4\0\0" "\1e\1n\0\0" "\1e\1g\3\x70\1")),
		&image);
	assert_int_equal(*parse(out)->section[START], 1);
	free(out.at);
	/* one more: the first index of the module's own is 2 */
	expect_module_refused(PIECE(IMPORT, "\2" "\1e\1n\0\0" "\1e\1m\0\0"), "restore is an import");
}

static void test_instantiation_gives_the_memory_back(void **state)
{
	uint8_t *is = malloc(MEMORY_BYTES), *expected = malloc(MEMORY_BYTES);

	(void)state;
	srand(1);
	for (int round = 0; round < 50; round++) {
		struct wasm_image image = good_image();
		struct bytes out;
		struct result *r;
		uint32_t base;

		image.private_end = 60000 + (uint32_t)rand() % 5000;
		image.cluster_start = image.private_end + (uint32_t)rand() % 3;
		image.cluster_end = 2 * WASM_IMAGE_PAGE - (uint32_t)rand() % 3;
		image.base_end = MEMORY_BYTES - (uint32_t)rand() % 3;
		for (int i = rand() % 3000; i > 0; i--)
			memory[(uint32_t)rand() % MEMORY_BYTES] = (uint8_t)rand();
		out = write_good(good_module(), &image);
		r = parse(out);

		memset(expected, 0, MEMORY_BYTES);
		memcpy(expected + image.private_start, memory + image.private_start, image.private_end - image.private_start);
		memcpy(expected + image.cluster_start, memory + image.cluster_start, image.cluster_end - image.cluster_start);
		memset(is, 0, MEMORY_BYTES);
		instantiate(r, is, image.memory_pages * WASM_IMAGE_PAGE);
		base = run_restore(r, is, image.memory_pages * WASM_IMAGE_PAGE);
		assert_memory_equal(is, expected, MEMORY_BYTES);

		/* again: PRIVATE is as new, nothing else is touched */
		memset(is, 0xee, MEMORY_BYTES);
		run_restore(r, is, image.memory_pages * WASM_IMAGE_PAGE);
		memset(expected, 0xee, MEMORY_BYTES);
		memcpy(expected + image.private_start, memory + image.private_start, image.private_end - image.private_start);
		assert_memory_equal(is, expected, MEMORY_BYTES);

		assert_false(r->segment[base].active);
		assert_int_equal(r->segment[base].len, image.base_end - image.base_start);
		assert_memory_equal(r->segment[base].bytes, memory + image.base_start, r->segment[base].len);
		free(out.at);
	}
	free(is);
	free(expected);
}

static void test_small_gaps_are_stored(void **state)
{
	struct wasm_image image = good_image();
	struct bytes out;
	struct result *r;

	(void)state;
	memset(memory, 0, sizeof memory);
	image.private_end = image.cluster_start = 10000;
	memory[64] = memory[64 + 256] = 1; /* 255 zero bytes between them */
	memory[64 + 256 + 257] = 1; /* 256 */
	memory[10000] = memory[10000 + 64] = 1; /* 63 */
	memory[10000 + 64 + 65] = 1; /* 64 */
	out = write_good(good_module(), &image);
	r = parse(out);
	assert_int_equal(r->segments, 5);
	assert_int_equal(r->segment[0].len, 257);
	assert_int_equal(r->segment[1].len, 1);
	assert_int_equal(r->segment[3].len, 65);
	assert_int_equal(r->segment[4].len, 1);
	free(out.at);
}

static void test_segments_stay_few(void **state)
{
	struct wasm_image image = good_image();
	uint32_t half = 16 << 20;
	uint8_t *large = calloc(2, half), *is = calloc(2, half);
	struct bytes out;
	struct result *r;

	(void)state;
	/* some 8,000 runs in each part; joining the nearest has to be done more than once */
	srand(3);
	for (uint32_t at = 0; at < half; at += 1 + (uint32_t)rand() % 4000)
		large[at] = large[half + at] = 1;
	image.memory = large;
	image.memory_bytes = 2 * half;
	image.private_start = 0;
	image.private_end = image.cluster_start = half;
	image.cluster_end = image.base_start = image.base_end = 2 * half;
	image.memory_pages = image.max_pages = 2 * half / WASM_IMAGE_PAGE;
	out = write_good(good_module(), &image);
	r = parse(out);
	assert_in_range(r->segments, 2000, WASM_IMAGE_MAX_SEGMENTS - 1);
	instantiate(r, is, 2 * half);
	run_restore(r, is, 2 * half);
	assert_memory_equal(is, large, 2 * half);
	free(out.at);
	free(large);
	free(is);
}

static uint8_t *map_memory(size_t len)
{
	uint8_t *at = mmap(NULL, len, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

	assert_ptr_not_equal(at, MAP_FAILED);
	return at;
}

static void test_addresses_from_2_gib_on(void **state)
{
	struct wasm_image image = good_image();
	size_t len = 0x100000000;
	uint8_t *large = map_memory(len), *is = map_memory(len);
	struct bytes out;
	struct result *r;

	(void)state;
	image.memory = large;
	image.memory_bytes = len;
	image.private_start = 0x7fffff00;
	image.private_end = image.cluster_start = 0x80000100;
	image.cluster_end = 0x80000200;
	image.base_start = 0xfffffffe;
	image.base_end = 0xffffffff;
	image.memory_pages = image.max_pages = 65536;
	memset(large + 0x7ffffff0, 'p', 32);
	memset(large + 0x80000100, 'c', 256);
	large[0xfffffffe] = 'b';
	out = write_good(good_module(), &image);
	r = parse(out);
	instantiate(r, is, len);
	run_restore(r, is, len);
	assert_memory_equal(is + 0x7fffff00, large + 0x7fffff00, 0x300);
	assert_int_equal(r->segment[1].bytes[0], 'b');
	free(out.at);

	/* and one section too long to have a length */
	image.private_start = image.private_end = image.cluster_start = image.cluster_end = image.base_start = 0;
	expect_refused(good_module(), &image, "4 GiB");
	munmap(large, len);
	munmap(is, len);
}

/* ---- what is refused ---- */

static void test_functions_have_to_be_there_and_fit(void **state)
{
	static const char *const unknown[] = {"keep", "bakery", NULL};
	struct wasm_image image = good_image();

	(void)state;
	image.restore_export = "restored";
	expect_refused(good_module(), &image, "does not export restored");
	image.restore_export = "memory";
	expect_refused(good_module(), &image, "memory is not a function");
	image.restore_export = "keep";
	expect_refused(good_module(), &image, "keep has the wrong type: () -> () is needed");
	image.restore_export = "read";
	expect_refused(good_module(), &image, "read has the wrong type");
	image.restore_export = "_initialize";
	expect_refused(good_module(), &image, "same function");
	image.restore_export = "restore";
	image.base_read_export = "restore";
	expect_refused(good_module(), &image, "restore has the wrong type: (i32, i32, i32) -> () is needed");
	image.base_read_export = "";
	expect_refused(good_module(), &image, "does not export ");
	image.base_read_export = "read";
	image.drop_exports = unknown;
	expect_refused(good_module(), &image, "does not export bakery");

	expect_module_refused(PIECE(EXPORT, "\3" "\7restore\0\0" "\4read\0\2" "\4bake\0\5"), "restore is an import");
	expect_module_refused(PIECE(EXPORT, "\3" "\7restore\0\6" "\4read\0\2" "\4bake\0\5"), "export section");
	expect_module_refused(PIECE(EXPORT, "\4" "\7restore\0\1" "\4read\0\2" "\4bake\0\5" "\x0b_initialize\0\4"),
		"_initialize has the wrong type");
	expect_module_refused(PIECE(EXPORT, "\4" "\7restore\0\1" "\4read\0\2" "\4bake\0\5" "\x0b_initialize\2\0"),
		"_initialize is not a function");
	expect_module_refused(NO_PIECE(EXPORT), "does not export restore");
	expect_module_refused(PIECE(TYPE, "\3" "\x60\0\0" "\x60\3\x7f\x7f\x7e\0" "\x60\1\x7f\1\x7f"), "read has the wrong type");
	expect_module_refused(PIECE(TYPE, "\3" "\x60\0\0" "\x60\3\x7f\x7f\x7f\1\x7f" "\x60\1\x7f\1\x7f"),
		"read has the wrong type");
	expect_module_refused(PIECE(TYPE, "\1" "\x60\0\0"), "type section");
	expect_module_refused(PIECE(TYPE, "\1" "\x5f\0\0"), "type section");
	expect_module_refused(NO_PIECE(TYPE), "type section");
}

static void test_modules_that_do_not_suit(void **state)
{
	struct wasm_image image = good_image();
	struct bytes twice = good_module();

	(void)state;
	expect_module_refused(PIECE(START, "\4"), "start function already");
	expect_module_refused(PIECE(DATA_COUNT, "\1"), "data count section");
	expect_module_refused(PIECE(IMPORT, "\2" "\3env\4note\0\0" "\3env\1m\2\0\1"), "imports its memory");
	expect_module_refused(NO_PIECE(MEMORY), "0 memories");
	expect_module_refused(PIECE(MEMORY, "\2" "\0\1" "\0\1"), "2 memories");
	expect_module_refused(PIECE(MEMORY, "\1" "\3\1\1"), "memory section"); /* shared */
	expect_module_refused(PIECE(MEMORY, "\1" "\4\1"), "memory section"); /* 64 bits */

	append_section(&twice, PIECE(DATA, "\0"));
	expect_refused(twice, &image, "data section is out of order");
	twice = good_module();
	append_section(&twice, PIECE(TYPE, "\0"));
	expect_refused(twice, &image, "type section is out of order");
	twice = good_module();
	append_section(&twice, PIECE(14, "\0"));
	expect_refused(twice, &image, "unknown section, number 14");
	twice = good_module();
	twice.at[4] = 2;
	expect_refused(twice, &image, "not a WebAssembly module");
}

static void test_damaged_sections(void **state)
{
	(void)state;
	expect_module_refused(PIECE(IMPORT, "\1" "\3env\4note\5\0"), "import section");
	expect_module_refused(PIECE(IMPORT, "\3" "\3env\4note\0\0" "\3env\1g\3\x7f\0"), "import section");
	expect_module_refused(PIECE(IMPORT, "\1" "\3env\4note\0\0\0"), "import section");
	expect_module_refused(PIECE(IMPORT, "\1" "\3env\xff\xff\xff\xff\xfnote\0\0"), "import section");
	expect_module_refused(PIECE(FUNCTION, "\4" "\0\1\0\2\0"), "function section");
	expect_module_refused(PIECE(FUNCTION, "\xff\xff\xff\xff\xf" "\0\1\0\2\0"), "function section");
	expect_module_refused(PIECE(FUNCTION, "\4" "\0\1\0\2"), "code section");
	expect_module_refused(PIECE(CODE, "\5" CODE_RESTORE CODE_READ CODE_INITIALIZE CODE_KEEP CODE_BAKE "\0"), "code section");
	expect_module_refused(PIECE(CODE, "\5" CODE_RESTORE CODE_READ CODE_INITIALIZE CODE_KEEP "\3\0\x0b"), "code section");
	expect_module_refused(NO_PIECE(CODE), "code section");
	/* numbers of more than 32 bits */
	expect_module_refused(PIECE(MEMORY, "\1\1\1\xff\xff\xff\xff\x1f"), "memory section");
	expect_module_refused(PIECE(MEMORY, "\1\1\1\x80\x80\x80\x80\x80\0"), "memory section");
}

static void test_ranges_have_to_fit(void **state)
{
	static const struct {
		size_t field;
		uint32_t value;
		const char *why;
	} cases[] = {
		{offsetof(struct wasm_image, private_start), 1025, "range private, 0x401 to 0x400, is not in the baked memory"},
		{offsetof(struct wasm_image, private_end), 1025, "private and cluster overlap"},
		{offsetof(struct wasm_image, private_end), 2 * WASM_IMAGE_PAGE + 1, "private, 0x40 to 0x20001, does not fit"},
		{offsetof(struct wasm_image, cluster_start), 1023, "private and cluster overlap"},
		{offsetof(struct wasm_image, cluster_end), 1023, "range cluster"},
		{offsetof(struct wasm_image, cluster_end), UINT32_MAX, "range cluster"},
		{offsetof(struct wasm_image, base_start), WASM_IMAGE_PAGE - 1, "cluster and base overlap"},
		{offsetof(struct wasm_image, base_start), 70, "overlap"},
		{offsetof(struct wasm_image, base_end), MEMORY_BYTES + 1, "range base"},
		{offsetof(struct wasm_image, memory_pages), 0, "does not fit into a memory of 0 pages"},
		{offsetof(struct wasm_image, memory_pages), 301, "impossible"},
		{offsetof(struct wasm_image, max_pages), 65537, "impossible"},
	};
	struct wasm_image image;

	(void)state;
	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		image = good_image();
		memcpy((char *)&image + cases[i].field, &cases[i].value, sizeof cases[i].value);
		expect_refused(good_module(), &image, cases[i].why);
	}
	image = good_image();
	image.memory_bytes = image.base_end - 1;
	expect_refused(good_module(), &image, "range base");
}

/* In a block of just its size, so that the sanitizer sees whoever reads on. Gives back whether there was an error. */
static bool try(const uint8_t *at, size_t len)
{
	static struct wasm_image image;
	struct bytes module = {malloc(len + !len), len}, out;
	char err[500];
	int rc;

	if (!image.memory)
		image = good_image();
	memcpy(module.at, at, len);
	rc = write_image(module, &image, &out, err);
	if (rc == 0) {
		assert_int_equal(parse(out)->segments, 5);
	} else {
		assert_int_equal(rc, -1);
		assert_true(*err);
		assert_int_equal(out.len, 0);
	}
	free(module.at);
	free(out.at);
	return rc != 0;
}

static void test_truncated_modules(void **state)
{
	struct bytes module = good_module();
	size_t without_custom = module.len - 8, without_data = without_custom - 10;

	(void)state;
	for (size_t len = 0; len < module.len; len++)
		assert_int_equal(try(module.at, len), len != without_custom && len != without_data);
	free(module.at);
}

static void test_any_byte_may_be_wrong(void **state)
{
	struct bytes module = good_module();

	(void)state;
	for (size_t i = 0; i < module.len; i++) {
		uint8_t right = module.at[i];

		for (int wrong = 0; wrong < 256; wrong++) {
			module.at[i] = (uint8_t)wrong;
			try(module.at, module.len);
		}
		module.at[i] = right;
	}
	srand(2);
	for (int round = 0; round < 20000; round++) {
		struct bytes copy = {NULL, 0};

		append(&copy, module.at, module.len);
		for (int flips = 2 + rand() % 6; flips > 0; flips--)
			copy.at[8 + (size_t)rand() % (copy.len - 8)] ^= (uint8_t)(1 << rand() % 8);
		try(copy.at, copy.len);
		free(copy.at);
	}
	free(module.at);
}

static void test_a_full_disk_is_told(void **state)
{
	struct wasm_image image = good_image();
	struct bytes module = good_module();
	FILE *to = fopen("/dev/full", "w");
	char err[500] = "";

	(void)state;
	assert_non_null(to);
	assert_int_equal(wasm_image_write(module.at, module.len, &image, to, err, sizeof err), -1);
	assert_non_null(strstr(err, "No space left"));
	fclose(to);
	free(module.at);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_result_is_what_a_hand_would_write),
		cmocka_unit_test(test_what_is_optional_may_be_missing),
		cmocka_unit_test(test_long_numbers_of_the_linker_are_read),
		cmocka_unit_test(test_only_imported_functions_count),
		cmocka_unit_test(test_instantiation_gives_the_memory_back),
		cmocka_unit_test(test_small_gaps_are_stored),
		cmocka_unit_test(test_segments_stay_few),
		cmocka_unit_test(test_addresses_from_2_gib_on),
		cmocka_unit_test(test_functions_have_to_be_there_and_fit),
		cmocka_unit_test(test_modules_that_do_not_suit),
		cmocka_unit_test(test_damaged_sections),
		cmocka_unit_test(test_ranges_have_to_fit),
		cmocka_unit_test(test_truncated_modules),
		cmocka_unit_test(test_any_byte_may_be_wrong),
		cmocka_unit_test(test_a_full_disk_is_told),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
