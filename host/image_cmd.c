/*
 * image_cmd.c - builds images.
 *
 * Every step that leaves garbage behind runs in a child of its own, since the image's PRIVATE is what this process has:
 *
 *	child	import: files into BASE and FILES, both shared with the parent
 *	parent	pgcell_root: PostgreSQL as after its postmaster's start
 *		-> CLUSTER_CRASHED is taken: shared memory that knows nothing of a database yet
 *	child	pgcell_recover: what PostgreSQL's startup process does
 *	child	a first session in each database
 *		-> CLUSTER_READY, BASE and PRIVATE are taken
 */
#define _GNU_SOURCE
#include "image_cmd.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "../guest/image/tree.h"
#include "../guest/port/layout.h"
#include "guest.h"
#include "image.h"
#include "runtime.h"
#include "session.h"

/* the guest's own stack is below its data (the linker's --stack-first), and empty between calls */
#define GUEST_STACK_BYTES (8u << 20)

static wasi_ctx wasi;

static int fail(const char *what, const char *detail)
{
	fprintf(stderr, "pgcell image: %s: %s\n", what, detail);
	return 1;
}

/* ---- import ---- */

/* Copies a host buffer into guest memory; the guest's address, 0 when it has no memory left. */
static guest_addr to_guest(const void *data, size_t len)
{
	guest_addr at = w2c_guest_pgcell_alloc(runtime_guest, (uint32_t)len + 1);
	char *to = at ? guest_range(at, len + 1) : NULL;

	if (!to)
		return 0;
	if (len)
		memcpy(to, data, len);
	to[len] = 0;
	return at;
}

static int import_one(void *arg, const char *target, const void *data, size_t len, uint32_t mode)
{
	bool is_dir = data == NULL;
	guest_addr path = to_guest(target, strlen(target));
	guest_addr content = to_guest(data, len);
	uint32_t rc = 48;

	(void)arg;
	if (path && content)
		rc = is_dir ? w2c_guest_pgcell_import_dir(runtime_guest, path)
			    : w2c_guest_pgcell_import_file(runtime_guest, path, content, (uint32_t)len, mode);
	w2c_guest_pgcell_free(runtime_guest, path);
	w2c_guest_pgcell_free(runtime_guest, content);
	if (rc != 0)
		fprintf(stderr, "pgcell image: can't import %s: WASI error %u\n", target, rc);
	return rc == 0 ? 0 : -1;
}

/* ---- taking the image ---- */

static bool is_zero(const char *page)
{
	return page[0] == 0 && memcmp(page, page + 1, IMAGE_PAGE - 1) == 0;
}

struct writer {
	int fd;
	uint64_t at; /* end of the file, bytes */
	struct image_header header;
	struct image_run runs[IMAGE_MAX_RUNS];
};

static int append(struct writer *w, const char *data, size_t len)
{
	while (len > 0) {
		ssize_t n = pwrite(w->fd, data, len, (off_t)w->at);

		if (n < 0)
			return -1;
		data += n;
		len -= (size_t)n;
		w->at += (uint64_t)n;
	}
	return 0;
}

static int append_range(struct writer *w, enum image_part part, uint32_t start, uint64_t len)
{
	struct image_part_header *p = &w->header.parts[part];

	p->offset = w->at;
	p->len_bytes = (len + IMAGE_PAGE - 1) & ~(uint64_t)(IMAGE_PAGE - 1);
	p->guest_start = start;
	return append(w, (const char *)guest_base + start, p->len_bytes);
}

/*
 * The pages of CLUSTER below end that are not zero; runs that are a page apart become one. cluster_fd is asked for what was ever
 * touched, since reading a hole of a memfd fills it.
 */
static int append_pages(struct writer *w, enum image_part part, int cluster_fd, uint32_t end)
{
	struct image_part_header *p = &w->header.parts[part];
	const char *segment = (const char *)guest_base + PGCELL_CLUSTER_START;
	struct image_run *run = NULL;
	off_t data = 0;

	p->offset = w->at;
	p->guest_start = PGCELL_CLUSTER_START;
	p->first_run = w->header.total_runs;
	while ((data = lseek(cluster_fd, data, SEEK_DATA)) >= 0 && data < (off_t)end - PGCELL_CLUSTER_START) {
		off_t hole = lseek(cluster_fd, data, SEEK_HOLE);

		for (uint32_t i = (uint32_t)(data / IMAGE_PAGE); i < hole / IMAGE_PAGE; i++) {
			if (is_zero(segment + (uint64_t)i * IMAGE_PAGE))
				continue;
			if (run && i - (run->page + run->pages) < 2) {
				run->pages = i + 1 - run->page;
				continue;
			}
			if (w->header.total_runs == IMAGE_MAX_RUNS)
				return -1;
			run = &w->runs[w->header.total_runs++];
			*run = (struct image_run){i, 1};
			p->runs++;
		}
		data = hole;
	}
	for (uint32_t r = p->first_run; r < w->header.total_runs; r++) {
		if (append(w, segment + (uint64_t)w->runs[r].page * IMAGE_PAGE, (size_t)w->runs[r].pages * IMAGE_PAGE) < 0)
			return -1;
	}
	p->len_bytes = w->at - p->offset;
	return 0;
}

/* The heap's end: everything in PRIVATE beyond is zero. */
static uint32_t private_end(void)
{
	uint32_t end = PGCELL_PRIVATE_END;

	while (end > GUEST_STACK_BYTES && is_zero((const char *)guest_base + end - IMAGE_PAGE))
		end -= IMAGE_PAGE;
	return end;
}

/* ---- steps ---- */

static int status;

static void do_import(void *arg)
{
	char **argv = arg, err[500];

	status = 1;
	if (w2c_guest_pgcell_format(runtime_guest) != 0) {
		fail("format", "the file system could not be made");
		return;
	}
	if (tree_walk(argv, import_one, NULL, err, sizeof err) < 0) {
		fail("import", err);
		return;
	}
	/* the parent learns where BASE ends through memory that both share: its last word */
	if (!guest_store_u32(PGCELL_BASE_END - 4, w2c_guest_pgcell_import_end(runtime_guest)))
		return;
	status = 0;
}

static void do_root(void *arg)
{
	(void)arg;
	status = (int)w2c_guest_pgcell_root(runtime_guest);
}

static void do_recover(void *arg)
{
	(void)arg;
	w2c_guest_pgcell_recover(runtime_guest);
}

static void do_empty_cache(void *arg)
{
	(void)arg;
	w2c_guest_pgcell_empty_cache(runtime_guest);
}

/* Files that sessions left in FILES go to BASE, where they cost a cell nothing. */
static void do_rebase(void *arg)
{
	(void)arg;
	status = 1;
	if (w2c_guest_pgcell_import_rebase(runtime_guest) == 0 &&
		guest_store_u32(PGCELL_BASE_END - 4, w2c_guest_pgcell_import_end(runtime_guest)))
		status = 0;
}

/* A start-up packet, one query and Terminate. */
static int make_visit(uint8_t *to, const char *database)
{
	static const char query[] = "Q\0\0\0\15select 1\0X\0\0\0\4";
	int len = 8;

	memcpy(to + 4, "\0\3\0\0", 4);
	len += sprintf((char *)to + len, "user%cpostgres%cdatabase%c%s%c", 0, 0, 0, database, 0);
	to[len++] = 0;
	memcpy(to, &(uint32_t){htonl((uint32_t)len)}, 4);
	memcpy(to + len, query, sizeof query - 1);
	return len + (int)sizeof query - 1;
}

/* One session in a database: it leaves the files by which later ones start faster (pg_internal.init). */
static int visit(int cluster_fd, const char *database)
{
	uint8_t bytes[200];
	struct session_args args = {.kind = SESSION_CLIENT, .cell_fd = cluster_fd, .peers_fd = -1, .slot = 1, .preread = bytes};
	int sockets[2], wait_status;
	char reply[4096];
	pid_t pid;

	args.memory_limit_bytes = PGCELL_PRIVATE_END;
	args.preread_len = (uint32_t)make_visit(bytes, database);
	args.peer.ss_family = AF_UNIX;
	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, sockets) < 0)
		return fail("visit", strerror(errno));
	pid = fork();
	if (pid == 0) {
		close(sockets[0]);
		args.client_fd = sockets[1];
		session_enter(&args);
	}
	close(sockets[1]);
	while (pid > 0 && read(sockets[0], reply, sizeof reply) > 0)
		continue;
	close(sockets[0]);
	if (pid < 0 || waitpid(pid, &wait_status, 0) < 0 || !WIFEXITED(wait_status) || WEXITSTATUS(wait_status) != 0)
		return fail(database, "a first session in it failed");
	return 0;
}

static int in_child(void (*step)(void *), void *arg, const char *name)
{
	int wait_status;
	pid_t pid = fork();

	if (pid == 0) {
		runtime_enter(step, arg);
		_exit(status);
	}
	if (pid < 0 || waitpid(pid, &wait_status, 0) < 0)
		return fail(name, strerror(errno));
	if (!WIFEXITED(wait_status) || WEXITSTATUS(wait_status) != 0) {
		fprintf(stderr, "pgcell image: %s failed (wait status %#x)\n", name, (unsigned)wait_status);
		return 1;
	}
	return 0;
}

/* Maps a new memfd and returns it, -1 on failure. */
static int map_shared(const char *name, uint32_t start, uint32_t end)
{
	int fd = memfd_create(name, MFD_CLOEXEC);

	if (fd >= 0 && (ftruncate(fd, (off_t)end - start) < 0 ||
			       runtime_map(start, end - start, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0) < 0)) {
		close(fd);
		fd = -1;
	}
	return fd;
}

static int build(const char *output, char **trees)
{
	static struct writer w;
	const struct wasi_config config = {.allow_stdio = true};
	uint32_t base_end, end;
	int cluster_fd;
	char *temporary = NULL;
	int rc = 1;

	w.fd = -1;
	if (wasi_init(&wasi, &config) < 0 || runtime_open(&wasi) < 0 ||
		map_shared("base", PGCELL_BASE_START, PGCELL_BASE_END) < 0 ||
		(cluster_fd = map_shared("cluster", PGCELL_CLUSTER_START, PGCELL_CLUSTER_END)) < 0)
		return fail("set-up", strerror(errno));
	w2c_guest_0x5Finitialize(runtime_guest);

	if (in_child(do_import, trees, "import") != 0)
		return 1;
	if (!guest_load_u32(PGCELL_BASE_END - 4, &base_end))
		return 1;
	status = 1;
	runtime_enter(do_root, NULL);
	if (status != 0)
		return fail("start", "PostgreSQL did not start");

	if (asprintf(&temporary, "%s.tmp", output) < 0)
		return 1;
	w.fd = open(temporary, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
	if (w.fd < 0) {
		rc = fail(temporary, strerror(errno));
		goto cleanup;
	}
	w.at = IMAGE_PAGE + ((IMAGE_MAX_RUNS * sizeof *w.runs + IMAGE_PAGE - 1) & ~(size_t)(IMAGE_PAGE - 1));
	if (append_pages(&w, IMAGE_CLUSTER_CRASHED, cluster_fd, PGCELL_FILES_START) < 0) {
		rc = fail(temporary, strerror(errno));
		goto cleanup;
	}
	if (in_child(do_recover, NULL, "recovery") != 0 || visit(cluster_fd, "template1") != 0 ||
		visit(cluster_fd, "postgres") != 0 || in_child(do_empty_cache, NULL, "emptying the buffer cache") != 0 || in_child(do_rebase, NULL, "moving files to BASE") != 0 ||
		!guest_load_u32(PGCELL_BASE_END - 4, &base_end))
		goto cleanup;
	end = private_end();
	if (append_range(&w, IMAGE_PRIVATE, GUEST_STACK_BYTES, end - GUEST_STACK_BYTES) < 0 ||
		append_range(&w, IMAGE_BASE, PGCELL_BASE_START, base_end - PGCELL_BASE_START) < 0 ||
		append_pages(&w, IMAGE_CLUSTER_READY, cluster_fd, PGCELL_CLUSTER_END) < 0) {
		rc = fail(temporary, strerror(errno));
		goto cleanup;
	}
	memcpy(w.header.magic, IMAGE_MAGIC, sizeof IMAGE_MAGIC);
	w.header.format_version = IMAGE_FORMAT_VERSION;
	w.header.contract_version = w2c_guest_pgcell_contract_version(runtime_guest);
	memcpy(w.header.build_id, runtime_build_id, sizeof w.header.build_id);
	snprintf(w.header.postgres_version, sizeof w.header.postgres_version, "%s", PGCELL_POSTGRES_VERSION);
	w.header.file_bytes = w.at;
	w.header.checksum = image_checksum(&w.header, w.runs);
	if (pwrite(w.fd, &w.header, sizeof w.header, 0) != sizeof w.header ||
		pwrite(w.fd, w.runs, sizeof w.runs, IMAGE_PAGE) != sizeof w.runs || fsync(w.fd) < 0 ||
		rename(temporary, output) < 0) {
		rc = fail(output, strerror(errno));
		goto cleanup;
	}
	rc = 0;
cleanup:
	if (w.fd >= 0)
		close(w.fd);
	if (rc != 0)
		unlink(temporary);
	free(temporary);
	return rc;
}

static int info(const char *path)
{
	static const char *const names[IMAGE_PARTS] = {"PRIVATE", "BASE", "CLUSTER ready", "CLUSTER crashed"};
	struct image image;
	char err[500];

	if (image_open(&image, path, runtime_build_id, err, sizeof err) < 0) {
		fprintf(stderr, "pgcell: %s\n", err);
		return 1;
	}
	printf("PostgreSQL %s, build %.12s, contract %u\n", image.header->postgres_version, image.header->build_id,
		image.header->contract_version);
	for (int i = 0; i < IMAGE_PARTS; i++)
		printf("%-16s %8llu KiB at %#010x, %u runs\n", names[i],
			(unsigned long long)image.header->parts[i].len_bytes / 1024, image.header->parts[i].guest_start,
			image.header->parts[i].runs);
	image_release(&image);
	return 0;
}

/* ---- the program "postgres" on the host's files ---- */

static void do_main(void *arg)
{
	(void)arg;
	w2c_guest_0x5Finitialize(runtime_guest);
	status = (int)w2c_guest_pgcell_main(runtime_guest);
}

static int run_postgres(int argc, char **argv)
{
	const struct wasi_preopen root = {"/", open("/", O_PATH | O_DIRECTORY | O_CLOEXEC)};
	char *directory = get_current_dir_name();
	const struct wasi_config config = {
		.argc = argc,
		.argv = (const char *const *)argv,
		.envp = (const char *const *)environ,
		.preopens = &root,
		.preopens_len = 1,
		.allow_stdio = true,
	};

	/* wasi-libc starts in PWD; initdb says the rest through the environment */
	if (!directory || setenv("PWD", directory, 1) < 0)
		return fail("set-up", strerror(errno));
	free(directory);
	if (wasi_init(&wasi, &config) < 0 || runtime_open(&wasi) < 0)
		return fail("set-up", strerror(errno));
	runtime_enter(do_main, NULL);
	return status;
}

int cmd_image(int argc, char **argv)
{
	if (argc >= 4 && strcmp(argv[1], "build") == 0)
		return build(argv[2], argv + 3);
	if (argc == 3 && strcmp(argv[1], "info") == 0)
		return info(argv[2]);
	if (argc >= 3 && strcmp(argv[1], "postgres") == 0)
		return run_postgres(argc - 2, argv + 2);
	fprintf(argc == 2 && strcmp(argv[1], "--help") == 0 ? stdout : stderr,
		"usage: pgcell image build OUTPUT TARGET=SOURCE...  an image of PostgreSQL on the files of host directories\n"
		"       pgcell image info FILE                      what is in an image\n"
		"       pgcell image postgres ARGV0 ARG...          the program \"postgres\" on the host's files, for initdb\n");
	return argc == 2 && strcmp(argv[1], "--help") == 0 ? 0 : 2;
}
