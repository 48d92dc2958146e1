/*
 * interrupts.c
 *	  What PostgreSQL's ProcessInterrupts() does first in a cell: handlers of emulated signals, and checkpoints that became due
 *	  inside XLogWrite() (patches 02 and 03).
 */
#include "postgres.h"

#include <signal.h>

#include "access/xlog.h"
#include "miscadmin.h"
#include "pgstat.h"
#include "postmaster/bgwriter.h"
#include "storage/aio_subsys.h"
#include "storage/bufmgr.h"
#include "storage/condition_variable.h"
#include "storage/ipc.h"
#include "storage/lwlock.h"
#include "storage/proc.h"
#include "storage/smgr.h"
#include "storage/sync.h"
#include "utils/memutils.h"
#include "utils/resowner.h"
#include "utils/wait_event.h"

#include "../port/contract.h"

static int	checkpoint_due;
static bool in_checkpoint;

void
pgcell_checkpoint_later(void)
{
	if (in_checkpoint)
		return;
	checkpoint_due = CHECKPOINT_CAUSE_XLOG;
	InterruptPending = true;
}

/* What PostgreSQL only gives to the checkpointer it gives to us while we are one. */
static BackendType
become_checkpointer(void)
{
	BackendType saved = MyBackendType;

	MyBackendType = B_CHECKPOINTER;
	return saved;
}

/* Makes sync.c's table of requests, once per process. */
void
pgcell_init_sync(void)
{
	static bool done = false;
	BackendType saved;
	MemoryContext context;

	if (done)
		return;
	done = true;
	saved = become_checkpointer();
	context = MemoryContextSwitchTo(TopMemoryContext);
	InitSync();
	MemoryContextSwitchTo(context);
	MyBackendType = saved;
}

struct checkpoint_state
{
	BackendType saved_type;
	ResourceOwner saved_owner;
	ResourceOwner owner;
};

/* Called with everything released but what the resource owner has, if that. */
static void
leave_checkpoint(struct checkpoint_state *state, bool is_done)
{
	MyBackendType = state->saved_type;
	CurrentResourceOwner = state->saved_owner;
	if (state->owner != NULL)
	{
		ResourceOwnerRelease(state->owner, RESOURCE_RELEASE_BEFORE_LOCKS, is_done, true);
		ResourceOwnerRelease(state->owner, RESOURCE_RELEASE_LOCKS, is_done, true);
		ResourceOwnerRelease(state->owner, RESOURCE_RELEASE_AFTER_LOCKS, is_done, true);
		ResourceOwnerDelete(state->owner);
	}
	in_checkpoint = false;
	pgcell_end_checkpoint();
}

/* After an error, as in CheckpointerMain(): between transactions nobody else would do it. */
static void
abandon_checkpoint(int code, Datum arg)
{
	LWLockReleaseAll();
	ConditionVariableCancelSleep();
	pgstat_report_wait_end();
	pgaio_error_cleanup();
	UnlockBuffers();
	leave_checkpoint((struct checkpoint_state *) DatumGetPointer(arg), false);
}

/* The caller has begun the checkpoint (pgcell_begin_checkpoint()). */
static void
run_checkpoint(int flags)
{
	struct checkpoint_state state = {.saved_owner = CurrentResourceOwner};

	in_checkpoint = true;
	state.saved_type = become_checkpointer();
	PG_ENSURE_ERROR_CLEANUP(abandon_checkpoint, PointerGetDatum(&state));
	{
		pgcell_init_sync();
		/* like a checkpointer's it goes on to its end; and a session between transactions has no owner for the pins */
		HOLD_INTERRUPTS();
		state.owner = ResourceOwnerCreate(NULL, "checkpoint");
		CurrentResourceOwner = state.owner;
		/* the requests for fsync and unlink that sessions left in shared memory */
		AbsorbSyncRequests();
		PendingCheckpointerStats.num_requested++;
		if (CreateCheckPoint(flags | CHECKPOINT_IMMEDIATE))
			PendingCheckpointerStats.num_performed++;
		pgstat_report_checkpointer();
		MyBackendType = state.saved_type;
		pgcell_return_sync_requests();
		RESUME_INTERRUPTS();
	}
	PG_END_ENSURE_ERROR_CLEANUP(abandon_checkpoint, PointerGetDatum(&state));
	leave_checkpoint(&state, true);
}

void
pgcell_checkpoint(int flags)
{
	pgcell_begin_checkpoint(true);
	run_checkpoint(flags);
	smgrdestroyall();
}

/* A checkpoint that is due, unless somebody is at one: then it stays due. */
static void
do_due_checkpoint(void)
{
	int			flags = checkpoint_due;

	if (!pgcell_begin_checkpoint(false))
		return;
	checkpoint_due = 0;
	run_checkpoint(flags);
}

bool
pgcell_checkpoint_is_due(void)
{
	return checkpoint_due != 0;
}

void
pgcell_process_interrupts(void)
{
	if (pgcell_timer_is_polled)
		pgcell_poll_timer();
	pgcell_signal_dispatch();
	/* recovery ends with a checkpoint of its own */
	if (checkpoint_due && !in_checkpoint && InterruptHoldoffCount == 0 && CritSectionCount == 0 && !RecoveryInProgress())
		do_due_checkpoint();
}

/*
 * What a session asks of the postmaster.  SIGHUP (pg_reload_conf()) it passes on to its children, and so do we; SIGUSR1 asks for
 * processes that a cell does not have, or needs nobody to answer.
 */
extern int	pgcell_signal_postmaster(int signo);

int
pgcell_signal_postmaster(int signo)
{
	if (signo != SIGHUP || ProcGlobal == NULL)
		return 0;
	for (uint32 i = 0; i < ProcGlobal->allProcCount; i++)
	{
		int			pid = ProcGlobal->allProcs[i].pid;

		if (pid != 0)
			(void) kill(pid, signo);
	}
	return 0;
}

/* Called by patch 01. */
extern ssize_t pgcell_stack_depth(void);

ssize_t
pgcell_stack_depth(void)
{
	return pgcell_engine_stack();
}
