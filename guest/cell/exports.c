/*
 * exports.c
 *	  Exports that are not PostgreSQL's life: the image's files, memory for the host to write to, and the program "postgres" for
 *	  initdb.
 */
#include "postgres_fe.h"

#include <signal.h>
#include <unistd.h>
#include <wasi/api.h>

#include "../port/contract.h"
#include "../vfs/vfs.h"
#include "cell.h"

extern uint32_t pgcell_contract_version(void) PGCELL_EXPORT(pgcell_contract_version);
extern void *pgcell_alloc(uint32_t len) PGCELL_EXPORT(pgcell_alloc);
extern void pgcell_free(void *p) PGCELL_EXPORT(pgcell_free);
extern int	pgcell_format(void) PGCELL_EXPORT(pgcell_format);
extern int	pgcell_import_file(const char *path, const void *data, uint32_t len, uint32_t mode) PGCELL_EXPORT(pgcell_import_file);
extern int	pgcell_import_dir(const char *path) PGCELL_EXPORT(pgcell_import_dir);
extern int	pgcell_import_rebase(void) PGCELL_EXPORT(pgcell_import_rebase);
extern uint32_t pgcell_import_end(void) PGCELL_EXPORT(pgcell_import_end);
extern volatile unsigned int *pgcell_signal_address(void) PGCELL_EXPORT(pgcell_signal_address);
extern volatile sig_atomic_t *pgcell_interrupt_address(void) PGCELL_EXPORT(pgcell_interrupt_address);
extern int	pgcell_main(void) PGCELL_EXPORT_NATIVE(pgcell_main);
extern void pgcell_file_stats(struct vfs_stats *stats) PGCELL_EXPORT(pgcell_file_stats);

extern volatile sig_atomic_t InterruptPending;

uint32_t
pgcell_contract_version(void)
{
	return PGCELL_CONTRACT_VERSION;
}

void *
pgcell_alloc(uint32_t len)
{
	return malloc(len);
}

void
pgcell_free(void *p)
{
	free(p);
}

/* Makes an empty file system and opens it for import.  0 or a WASI errno, like the next two. */
int
pgcell_format(void)
{
	struct vfs_region region = {PGCELL_BASE_START, PGCELL_BASE_END, PGCELL_FILES_START, PGCELL_FILES_END};
	int			rc = vfs_format(&region);

	return rc ? rc : vfs_import_begin();
}

int
pgcell_import_file(const char *path, const void *data, uint32_t len, uint32_t mode)
{
	return vfs_import_file(path, data, len, mode);
}

int
pgcell_import_dir(const char *path)
{
	return vfs_import_dir(path);
}

/* Opens the import again and moves what was written to FILES since into BASE. */
int
pgcell_import_rebase(void)
{
	int			rc = vfs_import_begin();

	return rc ? rc : vfs_import_rebase();
}

/* Returns the end of what BASE holds. */
uint32_t
pgcell_import_end(void)
{
	vfs_import_end();
	return vfs_base_used_end();
}

volatile unsigned int *
pgcell_signal_address(void)
{
	return &pgcell_signal_pending;
}

volatile sig_atomic_t *
pgcell_interrupt_address(void)
{
	return &InterruptPending;
}

void
pgcell_file_stats(struct vfs_stats *stats)
{
	vfs_stats(stats);
}

#ifndef PGCELL_PORTABLE

/* The program "postgres", with WASI's arguments, on the host's files.  initdb runs it at build time. */
extern int	__main_argc_argv(int argc, char **argv);

int
pgcell_main(void)
{
	__wasi_size_t argc,
				size;
	struct vfs_region region = {PGCELL_BASE_START, PGCELL_BASE_END, PGCELL_FILES_START, PGCELL_FILES_END};
	char	  **argv;
	char	   *buf;

	if (vfs_format(&region) != 0 || vfs_mount_host("/", 3) != 0 || __wasi_args_sizes_get(&argc, &size) != 0)
		return 71;
	argv = calloc(argc + 1, sizeof *argv);
	buf = malloc(size);
	if (!argv || !buf || __wasi_args_get((uint8_t **) argv, (uint8_t *) buf) != 0)
		return 71;
	exit(__main_argc_argv(argc, argv));
}

#endif
