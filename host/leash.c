#include "leash.h"

#include <errno.h>
#include <unistd.h>

void leash_init(struct leash *leash)
{
	*leash = (struct leash){.channel.fd = -1, .flags_to_restore = -1};
}

static void on_input(struct channel *channel, int events)
{
	struct leash *leash = channel->data;
	char dropped[4096];
	ssize_t got = channel_read(channel, dropped, sizeof(dropped));

	(void)events;
	if (got > 0 || got == -EAGAIN)
		return;
	channel_watch(channel, 0);
	leash->on_end(leash->data);
}

static void on_soon(uv_timer_t *timer)
{
	struct leash *leash = timer->data;

	leash->on_end(leash->data);
}

int leash_hold(struct leash *leash, uv_loop_t *loop, void (*on_end)(void *data), void *data)
{
	int fd = channel_open_stdio(STDIN_FILENO, &leash->flags_to_restore);
	int rc = fd < 0 ? fd : channel_open(&leash->channel, loop, fd, on_input, leash);

	if (rc != 0)
		return rc;
	leash->on_end = on_end;
	leash->data = data;
	uv_timer_init(loop, &leash->soon);
	leash->soon.data = leash;
	if (leash->channel.can_wait)
		channel_watch(&leash->channel, UV_READABLE);
	else
		uv_timer_start(&leash->soon, on_soon, 0, 0);
	return 0;
}

void leash_close(struct leash *leash)
{
	if (leash->channel.fd < 0)
		return;
	channel_close(&leash->channel, NULL);
	uv_close((uv_handle_t *)&leash->soon, NULL);
	channel_restore_stdio(STDIN_FILENO, leash->flags_to_restore);
	leash->flags_to_restore = -1;
}
