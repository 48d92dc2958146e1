/*
 * engine.c - the engine behind session.h: restores the image and runs one session of a cell.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <unistd.h>

#include "../guest/port/layout.h"
#include "guest.h"
#include "image.h"
#include "log.h"
#include "runtime.h"
#include "sandbox.h"
#include "session.h"
#include "transport.h"

#define LOG_CHUNK_BYTES LOG_JSON_MAX

static wasi_ctx wasi;
static const char *cell_name; /* the session's, NULL before it */
static struct image image;

/* as in guest/cell/cell.h */
struct guest_session_args {
	uint32_t slot;
	uint32_t family;
	uint8_t address[16];
	uint32_t port;
	uint32_t server_port;
	uint8_t server_address[16];
	int64_t cell_started_us;
	uint32_t files_end;
	uint32_t reserved;
};
_Static_assert(sizeof(struct guest_session_args) == 64, "known to the guest");

/* Of the guest's memory, from `start` on, rounded up, to `end`: nothing is there any more. */
static int take_away(uint64_t start, uint64_t end)
{
	start = (start + 4095) & ~UINT64_C(4095);
	if (start >= end)
		return 0;
	return runtime_map((guest_addr)start, end - start, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
}

int engine_open(const char *image_path, char *err, size_t errlen)
{
	const struct wasi_config config = {.allow_stdio = true};
	const struct image_part_header *private, *base;
	int rc;

	if (image_open(&image, image_path, runtime_build_id, err, errlen) < 0)
		return -1;
	rc = wasi_init(&wasi, &config);
	if (rc == 0)
		rc = runtime_open(&wasi);
	if (rc < 0) {
		snprintf(err, errlen, "can't set up the engine: %s", strerror(-rc));
		return -1;
	}
	if (w2c_guest_pgcell_contract_version(runtime_guest) != image.header->contract_version) {
		snprintf(err, errlen, "the image %s has another contract version", image_path);
		return -1;
	}
	private = &image.header->parts[IMAGE_PRIVATE];
	base = &image.header->parts[IMAGE_BASE];
	rc = runtime_map(private->guest_start, private->len_bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE, image.fd, private->offset);
	if (rc == 0)
		rc = runtime_map(base->guest_start, base->len_bytes, PROT_READ, MAP_SHARED, image.fd, base->offset);
	if (rc == 0)
		rc = take_away(base->guest_start + base->len_bytes, PGCELL_BASE_END);
	if (rc == 0)
		rc = take_away(PGCELL_CLUSTER_END, guest_memory_bytes);
	if (rc < 0) {
		snprintf(err, errlen, "can't map the image %s: %s", image_path, strerror(-rc));
		return -1;
	}
	return 0;
}

int engine_populate(int cell_fd)
{
	if (ftruncate(cell_fd, PGCELL_CLUSTER_END - PGCELL_CLUSTER_START) < 0)
		return -errno;
	return image_write_cluster(&image, IMAGE_CLUSTER_READY, cell_fd);
}

/* Tells the client, who would otherwise only see the connection end. The message is a whole ErrorResponse. */
static void on_trap(const char *what)
{
	char text[200], packet[400];
	int text_len = snprintf(text, sizeof text, "session ended: %s", what);
	int len = 5;

	log_error(cell_name, getpid(), "guest trap: %s", what);
	if (transport_client_fd() < 0 || text_len <= 0)
		return;
	len += snprintf(packet + len, sizeof packet - (size_t)len, "SFATAL%cVFATAL%cCXX000%cM%s%c%c", 0, 0, 0, text, 0, 0);
	packet[0] = 'E';
	memcpy(packet + 1, &(uint32_t){htonl((uint32_t)len - 1)}, 4);
	(void)!send(transport_client_fd(), packet, (size_t)len, MSG_DONTWAIT | MSG_NOSIGNAL);
}

/* The family as the guest counts it, 0 for a Unix socket. */
static uint32_t fill_address(const struct sockaddr_storage *from, uint8_t address[16], uint32_t *port)
{
	const struct sockaddr_in *sin = (const struct sockaddr_in *)from;
	const struct sockaddr_in6 *sin6 = (const struct sockaddr_in6 *)from;

	switch (from->ss_family) {
	case AF_INET:
		memcpy(address, &sin->sin_addr, 4);
		*port = ntohs(sin->sin_port);
		return 4;
	case AF_INET6:
		memcpy(address, &sin6->sin6_addr, 16);
		*port = ntohs(sin6->sin6_port);
		return 6;
	default:
		return 0;
	}
}

/* What is beyond is not even mapped. */
static uint32_t cluster_end(const struct session_args *args)
{
	uint64_t most = PGCELL_CLUSTER_END - PGCELL_FILES_START;

	return PGCELL_FILES_START + (uint32_t)(args->files_limit_bytes == 0 || args->files_limit_bytes > most ? most : args->files_limit_bytes);
}

static void fill_args(struct guest_session_args *to, const struct session_args *args)
{
	struct sockaddr_storage local = {.ss_family = AF_UNIX};
	socklen_t len = sizeof local;

	memset(to, 0, sizeof *to);
	to->slot = args->slot;
	to->cell_started_us = args->cell_created_us;
	to->files_end = cluster_end(args);
	to->family = fill_address(&args->peer, to->address, &to->port);
	if (to->family != 0 && args->server.ss_family != AF_UNIX)
		(void)fill_address(&args->server, to->server_address, &to->server_port);
	else if (to->family != 0 && getsockname(args->client_fd, (struct sockaddr *)&local, &len) == 0)
		(void)fill_address(&local, to->server_address, &to->server_port);
}

static void run_guest(void *arg)
{
	const struct session_args *args = arg;

	if (args->kind == SESSION_RECOVER)
		w2c_guest_pgcell_recover(runtime_guest);
	else if (session_has_client(args->kind))
		w2c_guest_pgcell_session(runtime_guest);
	else
		w2c_guest_pgcell_autovacuum(runtime_guest, args->kind == SESSION_VACUUM_WORKER);
}

/* Shared memory as it was before the first recovery; the files stay. */
static int reset_shared_memory(int cell_fd)
{
	if (fallocate(cell_fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 0, PGCELL_FILES_START - PGCELL_CLUSTER_START) < 0)
		return -errno;
	return image_write_cluster(&image, IMAGE_CLUSTER_CRASHED, cell_fd);
}

/* PostgreSQL's log: a message is one write. */
static ssize_t on_guest_stderr(const struct iovec *iovs, uint32_t count)
{
	char text[LOG_CHUNK_BYTES];
	size_t kept = 0, total = 0;

	for (uint32_t i = 0; i < count; i++) {
		size_t room = sizeof text - kept;
		size_t n = iovs[i].iov_len < room ? iovs[i].iov_len : room;

		memcpy(text + kept, iovs[i].iov_base, n);
		kept += n;
		total += iovs[i].iov_len;
	}
	log_postgres(cell_name, getpid(), text, kept);
	return (ssize_t)total;
}

static _Noreturn void end_unstarted(int error)
{
	log_error(cell_name, getpid(), "can't start: %s", strerror(-error));
	_exit(3);
}

/* A guest that takes no notice of its limit traps. */
static int limit_private_memory(uint64_t limit_bytes)
{
	const struct image_part_header *private = &image.header->parts[IMAGE_PRIVATE];
	uint64_t from = private->guest_start + private->len_bytes;

	return take_away(from < limit_bytes ? limit_bytes : from, PGCELL_PRIVATE_END);
}

/* Everything that the guest needs of the system. */
static void set_up(const struct session_args *args)
{
	struct guest_session_args *guest_args;
	int rc;

	runtime_trap_hook = on_trap;
	rc = transport_begin(args, w2c_guest_pgcell_signal_address(runtime_guest),
		w2c_guest_pgcell_interrupt_address(runtime_guest));
	guest_args = guest_range(w2c_guest_pgcell_session_args_address(runtime_guest), sizeof *guest_args);
	if (rc < 0 || !guest_args)
		end_unstarted(rc < 0 ? rc : -EFAULT);
	fill_args(guest_args, args);
}

static _Noreturn void run(const struct session_args *args)
{
	runtime_enter(run_guest, (void *)(uintptr_t)args);
	_exit(0);
}

void session_main(const struct session_args *args)
{
	int rc = 0;

	cell_name = args->cell_name;
	if (log_is_json())
		wasi_stderr_hook = on_guest_stderr;
	if (args->kind == SESSION_RECOVER)
		rc = reset_shared_memory(args->cell_fd);
	if (rc == 0)
		rc = runtime_map(PGCELL_CLUSTER_START, cluster_end(args) - PGCELL_CLUSTER_START, PROT_READ | PROT_WRITE, MAP_SHARED,
			args->cell_fd, 0);
	if (rc == 0)
		rc = limit_private_memory(args->memory_limit_bytes);
	if (rc < 0)
		end_unstarted(rc);
	set_up(args);
	rc = sandbox_enter((int[]){args->client_fd, args->peers_fd, transport_wake_fd()}, 3, args->peers_fd);
	if (rc < 0)
		end_unstarted(rc);
	run(args);
}

void session_enter(const struct session_args *args)
{
	set_up(args);
	run(args);
}
