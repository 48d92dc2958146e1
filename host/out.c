#include "out.h"

#include <errno.h>
#include <poll.h>
#include <string.h>
#include <unistd.h>

void out_init(struct out *out, int fd)
{
	out->fd = fd;
	out->error = 0;
	out->len = 0;
}

static void write_all(struct out *out, const uint8_t *bytes, size_t len)
{
	while (len > 0 && out->error == 0) {
		ssize_t written = write(out->fd, bytes, len);

		if (written >= 0) {
			bytes += written;
			len -= (size_t)written;
		} else if (errno == EAGAIN) {
			struct pollfd wait = {.fd = out->fd, .events = POLLOUT};

			(void)poll(&wait, 1, -1);
		} else if (errno != EINTR) {
			out->error = errno;
		}
	}
}

void out_flush(struct out *out)
{
	write_all(out, out->buf, out->len);
	out->len = 0;
}

void out_put(struct out *out, const void *bytes, size_t len)
{
	if (len > sizeof(out->buf) - out->len)
		out_flush(out);
	if (len > sizeof(out->buf)) {
		write_all(out, bytes, len);
		return;
	}
	if (len > 0)
		memcpy(out->buf + out->len, bytes, len);
	out->len += len;
}

void out_text(struct out *out, const char *text)
{
	out_put(out, text, strlen(text));
}

void out_repeat(struct out *out, char c, size_t count)
{
	while (count > 0) {
		size_t some;

		if (out->len == sizeof(out->buf))
			out_flush(out);
		some = sizeof(out->buf) - out->len;
		if (some > count)
			some = count;
		memset(out->buf + out->len, c, some);
		out->len += some;
		count -= some;
	}
}
