/*
 * A guest that has been taken over: it stands where the engine is, after sandbox_enter(), and makes the attacks that its client asks for,
 * natively. See attacks[]; an attack that is survived is answered with what it got.
 *
 * The image path chooses: "*unfiltered*" leaves the system call filter and the limits out, so that what stands behind them is tested.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#include "../../host/image_cmd.h"
#include "../../host/peers.h"
#include "../../host/sandbox.h"
#include "../../host/session.h"

#define CLUSTER_BYTES 65536

static const struct session_args *session;
static uint32_t preread_used;
static char *cluster;
static char secret[] = "supervisor's and everybody's: at the same address in all of these processes";
static bool is_unfiltered;
static long long sandbox_ns;
static int wake_fd;

int cmd_image(int argc, char **argv)
{
	(void)argc, (void)argv;
	return 1;
}

int engine_open(const char *image_path, char *err, size_t errlen)
{
	(void)err, (void)errlen;
	is_unfiltered = strstr(image_path, "unfiltered") != NULL;
	return 0;
}

int engine_populate(int cell_fd)
{
	return ftruncate(cell_fd, CLUSTER_BYTES) == 0 ? 0 : -errno;
}

/* ---- the protocol, barely ---- */

static void read_exactly(void *out, size_t len)
{
	uint8_t *to = out;

	while (len > 0) {
		size_t left = session->preread_len - preread_used;
		ssize_t got = (ssize_t)(left < len ? left : len);

		if (left > 0) {
			memcpy(to, session->preread + preread_used, (size_t)got);
			preread_used += (uint32_t)got;
		} else {
			got = recv(session->client_fd, to, len, 0);
			if (got < 0 && errno == EINTR)
				continue;
			if (got <= 0)
				_exit(0);
		}
		to += got;
		len -= (size_t)got;
	}
}

static uint32_t read_u32(void)
{
	uint32_t value;

	read_exactly(&value, sizeof value);
	return ntohl(value);
}

static void send_message(char type, const void *body, uint32_t len)
{
	uint8_t packet[4096];
	uint32_t word = htonl(len + 4);

	packet[0] = (uint8_t)type;
	memcpy(packet + 1, &word, 4);
	memcpy(packet + 5, body, len);
	if (send(session->client_fd, packet, len + 5, MSG_NOSIGNAL) < 0)
		_exit(1);
}

static void say(const char *format, ...) __attribute__((format(printf, 1, 2)));

static void say(const char *format, ...)
{
	char text[1024];
	va_list args;

	va_start(args, format);
	vsnprintf(text, sizeof text, format, args);
	va_end(args);
	send_message('C', text, (uint32_t)strlen(text) + 1);
}

/* "0", a result; or the error's name */
static void say_result(long rc)
{
	if (rc < 0)
		say("%s", strerrorname_np(errno));
	else
		say("%ld", rc);
}

/* ---- attacks ---- */

/* NUMBER ARGUMENT...: any system call */
static void attack_call(char *argument)
{
	long a[7] = {0};
	char *next = argument;

	for (int i = 0; i < 7 && *next != '\0'; i++)
		a[i] = strtol(next, &next, 0);
	say_result(syscall(a[0], a[1], a[2], a[3], a[4], a[5], a[6]));
}

static void attack_open(char *path)
{
	int fd = open(path, O_RDONLY);
	char text[64] = "";
	ssize_t len = fd < 0 ? -1 : read(fd, text, sizeof text - 1);

	if (len < 0)
		say_result(-1);
	else
		say("read %s", text);
}

static void attack_create(char *path)
{
	say_result(open(path, O_WRONLY | O_CREAT | O_TRUNC, 0600));
}

static void attack_connect(char *port)
{
	struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons((uint16_t)atoi(port)), .sin_addr = {htonl(INADDR_LOOPBACK)}};
	int fd = socket(AF_INET, SOCK_STREAM, 0);

	say_result(fd < 0 ? -1 : connect(fd, (struct sockaddr *)&to, sizeof to));
}

static void attack_fork(char *argument)
{
	pid_t pid;

	(void)argument;
	while ((pid = fork()) >= 0)
		if (pid == 0)
			pause();
	say_result(-1);
}

static void attack_thread(char *argument)
{
	static char stack[16384];

	(void)argument;
	say_result(syscall(SYS_clone, CLONE_VM | CLONE_FS | CLONE_FILES | CLONE_SIGHAND | CLONE_THREAD, stack + sizeof stack, 0, 0, 0));
}

static void attack_exec(char *path)
{
	char *argv[] = {path, NULL};

	say_result(execv(path, argv));
}

static void attack_write(char *address)
{
	volatile char *at = strcmp(address, "cluster_end") == 0 ? cluster + CLUSTER_BYTES : (char *)strtoull(address, NULL, 0);

	*at = 1;
	say("written");
}

static void attack_ptrace(char *pid)
{
	say_result(ptrace(PTRACE_SEIZE, atoi(pid), NULL, NULL));
}

static void attack_read_memory(char *pid)
{
	char copy[sizeof secret];
	struct iovec to = {copy, sizeof copy}, from = {secret, sizeof secret};

	say_result(process_vm_readv(atoi(pid), &to, 1, &from, 1, 0));
}

static void attack_kill(char *pid)
{
	say_result(kill(atoi(pid), SIGKILL));
}

static void attack_tgkill(char *pid)
{
	say_result(syscall(SYS_tgkill, atoi(pid), atoi(pid), SIGKILL));
}

static void attack_pidfd_open(char *pid)
{
	say_result(syscall(SYS_pidfd_open, atoi(pid), 0));
}

/* PID SIGNAL: by the way that there is */
static void attack_peer(char *argument)
{
	char *signal_number;
	pid_t pid = (pid_t)strtol(argument, &signal_number, 10);
	int rc = peers_signal(pid, atoi(signal_number));

	errno = -rc;
	say_result(rc);
}

/* Without end, if the fork server lets us. */
static void attack_ask_nonsense(char *argument)
{
	char noise[64] = {0};
	ssize_t len = 0;
	long sent = 0;

	while (sent < 100000 && len >= 0) {
		len = send(session->peers_fd, noise, (size_t)atoi(argument), MSG_NOSIGNAL | MSG_DONTWAIT);
		sent += len >= 0;
		if (len < 0 && errno == EAGAIN)
			len = 0;
	}
	say(len < 0 ? "closed" : "open");
}

static void attack_map_anonymous(char *argument)
{
	long mib = 0;

	(void)argument;
	for (;; mib++) {
		char *at = mmap(NULL, 1 << 20, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

		if (at == MAP_FAILED || mib > 4096)
			break;
		memset(at, 1, 1 << 20);
	}
	say("%ld", mib);
}

static void attack_brk(char *argument)
{
	long mib = 0;

	(void)argument;
	while (mib <= 4096 && sbrk(1 << 20) != (void *)-1)
		mib++;
	say("%ld", mib);
}

static void attack_map_executable(char *argument)
{
	(void)argument;
	say(mmap(NULL, 4096, PROT_READ | PROT_WRITE | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0) == MAP_FAILED ? "failed" : "mapped");
}

static void attack_make_executable(char *argument)
{
	(void)argument;
	say_result(mprotect(cluster, 4096, PROT_READ | PROT_EXEC));
}

static void attack_map_client(char *argument)
{
	(void)argument;
	say(mmap(NULL, 4096, PROT_READ, MAP_SHARED, session->cell_fd, 0) == MAP_FAILED ? "failed" : "mapped");
}

static void attack_spin(char *argument)
{
	(void)argument;
	signal(SIGTERM, SIG_IGN);
	for (volatile unsigned long i = 0;; i++)
		;
}

static void attack_descriptors(char *argument)
{
	char text[512] = "";

	(void)argument;
	for (int fd = 0; fd < 1024; fd++) {
		/* fcntl() is not there: a descriptor that is not open is one that can't be polled */
		char one[16];
		int rc = (int)recv(fd, one, 0, MSG_DONTWAIT);

		if (rc < 0 && errno == EBADF)
			continue;
		snprintf(one, sizeof one, "%d ", fd);
		strcat(text, one);
	}
	say("%s of client=%d peers=%d wake=%d", text, session->client_fd, session->peers_fd, wake_fd);
}

/* Our standard error, to the client. */
static void attack_send_descriptor(char *argument)
{
	union {
		struct cmsghdr align;
		char bytes[CMSG_SPACE(sizeof(int))];
	} control = {.align = {.cmsg_level = SOL_SOCKET, .cmsg_type = SCM_RIGHTS, .cmsg_len = CMSG_LEN(sizeof(int))}};
	struct iovec iov = {"x", 1};
	struct msghdr msg = {.msg_iov = &iov, .msg_iovlen = 1, .msg_control = control.bytes, .msg_controllen = sizeof control};

	(void)argument;
	memcpy(CMSG_DATA(&control.align), &(int){STDERR_FILENO}, sizeof(int));
	say_result(sendmsg(session->client_fd, &msg, MSG_NOSIGNAL));
}

static void attack_receive_descriptor(char *argument)
{
	char bytes[64], data[16];
	struct iovec iov = {data, sizeof data};
	struct msghdr msg = {.msg_iov = &iov, .msg_iovlen = 1, .msg_control = bytes, .msg_controllen = sizeof bytes};

	(void)argument;
	say_result(recvmsg(session->client_fd, &msg, MSG_DONTWAIT));
}

static void attack_limits(char *argument)
{
	static const int which[] = {RLIMIT_NPROC, RLIMIT_CORE, RLIMIT_MEMLOCK, RLIMIT_MSGQUEUE, RLIMIT_NOFILE, RLIMIT_FSIZE};
	char text[256] = "";
	struct rlimit limit;

	(void)argument;
	for (size_t i = 0; i < sizeof which / sizeof *which; i++) {
		getrlimit(which[i], &limit);
		snprintf(text + strlen(text), sizeof text - strlen(text), "%lld ", (long long)limit.rlim_max);
	}
	say("%s", text);
}

/* By int 0x80, the system calls of 32-bit programs, whose numbers are others: 20 is getpid. */
static void attack_call_32bit(char *argument)
{
	long result = 20;

	(void)argument;
	__asm__ volatile("int $0x80" : "+a"(result) : : "memory", "r8", "r9", "r10", "r11");
	say("%ld", result);
}

static void on_signal(int number)
{
	char text[32];

	snprintf(text, sizeof text, "signal %d", number);
	send_message('N', text, (uint32_t)strlen(text) + 1);
}

static void attack_catch(char *argument)
{
	struct sigaction act = {.sa_handler = on_signal};

	sigaction(atoi(argument), &act, NULL);
	say("ok");
}

static void attack_abort(char *argument)
{
	(void)argument;
	abort();
}

static void about(char *argument)
{
	(void)argument;
	say("pid=%d server=%p secret=%p sandbox_ns=%lld", (int)getpid(), (void *)cluster, (void *)secret, sandbox_ns);
}

static void echo(char *argument)
{
	say("%s", argument);
}

static const struct {
	const char *name;
	void (*run)(char *argument);
} attacks[] = {
	{"about", about},
	{"echo", echo},
	{"call", attack_call},
	{"open", attack_open},
	{"create", attack_create},
	{"connect", attack_connect},
	{"fork", attack_fork},
	{"thread", attack_thread},
	{"exec", attack_exec},
	{"write", attack_write},
	{"ptrace", attack_ptrace},
	{"read_memory", attack_read_memory},
	{"kill", attack_kill},
	{"tgkill", attack_tgkill},
	{"pidfd_open", attack_pidfd_open},
	{"peer", attack_peer},
	{"ask_nonsense", attack_ask_nonsense},
	{"map_anonymous", attack_map_anonymous},
	{"brk", attack_brk},
	{"map_executable", attack_map_executable},
	{"make_executable", attack_make_executable},
	{"map_cell", attack_map_client},
	{"spin", attack_spin},
	{"descriptors", attack_descriptors},
	{"send_descriptor", attack_send_descriptor},
	{"receive_descriptor", attack_receive_descriptor},
	{"limits", attack_limits},
	{"call_32bit", attack_call_32bit},
	{"catch", attack_catch},
	{"abort", attack_abort},
};

static void obey(char *text)
{
	char *argument = strchr(text, ' ');

	if (argument != NULL)
		*argument++ = '\0';
	for (size_t i = 0; i < sizeof attacks / sizeof *attacks; i++) {
		if (strcmp(attacks[i].name, text) == 0) {
			attacks[i].run(argument == NULL ? (char[]){""} : argument);
			return;
		}
	}
	say("no such attack");
}

static long long now_ns(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return now.tv_sec * 1000000000LL + now.tv_nsec;
}

static _Noreturn void serve(void)
{
	uint32_t key[2] = {htonl((uint32_t)getpid()), htonl(1)};
	char body[16384];
	uint32_t len = read_u32() - 4;

	if (len >= sizeof body)
		_exit(1);
	read_exactly(body, len);
	send_message('R', "\0\0\0\0", 4);
	send_message('K', key, 8);
	send_message('Z', "I", 1);
	for (;;) {
		char type;

		read_exactly(&type, 1);
		len = read_u32() - 4;
		if (len >= sizeof body)
			_exit(1);
		read_exactly(body, len);
		body[len] = '\0';
		if (type == 'X')
			_exit(0);
		if (type == 'Q')
			obey(body);
		send_message('Z', "I", 1);
	}
}

_Noreturn void session_main(const struct session_args *args)
{
	long long before;

	session = args;
	/* with nothing behind it, as the guest's memory has its reservation */
	cluster = mmap(NULL, 2 * CLUSTER_BYTES, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (cluster != MAP_FAILED)
		cluster = mmap(cluster, CLUSTER_BYTES, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_FIXED, args->cell_fd, 0);
	wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (cluster == MAP_FAILED || wake_fd < 0)
		_exit(98);
	peers_begin(args->peers_fd);
	if (session_has_client(args->kind) && !is_unfiltered) {
		before = now_ns();
		if (sandbox_enter((int[]){args->client_fd, args->peers_fd, wake_fd}, 3, args->peers_fd) != 0)
			_exit(97);
		sandbox_ns = now_ns() - before;
	}
	if (args->kind == SESSION_CLIENT)
		serve();
	_exit(0);
}
