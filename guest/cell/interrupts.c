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
#include "storage/proc.h"
#include "storage/smgr.h"
#include "storage/sync.h"
#include "utils/memutils.h"

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

static void
run_checkpoint(int flags)
{
	BackendType saved;

	pgcell_init_sync();
	in_checkpoint = true;
	saved = become_checkpointer();
	PG_TRY();
	{
		/* the requests for fsync and unlink that sessions left in shared memory */
		AbsorbSyncRequests();
		PendingCheckpointerStats.num_requested++;
		if (CreateCheckPoint(flags | CHECKPOINT_IMMEDIATE))
			PendingCheckpointerStats.num_performed++;
		pgstat_report_checkpointer();
	}
	PG_FINALLY();
	{
		MyBackendType = saved;
		in_checkpoint = false;
	}
	PG_END_TRY();
}

void
pgcell_checkpoint(int flags)
{
	run_checkpoint(flags);
	smgrdestroyall();
}

void
pgcell_process_interrupts(void)
{
	if (pgcell_timer_is_polled)
		pgcell_poll_timer();
	pgcell_signal_dispatch();
	/* recovery ends with a checkpoint of its own */
	if (checkpoint_due && !in_checkpoint && InterruptHoldoffCount == 0 && CritSectionCount == 0 && !RecoveryInProgress())
	{
		int			flags = checkpoint_due;

		checkpoint_due = 0;
		run_checkpoint(flags);
	}
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
