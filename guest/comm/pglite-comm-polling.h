/*
 * pglite-comm-polling.h
 *	  The polling transport: two buffers and a control block in linear memory, and no imports at all.
 *
 * The host looks at them and calls the functions below while the guest is not running, or while it waits in a host that can
 * suspend it.  Whose turn it is with a buffer is its status:
 *
 *	  input		EMPTY --host: data, pglite_signal_input_ready()--> (taken at once) EMPTY
 *				EMPTY --host: data, length, status = READY--> READY --guest reads the last byte--> EMPTY
 *	  output	EMPTY --guest: buffer is full, or end of a burst--> READY --host: pglite_ack_output()--> EMPTY, or READY again
 *
 * Messages may be larger than a buffer: they cross in chunks.  What does not fit into a buffer is queued by stream.c.
 * Everything here can be overwritten by the host at any time.  The guest decides by private copies; only the words of an input
 * buffer that it has not begun to read are looked at, once, and checked.
 */
#ifndef PGLITE_COMM_POLLING_H
#define PGLITE_COMM_POLLING_H

#include "pglite-comm.h"

#ifndef PGLITE_BUFFER_SIZE
#define PGLITE_BUFFER_SIZE 65536
#endif
_Static_assert(PGLITE_BUFFER_SIZE >= 1024 && PGLITE_BUFFER_SIZE <= 16 * 1024 * 1024 && PGLITE_BUFFER_SIZE % 8 == 0,
			   "PGLITE_BUFFER_SIZE: 1024 to 16777216, a multiple of 8");

#define PGLITE_BUFFER_EMPTY 0	/* the writer's turn */
#define PGLITE_BUFFER_READY 1	/* the reader's turn */

struct pglite_buffer
{
	volatile uint32_t status;
	volatile uint32_t length;	/* bytes of data, once READY */
	uint8_t		data[PGLITE_BUFFER_SIZE];
};
_Static_assert(offsetof(struct pglite_buffer, status) == 0, "known to hosts");
_Static_assert(offsetof(struct pglite_buffer, length) == 4, "known to hosts");
_Static_assert(offsetof(struct pglite_buffer, data) == 8, "known to hosts");
_Static_assert(sizeof(struct pglite_buffer) == 8 + PGLITE_BUFFER_SIZE, "known to hosts");

#define PGLITE_CONTROL_MAGIC 0x31434750u	/* "PGC1" in memory */

#define PGLITE_OPERATION_NONE 0
#define PGLITE_OPERATION_READING 1
#define PGLITE_OPERATION_WRITING 2
#define PGLITE_OPERATION_RUNNING 3

/* For the host to read: the guest never does. */
struct pglite_control
{
	volatile uint32_t magic;
	volatile uint32_t buffer_size;
	volatile uint32_t operation;
	volatile int32_t status;	/* what pglite_transport_leave() was told last */
	volatile uint32_t input_chunks; /* taken so far */
	volatile uint32_t output_chunks;	/* acknowledged so far */
	volatile uint32_t last_error;	/* positive WASI errno of what was refused last, 0: nothing was yet */
	volatile uint32_t errors;	/* how often something was refused */
};
_Static_assert(offsetof(struct pglite_control, magic) == 0, "known to hosts");
_Static_assert(offsetof(struct pglite_control, buffer_size) == 4, "known to hosts");
_Static_assert(offsetof(struct pglite_control, operation) == 8, "known to hosts");
_Static_assert(offsetof(struct pglite_control, status) == 12, "known to hosts");
_Static_assert(offsetof(struct pglite_control, input_chunks) == 16, "known to hosts");
_Static_assert(offsetof(struct pglite_control, output_chunks) == 20, "known to hosts");
_Static_assert(offsetof(struct pglite_control, last_error) == 24, "known to hosts");
_Static_assert(offsetof(struct pglite_control, errors) == 28, "known to hosts");
_Static_assert(sizeof(struct pglite_control) == 32, "known to hosts");

/* Memory that reads as zeros and is never given back; NULL when there is none.  Of the port, which has some that outlives a
 * reset of the guest's memory. */
extern void *pglite_alloc_shared(size_t len_bytes);

/* These addresses never change; 0 when there is no memory for the buffers, which are made at first use. */
extern struct pglite_buffer *pglite_get_input_buffer(void) PGLITE_EXPORT(pglite_get_input_buffer);
extern struct pglite_buffer *pglite_get_output_buffer(void) PGLITE_EXPORT(pglite_get_output_buffer);
extern struct pglite_control *pglite_get_control(void) PGLITE_EXPORT(pglite_get_control);
extern uint32_t pglite_get_buffer_size(void) PGLITE_EXPORT(pglite_get_buffer_size);

/*
 * The host has put length bytes into the input buffer.  They are taken at once and the buffer is EMPTY again: length is
 * returned.  Otherwise nothing was taken: -EINVAL for a length that can't be, or while the guest has yet to read the rest of
 * what the buffer held; -ENOMEM, or -EBUSY within a read of the guest, and then the buffer is READY and the guest takes it when
 * it reads next.  A length of 0 does nothing.
 */
extern int32_t pglite_signal_input_ready(int32_t length) PGLITE_EXPORT(pglite_signal_input_ready);

/* 1 while the output buffer is READY; its length, 0 while it is not. */
extern int32_t pglite_has_output(void) PGLITE_EXPORT(pglite_has_output);
extern int32_t pglite_get_output_length(void) PGLITE_EXPORT(pglite_get_output_length);

/* The host has copied the output: returns the length of the next chunk, which is in the buffer now, 0 when there is none.
 * -EINVAL when there was nothing to acknowledge. */
extern int32_t pglite_ack_output(void) PGLITE_EXPORT(pglite_ack_output);

/* Both buffers EMPTY, and queued input and output dropped. */
extern void pglite_reset_buffers(void) PGLITE_EXPORT(pglite_reset_buffers);

/* What pglite_transport_read(), _write() and _flush() are here. */
extern int32_t pglite_polling_read(void *ptr, size_t max_length);
extern int32_t pglite_polling_write(const void *ptr, size_t length);
extern void pglite_polling_flush(void);

#endif
