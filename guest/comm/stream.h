/*
 * stream.h
 *	  The client's bytes in a host without threads: whole messages in, everything out.
 *
 * PostgreSQL can't leave in the middle of a message and come back.  So input is queued here until a message is complete, and
 * only bytes of complete messages are handed on; and output that the transport does not take at once is queued until it does.
 * Only the portable link has this file; natively a session waits for its socket.
 *
 * Queues are bounded by the cell's memory; what they hold belongs to this module.  Nothing here is reentrant, except that a
 * transport whose host can suspend the guest within a read or a write may see the host call stream_take_input(), _flush(),
 * _wanted(), _output_pending() and the discarding functions: these either do no harm then or take effect after the call.
 */
#ifndef PGCELL_STREAM_H
#define PGCELL_STREAM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* A new client: nothing queued either way (nor in the transport, whose pglite_transport_reset() is called), and the first message
 * is a start-up packet (a length without a type before it).  After a request for encryption another one follows. */
extern void stream_begin(void);

/*
 * Reads from the transport until a message is complete or nothing is left.  1: stream_recv() has bytes; 0: it has none, see
 * stream_wanted(); below 0: a negated WASI errno, -EPIPE when the client ended the connection in good order, -EPROTO when the
 * transport answered nonsense, -ENOMEM when the message does not fit into memory (it is dropped as it comes).  -EPIPE stays, the
 * others are reported once: the next call asks again.
 * A message whose header PostgreSQL will refuse (an unknown type, a length below 4 or above what PostgreSQL takes for its type)
 * counts as complete, and so does all that comes behind it: PostgreSQL reports it and ends the session.
 */
extern int32_t stream_ready(void);

/* Bytes that are missing from the message that has begun (at least 1), 0 when none has. */
extern uint32_t stream_wanted(void);

/* Copies at most len bytes of complete messages to buf.  How many; 0 and below as stream_ready(). */
extern int32_t stream_recv(void *buf, size_t len);

/* Looks at the first len bytes (at most 16) of the input queue without taking them; false when there are fewer. */
extern bool stream_peek(void *buf, size_t len);

/* Takes len bytes, which stream_peek() showed, off the input queue; what follows is framed as before.  Skips a whole message. */
extern void stream_skip(size_t len);

/* After this, input is messages with a type (as after a start-up packet); also what is queued, of which nothing was taken. */
extern void stream_expect_messages(void);

/* Drops the input that is queued: what is left of the current message and everything behind it.  A message begins next (a start-up
 * packet, if none was taken yet). */
extern void stream_discard_input(void);

/*
 * Queues all of data, for a transport that is given its input instead of asking for it.  len, or with nothing taken: -ENOMEM,
 * -EBUSY within a read of the transport.
 */
extern int32_t stream_take_input(const void *data, size_t len);

/*
 * Takes all of buf: passes it to the transport, queues what that does not take.  len; -ENOMEM (then nothing was taken); -EPIPE
 * after the transport said that the client is gone.  Less than len, as send(2), if the transport took the first part and there
 * was no memory to queue the others.
 */
extern int32_t stream_send(const void *buf, size_t len);

/* Offers queued output again and tells the transport that a burst is over.  Bytes that are still queued. */
extern uint32_t stream_flush(void);
extern uint32_t stream_output_pending(void);

/* Drops the output that is queued. */
extern void stream_discard_output(void);

/*
 * The first error of the transport, reading or writing (a negated WASI errno; not -EPIPE on reading), since the last call, 0 for
 * none.  Queued output is kept over it, unless it is -EPIPE: the client is gone, and output is dropped until stream_begin().
 */
extern int32_t stream_take_error(void);

#endif
