/*
 * What the processes around guests may ask of the kernel. A guest is confined to its linear memory by its translation; this is for the
 * case that it gets out of there, through a bug of the translator, the compiler or the host: what runs then holds one cell and the
 * socket of its client, and can get nothing else.
 *
 * Calling sequence:
 *	sandbox_enter_gateway()	in the TLS gateway
 *	sandbox_no_new_privs()	in the supervisor, when it runs no programs
 *	sandbox_prepare()	in the fork server, once, when it needs files no more: gives up capabilities and files
 *				(Landlock, where the kernel has it) for itself and its sessions, and compiles the system call filter
 *	sandbox_close_others()	in each session, before anything else
 *	sandbox_enter()		in each session, when all is set up and before the guest runs: limits, and the filter
 *
 * The filter is libseccomp's, exported once: a session only copies two numbers into it and installs it (docs/security.md has what is
 * allowed). A forbidden call kills the process with SIGSYS, which is a crash of its cell. Nothing of this can be undone.
 *
 * A kernel without seccomp filters is an error of sandbox_prepare(): no session runs without. Needs Linux 5.9.
 */
#ifndef PGCELL_SANDBOX_H
#define PGCELL_SANDBOX_H

#include <stddef.h>

#define SANDBOX_KEEP_MAX 8

void sandbox_no_new_privs(void);

/* Returns 0, or -1 with a message for the user in err. */
int sandbox_prepare(char *err, size_t err_len) __attribute__((warn_unused_result));

/* Closes the descriptors from `from` on, but for keep[0..count), at most SANDBOX_KEEP_MAX; negative ones are skipped. */
void sandbox_close_others(int from, const int *keep, size_t count);

/*
 * keep[]: the descriptors that stay open, beside standard input, output and error. receive_fd: the only one that descriptors may be
 * received from, SANDBOX_RECEIVED_MAX of them (peers.h); -1 for none. Returns 0 or -errno: then the guest must not run.
 */
int sandbox_enter(const int *keep, size_t count, int receive_fd) __attribute__((warn_unused_result));

/*
 * For the TLS gateway, which has its event loop already: no files, no capabilities, and a filter of its own. Returns 0, or -1 with a
 * message for the user in err.
 */
int sandbox_enter_gateway(char *err, size_t err_len) __attribute__((warn_unused_result));

#endif
