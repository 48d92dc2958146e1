/* The supervisor's side; the fork server's own life is in forkserver_child.c. */
#define _GNU_SOURCE
#include "forkserver.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "forkserver_child.h"

struct unsent {
	STAILQ_ENTRY(unsent) link;
	struct order order;
	int fds[2]; /* our own copies, -1 for none */
};

static int send_now(int socket_fd, const struct order *order, const int fds[2])
{
	struct iovec iov = {.iov_base = (void *)(uintptr_t)order, .iov_len = sizeof(*order)};
	union {
		struct cmsghdr align;
		uint8_t bytes[CMSG_SPACE(2 * sizeof(int))];
	} control;
	struct msghdr msg = {.msg_iov = &iov, .msg_iovlen = 1};
	int passed[2];
	size_t count = 0;

	for (int i = 0; i < 2; i++) {
		if (fds[i] >= 0)
			passed[count++] = fds[i];
	}
	if (count > 0) {
		struct cmsghdr *header;

		memset(&control, 0, sizeof(control));
		msg.msg_control = control.bytes;
		msg.msg_controllen = CMSG_SPACE(count * sizeof(int));
		header = CMSG_FIRSTHDR(&msg);
		header->cmsg_level = SOL_SOCKET;
		header->cmsg_type = SCM_RIGHTS;
		header->cmsg_len = CMSG_LEN(count * sizeof(int));
		memcpy(CMSG_DATA(header), passed, count * sizeof(int));
	}
	for (;;) {
		if (sendmsg(socket_fd, &msg, MSG_DONTWAIT | MSG_NOSIGNAL) >= 0)
			return 0;
		if (errno != EINTR)
			return -errno;
	}
}

static void unsent_free(struct unsent *unsent)
{
	for (int i = 0; i < 2; i++) {
		if (unsent->fds[i] >= 0)
			close(unsent->fds[i]);
	}
	free(unsent);
}

static int put_in_outbox(struct forkserver *fs, const struct order *order, const int fds[2])
{
	struct unsent *unsent = malloc(sizeof(*unsent));
	int rc;

	if (unsent == NULL)
		return -ENOMEM;
	unsent->order = *order;
	unsent->fds[0] = unsent->fds[1] = -1;
	for (int i = 0; i < 2; i++) {
		if (fds[i] < 0)
			continue;
		unsent->fds[i] = fcntl(fds[i], F_DUPFD_CLOEXEC, 3);
		if (unsent->fds[i] < 0) {
			rc = -errno;
			unsent_free(unsent);
			return rc;
		}
	}
	STAILQ_INSERT_TAIL(&fs->outbox, unsent, link);
	return 0;
}

int forkserver_send(struct forkserver *fs, struct order *order, int client_fd, int cell_fd)
{
	const int fds[2] = {client_fd, cell_fd};
	int rc;

	order->version = FORKSERVER_VERSION;
	if (STAILQ_EMPTY(&fs->outbox)) {
		rc = send_now(fs->fd, order, fds);
		if (rc != -EAGAIN)
			return rc;
	}
	return put_in_outbox(fs, order, fds);
}

int forkserver_flush(struct forkserver *fs)
{
	struct unsent *first;
	int rc;

	while ((first = STAILQ_FIRST(&fs->outbox)) != NULL) {
		rc = send_now(fs->fd, &first->order, first->fds);
		if (rc == -EAGAIN)
			return 0;
		if (rc != 0)
			return rc;
		STAILQ_REMOVE_HEAD(&fs->outbox, link);
		unsent_free(first);
	}
	return 0;
}

bool forkserver_has_unsent(const struct forkserver *fs)
{
	return !STAILQ_EMPTY(&fs->outbox);
}

static int receive(int socket_fd, struct report *report, int flags)
{
	ssize_t len;

	do {
		len = recv(socket_fd, report, sizeof(*report), flags);
	} while (len < 0 && errno == EINTR);
	if (len < 0 && errno == EAGAIN)
		return 0;
	if (len != (ssize_t)sizeof(*report) || report->version != FORKSERVER_VERSION)
		return -1;
	report->message[sizeof(report->message) - 1] = '\0';
	return 1;
}

int forkserver_receive(struct forkserver *fs, struct report *report)
{
	return receive(fs->fd, report, MSG_DONTWAIT);
}

int forkserver_start(struct forkserver *fs, const char *image_path, char *err, size_t err_len)
{
	int pair[2] = {-1, -1};
	struct report report;
	pid_t supervisor = getpid();
	int rc;

	*fs = (struct forkserver){.pid = -1, .fd = -1, .outbox = STAILQ_HEAD_INITIALIZER(fs->outbox)};
	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) != 0) {
		snprintf(err, err_len, "cannot make a socket pair: %s", strerror(errno));
		return -1;
	}
	fs->pid = fork();
	if (fs->pid == 0) {
		close(pair[0]);
		forkserver_child_main(pair[1], supervisor, image_path);
	}
	close(pair[1]);
	fs->fd = pair[0];
	if (fs->pid < 0) {
		snprintf(err, err_len, "cannot start the fork server: %s", strerror(errno));
		close(fs->fd);
		fs->fd = -1;
		return -1;
	}

	rc = receive(fs->fd, &report, 0);
	if (rc == 1 && report.type == REPORT_READY)
		return 0;
	if (rc == 1 && report.type == REPORT_OPEN_FAILED)
		snprintf(err, err_len, "%s", report.message);
	else
		snprintf(err, err_len, "the fork server died while opening the image %s", image_path);
	forkserver_stop(fs, true);
	return -1;
}

bool forkserver_is_alive(const struct forkserver *fs)
{
	siginfo_t end = {.si_pid = 0};

	return fs->pid > 0 && waitid(P_PID, (id_t)fs->pid, &end, WEXITED | WNOHANG | WNOWAIT) == 0 && end.si_pid == 0;
}

void forkserver_stop(struct forkserver *fs, bool is_immediate)
{
	struct unsent *first;

	while ((first = STAILQ_FIRST(&fs->outbox)) != NULL) {
		STAILQ_REMOVE_HEAD(&fs->outbox, link);
		unsent_free(first);
	}
	if (fs->pid > 0 && is_immediate)
		kill(fs->pid, SIGKILL);
	if (fs->fd >= 0)
		close(fs->fd);
	fs->fd = -1;
	if (fs->pid > 0) {
		while (waitpid(fs->pid, NULL, 0) < 0 && errno == EINTR)
			;
	}
	fs->pid = -1;
}
