/*
 * session.c
 *	  A child of the root: one client's session, or the recovery of a cell.  What postmaster_child_launch() does in the child
 *	  (src/backend/postmaster/launch_backend.c), with the host in the postmaster's place.
 */
#include "postgres.h"

#include <errno.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <netinet/in.h>
#include <unistd.h>

#include "access/xlog.h"
#include "catalog/pg_control.h"
#include "common/controldata_utils.h"
#include "libpq/hba.h"
#include "libpq/libpq-be.h"
#include "libpq/libpq.h"
#include "miscadmin.h"
#include "postmaster/autovacuum.h"
#include "postmaster/postmaster.h"
#include "postmaster/startup.h"
#include "postmaster/auxprocess.h"
#include "replication/walsender.h"
#include "storage/buf_internals.h"
#include "storage/bufmgr.h"
#include "storage/fd.h"
#include "storage/ipc.h"
#include "storage/pmsignal.h"
#include "storage/proc.h"
#include "tcop/backend_startup.h"
#include "utils/guc.h"
#include "utils/memutils.h"
#include "utils/timestamp.h"

#include "../comm/client.h"
#include "../port/contract.h"
#include "../port/layout.h"
#include "../vfs/vfs.h"
#include "cell.h"

extern struct pgcell_session_args *pgcell_session_args_address(void) PGCELL_EXPORT(pgcell_session_args_address);

struct pgcell_session_args pgcell_session_args;

struct pgcell_session_args *
pgcell_session_args_address(void)
{
	return &pgcell_session_args;
}

static void
close_files(int code, Datum arg)
{
	vfs_close_all();
}

#ifndef PGCELL_PORTABLE
static void
note_error(ErrorData *edata)
{
	if (edata->elevel >= ERROR)
		pgcell_note(PGCELL_NOTE_ERROR, edata->sqlerrcode);
}
#endif

/* The common start of children.  slot is PostgreSQL's child slot; its last user may have died without clearing it. */
static void
begin_child(int slot)
{
	MyProcPid = getpid();
	vfs_after_fork();
	if (pgcell_session_args.files_end != 0)
		vfs_limit(pgcell_session_args.files_end);
	set_stack_base();
	InitPostmasterChild();
	on_proc_exit(close_files, 0);
	MemoryContextSwitchTo(TopMemoryContext);
	MyPMChildSlot = slot;
#ifndef PGCELL_PORTABLE
	emit_log_hook = note_error;
#endif
	if (slot == 0)				/* only delivers a cancel request, and takes no part in the cell */
		return;
	SetQuitSignalReason(PMQUIT_FOR_CRASH);	/* the host sends SIGQUIT for nothing else */
	MarkPostmasterChildSlotUnassigned(slot);
	MarkPostmasterChildSlotAssigned(slot);
}

uint32_t
pgcell_fill_address(struct sockaddr_storage *to, uint32_t family, const uint8_t *address, uint32_t port)
{
	struct sockaddr_in *sin = (struct sockaddr_in *) to;
	struct sockaddr_in6 *sin6 = (struct sockaddr_in6 *) to;

	memset(to, 0, sizeof *to);
	switch (family)
	{
		case 4:
			sin->sin_family = AF_INET;
			memcpy(&sin->sin_addr, address, 4);
			sin->sin_port = pg_hton16(port);
			return sizeof *sin;
		case 6:
			sin6->sin6_family = AF_INET6;
			memcpy(&sin6->sin6_addr, address, 16);
			sin6->sin6_port = pg_hton16(port);
			return sizeof *sin6;
		default:
			/* a socket without a name: a whole sockaddr_un would not fit into wasi-libc's sockaddr_storage */
			to->ss_family = AF_UNIX;
			return offsetof(struct sockaddr_un, sun_path);
	}
}

/*
 * The root read the configuration when the image was made.  A cell may have changed it since (ALTER SYSTEM, pg_hba.conf): then
 * read it again, as a postmaster does on SIGHUP.
 */
static void
reread_configuration(void)
{
	if (pgcell_configuration_stamp() == pgcell_root_configuration)
		return;
	ProcessConfigFile(PGC_SIGHUP);
	if (!load_hba())
		ereport(LOG, errmsg("%s was not reloaded", HbaFileName));
	if (!load_ident())
		ereport(LOG, errmsg("%s was not reloaded", IdentFileName));
}

void
pgcell_start_backend(void)
{
	BackendStartupData startup = {.canAcceptConnections = CAC_OK};

	MyBackendType = B_BACKEND;
	begin_child(pgcell_session_args.slot);
	PgStartTime = pgcell_session_args.cell_started_us -
		((POSTGRES_EPOCH_JDATE - UNIX_EPOCH_JDATE) * USECS_PER_DAY);
	PgReloadTime = PgStartTime;

	/* the only secret of the image that is in CLUSTER; all others are made per process */
	if (memcmp(GetMockAuthenticationNonce(), pgcell_baked_nonce, MOCK_AUTH_NONCE_LEN) == 0 &&
		!pg_strong_random(GetMockAuthenticationNonce(), MOCK_AUTH_NONCE_LEN))
		ereport(FATAL, errmsg("could not generate random numbers for a new cell"));

	reread_configuration();

	startup.socket_created = startup.fork_started = GetCurrentTimestamp();
	conn_timing.socket_create = conn_timing.fork_start = conn_timing.fork_end = startup.fork_started;
	MyClientSocket = palloc(sizeof(ClientSocket));
	MyClientSocket->sock = PGCELL_CLIENT_FD;
	MyClientSocket->raddr.salen = pgcell_fill_address(&MyClientSocket->raddr.addr, pgcell_session_args.family,
													  pgcell_session_args.address, pgcell_session_args.port);
	BackendMain(&startup, sizeof startup);
}

void
pgcell_session(void)
{
	pgcell_start_backend();
}

/*
 * Leaves the buffer cache as after start-up, the memory of its pages included: an image with cached pages would cost every cell
 * that memory, and pages are cheaper read from BASE.
 */
void
pgcell_empty_cache(void)
{
	int32		evicted,
				flushed,
				skipped;

	begin_child(1);
	MyBackendType = B_BG_WRITER;
	AuxiliaryProcessMainCommon();
	EvictAllUnpinnedBuffers(&evicted, &flushed, &skipped);
	if (skipped > 0)
		ereport(FATAL, errmsg("%d buffers are still in use", skipped));
	memset(BufferBlocks, 0, (Size) NBuffers * BLCKSZ);
	proc_exit(0);
}

/*
 * Shared memory has pg_control as it was when the image was made; the file may be newer.  A postmaster reads it again before it
 * makes shared memory anew.  xlog.c keeps the pointer to itself, but tells where one of the struct's members is.
 */
static void
reread_control_file(void)
{
	ControlFileData *shared = (ControlFileData *)
		(GetMockAuthenticationNonce() - offsetof(ControlFileData, mock_authentication_nonce));
	bool		is_intact;
	ControlFileData *current = get_controlfile(DataDir, &is_intact);

	if (!is_intact)
		ereport(FATAL, errmsg("incorrect checksum in control file"));
	memcpy(shared, current, sizeof *shared);
}

/*
 * Recovery: StartupXLOG() on freshly made shared memory.  At build time the cluster was shut down cleanly and little is to be
 * done; after a crash the files are what a disk would hold, and the WAL is replayed.
 */
void
pgcell_recover(void)
{
	if (vfs_recover() != 0)
	{
		write_stderr("pgcell: the cell's file system is damaged\n");
		_exit(2);
	}
	begin_child(1);
	if (remove_temp_files_after_crash)
		RemovePgTempFiles();
	reread_control_file();
	StartupProcessMain(NULL, 0);
}

#ifndef PGCELL_PORTABLE

/*
 * Before a session reads its next message: it may.  What it committed asynchronously is flushed first, because no WAL writer would do
 * that while it waits (XLogBackgroundFlush() in src/backend/access/transam/xlog.c); its client has the answer already.
 */
bool
pgcell_may_read(void)
{
	if (XactLastCommitEnd != 0 && XLogNeedsFlush(XactLastCommitEnd))
		XLogFlush(XactLastCommitEnd);
	pgcell_note(PGCELL_NOTE_IDLE, 0);
	return true;
}

/*
 * Autovacuum, without a launcher that stays (host/vacuum.h): in its emergency mode it chooses a database, leaves word in shared memory
 * and ends; the next process is the worker that finds it.  Child slots are those behind the sessions'.
 */
void
pgcell_autovacuum(int32_t is_worker)
{
	int			sessions = 2 * (MaxConnections + max_wal_senders);

	MyBackendType = is_worker ? B_AUTOVAC_WORKER : B_AUTOVAC_LAUNCHER;
	begin_child(sessions + (is_worker ? 1 : 2));
	reread_configuration();
	if (!AutoVacuumingActive())
		proc_exit(1);
	if (is_worker && !CheckPostmasterSignal(PMSIGNAL_START_AUTOVAC_WORKER))
		proc_exit(0);			/* the launcher found no database that needs it */
	if (is_worker)
		AutoVacWorkerMain(NULL, 0);
	autovacuum_start_daemon = false;
	AutoVacLauncherMain(NULL, 0);
}

#endif

/* The checkpoint of a server that stops: what is started from these files has nothing to recover. */
void
pgcell_shutdown(void)
{
	begin_child(1);
	MyBackendType = B_CHECKPOINTER;
	AuxiliaryProcessMainCommon();
	ShutdownXLOG(0, 0);
	proc_exit(0);
}
