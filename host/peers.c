#define _GNU_SOURCE
#include "peers.h"

#include <errno.h>
#include <stdbool.h>
#include <stddef.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

struct request {
	int32_t pid;
};

struct answer {
	int32_t error; /* errno; 0: a pidfd comes along */
};

union control {
	struct cmsghdr align;
	uint8_t bytes[CMSG_SPACE(sizeof(int))];
};

/* ---- in the session ---- */

/* Whom we know, by the lower bits of its process id. */
static struct peer {
	pid_t pid; /* 0: nobody */
	int fd;
} peers[PEERS_MAX];
static int asking_fd = -1;

void peers_begin(int fd)
{
	asking_fd = fd;
}

static void forget(struct peer *peer)
{
	if (peer->pid != 0)
		close(peer->fd);
	peer->pid = 0;
}

/* Returns 0 or -errno. */
static int ask(pid_t pid, struct peer *peer)
{
	struct request request = {.pid = pid};
	struct answer answer;
	struct iovec iov = {.iov_base = &answer, .iov_len = sizeof(answer)};
	union control control;
	struct msghdr msg = {
		.msg_iov = &iov, .msg_iovlen = 1, .msg_control = control.bytes, .msg_controllen = sizeof(control)};
	struct cmsghdr *header;
	ssize_t len;

	while (send(asking_fd, &request, sizeof(request), MSG_NOSIGNAL) < 0) {
		if (errno != EINTR)
			return -ESRCH;
	}
	while ((len = recvmsg(asking_fd, &msg, MSG_CMSG_CLOEXEC)) < 0) {
		if (errno != EINTR)
			return -ESRCH;
	}
	if (len != (ssize_t)sizeof(answer))
		return -ESRCH; /* the fork server has closed it */
	if (answer.error != 0)
		return -answer.error;
	header = CMSG_FIRSTHDR(&msg);
	if (header == NULL || header->cmsg_level != SOL_SOCKET || header->cmsg_type != SCM_RIGHTS)
		return -EMFILE; /* the kernel dropped it for want of room */
	memcpy(&peer->fd, CMSG_DATA(header), sizeof(peer->fd));
	peer->pid = pid;
	return 0;
}

int peers_signal(pid_t pid, int signo)
{
	struct peer *peer = &peers[(uint32_t)pid % PEERS_MAX];
	bool is_fresh;
	int rc;

	if (asking_fd < 0 || pid <= 0)
		return -ESRCH;
	for (;;) {
		is_fresh = peer->pid != pid;
		if (is_fresh) {
			forget(peer);
			rc = ask(pid, peer);
			if (rc < 0)
				return rc;
		}
		if (syscall(SYS_pidfd_send_signal, peer->fd, signo, NULL, 0) == 0)
			return 0;
		rc = -errno;
		forget(peer);
		if (is_fresh || rc != -ESRCH)
			return rc;
		/* the one we knew has ended: there may be a new process of that number */
	}
}

/* ---- in the fork server ---- */

int peers_answer(int fd, peers_may_signal *may_signal, void *data)
{
	struct request request;
	struct answer answer = {.error = ESRCH};
	struct iovec iov = {.iov_base = &answer, .iov_len = sizeof(answer)};
	struct msghdr msg = {.msg_iov = &iov, .msg_iovlen = 1};
	union control control;
	ssize_t len = recv(fd, &request, sizeof(request), MSG_DONTWAIT | MSG_TRUNC);
	int pidfd = -1;

	if (len < 0 && (errno == EAGAIN || errno == EINTR))
		return 0;
	if (len != (ssize_t)sizeof(request))
		return -1;
	if (may_signal(data, request.pid)) {
		pidfd = (int)syscall(SYS_pidfd_open, request.pid, 0);
		answer.error = pidfd < 0 ? errno : 0;
	}
	if (pidfd >= 0) {
		struct cmsghdr *header;

		memset(&control, 0, sizeof(control));
		msg.msg_control = control.bytes;
		msg.msg_controllen = sizeof(control);
		header = CMSG_FIRSTHDR(&msg);
		header->cmsg_level = SOL_SOCKET;
		header->cmsg_type = SCM_RIGHTS;
		header->cmsg_len = CMSG_LEN(sizeof(pidfd));
		memcpy(CMSG_DATA(header), &pidfd, sizeof(pidfd));
	}
	do {
		len = sendmsg(fd, &msg, MSG_DONTWAIT | MSG_NOSIGNAL);
	} while (len < 0 && errno == EINTR);
	if (pidfd >= 0)
		close(pidfd);
	/* who asks reads the answer: a full socket is a session that has been taken over */
	return len < 0 ? -1 : 0;
}
