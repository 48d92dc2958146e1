/*
 * A stand-in for the engine and `pgcell image`, so that the supervisor is tested through real sockets without a guest.
 * It speaks just enough of the protocol and obeys commands sent as simple queries; see commands[].
 *
 * The image path chooses what goes wrong: "*broken*" fails engine_open(), "*unpopulated*" fails engine_populate(), "*locked*" has the
 * sessions ask for a password.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "../../host/image_cmd.h"
#include "../../host/session.h"
#include "../../host/tally.h"

#define COUNTER_START 100
#define MESSAGE_MAX 16384

/* What the CLUSTER memfd holds. */
struct cluster {
	atomic_int counter;
	atomic_int cancels;
	atomic_int recoveries;
	atomic_int must_fail_recovery;
	atomic_int populations;
	atomic_int vacuum_launchers;
	atomic_int vacuum_workers;
	atomic_int vacuum_end; /* exit status of launchers */
};

struct session {
	const struct session_args *args;
	struct cluster *cluster;
	uint32_t preread_used;
};

static const char *image;

int cmd_image(int argc, char **argv)
{
	(void)argv;
	printf("fake image command, %d arguments\n", argc - 1);
	return 0;
}

int engine_open(const char *image_path, char *err, size_t errlen)
{
	image = image_path;
	if (strstr(image_path, "broken") != NULL) {
		snprintf(err, errlen, "the image %s is broken", image_path);
		return -1;
	}
	return 0;
}

int engine_populate(int cell_fd)
{
	struct cluster cluster = {.counter = COUNTER_START, .populations = 1};

	if (strstr(image, "unpopulated") != NULL)
		return -ENOSPC;
	if (ftruncate(cell_fd, 4096) != 0)
		return -errno;
	return pwrite(cell_fd, &cluster, sizeof(cluster), 0) == sizeof(cluster) ? 0 : -EIO;
}

static void read_exactly(struct session *session, void *out, size_t len)
{
	uint8_t *to = out;

	while (len > 0) {
		size_t left = session->args->preread_len - session->preread_used;
		ssize_t got;

		if (left > 0) {
			got = (ssize_t)(left < len ? left : len);
			memcpy(to, session->args->preread + session->preread_used, (size_t)got);
			session->preread_used += (uint32_t)got;
		} else {
			got = recv(session->args->client_fd, to, len, 0);
			if (got < 0 && errno == EINTR)
				continue;
			if (got < 0)
				_exit(errno == EAGAIN ? 99 : 1); /* 99: the socket should be blocking */
			if (got == 0)
				_exit(0);
		}
		atomic_store(&tally_own->is_idle, 0);
		tally_own->bytes_in += (uint64_t)got;
		to += got;
		len -= (size_t)got;
	}
}

static uint32_t read_u32(struct session *session)
{
	uint32_t value;

	read_exactly(session, &value, sizeof(value));
	return ntohl(value);
}

static void send_message(struct session *session, char type, const void *body, uint32_t len)
{
	uint8_t packet[MESSAGE_MAX];
	uint32_t word = htonl(len + 4);

	packet[0] = (uint8_t)type;
	memcpy(packet + 1, &word, 4);
	memcpy(packet + 5, body, len);
	if (send(session->args->client_fd, packet, len + 5, MSG_NOSIGNAL) < 0)
		_exit(1);
	tally_own->bytes_out += len + 5;
}

/* What the guest notes before it reads a message. */
static void become_idle(void)
{
	tally_ready();
	atomic_store(&tally_own->is_idle, 1);
	if (atomic_load(&tally_own->must_end))
		raise(SIGTERM);
}

static void answer(struct session *session, const char *text)
{
	send_message(session, 'C', text, (uint32_t)strlen(text) + 1);
}

static void cmd_about(struct session *session, const char *argument)
{
	struct stat info;
	char text[512], peer[INET6_ADDRSTRLEN] = "local";
	const struct session_args *args = session->args;
	int port = 0;
	int death = 0;

	(void)argument;
	fstat(args->cell_fd, &info);
	prctl(PR_GET_PDEATHSIG, &death);
	if (args->peer.ss_family == AF_INET) {
		const struct sockaddr_in *in = (const struct sockaddr_in *)&args->peer;

		inet_ntop(AF_INET, &in->sin_addr, peer, sizeof(peer));
		port = ntohs(in->sin_port);
	}
	snprintf(text, sizeof(text),
		 "pid=%d ppid=%d inode=%llu slot=%u peer=%s port=%d memory=%llu created=%lld cancels=%d recoveries=%d "
		 "populations=%d death=%d vacuum_launchers=%d vacuum_workers=%d",
		 (int)getpid(), (int)getppid(), (unsigned long long)info.st_ino, args->slot, peer, port,
		 (unsigned long long)args->memory_limit_bytes, (long long)args->cell_created_us,
		 session->cluster->cancels, session->cluster->recoveries, session->cluster->populations, death,
		 session->cluster->vacuum_launchers, session->cluster->vacuum_workers);
	answer(session, text);
}

static void cmd_startup(struct session *session, const char *argument)
{
	char text[MESSAGE_MAX / 2];
	const uint8_t *preread = session->args->preread;
	uint32_t word;

	(void)argument;
	memcpy(&word, preread, 4);
	word = ntohl(word);
	for (uint32_t i = 8; i < word; i++)
		text[i - 8] = preread[i] == '\0' ? '|' : (char)preread[i];
	text[word - 8] = '\0';
	answer(session, text);
}

static void cmd_incr(struct session *session, const char *argument)
{
	char text[32];

	(void)argument;
	snprintf(text, sizeof(text), "%d", atomic_fetch_add(&session->cluster->counter, 1) + 1);
	answer(session, text);
}

static void cmd_fds(struct session *session, const char *argument)
{
	char text[512] = "";
	char path[64], target[128];

	(void)argument;
	for (int fd = 0; fd < 64; fd++) {
		ssize_t len;

		snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
		len = readlink(path, target, sizeof(target) - 1);
		if (len < 0)
			continue;
		target[len] = '\0';
		snprintf(text + strlen(text), sizeof(text) - strlen(text), "%d=%.20s ", fd, target);
	}
	answer(session, text);
}

static void cmd_crash(struct session *session, const char *argument)
{
	static const struct rlimit no_core;

	(void)session;
	setrlimit(RLIMIT_CORE, &no_core);
	if (strcmp(argument, "segv") == 0) {
		signal(SIGSEGV, SIG_DFL);
		raise(SIGSEGV);
	} else if (strcmp(argument, "abort") == 0) {
		signal(SIGABRT, SIG_DFL);
		raise(SIGABRT);
	}
	_exit(atoi(argument));
}

static void cmd_sleep(struct session *session, const char *argument)
{
	usleep((useconds_t)atoi(argument) * 1000);
	answer(session, "slept");
}

static void cmd_ignore_term(struct session *session, const char *argument)
{
	(void)argument;
	signal(SIGTERM, SIG_IGN);
	answer(session, "ok");
}

static void cmd_fail_recovery(struct session *session, const char *argument)
{
	(void)argument;
	session->cluster->must_fail_recovery = 1;
	answer(session, "ok");
}

static void cmd_vacuum_end(struct session *session, const char *argument)
{
	session->cluster->vacuum_end = atoi(argument);
	answer(session, "ok");
}

/* An error with a SQLSTATE, as often as the second argument says. */
static void cmd_error(struct session *session, const char *argument)
{
	uint32_t packed = 0;
	int times = 1;

	if (strlen(argument) < 5)
		_exit(96);
	for (int i = 4; i >= 0; i--)
		packed = packed << 6 | (uint32_t)((argument[i] - '0') & 63);
	if (argument[5] == ' ')
		times = atoi(argument + 6);
	for (int i = 0; i < times; i++)
		tally_error(packed);
	answer(session, "noted");
}

/* As many different ones. */
static void cmd_errors(struct session *session, const char *argument)
{
	for (uint32_t i = 0; i < (uint32_t)atoi(argument); i++)
		tally_error(i % 10 | (i / 10 % 10) << 6 | (i / 100 % 10) << 12);
	answer(session, "noted");
}

/* A page that holds nonsense, as of a session that was taken over. */
static void cmd_spoil(struct session *session, const char *argument)
{
	(void)argument;
	answer(session, "spoilt");
	memset(tally_own, 0xff, 4096);
}

/* How many pages of the region can be read? */
static void cmd_pages(struct session *session, const char *argument)
{
	uint8_t *at = (uint8_t *)tally_own;
	int mapped = 0;
	char text[32];
	int ends[2];

	(void)argument;
	if (pipe(ends) != 0)
		_exit(95);
	for (int i = -64; i <= 64; i++)
		mapped += write(ends[1], at + i * 4096, 1) == 1; /* else EFAULT */
	close(ends[0]);
	close(ends[1]);
	snprintf(text, sizeof(text), "%d", mapped);
	answer(session, text);
}

static const struct {
	const char *name;
	void (*run)(struct session *session, const char *argument);
} commands[] = {
	{"about", cmd_about},
	{"startup", cmd_startup},
	{"incr", cmd_incr},
	{"fds", cmd_fds},
	{"crash", cmd_crash}, /* segv, abort or an exit status */
	{"sleep", cmd_sleep}, /* milliseconds */
	{"ignore_term", cmd_ignore_term},
	{"fail_recovery", cmd_fail_recovery},
	{"vacuum_end", cmd_vacuum_end},
	{"error", cmd_error}, /* SQLSTATE [TIMES] */
	{"errors", cmd_errors}, /* how many */
	{"spoil", cmd_spoil},
	{"pages", cmd_pages},
};

static void run_command(struct session *session, char *text)
{
	char *argument = strchr(text, ' ');

	if (argument != NULL)
		*argument++ = '\0';
	for (size_t i = 0; i < sizeof(commands) / sizeof(commands[0]); i++) {
		if (strcmp(commands[i].name, text) == 0) {
			commands[i].run(session, argument == NULL ? "" : argument);
			return;
		}
	}
	if (argument != NULL)
		argument[-1] = ' ';
	answer(session, text);
}

static void greet(struct session *session)
{
	uint32_t key[2] = {htonl((uint32_t)getpid()), htonl(0x12345678)};

	send_message(session, 'R', strstr(image, "locked") != NULL ? "\0\0\0\3" : "\0\0\0\0", 4);
	send_message(session, 'S', "server_version\00018.6", 20);
	send_message(session, 'K', key, 8);
	send_message(session, 'Z', "I", 1);
}

static _Noreturn void serve(struct session *session)
{
	char body[MESSAGE_MAX];
	uint32_t len;

	len = read_u32(session);
	read_exactly(session, body, len - 4);
	greet(session);
	for (;;) {
		char type;

		become_idle();
		read_exactly(session, &type, 1);
		len = read_u32(session) - 4;
		if (len >= sizeof(body))
			_exit(1);
		read_exactly(session, body, len);
		body[len] = '\0';
		if (type == 'X')
			_exit(0);
		if (type == 'Q')
			run_command(session, body);
		send_message(session, 'Z', "I", 1);
	}
}

static void on_term(int signal_number)
{
	(void)signal_number;
	_exit(1);
}

_Noreturn void session_main(const struct session_args *args)
{
	struct session session = {.args = args};

	signal(SIGTERM, on_term);
	session.cluster = mmap(NULL, sizeof(struct cluster), PROT_READ | PROT_WRITE, MAP_SHARED, args->cell_fd, 0);
	if (session.cluster == MAP_FAILED)
		_exit(98);
	switch (args->kind) {
	case SESSION_CLIENT:
		serve(&session);
	case SESSION_CANCEL:
		/* length, code, pid, key */
		if (args->preread_len != 16 || memcmp(args->preread + 12, "\x12\x34\x56\x78", 4) != 0)
			_exit(1);
		session.cluster->cancels++;
		_exit(0);
	case SESSION_RECOVER:
		session.cluster->recoveries++;
		_exit(session.cluster->must_fail_recovery ? 1 : 0);
	case SESSION_VACUUM_LAUNCHER:
		session.cluster->vacuum_launchers++;
		_exit(session.cluster->vacuum_end);
	case SESSION_VACUUM_WORKER:
		session.cluster->vacuum_workers++;
		_exit(0);
	default:
		_exit(97);
	}
}
