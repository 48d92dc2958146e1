/*
 * serve.c
 *	  See serve.h.  Only the portable link takes this file.
 *
 * A session ends, as everywhere in PostgreSQL, with exit() of its process.  Here that unwinds to the entry point by which the
 * host came, and the next session starts from the image's PRIVATE: what a fork of the root gets natively.
 */
#include "postgres.h"

#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <sys/socket.h>
#include <unistd.h>

#include "libpq/libpq.h"
#include "libpq/pqcomm.h"
#include "miscadmin.h"
#include "storage/ipc.h"
#include "tcop/tcopprot.h"

#include "../comm/client.h"
#include "../comm/pglite-comm.h"
#include "../comm/stream.h"
#include "../port/contract.h"
#include "../port/grow.h"
#include "../vfs/vfs.h"
#include "cell.h"
#include "serve.h"

extern int32 pgl_initdb(void) PGCELL_EXPORT(pgl_initdb);
extern int32 pgl_backend(void) PGCELL_EXPORT(pgl_backend);
extern int32 interactive_one(int32 length, int32 first_byte) PGCELL_EXPORT(interactive_one);
extern int32 pgl_shutdown(void) PGCELL_EXPORT(pgl_shutdown);
extern int32 pgcell_reload(void) PGCELL_EXPORT(pgcell_reload);
extern int32 pgcell_restore(uint32 image_bytes) PGCELL_EXPORT(pgcell_restore);
extern int32 pgcell_flush(void) PGCELL_EXPORT(pgcell_flush);
extern uint32 pgcell_input_wanted(void) PGCELL_EXPORT(pgcell_input_wanted);
extern uint32 pgcell_output_pending(void) PGCELL_EXPORT(pgcell_output_pending);
extern void pgcell_discard_input(void) PGCELL_EXPORT(pgcell_discard_input);
extern void pgcell_restore_private(void) PGCELL_EXPORT(pgcell_restore_private);
extern int32 pgcell_build_step(int32 step) PGCELL_EXPORT(pgcell_build_step);

/* patch 04 */
extern void pgcell_main_loop(void);

static enum
{
	NO_SESSION,
	STARTING,					/* no start-up packet yet */
	IN_SESSION,
	ENDED,
	SHUT_DOWN,
	DEAD						/* a session left shared memory in an unknown state */
}			state;

static bool is_called;			/* by the host, and not back yet: it may not come in again */
static bool can_unwind;			/* "top" is valid */
static bool is_used;			/* PRIVATE is not as in the image any more */
static jmp_buf top;
static int32 exit_code;
static int32 read_error;		/* of the transport, to be reported */

/* a start-up packet for hosts that send none */
static const char default_start[] = "\0\0\0\51\0\3\0\0user\0postgres\0database\0postgres\0";
static const char *preread;
static uint32 preread_len;

enum
{
	STILL_HERE,
	LEFT_LOOP,
	EXITED
};

/* ---- in and out of PostgreSQL ---- */

void
vfs_exit(uint32_t code)
{
	if (!can_unwind)
		return;
	exit_code = code;
	longjmp(top, EXITED);
}

void
pgcell_leave(void)
{
	longjmp(top, LEFT_LOOP);
}

static void
run(void (*step) (void))
{
	can_unwind = is_used = true;
	switch (setjmp(top))
	{
		case STILL_HERE:
			step();
			break;
		case LEFT_LOOP:
			state = IN_SESSION;
			break;
		case EXITED:
			state = exit_code == 0 || exit_code == 1 ? ENDED : DEAD;
			break;
	}
	can_unwind = false;
}

/* The build of an image gives this function another body, and nothing happens before (image/wasm_image.h). */
__attribute__((noinline)) void
pgcell_restore_private(void)
{
	__asm__ volatile("" ::: "memory");
}

/* Makes PRIVATE that of a process that has just been forked from the root. */
static void
begin_process(void)
{
	int64		started_us = pgcell_session_args.cell_started_us;
	struct pglite_transport_state transport;

	if (is_used)
	{
		pglite_transport_save(&transport);
		pgcell_restore_private();
		pglite_transport_restore(&transport);
		is_called = true;
	}
	pgcell_session_args.slot = 1;
	pgcell_session_args.cell_started_us = started_us ? started_us : (int64) (vfs_clock_ns() / 1000);
	stream_begin();
}

static void
exit_session(void)
{
	proc_exit(0);
}

static void
end_session(void)
{
	if (state == IN_SESSION)
		run(exit_session);
}

/*
 * PostgreSQL arms a timer to report statistics that are left from an idle session.  Nothing happens here while it is idle, and a
 * timer that is armed makes every CHECK_FOR_INTERRUPTS() of the commands that follow look at the clock: they are reported by a
 * command to come, or at the session's end.  The linker puts this function in the place of the other (--wrap).
 */
extern long __real_pgstat_report_stat(bool force);
extern long __wrap_pgstat_report_stat(bool force);

long
__wrap_pgstat_report_stat(bool force)
{
	(void) __real_pgstat_report_stat(force);
	return 0;
}

/* ---- input ---- */

bool
pgcell_may_read(void)
{
	int32		ready;

	/*
	 * PostgreSQL leaves its timer running when nothing waits for it any more, and takes the signal in vain.  Here whoever checks for
	 * interrupts asks the clock until then, so the signal comes at once; if there is something to wait for, the handler sets the timer
	 * again (handle_sig_alarm() in timeout.c).
	 */
	if (pgcell_timer_is_polled)
		pgcell_fire_timer();
	if (InterruptPending)
		ProcessClientReadInterrupt(true);
	if (preread_len > 0 || pq_buffer_remaining_data() > 0)
		return true;
	ready = stream_ready();
	if (ready > 0 || ready == -EPIPE)
		return true;
	read_error = ready;
	pq_flush();
	return false;
}

ssize_t
pgcell_client_recv(void *buf, size_t len)
{
	int32		got;

	if (preread_len > 0)
	{
		got = len < preread_len ? len : preread_len;
		memcpy(buf, preread, got);
		preread += got;
		preread_len -= got;
		return got;
	}
	do
		got = stream_recv(buf, len);
	while (got == 0 && pglite_transport_wait(false));
	if (got > 0)
		return got;
	if (got == -EPIPE)
		return 0;

	/*
	 * We are between two messages, in the middle of a command that reads some: COPY, or authentication.  The command can't be
	 * left for later, so it fails; what comes late PostgreSQL ignores.
	 */
	if (pq_is_reading_msg())
		pq_endmsgread();
	if (got == 0)
		ereport(ERROR,
				errcode(ERRCODE_PROTOCOL_VIOLATION),
				errmsg("input ran out while a command was reading it"),
				errhint("This host can't wait within a command: pass on what the command reads, such as the data of COPY, together with it."));
	else
		ereport(ERROR,
				errcode(ERRCODE_CONNECTION_FAILURE),
				errmsg("could not read from the host: WASI error %d", -got));
	return -1;
}

ssize_t
pgcell_client_send(const void *buf, size_t len)
{
	int32		taken = stream_send(buf, len);

	if (taken >= 0)
		return taken;
	errno = -taken;
	return -1;
}

static uint32
get_word(const uint8 *from)
{
	return (uint32) from[0] << 24 | from[1] << 16 | from[2] << 8 | from[3];
}

/*
 * Is a start-up packet there?  Requests for encryption are refused here: who asks waits for the answer before going on, and
 * PostgreSQL's own start would wait within its call.
 */
static bool
can_start(void)
{
	for (;;)
	{
		int32		ready = stream_ready();
		uint8		head[8];

		if (stream_peek(head, 1) && head[0] != 0)
		{
			preread = default_start;
			preread_len = sizeof default_start;
			stream_expect_messages();
			return true;
		}
		if (ready <= 0)
		{
			if (ready == -EPIPE)
				state = ENDED;
			else
				read_error = ready;
			return false;
		}
		if (!stream_peek(head, sizeof head) || get_word(head) != 8 ||
			(get_word(head + 4) != NEGOTIATE_SSL_CODE && get_word(head + 4) != NEGOTIATE_GSS_CODE))
			return true;
		stream_skip(sizeof head);
		if (stream_send("N", 1) < 0)
			return false;
	}
}

/* ---- entry points ---- */

/* A negated errno if the host may not call now. */
static int32
enter(void)
{
	if (is_called)
		return -EBUSY;
	if (state == DEAD)
		return -ENOTRECOVERABLE;
	if (state == SHUT_DOWN)
		return -ENOTCONN;
	is_called = true;
	pglite_transport_enter();
	return 0;
}

static int32
leave(int32 status)
{
	pglite_transport_leave(status);
	is_called = false;
	return status;
}

/* Why the host gets control. */
static int32
report(void)
{
	int32		error;
	int32		status = state == ENDED ? PGL_ENDED : 0;

	if (stream_flush() > 0)
		status |= PGL_OUTPUT;
	if (state != ENDED && stream_wanted() > 0)
		status |= PGL_INCOMPLETE;
	error = stream_take_error();
	if (error == 0)
		error = read_error;
	read_error = 0;
	if (state == DEAD)
		error = -ENOTRECOVERABLE;
	return error < 0 ? error : status;
}

static int32
advance(void)
{
	if (state == STARTING && can_start())
		run(pgcell_start_backend);
	else if (state == IN_SESSION)
		run(pgcell_main_loop);
	return report();
}

int32
pgl_initdb(void)
{
	return pgcell_root_configuration != 0;
}

int32
pgl_backend(void)
{
	int32		refused = enter();

	if (refused)
		return refused;
	end_session();
	if (state == DEAD)
		return leave(report());
	begin_process();
	state = STARTING;
	return leave(advance());
}

int32
interactive_one(int32 length, int32 first_byte)
{
	int32		refused = enter();

	if (refused)
		return refused;
	if (length < 0 || first_byte < -1 || first_byte > 255)
		return leave(-EINVAL);
	if (state == NO_SESSION)
		return leave(-ENOTCONN);
	return leave(advance());
}

int32
pgl_shutdown(void)
{
	int32		refused;

	if (state == SHUT_DOWN)
		return 0;
	refused = enter();
	if (refused)
		return refused;
	end_session();
	(void) stream_flush();
	if (state == DEAD)
		return leave(report());
	begin_process();
	exit_code = 0;
	run(pgcell_shutdown);
	if (state == DEAD)
		return leave(report());
	/* a checkpoint that failed, for want of memory, can be tried again */
	if (exit_code != 0)
		return leave(-EIO);
	state = SHUT_DOWN;
	return leave(0);
}

/*
 * Shared memory as it was before the first recovery.  It is kept as a file (image/bake.c), so that it takes no memory; what is
 * recorded about chunks of memory stays as it is.
 */
static int32
reset_shared_memory(void)
{
	const uint32 parts[][2] = {{PGCELL_SHMEM_START, PGCELL_CHUNKS_START}, {PGCELL_CHANGES_END, PGCELL_SHMEM_END}};
	int			fd = open(PGCELL_SHMEM_FILE, O_RDONLY);
	int32		rc = 0;

	if (fd < 0)
		return -errno;
	for (int i = 0; i < lengthof(parts) && rc == 0; i++)
	{
		char	   *to = (char *) parts[i][0];
		size_t		len = parts[i][1] - parts[i][0];
		ssize_t		got = pread(fd, to, len, parts[i][0] - PGCELL_SHMEM_START);

		if (got < 0)
			rc = -errno;
		else
			memset(to + got, 0, len - got);
	}
	close(fd);
	return rc;
}

static int32
reload(void)
{
	int32		rc = reset_shared_memory();

	if (rc < 0)
	{
		state = DEAD;
		return leave(rc);
	}
	begin_process();
	exit_code = 0;
	run(pgcell_recover);
	if (exit_code != 0)
	{
		state = DEAD;
		return leave(-ENOTRECOVERABLE);
	}
	begin_process();
	state = NO_SESSION;
	return leave(0);
}

int32
pgcell_reload(void)
{
	if (is_called)
		return -EBUSY;
	if (state == SHUT_DOWN)
		return -ENOTCONN;
	is_called = true;
	end_session();
	return reload();
}

/* The host has put blocks of an earlier instance's FILES into the memory of a new one, which had image_bytes before. */
int32
pgcell_restore(uint32 image_bytes)
{
	int32		rc;

	if (is_called || is_used)
		return -EBUSY;
	is_called = true;
	rc = pgcell_adopt_files(image_bytes);
	if (rc < 0)
	{
		state = DEAD;
		return leave(rc);
	}
	return reload();
}

int32
pgcell_flush(void)
{
	int32		refused = enter();

	return refused ? refused : leave(report());
}

uint32
pgcell_input_wanted(void)
{
	return stream_wanted();
}

uint32
pgcell_output_pending(void)
{
	return stream_output_pending();
}

void
pgcell_discard_input(void)
{
	stream_discard_input();
}

/* ---- the build of the image ---- */

static void
start_root(void)
{
	if (pgcell_root() != 0)
		proc_exit(2);
}

/* Each is a process of its own: the builder puts PRIVATE back to what it was after step 0.  The exit status, 0 is good. */
int32
pgcell_build_step(int32 step)
{
	static void (*const steps[]) (void) = {start_root, pgcell_recover, pgcell_empty_cache};

	if (step < 0 || step >= lengthof(steps))
		return EINVAL;
	exit_code = 0;
	run(steps[step]);
	if (step == 0)
		is_used = false;
	state = NO_SESSION;
	return exit_code;
}
