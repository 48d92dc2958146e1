/*
 * How the sessions of a cell signal one another, and nobody else: by pidfds, which the fork server gives out.
 *
 *	session --{pid}--> fork server		over the session's own socket pair, once per process that it signals
 *	session <--{error} + pidfd--		only if that process is a session of the same cell
 *	session --pidfd_send_signal(2)--> the other one, from then on directly
 *
 * kill(2) can't be left to a sandboxed process: system call filters see a process id, but not whose it is. A pidfd is a
 * capability: it stands for one process, also when its number is used again. The sandbox (sandbox.h) forbids every other way to
 * signal and every other way to a pidfd, so that a session taken over reaches the processes of its cell and no others.
 *
 * Calling sequence, in the session: peers_begin(), peers_signal(); in the fork server: peers_answer() when a session's socket is
 * readable.
 */
#ifndef PGCELL_PEERS_H
#define PGCELL_PEERS_H

#include <stdint.h>
#include <sys/types.h>

#define PEERS_MAX 128 /* pidfds that a session holds at a time; a power of two */

/* `fd` is the session's end of the pair, -1 for none: then nobody can be signalled. Not closed here. */
void peers_begin(int fd);

/*
 * Returns 0 or -errno: -ESRCH if there is no such process in the cell. signo 0 asks just that. May wait for the fork server, when it
 * was not asked for this process before.
 */
int peers_signal(pid_t pid, int signo) __attribute__((warn_unused_result));

/* Says whether the process `pid` may be signalled by the one that asks. */
typedef int peers_may_signal(void *data, pid_t pid);

/*
 * One request of a session: reads it from `fd`, and answers with a pidfd if may_signal() returns nonzero. `pid` must then be a child
 * that was not waited for. Never blocks. Returns 0, or -1 when the session does not keep to the protocol or is gone: close the socket.
 */
int peers_answer(int fd, peers_may_signal *may_signal, void *data) __attribute__((warn_unused_result));

#endif
