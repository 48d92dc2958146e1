/* Numbers and layouts are from https://webassembly.github.io/spec/core/binary/ */
#include "wasm_image.h"

#include <errno.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

enum section {
	SECTION_CUSTOM,
	SECTION_TYPE,
	SECTION_IMPORT,
	SECTION_FUNCTION,
	SECTION_TABLE,
	SECTION_MEMORY,
	SECTION_GLOBAL,
	SECTION_EXPORT,
	SECTION_START,
	SECTION_ELEMENT,
	SECTION_CODE,
	SECTION_DATA,
	SECTION_DATA_COUNT,
	SECTION_TAG,
	SECTIONS,
};

static const char *const section_names[SECTIONS] = {"custom", "type", "import", "function", "table", "memory", "global",
	"export", "start", "element", "code", "data", "data count", "tag"};

/* Sections have an order, and it is not the one of their numbers. */
static const enum section section_order[] = {SECTION_TYPE, SECTION_IMPORT, SECTION_FUNCTION, SECTION_TABLE, SECTION_MEMORY,
	SECTION_TAG, SECTION_GLOBAL, SECTION_EXPORT, SECTION_START, SECTION_ELEMENT, SECTION_DATA_COUNT, SECTION_CODE, SECTION_DATA};

#define SECTIONS_ORDERED (sizeof section_order / sizeof *section_order)

enum extern_kind { EXTERN_FUNC, EXTERN_TABLE, EXTERN_MEMORY, EXTERN_GLOBAL, EXTERN_TAG };

#define TYPE_I32 0x7f
#define TYPE_V128 0x7b
#define TYPE_FUNCREF 0x70
#define TYPE_EXTERNREF 0x6f
#define TYPE_EXNREF 0x69
#define TYPE_FUNC 0x60

#define OP_END 0x0b
#define OP_LOCAL_GET 0x20
#define OP_I32_CONST 0x41
#define OP_MISC 0xfc
#define MISC_MEMORY_INIT 8
#define MISC_MEMORY_FILL 11

#define SEGMENT_ACTIVE 0
#define SEGMENT_PASSIVE 1

/* Fewer zero bytes than this between two runs are cheaper to store than a segment of its own. */
#define CLUSTER_GAP_BYTES 64u
#define PRIVATE_GAP_BYTES 256u
#define MAX_RUNS 4096u /* of each part; with BASE it makes less than WASM_IMAGE_MAX_SEGMENTS */

static const uint8_t preamble[8] = {0, 'a', 's', 'm', 1, 0, 0, 0};

struct span {
	const uint8_t *at; /* NULL: there is no such section */
	size_t len;
};

struct run {
	uint32_t start, end;
};

struct runs {
	struct run *run; /* MAX_RUNS of them */
	uint32_t count;
	uint32_t gap_bytes; /* what is less apart is one run */
};

/* What becomes of a function: its index is UINT32_MAX when the module does not have it. */
enum role { ROLE_RESTORE, ROLE_BASE_READ, ROLE_INITIALIZE, ROLES };

struct module {
	const struct wasm_image *image;
	struct span sections[SECTIONS];
	uint32_t imported_functions, functions, exports_kept;
	uint32_t function_of[ROLES]; /* among those the module defines */
	struct runs private, cluster;
	char *err;
	size_t err_len;
};

__attribute__((format(printf, 2, 3))) static int fail(const struct module *m, const char *format, ...)
{
	va_list args;

	va_start(args, format);
	vsnprintf(m->err, m->err_len, format, args);
	va_end(args);
	return -1;
}

/* ---- reading: after the first thing that does not fit, everything reads as 0 and `bad` stays set ---- */

struct reader {
	const uint8_t *at;
	size_t left;
	bool bad;
};

static struct reader read_section(const struct module *m, enum section id)
{
	static const uint8_t empty_vector[1];
	struct span s = m->sections[id];

	return s.at ? (struct reader){s.at, s.len, false} : (struct reader){empty_vector, 1, false};
}

static const uint8_t *read_bytes(struct reader *r, size_t len)
{
	const uint8_t *at = r->at;

	if (r->bad || len > r->left) {
		r->bad = true;
		r->left = 0;
		return NULL;
	}
	r->at += len;
	r->left -= len;
	return at;
}

static uint8_t read_byte(struct reader *r)
{
	const uint8_t *at = read_bytes(r, 1);

	return at ? *at : 0;
}

static uint32_t read_u32(struct reader *r)
{
	uint32_t value = 0;

	for (unsigned shift = 0; shift < 35; shift += 7) {
		uint8_t byte = read_byte(r);

		if (shift == 28 && byte > 0x0f)
			break;
		value |= (uint32_t)(byte & 0x7f) << shift;
		if (!(byte & 0x80))
			return value;
	}
	r->bad = true;
	return 0;
}

/* A vector's length. An element has at least a byte: what claims more than there are bytes need not be looped over. */
static uint32_t read_count(struct reader *r)
{
	uint32_t count = read_u32(r);

	if (count > r->left) {
		r->bad = true;
		return 0;
	}
	return count;
}

static struct span read_span(struct reader *r)
{
	uint32_t len = read_u32(r);
	const uint8_t *at = read_bytes(r, len);

	return (struct span){at, at ? len : 0};
}

static void read_value_type(struct reader *r)
{
	uint8_t type = read_byte(r);

	if (!(type >= TYPE_V128 && type <= TYPE_I32) && type != TYPE_FUNCREF && type != TYPE_EXTERNREF && type != TYPE_EXNREF)
		r->bad = true;
}

/* Limits of 32-bit tables and memories, not shared. */
static void read_limits(struct reader *r)
{
	uint8_t flags = read_byte(r);

	if (flags > 1)
		r->bad = true;
	read_u32(r);
	if (flags == 1)
		read_u32(r);
}

static bool span_is(struct span s, const char *text)
{
	return s.at && s.len == strlen(text) && memcmp(s.at, text, s.len) == 0;
}

struct export {
	struct span name;
	uint8_t kind;
	uint32_t index;
};

static struct export read_export(struct reader *r)
{
	struct export e;

	e.name = read_span(r);
	e.kind = read_byte(r);
	e.index = read_u32(r);
	return e;
}

/* ---- what the module is made of ---- */

static int damaged(const struct module *m, enum section id)
{
	return fail(m, "the module is damaged, or newer than this program: its %s section can't be read", section_names[id]);
}

static int find_sections(struct module *m, const uint8_t *bytes, size_t len)
{
	struct reader r = {bytes, len, false};
	const uint8_t *start = read_bytes(&r, sizeof preamble);
	size_t place = 0;

	if (!start || memcmp(start, preamble, sizeof preamble) != 0)
		return fail(m, "not a WebAssembly module (of version 1)");
	while (r.left > 0) {
		uint8_t id = read_byte(&r);
		struct span body = read_span(&r);

		if (r.bad)
			return fail(m, "the module is damaged: it ends inside of a section");
		if (id == SECTION_CUSTOM)
			continue;
		while (place < SECTIONS_ORDERED && section_order[place] != id)
			place++;
		if (place++ == SECTIONS_ORDERED)
			return id < SECTIONS ? fail(m, "the module is damaged: its %s section is out of order", section_names[id])
					     : fail(m, "the module has an unknown section, number %d", id);
		m->sections[id] = body;
	}
	if (m->sections[SECTION_START].at)
		return fail(m, "the module has a start function already");
	/* without this section there can't be an instruction that names a data segment, and segments get other numbers */
	if (m->sections[SECTION_DATA_COUNT].at)
		return fail(m, "the module uses data segments by number (it has a data count section)");
	return 0;
}

static int check_imports(struct module *m)
{
	struct reader r = read_section(m, SECTION_IMPORT);

	for (uint32_t left = read_count(&r); left > 0 && !r.bad; left--) {
		read_span(&r);
		read_span(&r);
		switch (read_byte(&r)) {
		case EXTERN_FUNC:
			read_u32(&r);
			m->imported_functions++;
			break;
		case EXTERN_TABLE:
			read_value_type(&r);
			read_limits(&r);
			break;
		case EXTERN_MEMORY:
			if (!r.bad)
				return fail(m, "the module imports its memory");
			break;
		case EXTERN_GLOBAL:
			read_value_type(&r);
			read_byte(&r);
			break;
		case EXTERN_TAG:
			read_byte(&r);
			read_u32(&r);
			break;
		default:
			r.bad = true;
		}
	}
	return r.bad || r.left ? damaged(m, SECTION_IMPORT) : 0;
}

static int check_memory(struct module *m)
{
	struct reader r = read_section(m, SECTION_MEMORY);
	uint32_t memories = read_count(&r);

	if (!r.bad && memories != 1)
		return fail(m, "the module has %u memories, not one", memories);
	read_limits(&r);
	return r.bad || r.left ? damaged(m, SECTION_MEMORY) : 0;
}

static int check_code(struct module *m)
{
	struct reader functions = read_section(m, SECTION_FUNCTION), code = read_section(m, SECTION_CODE);

	m->functions = read_count(&functions);
	for (uint32_t i = 0; i < m->functions && !functions.bad; i++)
		read_u32(&functions);
	if (functions.bad || functions.left)
		return damaged(m, SECTION_FUNCTION);
	if (read_count(&code) != m->functions)
		code.bad = true;
	for (uint32_t i = 0; i < m->functions && !code.bad; i++)
		read_span(&code);
	return code.bad || code.left ? damaged(m, SECTION_CODE) : 0;
}

static bool is_dropped(const struct wasm_image *image, struct span name)
{
	if (span_is(name, image->restore_export) || span_is(name, image->base_read_export))
		return true;
	for (const char *const *drop = image->drop_exports; drop && *drop; drop++)
		if (span_is(name, *drop))
			return true;
	return false;
}

static int check_exports(struct module *m)
{
	struct reader r = read_section(m, SECTION_EXPORT);

	for (uint32_t left = read_count(&r); left > 0 && !r.bad; left--)
		if (!is_dropped(m->image, read_export(&r).name))
			m->exports_kept++;
	return r.bad || r.left ? damaged(m, SECTION_EXPORT) : 0;
}

static bool find_export(const struct module *m, const char *name, struct export *found)
{
	struct reader r = read_section(m, SECTION_EXPORT);

	for (uint32_t left = read_count(&r); left > 0; left--) {
		*found = read_export(&r);
		if (span_is(found->name, name))
			return true;
	}
	return false;
}

/* Whether the type is (i32, ...) -> () with so many parameters; -1 if the types can't be read that far. */
static int type_takes_i32s(const struct module *m, uint32_t type, uint32_t parameters)
{
	struct reader r = read_section(m, SECTION_TYPE);
	uint32_t types = read_count(&r);
	bool fits = false;

	if (type >= types)
		return -1;
	for (uint32_t i = 0; i <= type && !r.bad; i++) {
		fits = true;
		if (read_byte(&r) != TYPE_FUNC)
			return -1;
		for (int results = 0; results < 2; results++) {
			uint32_t count = read_count(&r);

			fits = fits && count == (results ? 0 : parameters);
			for (; count > 0 && !r.bad; count--) {
				fits = fits && r.left && *r.at == TYPE_I32;
				read_value_type(&r);
			}
		}
	}
	return r.bad ? -1 : fits;
}

static int find_function(struct module *m, enum role role, const char *name, uint32_t parameters)
{
	struct export e;
	struct reader r = read_section(m, SECTION_FUNCTION);
	uint32_t type = 0;

	if (!find_export(m, name, &e))
		return role == ROLE_INITIALIZE ? 0 : fail(m, "the module does not export %s", name);
	if (e.kind != EXTERN_FUNC)
		return fail(m, "the module's export %s is not a function", name);
	if (e.index < m->imported_functions)
		return fail(m, "the module's export %s is an import: there is no body to replace", name);
	if (e.index - m->imported_functions >= m->functions)
		return damaged(m, SECTION_EXPORT);
	m->function_of[role] = e.index - m->imported_functions;
	read_count(&r);
	for (uint32_t i = 0; i <= m->function_of[role]; i++)
		type = read_u32(&r);
	switch (type_takes_i32s(m, type, parameters)) {
	case 0:
		return fail(m, "the module's export %s has the wrong type: (%s) -> () is needed", name,
			parameters ? "i32, i32, i32" : "");
	case 1:
		return 0;
	default:
		return damaged(m, SECTION_TYPE);
	}
}

static int find_functions(struct module *m)
{
	const struct wasm_image *image = m->image;
	struct export e;

	for (int role = 0; role < ROLES; role++)
		m->function_of[role] = UINT32_MAX;
	if (find_function(m, ROLE_RESTORE, image->restore_export, 0) < 0 ||
		find_function(m, ROLE_BASE_READ, image->base_read_export, 3) < 0 ||
		find_function(m, ROLE_INITIALIZE, "_initialize", 0) < 0)
		return -1;
	/* tools that merge equal functions could have done it */
	if (m->function_of[ROLE_INITIALIZE] == m->function_of[ROLE_RESTORE])
		return fail(m, "the module's exports %s and _initialize are the same function", image->restore_export);
	for (const char *const *drop = image->drop_exports; drop && *drop; drop++)
		if (!find_export(m, *drop, &e))
			return fail(m, "the module does not export %s, which is to be removed", *drop);
	return 0;
}

/* ---- what the memory is made of ---- */

static int check_ranges(const struct module *m)
{
	const struct wasm_image *image = m->image;
	uint64_t memory_bytes = (uint64_t)image->memory_pages * WASM_IMAGE_PAGE;
	const struct {
		const char *name;
		uint32_t start, end;
		bool in_memory;
	} ranges[] = {
		{"private", image->private_start, image->private_end, true},
		{"cluster", image->cluster_start, image->cluster_end, true},
		{"base", image->base_start, image->base_end, false},
	};

	if (image->memory_pages > image->max_pages || image->max_pages > 65536)
		return fail(m, "a memory of %u pages that may grow to %u is impossible", image->memory_pages, image->max_pages);
	for (int i = 0; i < 3; i++) {
		if (ranges[i].start > ranges[i].end || ranges[i].end > image->memory_bytes)
			return fail(m, "the range %s, %#x to %#x, is not in the baked memory of %#llx bytes", ranges[i].name,
				ranges[i].start, ranges[i].end, (unsigned long long)image->memory_bytes);
		if (ranges[i].in_memory && ranges[i].end > memory_bytes)
			return fail(m, "the range %s, %#x to %#x, does not fit into a memory of %u pages", ranges[i].name,
				ranges[i].start, ranges[i].end, image->memory_pages);
		for (int j = 0; j < i; j++) {
			uint32_t start = ranges[i].start > ranges[j].start ? ranges[i].start : ranges[j].start;
			uint32_t end = ranges[i].end < ranges[j].end ? ranges[i].end : ranges[j].end;

			if (start < end)
				return fail(m, "the ranges %s and %s overlap", ranges[j].name, ranges[i].name);
		}
	}
	return 0;
}

/* A cluster is mostly zero and may be GiBs long: words, not bytes. */
static uint32_t skip_zeros(const uint8_t *memory, uint32_t at, uint32_t end)
{
	uint64_t word;

	while (end - at >= sizeof word) {
		memcpy(&word, memory + at, sizeof word);
		if (word)
			break;
		at += sizeof word;
	}
	while (at < end && memory[at] == 0)
		at++;
	return at;
}

/* As if they had been looked for with this gap. */
static void runs_join(struct runs *runs)
{
	uint32_t kept = 0;

	for (uint32_t i = 1; i < runs->count; i++)
		if (runs->run[i].start - runs->run[kept].end < runs->gap_bytes)
			runs->run[kept].end = runs->run[i].end;
		else
			runs->run[++kept] = runs->run[i];
	if (runs->count)
		runs->count = kept + 1;
}

static void runs_add(struct runs *runs, struct run next)
{
	/* MAX_RUNS runs can't all be 1 MiB apart: doubling ends long before it overflows */
	for (;; runs->gap_bytes *= 2, runs_join(runs)) {
		if (runs->count && next.start - runs->run[runs->count - 1].end < runs->gap_bytes) {
			runs->run[runs->count - 1].end = next.end;
			return;
		}
		if (runs->count < MAX_RUNS) {
			runs->run[runs->count++] = next;
			return;
		}
	}
}

static int runs_find(struct runs *runs, const uint8_t *memory, uint32_t start, uint32_t end, uint32_t gap_bytes)
{
	struct run next = {start, start};

	runs->gap_bytes = gap_bytes;
	runs->run = malloc(MAX_RUNS * sizeof *runs->run);
	if (!runs->run)
		return -1;
	while ((next.start = skip_zeros(memory, next.end, end)) < end) {
		next.end = next.start;
		while (next.end < end && memory[next.end] != 0)
			next.end++;
		runs_add(runs, next);
	}
	return 0;
}

/* ---- writing ---- */

/* Lengths precede what they measure: it is written twice, to count first, when `to` is NULL. */
struct sink {
	FILE *to;
	uint64_t bytes;
	bool too_large;
};

static void put(struct sink *out, const void *data, size_t len)
{
	out->bytes += len;
	if (out->to && len)
		fwrite(data, 1, len, out->to); /* ferror() is asked at the end */
}

static void put_byte(struct sink *out, uint8_t byte)
{
	put(out, &byte, 1);
}

static void put_u32(struct sink *out, uint32_t value)
{
	for (; value >= 0x80; value >>= 7)
		put_byte(out, (uint8_t)(value | 0x80));
	put_byte(out, (uint8_t)value);
}

/* The immediate is signed: an address from 2 GiB on is negative. */
static void put_i32_const(struct sink *out, uint32_t bits)
{
	int64_t value = bits < 0x80000000u ? (int64_t)bits : (int64_t)bits - 0x100000000;

	put_byte(out, OP_I32_CONST);
	for (; value < -64 || value > 63; value >>= 7)
		put_byte(out, (uint8_t)(value | 0x80));
	put_byte(out, (uint8_t)(value & 0x7f));
}

typedef void put_body(struct sink *out, const struct module *m);

static void put_sized(struct sink *out, put_body *body, const struct module *m)
{
	struct sink count = {NULL, 0, false};

	body(&count, m);
	if (count.bytes > UINT32_MAX || count.too_large)
		out->too_large = true;
	put_u32(out, (uint32_t)count.bytes);
	body(out, m);
}

/* PRIVATE's segments come first, since restore names them; BASE is the next, and CLUSTER has the rest. */
static uint32_t base_segment(const struct module *m)
{
	return m->private.count;
}

static uint32_t segments(const struct module *m)
{
	return m->private.count + 1 + m->cluster.count;
}

static void put_memory_init(struct sink *out, uint32_t segment)
{
	put_byte(out, OP_MISC);
	put_u32(out, MISC_MEMORY_INIT);
	put_u32(out, segment);
	put_byte(out, 0);
}

static void put_restore(struct sink *out, const struct module *m)
{
	put_byte(out, 0); /* no locals */
	put_i32_const(out, m->image->private_start);
	put_i32_const(out, 0);
	put_i32_const(out, m->image->private_end - m->image->private_start);
	put_byte(out, OP_MISC);
	put_u32(out, MISC_MEMORY_FILL);
	put_byte(out, 0);
	for (uint32_t i = 0; i < m->private.count; i++) {
		put_i32_const(out, m->private.run[i].start);
		put_i32_const(out, 0);
		put_i32_const(out, m->private.run[i].end - m->private.run[i].start);
		put_memory_init(out, i);
	}
	put_byte(out, OP_END);
}

static void put_base_read(struct sink *out, const struct module *m)
{
	put_byte(out, 0);
	for (uint8_t i = 0; i < 3; i++) {
		put_byte(out, OP_LOCAL_GET);
		put_byte(out, i);
	}
	put_memory_init(out, base_segment(m));
	put_byte(out, OP_END);
}

static void put_nothing(struct sink *out, const struct module *m)
{
	(void)m;
	put_byte(out, 0);
	put_byte(out, OP_END);
}

static put_body *const role_bodies[ROLES] = {
	[ROLE_RESTORE] = put_restore,
	[ROLE_BASE_READ] = put_base_read,
	[ROLE_INITIALIZE] = put_nothing,
};

static void put_code(struct sink *out, const struct module *m)
{
	struct reader r = read_section(m, SECTION_CODE);

	put_u32(out, read_count(&r));
	for (uint32_t i = 0; i < m->functions; i++) {
		struct span body = read_span(&r);
		put_body *replacement = NULL;

		for (int role = 0; role < ROLES; role++)
			if (m->function_of[role] == i)
				replacement = role_bodies[role];
		if (replacement) {
			put_sized(out, replacement, m);
		} else {
			put_u32(out, (uint32_t)body.len);
			put(out, body.at, body.len);
		}
	}
}

static void put_memory(struct sink *out, const struct module *m)
{
	put_byte(out, 1);
	put_byte(out, 1); /* has a maximum */
	put_u32(out, m->image->memory_pages);
	put_u32(out, m->image->max_pages);
}

static void put_exports(struct sink *out, const struct module *m)
{
	struct reader r = read_section(m, SECTION_EXPORT);

	put_u32(out, m->exports_kept);
	for (uint32_t left = read_count(&r); left > 0; left--) {
		struct export e = read_export(&r);

		if (is_dropped(m->image, e.name))
			continue;
		put_u32(out, (uint32_t)e.name.len);
		put(out, e.name.at, e.name.len);
		put_byte(out, e.kind);
		put_u32(out, e.index);
	}
}

static void put_start(struct sink *out, const struct module *m)
{
	put_u32(out, m->imported_functions + m->function_of[ROLE_RESTORE]);
}

static void put_data_count(struct sink *out, const struct module *m)
{
	put_u32(out, segments(m));
}

static void put_segment_bytes(struct sink *out, const struct module *m, uint32_t start, uint32_t end)
{
	put_u32(out, end - start);
	put(out, m->image->memory + start, end - start);
}

static void put_data(struct sink *out, const struct module *m)
{
	put_u32(out, segments(m));
	for (uint32_t i = 0; i < m->private.count; i++) {
		put_byte(out, SEGMENT_PASSIVE);
		put_segment_bytes(out, m, m->private.run[i].start, m->private.run[i].end);
	}
	put_byte(out, SEGMENT_PASSIVE);
	put_segment_bytes(out, m, m->image->base_start, m->image->base_end);
	for (uint32_t i = 0; i < m->cluster.count; i++) {
		put_byte(out, SEGMENT_ACTIVE);
		put_i32_const(out, m->cluster.run[i].start);
		put_byte(out, OP_END);
		put_segment_bytes(out, m, m->cluster.run[i].start, m->cluster.run[i].end);
	}
}

static put_body *const section_bodies[SECTIONS] = {
	[SECTION_MEMORY] = put_memory,
	[SECTION_EXPORT] = put_exports,
	[SECTION_START] = put_start,
	[SECTION_DATA_COUNT] = put_data_count,
	[SECTION_CODE] = put_code,
	[SECTION_DATA] = put_data,
};

static void put_module(struct sink *out, const struct module *m)
{
	put(out, preamble, sizeof preamble);
	for (size_t place = 0; place < SECTIONS_ORDERED; place++) {
		enum section id = section_order[place];
		struct span copy = m->sections[id];

		if (section_bodies[id]) {
			put_byte(out, (uint8_t)id);
			put_sized(out, section_bodies[id], m);
		} else if (copy.at) {
			put_byte(out, (uint8_t)id);
			put_u32(out, (uint32_t)copy.len);
			put(out, copy.at, copy.len);
		}
	}
}

int wasm_image_write(const uint8_t *module, size_t len, const struct wasm_image *image, FILE *to, char *err, size_t err_len)
{
	struct module m = {.image = image, .err = err, .err_len = err_len};
	struct sink count = {NULL, 0, false}, out = {to, 0, false};
	int rc = -1;

	if (check_ranges(&m) < 0 || find_sections(&m, module, len) < 0 || check_imports(&m) < 0 || check_memory(&m) < 0 ||
		check_code(&m) < 0 || check_exports(&m) < 0 || find_functions(&m) < 0)
		goto cleanup;
	if (runs_find(&m.private, image->memory, image->private_start, image->private_end, PRIVATE_GAP_BYTES) < 0 ||
		runs_find(&m.cluster, image->memory, image->cluster_start, image->cluster_end, CLUSTER_GAP_BYTES) < 0) {
		fail(&m, "out of memory");
		goto cleanup;
	}
	put_module(&count, &m);
	if (count.too_large) {
		fail(&m, "the module would have a section of 4 GiB or more");
		goto cleanup;
	}
	errno = 0;
	put_module(&out, &m);
	if (fflush(to) != 0 || ferror(to)) {
		fail(&m, "can't write the module: %s", strerror(errno ? errno : EIO));
		goto cleanup;
	}
	rc = 0;
cleanup:
	free(m.private.run);
	free(m.cluster.run);
	return rc;
}

int wasm_image_same_start(const uint8_t *a, size_t a_len, const uint8_t *b, size_t b_len, char *err, size_t err_len)
{
	static const enum section starting[] = {SECTION_TABLE, SECTION_MEMORY, SECTION_GLOBAL, SECTION_DATA};
	struct module first = {.err = err, .err_len = err_len}, second = first;

	if (find_sections(&first, a, a_len) < 0 || find_sections(&second, b, b_len) < 0)
		return -1;
	for (size_t i = 0; i < sizeof starting / sizeof *starting; i++) {
		struct span x = first.sections[starting[i]], y = second.sections[starting[i]];

		if (x.len != y.len || (x.len > 0 && memcmp(x.at, y.at, x.len) != 0))
			return fail(&first, "the modules differ in their %s sections", section_names[starting[i]]);
	}
	return 0;
}
