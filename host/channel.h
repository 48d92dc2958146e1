/*
 * A descriptor in the event loop, read and written without ever waiting: a pipe, a socket, a terminal, a file.
 *
 * Calling sequence:
 *	channel_open_stdio() for a descriptor that others may share (standard input and output), or one's own
 *	channel_open()		takes the descriptor
 *	channel_watch()		what to wait for: UV_READABLE, UV_WRITABLE, UV_DISCONNECT, or 0
 *	on_event()		try what was wanted; a descriptor with an error is not watched any more, is_broken says so
 *	channel_read(), channel_write()
 *	channel_close()		at once; the memory must live until on_closed(), whose handle's data is the channel
 *
 * Files and /dev/null cannot be watched (can_wait is false) and need not be: they never make anybody wait. Nothing calls their owner.
 */
#ifndef PGCELL_CHANNEL_H
#define PGCELL_CHANNEL_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>
#include <uv.h>

struct channel {
	int fd; /* -1: closed */
	bool can_wait;
	bool is_broken;
	int watched; /* UV_READABLE and so on */
	uv_poll_t poll;
	void (*on_event)(struct channel *channel, int events);
	void *data; /* the owner's */
};

/*
 * A descriptor of our own for a standard one, so that making it non-blocking is not seen by the processes that share the original;
 * sockets cannot be had twice: for those *flags_to_restore is set (else -1), for channel_restore_stdio(). Returns -errno.
 */
int channel_open_stdio(int fd, int *flags_to_restore) __attribute__((warn_unused_result));
void channel_restore_stdio(int fd, int flags_to_restore);

/* Takes fd in every case. Returns 0 or a libuv error: there is nothing to close then. */
int channel_open(struct channel *channel, uv_loop_t *loop, int fd,
		 void (*on_event)(struct channel *channel, int events), void *data) __attribute__((warn_unused_result));

void channel_watch(struct channel *channel, int events);

/* Bytes read or written, 0 at the end of what can be read, -EAGAIN, or another -errno. */
ssize_t channel_read(struct channel *channel, void *to, size_t cap) __attribute__((warn_unused_result));
ssize_t channel_write(struct channel *channel, const void *from, size_t len) __attribute__((warn_unused_result));

/* Whether what is written is lost for certain: a socket that the other side closed (not only one direction of it), a pipe without a reader. */
bool channel_is_gone(const struct channel *channel);

/* Returns whether on_closed() will be called. */
bool channel_close(struct channel *channel, uv_close_cb on_closed);

#endif
