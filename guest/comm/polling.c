/*
 * polling.c
 *	  The polling transport: buffers in linear memory that the host looks at.
 *
 * What the guest knows is in struct polling; the words in shared sight are copies of that, written anew by
 * publish() at the end of each function.  Nothing here calls the host, so a host that suspends the guest sees every function
 * either not begun or complete.
 */
#ifndef PGLITE_USE_POLLING
#define PGLITE_USE_POLLING
#endif
#include "pglite-comm.h"

#include <sched.h>
#include <stdbool.h>
#include <string.h>

#include "stream.h"

/* data and words are in memory before the status that says so, also for a host that looks from another thread */
#define BARRIER() __asm__ volatile("" ::: "memory")

/* What the host looks at. */
struct shared
{
	struct pglite_control control;
	struct pglite_buffer input_buffer;
	struct pglite_buffer output_buffer;
};

struct shown
{
	int32_t		status;
	uint32_t	is_running;
	uint32_t	input_chunks;
	uint32_t	output_chunks;
	uint32_t	last_error;
	uint32_t	errors;
};

/* What outlives a reset of the guest's memory. */
struct kept
{
	struct shared *shared;		/* NULL before the first use */
	struct shown shown;
};
_Static_assert(sizeof(struct kept) <= sizeof(struct pglite_transport_state), "survives a reset of the memory");

struct polling
{
	struct kept kept;

	/* The chunk that the guest has begun to read; length is 0 while there is none, then the host's words count. */
	struct
	{
		uint32_t	length;
		uint32_t	taken;
	}			input;

	/* length grows while the guest fills the buffer, and stays while it is the host's. */
	struct
	{
		uint32_t	length;
		bool		is_ready;
	}			output;
};
_Static_assert(sizeof(struct polling) <= PGLITE_TRANSPORT_BYTES, "has no other place");

#define POLLING ((struct polling *) pglite_transport_memory)
#define SHARED (POLLING->kept.shared)

/* The buffers are made when they are first asked for; false if there is no memory for them. */
static bool
have_buffers(void)
{
	if (!SHARED)
	{
		SHARED = pglite_alloc_shared(sizeof(struct shared));
		if (SHARED)
		{
			SHARED->control.magic = PGLITE_CONTROL_MAGIC;
			SHARED->control.buffer_size = PGLITE_BUFFER_SIZE;
		}
	}
	return SHARED != NULL;
}

static void
publish(void)
{
	if (POLLING->input.length > 0)
	{
		SHARED->input_buffer.length = POLLING->input.length;
		SHARED->input_buffer.status = PGLITE_BUFFER_READY;
	}
	SHARED->output_buffer.length = POLLING->output.is_ready ? POLLING->output.length : 0;
	SHARED->control.magic = PGLITE_CONTROL_MAGIC;
	SHARED->control.buffer_size = PGLITE_BUFFER_SIZE;
	SHARED->control.operation = POLLING->kept.shown.is_running ? PGLITE_OPERATION_RUNNING : PGLITE_OPERATION_NONE;
	SHARED->control.status = POLLING->kept.shown.status;
	SHARED->control.input_chunks = POLLING->kept.shown.input_chunks;
	SHARED->control.output_chunks = POLLING->kept.shown.output_chunks;
	SHARED->control.last_error = POLLING->kept.shown.last_error;
	SHARED->control.errors = POLLING->kept.shown.errors;
	BARRIER();
	SHARED->output_buffer.status = POLLING->output.is_ready ? PGLITE_BUFFER_READY : PGLITE_BUFFER_EMPTY;
}

static int32_t
refuse(int32_t error)
{
	POLLING->kept.shown.last_error = (uint32_t) error;
	POLLING->kept.shown.errors++;
	return -error;
}

static void
empty_input(void)
{
	POLLING->input.length = 0;
	POLLING->input.taken = 0;
	SHARED->input_buffer.length = 0;
	BARRIER();
	SHARED->input_buffer.status = PGLITE_BUFFER_EMPTY;
}

static int32_t
read_chunk(void *ptr, size_t max_length)
{
	uint32_t	n;

	if (POLLING->input.length == 0)
	{
		uint32_t	status = SHARED->input_buffer.status;
		uint32_t	length = SHARED->input_buffer.length;

		if (status == PGLITE_BUFFER_EMPTY)
			return 0;
		if (status != PGLITE_BUFFER_READY || length > PGLITE_BUFFER_SIZE)
		{
			empty_input();
			return refuse(PGLITE_EPROTO);
		}
		if (length == 0)
		{
			empty_input();
			return 0;
		}
		BARRIER();
		POLLING->input.length = length;
		POLLING->input.taken = 0;
	}
	n = POLLING->input.length - POLLING->input.taken;
	if (n > max_length)
		n = (uint32_t) max_length;
	memcpy(ptr, SHARED->input_buffer.data + POLLING->input.taken, n);
	POLLING->input.taken += n;
	if (POLLING->input.taken == POLLING->input.length)
	{
		empty_input();
		POLLING->kept.shown.input_chunks++;
	}
	return (int32_t) n;
}

int32_t
pglite_polling_read(void *ptr, size_t max_length)
{
	int32_t		got = 0;

	if (!have_buffers())
		return -PGLITE_ENOMEM;
	SHARED->control.operation = PGLITE_OPERATION_READING;
	if (max_length > 0)
		got = read_chunk(ptr, max_length);
	publish();
	return got;
}

int32_t
pglite_polling_write(const void *ptr, size_t length)
{
	uint32_t	n = PGLITE_BUFFER_SIZE - POLLING->output.length;

	if (!have_buffers())
		return -PGLITE_ENOMEM;
	if (POLLING->output.is_ready)
		return 0;
	SHARED->control.operation = PGLITE_OPERATION_WRITING;
	if (n > length)
		n = (uint32_t) length;
	memcpy(SHARED->output_buffer.data + POLLING->output.length, ptr, n);
	POLLING->output.length += n;
	if (POLLING->output.length == PGLITE_BUFFER_SIZE)
		POLLING->output.is_ready = true;
	publish();
	return (int32_t) n;
}

void
pglite_polling_flush(void)
{
	if (!have_buffers())
		return;
	if (POLLING->output.length > 0)
		POLLING->output.is_ready = true;
	publish();
}

struct pglite_buffer *
pglite_get_input_buffer(void)
{
	return have_buffers() ? &SHARED->input_buffer : NULL;
}

struct pglite_buffer *
pglite_get_output_buffer(void)
{
	return have_buffers() ? &SHARED->output_buffer : NULL;
}

struct pglite_control *
pglite_get_control(void)
{
	return have_buffers() ? &SHARED->control : NULL;
}

uint32_t
pglite_get_buffer_size(void)
{
	return PGLITE_BUFFER_SIZE;
}

int32_t
pglite_signal_input_ready(int32_t length)
{
	int32_t		result = length;

	if (!have_buffers())
		return -PGLITE_ENOMEM;
	if (length < 0 || length > PGLITE_BUFFER_SIZE || (length > 0 && POLLING->input.length > 0))
		result = refuse(PGLITE_EINVAL);
	else if (length > 0)
	{
		result = stream_take_input(SHARED->input_buffer.data, (size_t) length);
		if (result >= 0)
		{
			empty_input();
			POLLING->kept.shown.input_chunks++;
		}
		else
		{
			SHARED->input_buffer.length = (uint32_t) length;
			BARRIER();
			SHARED->input_buffer.status = PGLITE_BUFFER_READY;
			refuse(-result);
		}
	}
	publish();
	return result;
}

int32_t
pglite_has_output(void)
{
	if (!have_buffers())
		return 0;
	publish();
	return POLLING->output.is_ready;
}

int32_t
pglite_get_output_length(void)
{
	if (!have_buffers())
		return 0;
	publish();
	return POLLING->output.is_ready ? (int32_t) POLLING->output.length : 0;
}

int32_t
pglite_ack_output(void)
{
	int32_t		result;

	if (!have_buffers())
		return -PGLITE_ENOMEM;
	if (POLLING->output.is_ready)
	{
		POLLING->output.is_ready = false;
		POLLING->output.length = 0;
		POLLING->kept.shown.output_chunks++;
		(void) stream_flush();	/* fills the buffer again, by pglite_polling_write() and _flush() */
		result = POLLING->output.is_ready ? (int32_t) POLLING->output.length : 0;
	}
	else
		result = refuse(PGLITE_EINVAL);
	publish();
	return result;
}

void
pglite_reset_buffers(void)
{
	stream_discard_input();
	stream_discard_output();
	pglite_transport_reset();
}

int32_t
pglite_transport_read(void *ptr, size_t max_length)
{
	return pglite_polling_read(ptr, max_length);
}

int32_t
pglite_transport_write(const void *ptr, size_t length)
{
	return pglite_polling_write(ptr, length);
}

void
pglite_transport_flush(void)
{
	pglite_polling_flush();
}

/*
 * WASI's sched_yield() is where a host that can suspend us (Asyncify) looks after the buffers; for others it does nothing.
 * Who is to answer gets to see the question first: before waiting for input, output is the host's turn.
 */
bool
pglite_transport_wait(bool for_output)
{
	struct shown before;
	uint32_t	operation;

	if (!have_buffers())
		return false;
	if (!for_output)
		pglite_polling_flush();
	before = POLLING->kept.shown;
	operation = SHARED->control.operation;
	SHARED->control.operation = for_output ? PGLITE_OPERATION_WRITING : PGLITE_OPERATION_READING;
	(void) sched_yield();
	SHARED->control.operation = operation;
	if (for_output)
		return POLLING->kept.shown.output_chunks != before.output_chunks;
	return POLLING->kept.shown.input_chunks != before.input_chunks || SHARED->input_buffer.status == PGLITE_BUFFER_READY;
}

void
pglite_transport_reset(void)
{
	if (!have_buffers())
		return;
	empty_input();
	POLLING->output.length = 0;
	POLLING->output.is_ready = false;
	publish();
}

void
pglite_transport_enter(void)
{
	if (!have_buffers())
		return;
	POLLING->kept.shown.is_running = 1;
	publish();
}

void
pglite_transport_leave(int32_t status)
{
	if (!have_buffers())
		return;
	POLLING->kept.shown.is_running = 0;
	POLLING->kept.shown.status = status;
	publish();
}

void
pglite_transport_save(struct pglite_transport_state *to)
{
	*to = (struct pglite_transport_state) {0};
	memcpy(to, &POLLING->kept, sizeof(struct kept));
}

void
pglite_transport_restore(const struct pglite_transport_state *from)
{
	memcpy(&POLLING->kept, from, sizeof(struct kept));
	pglite_transport_reset();
}
