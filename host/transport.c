#define _GNU_SOURCE
#include "transport.h"

#include <errno.h>
#include <linux/futex.h>
#include <poll.h>
#include <signal.h>
#include <stdbool.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

#include "../guest/port/layout.h"
#include "peers.h"
#include "tally.h"
#include "wasi.h"
#include "wasi_internal.h"

struct w2c_env;
struct w2c_pgcell;

#define QUIT_GRACE_MS 500

static int32_t own_pid;
static int quit_timer = -1; /* the kernel's own type: it is set in a signal handler, where libc's timers may not be used */
static int client_fd = -1;
static const uint8_t *preread;
static uint32_t preread_left;
static int wake_fd = -1;
static volatile sig_atomic_t is_waiting;
static uint32_t *pending_word;
static uint32_t *interrupt_flag;
static uint32_t private_limit;

/* The signals that PostgreSQL's processes send one another. */
static const int passed_on[] = {SIGHUP, SIGINT, SIGQUIT, SIGTERM, SIGUSR1, SIGUSR2, SIGALRM, SIGURG};

int transport_client_fd(void)
{
	return client_fd;
}

int transport_wake_fd(void)
{
	return wake_fd;
}

/* SIGKILL, made while timers can still be made. */
static int make_quit_timer(void)
{
	struct sigevent event = {.sigev_notify = SIGEV_SIGNAL, .sigev_signo = SIGKILL};

	return syscall(SYS_timer_create, CLOCK_MONOTONIC, &event, &quit_timer) == 0 ? 0 : -errno;
}

/* The guest gets a moment to tell its client why; then the process ends, whatever it is doing. */
static void die_soon(void)
{
	struct itimerspec when = {.it_value = {.tv_nsec = QUIT_GRACE_MS * 1000000L}};

	if (syscall(SYS_timer_settime, quit_timer, 0, &when, NULL) < 0)
		_exit(2);
}

static void raise_in_guest(int signo)
{
	int saved = errno;

	if (signo == SIGQUIT)
		die_soon();

	__atomic_fetch_or(pending_word, 1u << signo, __ATOMIC_SEQ_CST);
	*(volatile uint32_t *)interrupt_flag = 1;
	if (is_waiting) {
		uint64_t one = 1;

		(void)!write(wake_fd, &one, sizeof one);
	}
	errno = saved;
}

int transport_begin(const struct session_args *args, guest_addr pending, guest_addr interrupt)
{
	struct sigaction act = {.sa_handler = raise_in_guest};
	int rc = make_quit_timer();

	pending_word = guest_range(pending, sizeof *pending_word);
	interrupt_flag = guest_range(interrupt, sizeof *interrupt_flag);
	if (rc < 0 || !pending_word || !interrupt_flag)
		return rc < 0 ? rc : -EINVAL;
	own_pid = getpid();
	client_fd = args->client_fd;
	preread = args->preread;
	preread_left = args->preread_len;
	private_limit = args->memory_limit_bytes < PGCELL_PRIVATE_END ? (uint32_t)args->memory_limit_bytes : PGCELL_PRIVATE_END;
	wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (wake_fd < 0)
		return -errno;
	peers_begin(args->peers_fd);
	for (size_t i = 0; i < sizeof passed_on / sizeof *passed_on; i++)
		if (sigaction(passed_on[i], &act, NULL) < 0)
			return -errno;
	return 0;
}

/* ---- env: the client's socket ---- */

static void note_input(size_t len_bytes)
{
	tally_own->bytes_in += len_bytes;
	tally_own->statements += atomic_load_explicit(&tally_own->is_idle, memory_order_relaxed);
	atomic_store_explicit(&tally_own->is_idle, 0, memory_order_relaxed);
}

uint32_t w2c_env_pglite_js_read(struct w2c_env *env, uint32_t ptr, uint32_t max_length);
uint32_t w2c_env_pglite_js_read(struct w2c_env *env, uint32_t ptr, uint32_t max_length)
{
	void *to = guest_range(ptr, max_length);
	ssize_t n;

	(void)env;
	if (!to)
		return (uint32_t)-WASI_EFAULT;
	if (preread_left > 0) {
		uint32_t take = preread_left < max_length ? preread_left : max_length;

		memcpy(to, preread, take);
		preread += take;
		preread_left -= take;
		note_input(take);
		return take;
	}
	if (max_length > INT32_MAX)
		max_length = INT32_MAX;
	n = recv(client_fd, to, max_length, MSG_DONTWAIT);
	if (n > 0) {
		note_input((size_t)n);
		return (uint32_t)n;
	}
	if (n == 0)
		return (uint32_t)-WASI_EPIPE;
	return errno == EAGAIN || errno == EINTR ? 0 : (uint32_t) - (int32_t)wasi_errno_from_host(errno);
}

uint32_t w2c_env_pglite_js_write(struct w2c_env *env, uint32_t ptr, uint32_t length);
uint32_t w2c_env_pglite_js_write(struct w2c_env *env, uint32_t ptr, uint32_t length)
{
	const void *from = guest_range(ptr, length);
	ssize_t n;

	(void)env;
	if (!from)
		return (uint32_t)-WASI_EFAULT;
	if (length > INT32_MAX)
		length = INT32_MAX;
	n = send(client_fd, from, length, MSG_DONTWAIT | MSG_NOSIGNAL);
	if (n >= 0) {
		tally_own->bytes_out += (uint64_t)n;
		return (uint32_t)n;
	}
	return errno == EAGAIN || errno == EINTR ? 0 : (uint32_t) - (int32_t)wasi_errno_from_host(errno);
}

/* ---- pgcell ---- */

uint32_t w2c_pgcell_pid(struct w2c_pgcell *host);
uint32_t w2c_pgcell_pid(struct w2c_pgcell *host)
{
	(void)host;
	if (own_pid == 0)
		own_pid = getpid();
	return (uint32_t)own_pid;
}

uint32_t w2c_pgcell_kill(struct w2c_pgcell *host, uint32_t pid, uint32_t signo);
uint32_t w2c_pgcell_kill(struct w2c_pgcell *host, uint32_t pid, uint32_t signo)
{
	bool is_known = signo == 0;
	int rc;

	(void)host;
	for (size_t i = 0; i < sizeof passed_on / sizeof *passed_on; i++)
		is_known |= signo == (uint32_t)passed_on[i];
	if (!is_known)
		return (uint32_t)-WASI_EINVAL;
	if ((int32_t)pid == own_pid) {
		if (signo != 0)
			raise_in_guest((int)signo);
		return 0;
	}
	rc = peers_signal((pid_t)pid, (int)signo);
	return rc == 0 ? 0 : (uint32_t) - (int32_t)wasi_errno_from_host(-rc);
}

uint32_t w2c_pgcell_wait(struct w2c_pgcell *host, uint32_t events, uint32_t timeout_ms);
uint32_t w2c_pgcell_wait(struct w2c_pgcell *host, uint32_t events, uint32_t timeout_ms)
{
	struct pollfd fds[2] = {{.fd = wake_fd, .events = POLLIN}, {.fd = -1}};
	uint32_t got = 0;
	int n;

	(void)host;
	if (events & PGCELL_WAIT_READ && preread_left > 0)
		return PGCELL_WAIT_READ;
	if (events)
		fds[1].fd = client_fd;
	if (events & PGCELL_WAIT_READ)
		fds[1].events |= POLLIN;
	if (events & PGCELL_WAIT_WRITE)
		fds[1].events |= POLLOUT;

	/* a signal from here on writes to wake_fd; one before is in the guest's word */
	is_waiting = 1;
	if (pending_word && __atomic_load_n(pending_word, __ATOMIC_SEQ_CST) != 0)
		n = poll(fds, 2, 0);
	else
		n = poll(fds, 2, (int32_t)timeout_ms);
	is_waiting = 0;
	if (n < 0)
		return (uint32_t)-WASI_EINTR;
	if (fds[0].revents) {
		uint64_t count;

		(void)!read(wake_fd, &count, sizeof count);
		return (uint32_t)-WASI_EINTR;
	}
	/* an error or hang-up shows when the guest reads or writes */
	if (fds[1].revents & (POLLIN | POLLERR | POLLHUP))
		got |= events & PGCELL_WAIT_READ;
	if (fds[1].revents & (POLLOUT | POLLERR | POLLHUP))
		got |= events & PGCELL_WAIT_WRITE;
	return got;
}

uint32_t w2c_pgcell_set_timer(struct w2c_pgcell *host, uint64_t delay_us, uint64_t interval_us);
uint32_t w2c_pgcell_set_timer(struct w2c_pgcell *host, uint64_t delay_us, uint64_t interval_us)
{
	struct itimerval timer = {
		.it_value = {(time_t)(delay_us / 1000000), (suseconds_t)(delay_us % 1000000)},
		.it_interval = {(time_t)(interval_us / 1000000), (suseconds_t)(interval_us % 1000000)},
	};

	(void)host;
	return setitimer(ITIMER_REAL, &timer, NULL) == 0 ? 0 : (uint32_t)-WASI_EINVAL;
}

uint32_t w2c_pgcell_futex_wait(struct w2c_pgcell *host, uint32_t word, uint32_t expected, uint64_t timeout_us);
uint32_t w2c_pgcell_futex_wait(struct w2c_pgcell *host, uint32_t word, uint32_t expected, uint64_t timeout_us)
{
	uint32_t *at = guest_range(word, sizeof *at);
	struct timespec limit = {(time_t)(timeout_us / 1000000), (long)(timeout_us % 1000000) * 1000};

	(void)host;
	if (!at || word % 4)
		return (uint32_t)-WASI_EFAULT;
	if (syscall(SYS_futex, at, FUTEX_WAIT, expected, (int64_t)timeout_us < 0 ? NULL : &limit, NULL, 0) == 0)
		return 0;
	return (uint32_t) - (int32_t)wasi_errno_from_host(errno);
}

uint32_t w2c_pgcell_futex_wake(struct w2c_pgcell *host, uint32_t word, uint32_t count);
uint32_t w2c_pgcell_futex_wake(struct w2c_pgcell *host, uint32_t word, uint32_t count)
{
	uint32_t *at = guest_range(word, sizeof *at);

	(void)host;
	if (!at || word % 4)
		return (uint32_t)-WASI_EFAULT;
	return (uint32_t)syscall(SYS_futex, at, FUTEX_WAKE, count, NULL, NULL, 0);
}

uint32_t w2c_pgcell_private_limit(struct w2c_pgcell *host);
uint32_t w2c_pgcell_private_limit(struct w2c_pgcell *host)
{
	(void)host;
	return private_limit ? private_limit : PGCELL_PRIVATE_END;
}

uint32_t w2c_pgcell_discard(struct w2c_pgcell *host, uint32_t start, uint32_t len_bytes);
uint32_t w2c_pgcell_discard(struct w2c_pgcell *host, uint32_t start, uint32_t len_bytes)
{
	void *at = guest_range(start, len_bytes);

	(void)host;
	if (!at || start < PGCELL_CLUSTER_START || start % 4096 || len_bytes % 4096)
		return (uint32_t)-WASI_EINVAL;
	return madvise(at, len_bytes, MADV_REMOVE) == 0 ? 0 : (uint32_t) - (int32_t)wasi_errno_from_host(errno);
}

/* The fork server looks at is_idle after it has set must_end, and this the other way round: one of them sees it. */
static void note_idle(void)
{
	tally_ready();
	atomic_store(&tally_own->is_idle, 1);
	if (atomic_load(&tally_own->must_end))
		raise_in_guest(SIGTERM);
}

void w2c_pgcell_note(struct w2c_pgcell *host, uint32_t what, uint32_t value);
void w2c_pgcell_note(struct w2c_pgcell *host, uint32_t what, uint32_t value)
{
	(void)host;
	if (what == PGCELL_NOTE_ERROR)
		tally_error(value);
	else if (what == PGCELL_NOTE_IDLE)
		note_idle();
}

/* CRC-32C (RFC 3720, appendix B.4), as PostgreSQL's src/port/pg_crc32c_sse42.c does it; a table where the machine lacks the instruction. */

static uint32_t crc_table[256];

__attribute__((target("sse4.2"))) static uint32_t crc32c_instruction(uint32_t crc, const uint8_t *p, size_t len)
{
	uint64_t wide = crc;

	for (; len >= 8; p += 8, len -= 8) {
		uint64_t word;

		memcpy(&word, p, sizeof word);
		wide = __builtin_ia32_crc32di(wide, word);
	}
	crc = (uint32_t)wide;
	for (; len > 0; p++, len--)
		crc = __builtin_ia32_crc32qi(crc, *p);
	return crc;
}

static uint32_t crc32c_table(uint32_t crc, const uint8_t *p, size_t len)
{
	if (crc_table[1] == 0)
		for (uint32_t i = 0; i < 256; i++) {
			uint32_t c = i;

			for (int bit = 0; bit < 8; bit++)
				c = c & 1 ? (c >> 1) ^ 0x82f63b78u : c >> 1;
			crc_table[i] = c;
		}
	for (; len > 0; p++, len--)
		crc = crc_table[(crc ^ *p) & 0xff] ^ (crc >> 8);
	return crc;
}

uint32_t w2c_pgcell_crc32c(struct w2c_pgcell *host, uint32_t crc, uint32_t data, uint32_t len);
uint32_t w2c_pgcell_crc32c(struct w2c_pgcell *host, uint32_t crc, uint32_t data, uint32_t len)
{
	(void)host;
	if (__builtin_cpu_supports("sse4.2"))
		return crc32c_instruction(crc, guest_base + data, len);
	return crc32c_table(crc, guest_base + data, len);
}
