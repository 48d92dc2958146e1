/*
 * A parent that holds our standard input holds us: when it closes its end, or dies, we go as well. What it writes means nothing.
 *
 * Calling sequence: leash_init(); leash_hold() in the event loop; on_end() once, unless leash_close() comes first. Files and /dev/null
 * are at their end at once.
 */
#ifndef PGCELL_LEASH_H
#define PGCELL_LEASH_H

#include <uv.h>

#include "channel.h"

struct leash {
	struct channel channel;
	uv_timer_t soon; /* for what cannot be waited for: on_end() never comes from within leash_hold() */
	int flags_to_restore;
	void (*on_end)(void *data);
	void *data;
};

void leash_init(struct leash *leash);

/* Returns 0 or a libuv error. */
int leash_hold(struct leash *leash, uv_loop_t *loop, void (*on_end)(void *data), void *data)
	__attribute__((warn_unused_result));

/* The leash's memory must outlive the loop's next turn. May be called again, and without leash_hold(). */
void leash_close(struct leash *leash);

#endif
