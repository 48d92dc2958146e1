#define _GNU_SOURCE
#include "tls.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "fail.h"
#include "log.h"
#include "tls_gateway.h"

#define RESTART_MIN_MS 1000
#define LOAD_TIMEOUT_MS 10000

struct tls_unsent {
	STAILQ_ENTRY(tls_unsent) link;
	struct tls_order order;
	int fds[2];
};

static uint64_t now_ms(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
}

/* ---- files ---- */

static int open_regular(const char *path, const char *what, struct stat *info, char *err, size_t err_len)
{
	/* NONBLOCK: a named pipe would have us wait */
	int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);

	if (fd < 0 || fstat(fd, info) != 0) {
		fail(err, err_len, "could not open %s file \"%s\": %s", what, path, strerror(errno));
	} else if (!S_ISREG(info->st_mode)) {
		fail(err, err_len, "%s file \"%s\" is not a regular file", what, path);
	} else {
		return fd;
	}
	if (fd >= 0)
		close(fd);
	return -1;
}

/* The rules of check_ssl_key_file_permissions() in PostgreSQL's be-secure-common.c. Returns a descriptor or -1. */
static int open_key(const char *path, char *err, size_t err_len)
{
	struct stat info;
	int fd = open_regular(path, "private key", &info, err, err_len);

	if (fd < 0)
		return -1;
	if (info.st_uid != geteuid() && info.st_uid != 0) {
		fail(err, err_len, "private key file \"%s\" must be owned by the server's user or root", path);
	} else if ((info.st_uid == geteuid() && (info.st_mode & (S_IRWXG | S_IRWXO)) != 0) ||
		   (info.st_uid == 0 && (info.st_mode & (S_IWGRP | S_IXGRP | S_IRWXO)) != 0)) {
		fail(err, err_len,
		     "private key file \"%s\" has group or world access: it must have permissions u=rw (0600) or less if owned by "
		     "the server's user, or u=rw,g=r (0640) or less if owned by root",
		     path);
	} else {
		return fd;
	}
	close(fd);
	return -1;
}

/* ---- orders to the gateway ---- */

static int send_now(int socket_fd, const struct tls_order *order, const int fds[2])
{
	struct iovec iov = {.iov_base = (void *)(uintptr_t)order, .iov_len = sizeof(*order)};
	union {
		struct cmsghdr align;
		uint8_t bytes[CMSG_SPACE(2 * sizeof(int))];
	} control;
	struct msghdr msg = {.msg_iov = &iov, .msg_iovlen = 1, .msg_control = control.bytes, .msg_controllen = sizeof(control)};
	struct cmsghdr *header;

	memset(&control, 0, sizeof(control));
	header = CMSG_FIRSTHDR(&msg);
	header->cmsg_level = SOL_SOCKET;
	header->cmsg_type = SCM_RIGHTS;
	header->cmsg_len = CMSG_LEN(2 * sizeof(int));
	memcpy(CMSG_DATA(header), fds, 2 * sizeof(int));
	for (;;) {
		if (sendmsg(socket_fd, &msg, MSG_DONTWAIT | MSG_NOSIGNAL) >= 0)
			return 0;
		if (errno != EINTR)
			return -errno;
	}
}

static void unsent_free(struct tls_unsent *unsent)
{
	for (int i = 0; i < 2; i++) {
		if (unsent->fds[i] >= 0)
			close(unsent->fds[i]);
	}
	free(unsent);
}

static void on_event(uv_poll_t *poll, int status, int events);

static int put_in_outbox(struct tls *tls, const struct tls_order *order, const int fds[2])
{
	struct tls_unsent *unsent;

	if (tls->outbox_len >= TLS_OUTBOX_MAX || tls->poll == NULL)
		return -EAGAIN;
	unsent = malloc(sizeof(*unsent));
	if (unsent == NULL)
		return -ENOMEM;
	*unsent = (struct tls_unsent){.order = *order, .fds = {-1, -1}};
	for (int i = 0; i < 2; i++) {
		unsent->fds[i] = fcntl(fds[i], F_DUPFD_CLOEXEC, 3);
		if (unsent->fds[i] < 0) {
			int rc = -errno;

			unsent_free(unsent);
			return rc;
		}
	}
	STAILQ_INSERT_TAIL(&tls->outbox, unsent, link);
	tls->outbox_len++;
	uv_poll_start(tls->poll, UV_READABLE | UV_WRITABLE, on_event);
	return 0;
}

static int send_order(struct tls *tls, const struct tls_order *order, const int fds[2])
{
	int rc = STAILQ_EMPTY(&tls->outbox) ? send_now(tls->fd, order, fds) : -EAGAIN;

	return rc == -EAGAIN ? put_in_outbox(tls, order, fds) : rc;
}

static void drop_first(struct tls *tls)
{
	struct tls_unsent *first = STAILQ_FIRST(&tls->outbox);

	STAILQ_REMOVE_HEAD(&tls->outbox, link);
	tls->outbox_len--;
	unsent_free(first);
}

static int flush(struct tls *tls)
{
	while (!STAILQ_EMPTY(&tls->outbox)) {
		int rc = send_now(tls->fd, &STAILQ_FIRST(&tls->outbox)->order, STAILQ_FIRST(&tls->outbox)->fds);

		if (rc == -EAGAIN)
			return 0;
		if (rc != 0)
			return rc;
		drop_first(tls);
	}
	return 0;
}

/* Returns 0, or -1 with a message. */
static int send_files(struct tls *tls, char *err, size_t err_len)
{
	const struct tls_order order = {.type = TLS_ORDER_LOAD};
	struct stat info;
	int fds[2] = {-1, -1};
	int rc = -1;

	fds[0] = open_regular(tls->cert_path, "server certificate", &info, err, err_len);
	if (fds[0] < 0)
		return -1;
	fds[1] = open_key(tls->key_path, err, err_len);
	if (fds[1] >= 0) {
		rc = send_order(tls, &order, fds);
		if (rc != 0)
			fail(err, err_len, "the TLS gateway takes no files: %s", strerror(-rc));
		close(fds[1]);
	}
	close(fds[0]);
	return rc == 0 ? 0 : -1;
}

/* 1: a report; 0: nothing now; -1: the gateway is gone. */
static int receive(int socket_fd, struct tls_report *report)
{
	ssize_t len;

	do {
		len = recv(socket_fd, report, sizeof(*report), MSG_DONTWAIT);
	} while (len < 0 && errno == EINTR);
	if (len < 0 && errno == EAGAIN)
		return 0;
	report->message[sizeof(report->message) - 1] = '\0';
	return len == (ssize_t)sizeof(*report) ? 1 : -1;
}

/* ---- its life ---- */

/* Reaps it; it has ended, or has no more to say to us. Returns its wait status. */
static int bury(struct tls *tls, bool is_killed)
{
	int wait_status = 0;

	tls_unwatch(tls);
	while (!STAILQ_EMPTY(&tls->outbox))
		drop_first(tls);
	close(tls->fd);
	if (is_killed)
		kill(tls->pid, SIGKILL);
	while (waitpid(tls->pid, &wait_status, 0) < 0 && errno == EINTR)
		;
	tls->fd = tls->pid = -1;
	return wait_status;
}

static int launch(struct tls *tls, char *err, size_t err_len)
{
	struct tls_report report;
	struct pollfd wait;
	pid_t supervisor = getpid();
	int pair[2];
	int rc;

	tls->started_ms = now_ms();
	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) != 0)
		return fail(err, err_len, "cannot make a socket pair: %s", strerror(errno));
	tls->pid = fork();
	if (tls->pid == 0)
		tls_gateway_main(pair[1], supervisor);
	close(pair[1]);
	tls->fd = pair[0];
	if (tls->pid < 0) {
		close(tls->fd);
		return fail(err, err_len, "cannot start the TLS gateway: %s", strerror(errno));
	}
	wait = (struct pollfd){.fd = tls->fd, .events = POLLIN};
	rc = send_files(tls, err, err_len);
	if (rc == 0) {
		rc = poll(&wait, 1, LOAD_TIMEOUT_MS) == 1 && receive(tls->fd, &report) == 1 ? 0 : -1;
		if (rc != 0)
			fail(err, err_len, "the TLS gateway does not start");
		else if (!report.is_loaded)
			rc = fail(err, err_len, "could not load \"%s\" and \"%s\": %s", tls->cert_path, tls->key_path, report.message);
	}
	if (rc != 0)
		bury(tls, true);
	return rc;
}

int tls_start(struct tls *tls, const char *cert_path, const char *key_path, char *err, size_t err_len)
{
	*tls = (struct tls){.cert_path = cert_path,
			    .key_path = key_path,
			    .pid = -1,
			    .fd = -1,
			    .outbox = STAILQ_HEAD_INITIALIZER(tls->outbox)};
	return cert_path != NULL ? launch(tls, err, err_len) : 0;
}

static void on_report(const struct tls *tls, const struct tls_report *report)
{
	if (report->is_loaded)
		log_info(NULL, 0, "TLS certificate reloaded from \"%s\"", tls->cert_path);
	else
		log_error(NULL, 0, "TLS certificate not reloaded, the old one stays in use: \"%s\", \"%s\": %s", tls->cert_path,
			  tls->key_path, report->message);
}

static void on_event(uv_poll_t *poll, int status, int events)
{
	struct tls *tls = poll->data;
	struct tls_report report;
	int rc = status;

	if (rc == 0 && (events & UV_WRITABLE) != 0) {
		rc = flush(tls);
		if (STAILQ_EMPTY(&tls->outbox))
			uv_poll_start(poll, UV_READABLE, on_event);
	}
	while (rc == 0 && (rc = receive(tls->fd, &report)) == 1) {
		on_report(tls, &report);
		rc = 0;
	}
	if (rc == 0)
		return;
	rc = bury(tls, true);
	log_error(NULL, 0, "the TLS gateway ended unexpectedly (wait status %#x): its connections are lost", (unsigned)rc);
}

static void on_poll_closed(uv_handle_t *handle)
{
	free(handle);
}

int tls_watch(struct tls *tls, uv_loop_t *loop)
{
	int rc;

	if (tls->pid < 0)
		return 0;
	tls->poll = malloc(sizeof(*tls->poll));
	rc = tls->poll != NULL ? uv_poll_init(loop, tls->poll, tls->fd) : UV_ENOMEM;
	if (rc != 0) {
		free(tls->poll);
		tls->poll = NULL;
		return rc;
	}
	tls->poll->data = tls;
	tls->loop = loop;
	return uv_poll_start(tls->poll, UV_READABLE, on_event);
}

void tls_unwatch(struct tls *tls)
{
	if (tls->poll != NULL)
		uv_close((uv_handle_t *)tls->poll, on_poll_closed);
	tls->poll = NULL;
}

static int restart(struct tls *tls)
{
	char err[512];

	if (now_ms() - tls->started_ms < RESTART_MIN_MS)
		return -EAGAIN;
	if (launch(tls, err, sizeof(err)) != 0) {
		log_error(NULL, 0, "%s", err);
		return -EPIPE;
	}
	log_warn(NULL, 0, "the TLS gateway was started anew");
	return tls_watch(tls, tls->loop) == 0 ? 0 : -ENOMEM;
}

int tls_accept(struct tls *tls, int client_fd, int inner_fd, bool is_direct)
{
	const struct tls_order order = {.type = TLS_ORDER_ACCEPT, .is_direct = is_direct};
	int rc = tls->pid < 0 ? restart(tls) : 0;

	return rc != 0 ? rc : send_order(tls, &order, (int[]){client_fd, inner_fd});
}

void tls_reload(struct tls *tls)
{
	char err[512];

	if (tls->pid >= 0 && send_files(tls, err, sizeof(err)) != 0)
		log_error(NULL, 0, "TLS certificate not reloaded, the old one stays in use: %s", err);
}

void tls_stop(struct tls *tls, bool is_immediate)
{
	if (tls->pid >= 0)
		bury(tls, is_immediate); /* it ends when the socket does */
}
