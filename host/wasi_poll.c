/*
 * wasi_poll.c - poll_oneoff: clocks and descriptors through one ppoll().
 */
#define _GNU_SOURCE
#include "wasi_internal.h"

#include <poll.h>
#include <sys/ioctl.h>

enum { EVENT_CLOCK = 0, EVENT_FD_READ = 1, EVENT_FD_WRITE = 2 };
enum { CLOCK_FLAG_ABSTIME = 1 };
enum { EVENT_FLAG_HANGUP = 1 };

struct wasi_subscription {
	uint64_t userdata;
	uint8_t type, pad1[7];
	union {
		struct {
			uint32_t id, pad2;
			uint64_t timeout_ns, precision_ns;
			uint16_t flags;
		} clock;
		uint32_t fd;
	} u;
};
_Static_assert(sizeof(struct wasi_subscription) == 48, "preview 1 layout");

struct wasi_event {
	uint64_t userdata;
	uint16_t error;
	uint8_t type, pad1[5];
	uint64_t nbytes;
	uint16_t flags;
	uint8_t pad2[6];
};
_Static_assert(sizeof(struct wasi_event) == 32, "preview 1 layout");

/* What is left of a subscription once it was read: the guest's copy is not looked at again. */
struct waiter {
	uint64_t userdata;
	uint64_t deadline_ns; /* EVENT_CLOCK, on `clock` */
	clockid_t clock;
	int pollfds_at; /* EVENT_FD_*, index */
	uint16_t error; /* WASI errno known without waiting */
	uint8_t type;
};

struct wait {
	struct waiter waiters[WASI_MAX_SUBSCRIPTIONS];
	struct pollfd pollfds[WASI_MAX_SUBSCRIPTIONS];
	uint32_t waiters_len;
	nfds_t pollfds_len;
	bool has_clock, has_error;
};

static uint64_t
clock_ns(clockid_t clock)
{
	struct timespec ts;

	clock_gettime(clock, &ts);
	return (uint64_t)ts.tv_sec * 1000000000u + (uint64_t)ts.tv_nsec;
}

/* A descriptor or clock that can't be waited for is an event with an error, not an error of the call. */
static uint32_t
waiter_add(wasi_ctx *ctx, struct wait *wait, const struct wasi_subscription *sub)
{
	struct waiter *w = &wait->waiters[wait->waiters_len++];

	*w = (struct waiter){.userdata = sub->userdata, .type = sub->type};
	if (sub->type == EVENT_CLOCK) {
		bool is_absolute = sub->u.clock.flags & CLOCK_FLAG_ABSTIME;

		if (sub->u.clock.id > 1) {
			w->error = sub->u.clock.id > 3 ? WASI_EINVAL : WASI_ENOTSUP;
		} else {
			/* A duration is not meant to stretch when somebody sets the wall clock. */
			w->clock = sub->u.clock.id == 0 && is_absolute ? CLOCK_REALTIME : CLOCK_MONOTONIC;
			w->deadline_ns = sub->u.clock.timeout_ns;
			if (!is_absolute && __builtin_add_overflow(w->deadline_ns, clock_ns(w->clock), &w->deadline_ns))
				w->deadline_ns = UINT64_MAX;
			wait->has_clock = true;
		}
	} else if (sub->type == EVENT_FD_READ || sub->type == EVENT_FD_WRITE) {
		const struct wasi_fd *f = wasi_fd_get(ctx, sub->u.fd);

		if (!f) {
			w->error = WASI_EBADF;
		} else {
			w->pollfds_at = (int)wait->pollfds_len++;
			wait->pollfds[w->pollfds_at] = (struct pollfd){
			    .fd = f->host_fd,
			    .events = sub->type == EVENT_FD_READ ? POLLIN : POLLOUT,
			};
		}
	} else {
		return WASI_EINVAL;
	}
	wait->has_error |= w->error != 0;
	return WASI_SUCCESS;
}

static struct timespec
time_left(const struct wait *wait)
{
	uint64_t least_ns = UINT64_MAX;

	for (uint32_t i = 0; i < wait->waiters_len; i++) {
		const struct waiter *w = &wait->waiters[i];
		uint64_t now_ns, left_ns;

		if (w->type != EVENT_CLOCK || w->error)
			continue;
		now_ns = clock_ns(w->clock);
		left_ns = w->deadline_ns > now_ns ? w->deadline_ns - now_ns : 0;
		least_ns = left_ns < least_ns ? left_ns : least_ns;
	}
	return (struct timespec){
	    .tv_sec = (time_t)(least_ns / 1000000000u),
	    .tv_nsec = (long)(least_ns % 1000000000u),
	};
}

/* Whether w has happened; fills in everything of the event but userdata and type. */
static bool
waiter_is_due(const struct wait *wait, const struct waiter *w, struct wasi_event *event)
{
	const struct pollfd *p;
	int readable_bytes = 0;

	if (w->error) {
		event->error = w->error;
		return true;
	}
	if (w->type == EVENT_CLOCK)
		return clock_ns(w->clock) >= w->deadline_ns;

	p = &wait->pollfds[w->pollfds_at];
	if (!p->revents)
		return false;
	if (p->revents & POLLNVAL)
		event->error = WASI_EBADF;
	/* After an error the descriptor is ready as well: the guest's read or write gets the errno. */
	if (p->revents & (POLLHUP | POLLERR))
		event->flags = EVENT_FLAG_HANGUP;
	if ((p->revents & POLLIN) && ioctl(p->fd, FIONREAD, &readable_bytes) == 0 && readable_bytes > 0)
		event->nbytes = (uint64_t)readable_bytes;
	return true;
}

uint32_t
WASI(poll_oneoff)(wasi_ctx *ctx, guest_addr subscriptions, guest_addr events, uint32_t count, guest_addr events_out)
{
	const uint8_t *in;
	uint8_t *out;
	struct wait wait;
	uint32_t due = 0;

	if (count == 0 || count > WASI_MAX_SUBSCRIPTIONS)
		return WASI_EINVAL;
	in = guest_range(subscriptions, count * sizeof(struct wasi_subscription));
	out = guest_range(events, count * sizeof(struct wasi_event));
	if (!in || !out || !guest_range(events_out, 4))
		return WASI_EFAULT;

	wait.waiters_len = 0; /* the arrays are 56 KiB: only what is used gets touched */
	wait.pollfds_len = 0;
	wait.has_clock = wait.has_error = false;
	for (uint32_t i = 0; i < count; i++) {
		struct wasi_subscription sub;
		uint32_t err;

		memcpy(&sub, in + i * sizeof(sub), sizeof(sub));
		err = waiter_add(ctx, &wait, &sub);
		if (err)
			return err;
	}

	/* Comes around again only if the wall clock was set back during a wait for an absolute time. */
	while (due == 0) {
		struct timespec left = {0};

		if (wait.has_clock && !wait.has_error)
			left = time_left(&wait);
		if (ppoll(wait.pollfds, wait.pollfds_len, wait.has_clock || wait.has_error ? &left : NULL, NULL) < 0)
			return wasi_errno_from_host(errno);
		for (uint32_t i = 0; i < count; i++) {
			const struct waiter *w = &wait.waiters[i];
			struct wasi_event event = {.userdata = w->userdata, .type = w->type};

			if (!waiter_is_due(&wait, w, &event))
				continue;
			memcpy(out + due * sizeof(event), &event, sizeof(event));
			due++;
		}
	}
	return guest_store_u32(events_out, due) ? WASI_SUCCESS : WASI_EFAULT;
}
