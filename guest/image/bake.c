/*
 * bake.c - makes the portable modules: starts PostgreSQL in one, and writes what is in its memory then into all of them.
 *
 *	bake IN.wasm=OUT.wasm... -- TARGET=SOURCE...
 *
 * This program contains the module of the import transport, translated to C. The others differ in one object that has no data, so
 * their memory is the same; that is checked. The steps are those of the native image (host/image_cmd.c), with copies of PRIVATE in
 * the place of processes:
 *
 *	import				files into BASE and FILES
 *	step 0				PostgreSQL as after its postmaster's start; PRIVATE is kept from here, and shared memory as a file
 *	step 1				recovery
 *	sessions			a first one in each database leaves the files by which later ones start faster
 *	step 2				the buffer cache is emptied
 *	rebase, seal		all blocks of files to BASE; the tables of the encoding conversions become a file there
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define PGCELL_PORTABLE
#include "../cell/serve.h"
#include "../port/layout.h"
#include "../port/tables.h"
#include "tree.h"
#include "wasi.h"
#include "wasm_image.h"

#define PAGE 65536u

/* The guest's own stack is at the start of its memory (the linker's --stack-first), and empty between calls. */
#define GUEST_STACK_BYTES 0x100000u

/* wasm2c's code without optimisation needs much of it */
#define HOST_STACK_BYTES (1ul << 30)

struct w2c_env {
	const char *input;
	u32 input_len;
};

static w2c_cell cell;
static struct w2c_env env;
static struct w2c_wasi__snapshot__preview1 wasi = {.log_fd = 2};
static char **arguments;
static int exit_status = 1;

static int fail(const char *what, const char *detail)
{
	fprintf(stderr, "pgcell bake: %s: %s\n", what, detail);
	return -1;
}

static u8 *guest_memory(void)
{
	return cell.w2c_memory.data;
}

/* ---- the transport ---- */

u32 w2c_env_pglite_js_read(struct w2c_env *e, u32 to, u32 max_length)
{
	u32 n = e->input_len < max_length ? e->input_len : max_length;

	memcpy(guest_memory() + to, e->input, n);
	e->input += n;
	e->input_len -= n;
	return n;
}

/* answers don't matter: a session that fails does not end with PGL_ENDED alone */
u32 w2c_env_pglite_js_write(struct w2c_env *e, u32 from, u32 length)
{
	(void)e, (void)from;
	return length;
}

/* ---- steps ---- */

/* Between FILES and BASE there is room for what the guest is shown: it is no part of the image. */
#define PATH_AT PGCELL_FILES_END
#define CONTENT_AT (PATH_AT + PAGE)

static bool show(u32 at, const void *data, size_t len)
{
	if (len >= PGCELL_BASE_START - CONTENT_AT)
		return false;
	memcpy(guest_memory() + at, data, len);
	guest_memory()[at + len] = 0;
	return true;
}

static int import_one(void *arg, const char *target, const void *data, size_t len, uint32_t mode)
{
	u32 rc = 48;

	(void)arg;
	if (strlen(target) < PAGE && show(PATH_AT, target, strlen(target)) && show(CONTENT_AT, data ? data : "", len))
		rc = data ? w2c_cell_pgcell_import_file(&cell, PATH_AT, CONTENT_AT, (u32)len, mode)
			  : w2c_cell_pgcell_import_dir(&cell, PATH_AT);
	if (rc != 0)
		fprintf(stderr, "pgcell bake: %s: WASI error %u\n", target, rc);
	return rc == 0 ? 0 : -1;
}

static int step(int number, const char *name)
{
	u32 rc = w2c_cell_pgcell_build_step(&cell, (u32)number);

	if (rc != 0)
		fprintf(stderr, "pgcell bake: %s ended with exit status %u\n", name, rc);
	return rc == 0 ? 0 : -1;
}

static int visit(const char *database)
{
	static const char query[] = "Q\0\0\0\15select 1\0X\0\0\0\4";
	char input[200];
	u32 len = 8, rc;

	memcpy(input + 4, "\0\3\0\0", 4);
	len += (u32)sprintf(input + len, "user%cpostgres%cdatabase%c%s%c", 0, 0, 0, database, 0);
	input[len++] = 0;
	memcpy(input, &(uint32_t){htonl(len)}, 4);
	memcpy(input + len, query, sizeof query - 1);
	env = (struct w2c_env){.input = input, .input_len = len + (u32)sizeof query - 1};
	rc = w2c_cell_pgl_backend(&cell);
	if (rc != PGL_ENDED || env.input_len > 0)
		return fail(database, "a first session in it failed");
	return 0;
}

/* ---- writing ---- */

static u8 *read_file(const char *path, size_t *len)
{
	FILE *f = fopen(path, "rb");
	u8 *data = NULL;
	long size;

	if (f && fseek(f, 0, SEEK_END) == 0 && (size = ftell(f)) >= 0 && (data = malloc((size_t)size + 1))) {
		rewind(f);
		*len = fread(data, 1, (size_t)size, f);
		if (*len != (size_t)size) {
			free(data);
			data = NULL;
		}
	}
	if (f)
		fclose(f);
	return data;
}

/* The first module is the one that this program contains. */
static u8 *baked;
static size_t baked_len;

static int write_module(const char *pair, const struct wasm_image *image)
{
	char in[4096], temporary[4200], err[500];
	const char *sep = strchr(pair, '=');
	size_t len;
	u8 *module;
	FILE *to;
	int rc;

	if (!sep || sep - pair >= (long)sizeof in)
		return fail(pair, "expected IN.wasm=OUT.wasm");
	memcpy(in, pair, (size_t)(sep - pair));
	in[sep - pair] = 0;
	snprintf(temporary, sizeof temporary, "%s.tmp", sep + 1);
	module = read_file(in, &len);
	if (!module)
		return fail(in, strerror(errno));
	to = fopen(temporary, "wb");
	if (!to)
		return fail(temporary, strerror(errno));
	if (!baked) {
		baked = module;
		baked_len = len;
	}
	rc = wasm_image_same_start(baked, baked_len, module, len, err, sizeof err);
	if (rc == 0)
		rc = wasm_image_write(module, len, image, to, err, sizeof err);
	if (module != baked)
		free(module);
	if (fclose(to) != 0 && rc == 0)
		rc = fail(temporary, strerror(errno));
	else if (rc < 0)
		fail(in, err);
	if (rc == 0 && rename(temporary, sep + 1) < 0)
		rc = fail(sep + 1, strerror(errno));
	if (rc < 0)
		remove(temporary);
	return rc;
}

/* The heap's end: what follows in PRIVATE is zero, and need not be written when it is put back. */
static u32 private_end(const u8 *private_copy, u32 bytes)
{
	while (bytes > 0 && private_copy[bytes - 1] == 0)
		bytes--;
	return GUEST_STACK_BYTES + ((bytes + 4095) & ~4095u);
}

/* Its end is zero. */
static int keep_shared_memory(void)
{
	u32 end = PGCELL_SHMEM_END, rc = 48;

	while (end > PGCELL_SHMEM_START && guest_memory()[end - 1] == 0)
		end--;
	if (show(PATH_AT, PGCELL_SHMEM_FILE, sizeof PGCELL_SHMEM_FILE - 1) && w2c_cell_pgcell_import_rebase(&cell) == 0)
		rc = w2c_cell_pgcell_import_file(&cell, PATH_AT, PGCELL_SHMEM_START, end - PGCELL_SHMEM_START, 0400);
	(void)w2c_cell_pgcell_import_end(&cell);
	return rc == 0 ? 0 : fail(PGCELL_SHMEM_FILE, "could not be written");
}

/* Takes the tables out of a copy of PRIVATE: they become a file (port/tables.h). To be called while files are imported. */
static int move_tables(u8 *private_copy)
{
	u32 start = w2c_cell_pgcell_tables_range(&cell, 0), end = w2c_cell_pgcell_tables_range(&cell, 1), planes = PGCELL_TABLES_PLANES;
	u8 *tables = private_copy + start - GUEST_STACK_BYTES, *file;
	u32 len = end - start, rc = 48;

	/* less than that would mean that the linker has put them elsewhere */
	if (start < GUEST_STACK_BYTES || end > PGCELL_PRIVATE_END || start > end || len < 1000000 || len % planes != 0)
		return fail(PGCELL_TABLES_FILE, "the tables of the encoding conversions are not between their marks");
	file = malloc(len);
	if (!file)
		return fail(PGCELL_TABLES_FILE, strerror(errno));
	for (u32 i = 0; i < len; i++)
		file[i % planes * (len / planes) + i / planes] = tables[i];
	memset(tables, 0, len);
	if (show(PATH_AT, PGCELL_TABLES_FILE, sizeof PGCELL_TABLES_FILE - 1) && show(CONTENT_AT, file, len))
		rc = w2c_cell_pgcell_import_file(&cell, PATH_AT, CONTENT_AT, len, 0400);
	free(file);
	return rc == 0 ? 0 : fail(PGCELL_TABLES_FILE, "could not be written");
}

/* FNV-1a, 64 bits (https://www.rfc-editor.org/rfc/rfc9923.html), of 8 bytes at a time: n is a multiple of that. */
static uint64_t hash(uint64_t h, const u8 *data, size_t n)
{
	for (size_t i = 0; i + 8 <= n; i += 8) {
		uint64_t word;

		memcpy(&word, data + i, 8);
		h = (h ^ word) * UINT64_C(0x100000001b3);
		h ^= h >> 32; /* low bits of a word are all that high bits of the next would depend on */
	}
	return h;
}

/* Another image has another number: of its files, of where they are, and of the program that goes on from there. */
static int name_image(const char *pair, u8 *private_copy, u32 private_bytes, u32 base_end, u32 files_end)
{
	u32 at = w2c_cell_pgcell_image_id_address(&cell) - GUEST_STACK_BYTES;
	uint64_t h = UINT64_C(0xcbf29ce484222325);
	char in[4096];
	size_t len;
	u8 *module;

	snprintf(in, sizeof in, "%.*s", (int)strcspn(pair, "="), pair);
	module = read_file(in, &len);
	if (!module)
		return fail(in, strerror(errno));
	h = hash(h, module, len);
	free(module);
	h = hash(h, private_copy, private_bytes);
	h = hash(h, guest_memory() + PGCELL_SHMEM_START, files_end - PGCELL_SHMEM_START);
	h = hash(h, guest_memory() + PGCELL_BASE_START, base_end - PGCELL_BASE_START);
	memcpy(private_copy + at, &h, sizeof h);
	return 0;
}

static int bake(char **argv)
{
	static const char *const build_only[] = {"pgcell_format", "pgcell_import_file", "pgcell_import_dir",
		"pgcell_import_rebase", "pgcell_import_end", "pgcell_seal", "pgcell_build_step", "pgcell_session_args_address", "pgcell_tables_range",
		"pgcell_image_id_address", "__heap_base", NULL};
	const u32 private_bytes = PGCELL_PRIVATE_END - GUEST_STACK_BYTES;
	u8 *private_copy = malloc(private_bytes);
	char **modules = argv, err[500];
	struct wasm_image image;
	u32 base_end, files_end;

	while (*argv && strcmp(*argv, "--") != 0)
		argv++;
	if (!private_copy || argv == modules || !*argv)
		return fail("usage", "bake IN.wasm=OUT.wasm... -- TARGET=SOURCE...");
	wasm_rt_init();
	wasm2c_cell_instantiate(&cell, &env, &wasi);
	wasi.memory = &cell.w2c_memory;
	if (wasm_rt_grow_memory(&cell.w2c_memory, PGCELL_BASE_END / PAGE - cell.w2c_memory.pages) == UINT32_MAX)
		return fail("memory", "can't grow to hold BASE");
	w2c_cell_0x5Finitialize(&cell);
	if (w2c_cell_pgcell_format(&cell) != 0)
		return fail("format", "the file system could not be made");
	if (tree_walk(argv + 1, import_one, NULL, err, sizeof err) < 0)
		return fail("import", err);
	(void)w2c_cell_pgcell_import_end(&cell);
	if (step(0, "the start") < 0)
		return -1;
	memcpy(private_copy, guest_memory() + GUEST_STACK_BYTES, private_bytes);
	if (keep_shared_memory() < 0)
		return -1;
#define NEW_PROCESS() memcpy(guest_memory() + GUEST_STACK_BYTES, private_copy, private_bytes)
	NEW_PROCESS();
	if (step(1, "recovery") < 0)
		return -1;
	NEW_PROCESS();
	if (visit("template1") < 0)
		return -1;
	NEW_PROCESS();
	if (visit("postgres") < 0)
		return -1;
	NEW_PROCESS();
	if (step(2, "emptying the buffer cache") < 0)
		return -1;
	NEW_PROCESS();
	if (w2c_cell_pgcell_import_rebase(&cell) != 0)
		return fail("rebase", "files could not be moved to BASE");
	if (move_tables(private_copy) < 0)
		return -1;
	base_end = w2c_cell_pgcell_import_end(&cell);
	files_end = w2c_cell_pgcell_seal(&cell);
	if (name_image(modules[0], private_copy, private_bytes, base_end, files_end) < 0)
		return -1;
	NEW_PROCESS();

	image = (struct wasm_image){
		.memory = guest_memory(),
		.memory_bytes = cell.w2c_memory.size,
		.private_start = GUEST_STACK_BYTES,
		.private_end = private_end(private_copy, private_bytes),
		.cluster_start = PGCELL_SHMEM_START,
		.cluster_end = files_end,
		.base_start = PGCELL_BASE_START,
		.base_end = base_end,
		.memory_pages = files_end / PAGE,
		.max_pages = PGCELL_MEMORY_MAX / PAGE,
		.restore_export = "pgcell_restore_private",
		.base_read_export = "pgcell_base_read",
		.drop_exports = build_only,
	};
	for (; modules < argv; modules++)
		if (write_module(*modules, &image) < 0)
			return -1;
	printf("pgcell: memory at start %u KiB, BASE %u KiB\n", files_end / 1024, (base_end - PGCELL_BASE_START) / 1024);
	return 0;
}

static void *run(void *arg)
{
	(void)arg;
	exit_status = bake(arguments) == 0 ? 0 : 1;
	return NULL;
}

int main(int argc, char **argv)
{
	pthread_attr_t attr;
	pthread_t thread;

	(void)argc;
	arguments = argv + 1;
	pthread_attr_init(&attr);
	if (pthread_attr_setstacksize(&attr, HOST_STACK_BYTES) != 0 || pthread_create(&thread, &attr, run, NULL) != 0 ||
		pthread_join(thread, NULL) != 0)
		return 1;
	return exit_status;
}
