/*
 * One parent of `pgcell port` and its session: carries bytes between the parent's descriptors, framed as it wishes, and a connection to
 * the server (supervisor_connect()), and says how it ended.
 *
 *	parent --in--> [ 64 KiB ] --frames taken off--> session
 *	parent <-out-- [ 64 KiB ] <---frames put on---- session
 *
 * Nothing else is held: who does not read stops the other side. The session is asked for when the parent has sent its first byte, or at
 * once if the relay does the start-up itself: it then says nothing to the parent but ParameterStatus, BackendKeyData, ReadyForQuery,
 * NoticeResponse and ErrorResponse until the session is ready, and carries nothing from the parent before.
 *
 * When the parent's input ends the session is told so, and what it has to say still goes out, as long as somebody takes it:
 * RELAY_LINGER_MS without a byte moved is the end. It comes at once when nobody reads the output any more.
 *
 * Calling sequence: relay_new(); on_end() is called once, unless relay_free() comes first; relay_free(), also from within on_end().
 * The relay belongs to the caller until then; its memory follows when libuv lets go.
 */
#ifndef PGCELL_RELAY_H
#define PGCELL_RELAY_H

#include "framing.h"
#include "supervisor.h"

#define RELAY_BUFFER_LEN 65536
#define RELAY_LINGER_MS 3000

enum relay_end {
	RELAY_PARENT_LEFT, /* its input ended, or nobody reads its output */
	RELAY_TERMINATED, /* the session ended after the parent's Terminate */
	RELAY_NOT_STARTED, /* the session ended before it was ready */
	RELAY_SESSION_ENDED, /* by itself: a FATAL error, a crash */
	RELAY_FAILED, /* the machine's fault; said in the log */
};

struct relay;

struct relay_config {
	enum framing_kind framing;
	bool does_startup;
	const char *user, *database; /* for the start-up; must outlive the relay */
	void (*on_end)(struct relay *relay, enum relay_end end, void *data);
	void *data;
};

/* Takes both descriptors in every case; the same one twice is a socket. Returns NULL with a line in the log. */
struct relay *relay_new(struct supervisor *sv, int in_fd, int out_fd, const struct relay_config *config)
	__attribute__((warn_unused_result));

/* What can still go out without waiting does. */
void relay_free(struct relay *relay);

#endif
