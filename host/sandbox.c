#define _GNU_SOURCE
#include "sandbox.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/capability.h>
#include <linux/filter.h>
#include <linux/futex.h>
#include <linux/seccomp.h>
#include <seccomp.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "fail.h"
#include "log.h"
#include "peers.h"

/* Address space for the host's own code of a session, beyond what is mapped when it starts: it allocates next to nothing. */
#define ADDRESS_SPACE_SLACK (16ull << 20)

#define FILTER_MAX 1024 /* instructions; BPF_MAXINSNS is 4096 */

/* In the compiled filter, in place of what differs between sessions. No system call has such arguments. */
#define PLACEHOLDER_PID 0x5eed0001u
#define PLACEHOLDER_RECEIVE_FD 0x5eed0002u

static struct sock_filter filter[FILTER_MAX];
static size_t filter_len;
static uint64_t address_space_limit;

void sandbox_no_new_privs(void)
{
	if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0)
		BUG("no_new_privs: %s", strerror(errno));
}

/* ---- capabilities ---- */

/* Root's, if we are root: what is left is an ordinary process that happens to own root's files. */
static int drop_capabilities(char *err, size_t err_len)
{
	struct __user_cap_header_struct header = {.version = _LINUX_CAPABILITY_VERSION_3};
	struct __user_cap_data_struct data[_LINUX_CAPABILITY_U32S_3] = {{0}};

	/* without CAP_SETPCAP there is nothing to drop from the bounding set, and no_new_privs makes up for it */
	for (int capability = 0; prctl(PR_CAPBSET_READ, capability, 0, 0, 0) >= 0; capability++)
		(void)prctl(PR_CAPBSET_DROP, capability, 0, 0, 0);
	(void)prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0);
	if (syscall(SYS_capset, &header, data) != 0)
		return fail(err, err_len, "cannot drop capabilities: %s", strerror(errno));
	return 0;
}

/* ---- Landlock: the C library may be older than the kernel, so the names are ours (include/uapi/linux/landlock.h) ---- */

#ifndef SYS_landlock_create_ruleset
#define SYS_landlock_create_ruleset 444
#define SYS_landlock_restrict_self 446
#endif

struct landlock_attributes {
	uint64_t files; /* ABI 1 */
	uint64_t net; /* ABI 4 */
	uint64_t scoped; /* ABI 6 */
};

#define LANDLOCK_VERSION_FLAG 1u
#define LANDLOCK_NET_BIND_AND_CONNECT 3u
#define LANDLOCK_SCOPE_ABSTRACT_SOCKETS_AND_SIGNALS 3u

static uint64_t landlock_file_rights(int abi)
{
	if (abi >= 5)
		return (1u << 16) - 1; /* ioctl on devices */
	if (abi >= 3)
		return (1u << 15) - 1; /* truncate */
	return abi == 2 ? (1u << 14) - 1 : (1u << 13) - 1; /* refer */
}

/* No file can be opened, no TCP port bound or connected to, no process outside of the fork server and its sessions signalled or traced. */
static int give_up_files(char *err, size_t err_len)
{
	struct landlock_attributes attributes = {0};
	size_t size = sizeof(attributes.files);
	int abi = (int)syscall(SYS_landlock_create_ruleset, NULL, 0, LANDLOCK_VERSION_FLAG);
	int ruleset, rc;

	if (abi < 1) {
		log_warn(NULL, 0, "this kernel has no Landlock: sessions are confined by seccomp alone");
		return 0;
	}
	attributes.files = landlock_file_rights(abi);
	if (abi >= 4) {
		attributes.net = LANDLOCK_NET_BIND_AND_CONNECT;
		size = offsetof(struct landlock_attributes, scoped);
	}
	if (abi >= 6) {
		attributes.scoped = LANDLOCK_SCOPE_ABSTRACT_SOCKETS_AND_SIGNALS;
		size = sizeof(attributes);
	}
	ruleset = (int)syscall(SYS_landlock_create_ruleset, &attributes, size, 0);
	if (ruleset < 0)
		return fail(err, err_len, "cannot make a Landlock ruleset: %s", strerror(errno));
	rc = (int)syscall(SYS_landlock_restrict_self, ruleset, 0);
	if (rc != 0)
		fail(err, err_len, "cannot restrict the fork server by Landlock: %s", strerror(errno));
	close(ruleset);
	return rc;
}

/* ---- the system call filter ---- */

/* Whatever their arguments are. The kernel answers for these from a bitmap, without running the filter. */
static const int allowed[] = {
	/* the client's socket and the log; which descriptors there are was settled before */
	SCMP_SYS(recvfrom), SCMP_SYS(read), SCMP_SYS(write), SCMP_SYS(writev), SCMP_SYS(poll), SCMP_SYS(ppoll), SCMP_SYS(close),
	/* time */
	SCMP_SYS(clock_gettime), SCMP_SYS(clock_getres), SCMP_SYS(gettimeofday), SCMP_SYS(time), SCMP_SYS(clock_nanosleep),
	SCMP_SYS(nanosleep), SCMP_SYS(setitimer), SCMP_SYS(timer_settime), SCMP_SYS(restart_syscall),
	/* our own signals and stacks */
	SCMP_SYS(rt_sigaction), SCMP_SYS(rt_sigprocmask), SCMP_SYS(rt_sigreturn), SCMP_SYS(sigaltstack),
	/* memory: RLIMIT_AS has the say */
	SCMP_SYS(brk), SCMP_SYS(munmap),
	/* the rest of the C library */
	SCMP_SYS(getrandom), SCMP_SYS(getpid), SCMP_SYS(gettid), SCMP_SYS(sched_yield), SCMP_SYS(exit), SCMP_SYS(exit_group),
};

/* As with a file system that has nothing, for what libraries ask about standard input, output and error. */
static const int refused[] = {
	SCMP_SYS(fcntl), SCMP_SYS(ioctl), SCMP_SYS(fstat), SCMP_SYS(newfstatat), SCMP_SYS(lseek),
};

static const int peer_signals[] = {0, SIGHUP, SIGINT, SIGQUIT, SIGTERM, SIGUSR1, SIGUSR2, SIGALRM, SIGURG};

/* FUTEX_WAIT, FUTEX_WAKE, both also private: the guest's semaphores, and the C library's locks */
static const int futex_operations[] = {FUTEX_WAIT, FUTEX_WAKE, FUTEX_WAIT_PRIVATE, FUTEX_WAKE_PRIVATE};

/* give back the pages of a cell's file or of the session's heap */
static const int advices[] = {MADV_REMOVE, MADV_DONTNEED};

/* The lower 32 bits of an argument, which is all that the kernel takes of an int, or those of them in `mask`. */
static struct scmp_arg_cmp has_bits(unsigned argument, uint32_t mask, uint32_t value)
{
	return (struct scmp_arg_cmp){
		.arg = argument, .op = SCMP_CMP_MASKED_EQ, .datum_a = mask, .datum_b = value};
}

static struct scmp_arg_cmp is_int(unsigned argument, uint32_t value)
{
	return has_bits(argument, UINT32_MAX, value);
}

static struct scmp_arg_cmp is_null(unsigned argument)
{
	return (struct scmp_arg_cmp){.arg = argument, .op = SCMP_CMP_EQ};
}

#define ALLOW(ctx, name, ...) seccomp_rule_add((ctx), SCMP_ACT_ALLOW, SCMP_SYS(name), __VA_ARGS__)
#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

/* Nothing that can be executed, nothing of a file: more memory, that is all. */
static int add_memory_rules(scmp_filter_ctx ctx)
{
	int rc = ALLOW(ctx, mmap, 3, has_bits(2, PROT_EXEC, 0),
		       is_int(3, MAP_PRIVATE | MAP_ANONYMOUS), is_int(4, UINT32_MAX));

	for (size_t i = 0; i < COUNT(advices) && rc == 0; i++)
		rc = ALLOW(ctx, madvise, 1, is_int(2, (uint32_t)advices[i]));
	for (size_t i = 0; i < COUNT(futex_operations) && rc == 0; i++)
		rc = ALLOW(ctx, futex, 1, is_int(1, (uint32_t)futex_operations[i]));
	return rc;
}

static int add_process_rules(scmp_filter_ctx ctx)
{
	/* raise() and abort() */
	int rc = ALLOW(ctx, tgkill, 1, is_int(0, PLACEHOLDER_PID));

	for (size_t i = 0; i < COUNT(peer_signals) && rc == 0; i++)
		rc = ALLOW(ctx, pidfd_send_signal, 3, is_int(1, (uint32_t)peer_signals[i]),
			   is_null(2), is_int(3, 0));
	return rc;
}

static int add_socket_rules(scmp_filter_ctx ctx)
{
	/* no address: standard error may be a datagram socket */
	int rc = ALLOW(ctx, sendto, 1, is_null(4));

	if (rc == 0)
		rc = ALLOW(ctx, recvmsg, 1, is_int(0, PLACEHOLDER_RECEIVE_FD));
	return rc;
}

static int add_rules(scmp_filter_ctx ctx)
{
	int rc = 0;

	for (size_t i = 0; i < COUNT(allowed) && rc == 0; i++)
		rc = seccomp_rule_add(ctx, SCMP_ACT_ALLOW, allowed[i], 0);
	for (size_t i = 0; i < COUNT(refused) && rc == 0; i++)
		rc = seccomp_rule_add(ctx, SCMP_ACT_ERRNO(ENOSYS), refused[i], 0);
	if (rc == 0)
		rc = add_memory_rules(ctx);
	if (rc == 0)
		rc = add_process_rules(ctx);
	if (rc == 0)
		rc = add_socket_rules(ctx);
	return rc;
}

/* libseccomp 2.5 can write its program to a file only. */
static int export_filter(const scmp_filter_ctx ctx)
{
	int fd = memfd_create("pgcell-filter", MFD_CLOEXEC);
	ssize_t len;
	int rc;

	if (fd < 0)
		return -errno;
	rc = seccomp_export_bpf(ctx, fd);
	len = rc == 0 ? pread(fd, filter, sizeof(filter), 0) : 0;
	if (rc == 0 && (len <= 0 || len == (ssize_t)sizeof(filter)))
		rc = -E2BIG;
	filter_len = rc == 0 ? (size_t)len / sizeof(filter[0]) : 0;
	close(fd);
	return rc;
}

/* Puts `value` where the placeholder is compared with. Returns how often. */
static unsigned fill_in(uint32_t placeholder, uint32_t value)
{
	unsigned count = 0;

	for (size_t i = 0; i < filter_len; i++) {
		if (BPF_CLASS(filter[i].code) == BPF_JMP && filter[i].k == placeholder) {
			filter[i].k = value;
			count++;
		}
	}
	return count;
}

/* Has add() make the rules of a filter that kills, and use() take it. */
static int with_filter(int (*add)(scmp_filter_ctx), int (*use)(const scmp_filter_ctx), char *err, size_t err_len)
{
	uint32_t action = SECCOMP_RET_KILL_PROCESS;
	scmp_filter_ctx ctx;
	int rc;

	if (syscall(SYS_seccomp, SECCOMP_GET_ACTION_AVAIL, 0, &action) != 0)
		return fail(err, err_len, "this kernel has no seccomp filters, without which processes would not be confined");
	ctx = seccomp_init(SCMP_ACT_KILL_PROCESS);
	if (ctx == NULL)
		return fail(err, err_len, "cannot make a system call filter: out of memory");
	rc = seccomp_attr_set(ctx, SCMP_FLTATR_ACT_BADARCH, SCMP_ACT_KILL_PROCESS);
	if (rc == 0) /* a tree instead of a list: the kernel, which tries every number at once, installs it in two thirds of the time */
		rc = seccomp_attr_set(ctx, SCMP_FLTATR_CTL_OPTIMIZE, 2);
	if (rc == 0)
		rc = add(ctx);
	if (rc == 0)
		rc = use(ctx);
	seccomp_release(ctx);
	if (rc != 0)
		return fail(err, err_len, "cannot make the system call filter: %s", strerror(-rc));
	return 0;
}

/* ---- */

/* What is mapped now; later the file would be out of reach. */
static int measure_address_space(char *err, size_t err_len)
{
	unsigned long long pages;
	FILE *file = fopen("/proc/self/statm", "re");
	int got = file != NULL ? fscanf(file, "%llu", &pages) : 0;

	if (file != NULL)
		fclose(file);
	if (got != 1)
		return fail(err, err_len, "cannot read /proc/self/statm: %s", strerror(errno));
	address_space_limit = pages * (uint64_t)sysconf(_SC_PAGESIZE) + ADDRESS_SPACE_SLACK;
	return 0;
}

int sandbox_prepare(char *err, size_t err_len)
{
	if (close_range(~0u, ~0u, 0) != 0)
		return fail(err, err_len, "this kernel is too old: it has no close_range(); Linux 5.9 has");
	if (measure_address_space(err, err_len) != 0 || with_filter(add_rules, export_filter, err, err_len) != 0)
		return -1;
	sandbox_no_new_privs();
	if (give_up_files(err, err_len) != 0 || drop_capabilities(err, err_len) != 0)
		return -1;
	return 0;
}

void sandbox_close_others(int from, const int *keep, size_t count)
{
	int sorted[SANDBOX_KEEP_MAX];

	if (count > SANDBOX_KEEP_MAX)
		BUG("%zu descriptors to be kept", count);
	for (size_t i = 0; i < count; i++) {
		size_t at = i;

		for (; at > 0 && sorted[at - 1] > keep[i]; at--)
			sorted[at] = sorted[at - 1];
		sorted[at] = keep[i];
	}
	for (size_t i = 0; i < count; i++) {
		if (sorted[i] < from)
			continue;
		if (sorted[i] > from)
			close_range((unsigned)from, (unsigned)sorted[i] - 1, 0);
		from = sorted[i] + 1;
	}
	close_range((unsigned)from, ~0u, 0);
}

/* To `value`, or what the user has set if that is less. */
static int limit(int resource, uint64_t value)
{
	struct rlimit both;

	if (getrlimit((__rlimit_resource_t)resource, &both) != 0)
		return -errno;
	both.rlim_max = both.rlim_max < value ? both.rlim_max : value;
	both.rlim_cur = both.rlim_max;
	return setrlimit((__rlimit_resource_t)resource, &both) == 0 ? 0 : -errno;
}

static int set_common_limits(void)
{
	static const int to_nothing[] = {RLIMIT_NPROC, RLIMIT_CORE, RLIMIT_MEMLOCK, RLIMIT_MSGQUEUE};
	struct stat log;
	int rc = 0;

	for (size_t i = 0; i < COUNT(to_nothing) && rc == 0; i++)
		rc = limit(to_nothing[i], 0);
	/* the log may be a file, which would then not grow; no other one is open */
	if (rc == 0 && (fstat(STDERR_FILENO, &log) != 0 || !S_ISREG(log.st_mode)))
		rc = limit(RLIMIT_FSIZE, 0);
	return rc;
}

static int set_limits(int highest_fd)
{
	int rc = set_common_limits();

	if (rc == 0)
		rc = limit(RLIMIT_NOFILE, (uint64_t)highest_fd + 1 + PEERS_MAX);
	if (rc == 0)
		rc = limit(RLIMIT_AS, address_space_limit);
	return rc;
}

int sandbox_enter(const int *keep, size_t count, int receive_fd)
{
	struct sock_fprog program = {.len = (unsigned short)filter_len, .filter = filter};
	int highest_fd = STDERR_FILENO;
	int rc;

	if (filter_len == 0)
		return -EINVAL; /* not prepared */
	sandbox_close_others(STDERR_FILENO + 1, keep, count);
	for (size_t i = 0; i < count; i++)
		highest_fd = keep[i] > highest_fd ? keep[i] : highest_fd;
	rc = set_limits(highest_fd);
	if (rc != 0)
		return rc;
	/* -1 is no descriptor: nothing can be received then */
	if (fill_in(PLACEHOLDER_PID, (uint32_t)getpid()) != 1 || fill_in(PLACEHOLDER_RECEIVE_FD, (uint32_t)receive_fd) != 1)
		return -EINVAL;
	/* SPEC_ALLOW: the cells are processes, and what one process holds is one cell; older kernels would slow it down else */
	if (syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, SECCOMP_FILTER_FLAG_SPEC_ALLOW, &program) != 0)
		return -errno;
	return 0;
}

/* ---- the TLS gateway ---- */

static const int gateway_allowed[] = {
	SCMP_SYS(read), SCMP_SYS(write), SCMP_SYS(writev), SCMP_SYS(recvfrom), SCMP_SYS(recvmsg), SCMP_SYS(shutdown), SCMP_SYS(close),
	SCMP_SYS(epoll_ctl), SCMP_SYS(epoll_wait), SCMP_SYS(epoll_pwait), SCMP_SYS(epoll_pwait2), SCMP_SYS(poll),
	SCMP_SYS(clock_gettime), SCMP_SYS(clock_getres), SCMP_SYS(gettimeofday), SCMP_SYS(time), SCMP_SYS(restart_syscall),
	SCMP_SYS(rt_sigaction), SCMP_SYS(rt_sigprocmask), SCMP_SYS(rt_sigreturn), SCMP_SYS(brk), SCMP_SYS(munmap), SCMP_SYS(mremap),
	SCMP_SYS(getrandom), SCMP_SYS(getpid), SCMP_SYS(gettid), SCMP_SYS(sched_yield), SCMP_SYS(exit), SCMP_SYS(exit_group),
};

/* for libraries that look for a configuration or a source of random numbers */
static const int gateway_refused[] = {
	SCMP_SYS(open), SCMP_SYS(openat), SCMP_SYS(access), SCMP_SYS(readlink), SCMP_SYS(fstat), SCMP_SYS(newfstatat),
	SCMP_SYS(lseek), SCMP_SYS(fcntl), SCMP_SYS(sysinfo), SCMP_SYS(uname),
};

static int add_gateway_rules(scmp_filter_ctx ctx)
{
	int rc = add_memory_rules(ctx);

	for (size_t i = 0; i < COUNT(gateway_allowed) && rc == 0; i++)
		rc = seccomp_rule_add(ctx, SCMP_ACT_ALLOW, gateway_allowed[i], 0);
	for (size_t i = 0; i < COUNT(gateway_refused) && rc == 0; i++)
		rc = seccomp_rule_add(ctx, SCMP_ACT_ERRNO(ENOSYS), gateway_refused[i], 0);
	if (rc == 0)
		rc = ALLOW(ctx, sendto, 1, is_null(4));
	if (rc == 0) /* libuv makes descriptors non-blocking */
		rc = ALLOW(ctx, ioctl, 1, is_int(1, FIONBIO));
	if (rc == 0) /* malloc */
		rc = ALLOW(ctx, mprotect, 1, has_bits(2, PROT_EXEC, 0));
	if (rc == 0) /* abort() */
		rc = ALLOW(ctx, tgkill, 1, is_int(0, (uint32_t)getpid()));
	return rc;
}

int sandbox_enter_gateway(char *err, size_t err_len)
{
	int rc = set_common_limits();

	if (rc != 0)
		return fail(err, err_len, "cannot set limits: %s", strerror(-rc));
	sandbox_no_new_privs();
	if (give_up_files(err, err_len) != 0 || drop_capabilities(err, err_len) != 0)
		return -1;
	return with_filter(add_gateway_rules, seccomp_load, err, err_len);
}
