#define _GNU_SOURCE
#include "forkserver_child.h"

#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <poll.h>
#include <search.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/prctl.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "copy.h"
#include "forkserver.h"
#include "log.h"
#include "peers.h"
#include "sandbox.h"
#include "session.h"
#include "tally.h"

#define REQUESTS_PER_TURN 16 /* of sessions that want to signal others; then orders and deaths get their turn */

struct child {
	pid_t pid;
	uint64_t cookie;
	uint64_t cell_id;
	int peers_fd; /* our end; -1: closed, because of what came from it */
	uint32_t tally;
	bool was_told; /* to end, by drain() */
	LIST_ENTRY(child) link;
};

static int socket_fd = -1;
static int signal_fd = -1;
static int peers_epoll_fd = -1; /* the peers_fd of all children */
static int sessions_fd_start; /* descriptors below are the engine's and stay open in sessions */
static pid_t own_pid;
static void *children_by_pid; /* tsearch(3) tree of struct child */
static LIST_HEAD(, child) children = LIST_HEAD_INITIALIZER(children);
static bool is_draining;
static bool is_stopping;
static int64_t kill_at_ms; /* while stopping: all; while draining: those that were told to end, 0 once that is done */

/* Static because it is big, and so that a session can go on pointing at its preread bytes. */
static struct order order;

static int compare_pid(const void *a, const void *b)
{
	pid_t left = ((const struct child *)a)->pid;
	pid_t right = ((const struct child *)b)->pid;

	return (left > right) - (left < right);
}

static int64_t now_ms(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

static void signal_all(int signal_number)
{
	struct child *child;

	LIST_FOREACH (child, &children, link)
		kill(child->pid, signal_number);
}

/* The supervisor is gone, or we cannot talk to it: nobody is left to serve. */
static _Noreturn void end_all(int status)
{
	signal_all(SIGKILL);
	while (waitpid(-1, NULL, 0) > 0 || errno == EINTR)
		;
	_exit(status);
}

static void send_report(struct report *report)
{
	report->version = FORKSERVER_VERSION;
	/* May block: the supervisor never does, so it will read. */
	while (send(socket_fd, report, sizeof(*report), MSG_NOSIGNAL) < 0) {
		if (errno != EINTR)
			end_all(1);
	}
}

static void report_failed(uint64_t cookie, int error)
{
	struct report report = {.type = REPORT_FAILED, .cookie = cookie, .error = error};

	send_report(&report);
}

static struct child *find_child(pid_t pid)
{
	struct child key = {.pid = pid};
	struct child **found = tfind(&key, &children_by_pid, compare_pid);

	return found == NULL ? NULL : *found;
}

static void close_peers(struct child *child)
{
	if (child->peers_fd < 0)
		return;
	/* a session that is just being forked may have a copy: closing would not take it out */
	epoll_ctl(peers_epoll_fd, EPOLL_CTL_DEL, child->peers_fd, NULL);
	close(child->peers_fd);
	child->peers_fd = -1;
}

static void child_free(struct child *child)
{
	if (child != NULL)
		close_peers(child);
	free(child);
}

/* With the session's end of its pair in *session_end, to be closed. Returns NULL with errno set. */
static struct child *child_new(uint64_t cookie, uint32_t tally, uint64_t cell_id, int *session_end)
{
	struct child *child = calloc(1, sizeof(*child));
	struct epoll_event event = {.events = EPOLLIN, .data.ptr = child};
	int pair[2];

	if (child == NULL)
		return NULL;
	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) != 0) {
		free(child);
		return NULL;
	}
	*child = (struct child){.cookie = cookie, .tally = tally, .cell_id = cell_id, .peers_fd = pair[0]};
	*session_end = pair[1];
	if (epoll_ctl(peers_epoll_fd, EPOLL_CTL_ADD, pair[0], &event) != 0) {
		child_free(child);
		return NULL;
	}
	return child;
}

static int is_in_same_cell(void *data, pid_t pid)
{
	const struct child *asking = data;
	const struct child *other = find_child(pid);

	return other != NULL && other->cell_id == asking->cell_id;
}

/* What sessions ask for; see peers.h. */
static void answer_requests(void)
{
	struct epoll_event events[REQUESTS_PER_TURN];
	int count = epoll_wait(peers_epoll_fd, events, REQUESTS_PER_TURN, 0);

	for (int i = 0; i < count; i++) {
		struct child *child = events[i].data.ptr;

		if (peers_answer(child->peers_fd, is_in_same_cell, child) != 0)
			close_peers(child);
	}
}

static void report_ended(pid_t pid, int wait_status)
{
	struct child *child = find_child(pid);
	struct report report = {.type = REPORT_ENDED, .pid = pid, .wait_status = wait_status};

	if (child == NULL)
		return; /* not a session: something the engine started */
	report.cookie = child->cookie;
	tdelete(child, &children_by_pid, compare_pid);
	LIST_REMOVE(child, link);
	child_free(child);
	send_report(&report);
}

static int wait_status_of(const siginfo_t *end)
{
	if (end->si_code == CLD_EXITED)
		return W_EXITCODE(end->si_status, 0);
	return end->si_status | (end->si_code == CLD_DUMPED ? WCOREFLAG : 0);
}

/* Reports first, then lets go of the process: who finds it gone finds the report as well. */
static void reap(void)
{
	struct signalfd_siginfo info;
	siginfo_t end;

	while (read(signal_fd, &info, sizeof(info)) > 0)
		; /* several deaths may share one signal: waitid() knows them all */
	for (;;) {
		end.si_pid = 0;
		if (waitid(P_ALL, 0, &end, WEXITED | WNOHANG | WNOWAIT) != 0 || end.si_pid == 0)
			return;
		report_ended(end.si_pid, wait_status_of(&end));
		waitpid(end.si_pid, NULL, 0);
	}
}

/* Returns its length; AF_UNIX without a path unless it is an address of the internet. */
static socklen_t unpack_address(struct sockaddr_storage *to, const struct order_address *from)
{
	struct sockaddr_in *in = (struct sockaddr_in *)to;
	struct sockaddr_in6 *in6 = (struct sockaddr_in6 *)to;

	if (from->family == AF_INET) {
		in->sin_family = AF_INET;
		in->sin_port = htons(from->port);
		memcpy(&in->sin_addr, from->bytes, sizeof(in->sin_addr));
		return sizeof(*in);
	}
	if (from->family == AF_INET6) {
		in6->sin6_family = AF_INET6;
		in6->sin6_port = htons(from->port);
		memcpy(&in6->sin6_addr, from->bytes, sizeof(in6->sin6_addr));
		return sizeof(*in6);
	}
	to->ss_family = AF_UNIX;
	return sizeof(to->ss_family);
}

static void reset_signals(void)
{
	static const int changed[] = {SIGINT, SIGTERM, SIGHUP, SIGQUIT, SIGCHLD};
	sigset_t none;

	for (size_t i = 0; i < sizeof(changed) / sizeof(changed[0]); i++)
		signal(changed[i], SIG_DFL);
	signal(SIGPIPE, SIG_IGN);
	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
}

/* In the forked child. */
static _Noreturn void become_session(int client_fd, int cell_fd, int peers_fd)
{
	static struct session_args args;

	prctl(PR_SET_PDEATHSIG, SIGKILL);
	if (getppid() != own_pid)
		_exit(1); /* the fork server died before the line above */
	close(socket_fd);
	close(signal_fd);
	/*
	 * A Unix session of its own, as PostgreSQL's children have (InitPostmasterChild() in miscinit.c): where the kernel shares out the
	 * processor by these (sched_autogroup), each of ours weighs as much as a native one.
	 */
	setsid();
	close(peers_epoll_fd);
	sandbox_close_others(sessions_fd_start, (int[]){client_fd, cell_fd, peers_fd}, 3);
	reset_signals();
	if (tally_begin(order.tally) != 0)
		_exit(1);

	args = (struct session_args){
		.kind = (int)order.kind,
		.client_fd = client_fd,
		.cell_fd = cell_fd,
		.peers_fd = peers_fd,
		.slot = order.slot,
		.cell_name = order.cell_name,
		.memory_limit_bytes = order.memory_limit_bytes,
		.files_limit_bytes = order.files_limit_bytes,
		.cell_created_us = order.cell_created_us,
		.preread = order.preread,
		.preread_len = order.preread_len,
	};
	if (order.kind == SESSION_POPULATE)
		_exit(0);
	if (order.kind == SESSION_COPY)
		_exit(copy_run((enum copy_kind)order.copy_kind, client_fd, cell_fd, (order.flags & ORDER_CLEAN_COPY) != 0,
			       (const uint32_t *)(const void *)order.preread, order.preread_len / sizeof(uint32_t)));
	args.peer_len = unpack_address(&args.peer, &order.peer);
	(void)unpack_address(&args.server, &order.server);
	if (client_fd >= 0) /* the supervisor's event loop had made it non-blocking */
		fcntl(client_fd, F_SETFL, fcntl(client_fd, F_GETFL) & ~O_NONBLOCK);
	session_main(&args);
}

static void start(const int fds[2], size_t fd_count)
{
	bool has_two_fds = session_has_client(order.kind) || order.kind == SESSION_COPY;
	struct report report = {.type = REPORT_STARTED, .cookie = order.cookie};
	struct child *child = NULL;
	int client_fd, cell_fd;
	int peers_fd = -1;
	int rc = 0;

	if (fd_count != (has_two_fds ? 2u : 1u)) {
		/* The kernel drops descriptors that we have no room for. */
		report_failed(order.cookie, EMFILE);
		return;
	}
	client_fd = has_two_fds ? fds[0] : -1;
	cell_fd = fds[fd_count - 1];
	if (is_draining || is_stopping)
		rc = -ESHUTDOWN;
	if (rc == 0 && (order.flags & ORDER_FRESH_CELL) != 0)
		rc = engine_populate(cell_fd);
	if (rc == 0) {
		child = child_new(order.cookie, order.tally, order.cell_id, &peers_fd);
		if (child == NULL)
			rc = -errno;
	}
	if (rc == 0) {
		child->pid = fork();
		if (child->pid == 0)
			become_session(client_fd, cell_fd, peers_fd);
		if (child->pid < 0)
			rc = -errno;
	}
	if (peers_fd >= 0)
		close(peers_fd);
	if (rc == 0 && tsearch(child, &children_by_pid, compare_pid) == NULL) {
		kill(child->pid, SIGKILL); /* reaped as an unknown child */
		rc = -ENOMEM;
	}
	if (rc != 0) {
		child_free(child);
		report_failed(order.cookie, -rc);
		return;
	}
	LIST_INSERT_HEAD(&children, child, link);
	report.pid = child->pid;
	send_report(&report);
}

static void signal_one(uint64_t cookie, int signal_number)
{
	struct child *child;

	LIST_FOREACH (child, &children, link) {
		if (child->cookie == cookie) {
			kill(child->pid, signal_number);
			return;
		}
	}
}

/* A session that becomes idle after it was looked at finds must_end itself. */
static void drain(void)
{
	struct child *child;

	is_draining = true;
	kill_at_ms = now_ms() + FORKSERVER_STOP_GRACE_MS;
	LIST_FOREACH (child, &children, link) {
		struct tally *tally = tally_at(child->tally);

		if (tally != NULL)
			atomic_store(&tally->must_end, 1);
		if (tally == NULL || atomic_load(&tally->is_idle)) {
			child->was_told = true;
			kill(child->pid, SIGTERM);
		}
	}
}

/* Receives into `order`. Ends the process when there is nobody to obey any more. */
static void obey(void)
{
	struct iovec iov = {.iov_base = &order, .iov_len = sizeof(order)};
	union {
		struct cmsghdr align;
		uint8_t bytes[CMSG_SPACE(2 * sizeof(int))];
	} control;
	struct msghdr msg = {
		.msg_iov = &iov, .msg_iovlen = 1, .msg_control = control.bytes, .msg_controllen = sizeof(control)};
	int fds[2] = {-1, -1};
	size_t fd_count = 0;
	ssize_t len = recvmsg(socket_fd, &msg, MSG_CMSG_CLOEXEC | MSG_DONTWAIT);

	if (len < 0 && (errno == EAGAIN || errno == EINTR))
		return;
	if (len <= 0)
		end_all(0);
	for (struct cmsghdr *header = CMSG_FIRSTHDR(&msg); header != NULL; header = CMSG_NXTHDR(&msg, header)) {
		if (header->cmsg_level != SOL_SOCKET || header->cmsg_type != SCM_RIGHTS)
			continue;
		fd_count = (header->cmsg_len - CMSG_LEN(0)) / sizeof(int);
		memcpy(fds, CMSG_DATA(header), fd_count * sizeof(int));
	}
	if (len != (ssize_t)sizeof(order) || order.version != FORKSERVER_VERSION ||
	    order.preread_len > sizeof(order.preread))
		BUG("order of %zd bytes, version %u", len, order.version);

	order.cell_name[sizeof(order.cell_name) - 1] = '\0';
	switch (order.type) {
	case ORDER_START:
		start(fds, fd_count);
		break;
	case ORDER_SIGNAL:
		signal_one(order.cookie, order.signal_number);
		break;
	case ORDER_DRAIN:
		drain();
		break;
	case ORDER_STOP:
		is_stopping = true;
		kill_at_ms = now_ms() + FORKSERVER_STOP_GRACE_MS;
		signal_all(SIGTERM);
		break;
	default:
		BUG("order of type %u", order.type);
	}
	for (size_t i = 0; i < fd_count; i++)
		close(fds[i]);
}

/* Poll timeout; kills and asks again soon when the grace time is over. */
static int stop_timeout_ms(void)
{
	int64_t left_ms = kill_at_ms - now_ms();
	struct child *child;

	if ((!is_stopping && !is_draining) || kill_at_ms == 0)
		return -1;
	if (left_ms > 0)
		return (int)left_ms;
	if (is_stopping) {
		signal_all(SIGKILL);
		return 100;
	}
	kill_at_ms = 0;
	LIST_FOREACH (child, &children, link) {
		if (child->was_told)
			kill(child->pid, SIGKILL);
	}
	return -1;
}

static void detach_from_surroundings(pid_t supervisor)
{
	static const int ignored[] = {SIGINT, SIGTERM, SIGHUP, SIGQUIT, SIGPIPE};
	sigset_t blocked;
	int null_fd;

	own_pid = getpid();
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	if (getppid() != supervisor)
		_exit(1);
	setsid(); /* a terminal's signals are the supervisor's business */
	for (size_t i = 0; i < sizeof(ignored) / sizeof(ignored[0]); i++)
		signal(ignored[i], SIG_IGN);

	null_fd = open("/dev/null", O_RDWR | O_CLOEXEC);
	if (null_fd >= 0) {
		dup2(null_fd, STDIN_FILENO);
		dup2(null_fd, STDOUT_FILENO); /* the ready line is the supervisor's alone */
	}
	if (socket_fd > STDERR_FILENO + 1)
		close_range(STDERR_FILENO + 1, (unsigned)socket_fd - 1, 0);
	close_range((unsigned)socket_fd + 1, ~0u, 0);

	sigemptyset(&blocked);
	sigaddset(&blocked, SIGCHLD);
	sigprocmask(SIG_BLOCK, &blocked, NULL);
	signal_fd = signalfd(-1, &blocked, SFD_CLOEXEC | SFD_NONBLOCK);
	peers_epoll_fd = epoll_create1(EPOLL_CLOEXEC);
	if (signal_fd < 0 || peers_epoll_fd < 0)
		BUG("signalfd, epoll: %s", strerror(errno));
}

/* Descriptors are given out from below: what is opened later is not below this one, unless something is closed. */
static int lowest_free_fd(void)
{
	int fd = fcntl(STDERR_FILENO, F_DUPFD_CLOEXEC, 0);

	if (fd >= 0)
		close(fd);
	return fd;
}

_Noreturn void forkserver_child_main(int fd, pid_t supervisor, const char *image_path)
{
	struct report report = {.type = REPORT_READY};

	socket_fd = fd;
	detach_from_surroundings(supervisor);
	if (engine_open(image_path, report.message, sizeof(report.message)) != 0 ||
	    sandbox_prepare(report.message, sizeof(report.message)) != 0)
		report.type = REPORT_OPEN_FAILED;
	sessions_fd_start = lowest_free_fd();
	send_report(&report);
	if (report.type == REPORT_OPEN_FAILED)
		_exit(1);

	for (;;) {
		struct pollfd fds[3] = {{.fd = signal_fd, .events = POLLIN},
					{.fd = socket_fd, .events = POLLIN},
					{.fd = peers_epoll_fd, .events = POLLIN}};

		if (is_stopping && LIST_EMPTY(&children))
			_exit(0);
		if (poll(fds, 3, stop_timeout_ms()) < 0 && errno != EINTR)
			BUG("poll: %s", strerror(errno));
		if (fds[0].revents != 0)
			reap();
		if (fds[1].revents != 0)
			obey();
		if (fds[2].revents != 0)
			answer_requests();
	}
}
