/*
 * root.c
 *	  Brings PostgreSQL to the state in which its postmaster forks backends: configuration read, shared memory made, pg_hba.conf
 *	  loaded, no session yet.  The image is taken there, and every session starts from there.
 *
 * The order is that of PostmasterMain() in src/backend/postmaster/postmaster.c, without sockets, lock files and children.
 */
#include "postgres.h"

#include <fcntl.h>
#include <locale.h>
#include <sys/stat.h>
#include <unistd.h>

#include "access/xlog.h"
#include "access/xlogrecovery.h"
#include "catalog/pg_control.h"
#include "common/file_perm.h"
#include "common/hashfn.h"
#include "common/pg_prng.h"
#include "libpq/hba.h"
#include "libpq/libpq.h"
#include "libpq/pqsignal.h"
#include "miscadmin.h"
#include "pgstat.h"
#include "postmaster/autovacuum.h"
#include "postmaster/bgworker_internals.h"
#include "postmaster/postmaster.h"
#include "replication/slot.h"
#include "replication/walsender.h"
#include "storage/aio_subsys.h"
#include "storage/fd.h"
#include "storage/ipc.h"
#include "storage/latch.h"
#include "storage/pmsignal.h"
#include "storage/proc.h"
#include "storage/waiteventset.h"
#include "tcop/tcopprot.h"
#include "utils/guc.h"
#include "utils/memutils.h"
#include "utils/pg_locale.h"
#include "utils/ps_status.h"
#include "utils/timestamp.h"

#include "../port/layout.h"
#include "../vfs/vfs.h"
#include "cell.h"

uint8_t		pgcell_baked_nonce[MOCK_AUTH_NONCE_LEN];

static char data_directory[] = "/data";

static void
init_locale(const char *name, int category, const char *locale)
{
	if (pg_perm_setlocale(category, locale) == NULL && pg_perm_setlocale(category, "C") == NULL)
		elog(FATAL, "could not adopt \"%s\" locale nor C locale for %s", locale, name);
}

uint64		pgcell_root_configuration;

/* A hash of the files' times and sizes; a missing one counts as well. */
uint64
pgcell_configuration_stamp(void)
{
	const char *const names[] = {ConfigFileName, PG_AUTOCONF_FILENAME, HbaFileName, IdentFileName};
	uint64		stamp = 0;

	for (int i = 0; i < lengthof(names); i++)
	{
		struct stat st = {0};

		(void) stat(names[i], &st);
		stamp = hash_combine64(stamp, (uint64) st.st_mtim.tv_sec * 1000000000 + st.st_mtim.tv_nsec);
		stamp = hash_combine64(stamp, st.st_size);
	}
	return stamp;
}

/* what main() does before it calls PostmasterMain() */
static void
start_process(void)
{
	char	   *argv[] = {"postgres", NULL};

	progname = "postgres";
	MyProcPid = getpid();
	save_ps_display_args(1, argv);
	MemoryContextInit();
	(void) set_stack_base();
	init_locale("LC_COLLATE", LC_COLLATE, "C");
	init_locale("LC_CTYPE", LC_CTYPE, "C");
	init_locale("LC_MESSAGES", LC_MESSAGES, "C");
	init_locale("LC_MONETARY", LC_MONETARY, "C");
	init_locale("LC_NUMERIC", LC_NUMERIC, "C");
	init_locale("LC_TIME", LC_TIME, "C");
}

/*
 * Children watch this pipe for the postmaster's death.  It never becomes readable: the host ends a cell's processes with
 * their parent.
 */
static void
init_death_watch(void)
{
	if (pipe(postmaster_alive_fds) < 0)
		ereport(FATAL, errmsg_internal("could not create pipe to monitor postmaster death: %m"));
	ReserveExternalFD();
	ReserveExternalFD();
}

/* Returns 0, or does not return: PostgreSQL exits with a message on stderr when something is wrong. */
int
pgcell_root(void)
{
	if (vfs_attach(PGCELL_FILES_START) != 0)
		return 1;
	start_process();
	InitProcessGlobals();
	PostmasterPid = MyProcPid;
	IsPostmasterEnvironment = true;
	umask(PG_MODE_MASK_OWNER);

	PostmasterContext = AllocSetContextCreate(TopMemoryContext, "Postmaster", ALLOCSET_DEFAULT_SIZES);
	MemoryContextSwitchTo(PostmasterContext);
	strlcpy(my_exec_path, "/pgcell/bin/postgres", MAXPGPATH);
	get_pkglib_path(my_exec_path, pkglib_path);

	pqinitmask();
	sigprocmask(SIG_SETMASK, &BlockSig, NULL);
	InitializeWaitEventSupport();
	InitProcessLocalLatch();
	sigprocmask(SIG_SETMASK, &UnBlockSig, NULL);

	InitializeGUCOptions();
	if (!SelectConfigFiles(data_directory, progname))
		return 2;
	checkDataDir();
	ChangeToDataDir();
	LocalProcessControlFile(false);
	process_shared_preload_libraries();
	InitializeMaxBackends();
	InitPostmasterChildSlots();
	InitializeFastPathLocks();
	process_shmem_requests();
	InitializeShmemGUCs();
	InitializeWalConsistencyChecking();
	CreateSharedMemoryAndSemaphores();
	set_max_safe_fds();
	init_death_watch();
	RemovePgTempFiles();
	autovac_init();
	if (!load_hba())
		ereport(FATAL, errmsg("could not load %s", HbaFileName));
	load_ident();
	memcpy(pgcell_baked_nonce, GetMockAuthenticationNonce(), MOCK_AUTH_NONCE_LEN);
	pgcell_root_configuration = pgcell_configuration_stamp();
	PostmasterPid = PGCELL_POSTMASTER_PID;
	PgStartTime = GetCurrentTimestamp();
	whereToSendOutput = DestNone;
	return 0;
}
