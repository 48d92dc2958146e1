#define _GNU_SOURCE
#include "channel.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#include "log.h"

int channel_open_stdio(int fd, int *flags_to_restore)
{
	struct stat info;
	char path[32];
	int flags = fcntl(fd, F_GETFL);
	int own;

	*flags_to_restore = -1;
	if (flags < 0 || fstat(fd, &info) != 0)
		return -errno;
	if (S_ISFIFO(info.st_mode) || isatty(fd)) {
		snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
		own = open(path, (flags & O_ACCMODE) | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
		if (own >= 0)
			return own;
		/* a pipe of another user's, or one that nobody reads: the original will do */
	}
	own = fcntl(fd, F_DUPFD_CLOEXEC, 3);
	if (own < 0)
		return -errno;
	if (!S_ISREG(info.st_mode) && (flags & O_NONBLOCK) == 0)
		*flags_to_restore = flags;
	return own;
}

void channel_restore_stdio(int fd, int flags_to_restore)
{
	if (flags_to_restore != -1)
		fcntl(fd, F_SETFL, flags_to_restore);
}

int channel_open(struct channel *channel, uv_loop_t *loop, int fd,
		 void (*on_event)(struct channel *channel, int events), void *data)
{
	int rc = uv_poll_init(loop, &channel->poll, fd);

	if (rc != 0 && rc != UV_EPERM) {
		close(fd);
		return rc;
	}
	channel->fd = fd;
	channel->can_wait = rc == 0;
	channel->is_broken = false;
	channel->watched = 0;
	channel->on_event = on_event;
	channel->data = data;
	channel->poll.data = channel;
	return 0;
}

static void on_poll(uv_poll_t *poll, int status, int events)
{
	struct channel *channel = poll->data;

	if (status < 0) { /* POLLERR: libuv has stopped watching; reading and writing will tell more */
		channel->is_broken = true;
		events = channel->watched;
		channel->watched = 0;
	}
	channel->on_event(channel, events);
}

void channel_watch(struct channel *channel, int events)
{
	if (channel->fd < 0 || !channel->can_wait || channel->is_broken || events == channel->watched)
		return;
	channel->watched = events;
	if (events == 0)
		uv_poll_stop(&channel->poll);
	else if (uv_poll_start(&channel->poll, events, on_poll) != 0)
		BUG("descriptor %d cannot be watched", channel->fd);
}

ssize_t channel_read(struct channel *channel, void *to, size_t cap)
{
	ssize_t got;

	do {
		got = read(channel->fd, to, cap);
	} while (got < 0 && errno == EINTR);
	return got >= 0 ? got : -errno;
}

ssize_t channel_write(struct channel *channel, const void *from, size_t len)
{
	ssize_t written;

	do {
		written = write(channel->fd, from, len);
	} while (written < 0 && errno == EINTR);
	return written >= 0 ? written : -errno;
}

bool channel_is_gone(const struct channel *channel)
{
	struct pollfd poll_fd = {.fd = channel->fd, .events = POLLOUT};

	return poll(&poll_fd, 1, 0) == 1 && (poll_fd.revents & (POLLERR | POLLHUP)) != 0;
}

bool channel_close(struct channel *channel, uv_close_cb on_closed)
{
	if (channel->fd < 0)
		return false;
	/* The handle first: libuv must forget the descriptor before its number can be used again. */
	if (channel->can_wait)
		uv_close((uv_handle_t *)&channel->poll, on_closed);
	close(channel->fd);
	channel->fd = -1;
	return channel->can_wait;
}
