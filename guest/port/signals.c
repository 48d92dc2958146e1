/*
 * signals.c
 *	  Emulated signals, timers and poll(), after the model of PostgreSQL's Windows port (src/backend/port/win32/signal.c).
 *
 * A signal is a bit in pgcell_signal_pending.  Whoever sets it from outside (the host's own signal handler) also sets
 * InterruptPending, so that the next CHECK_FOR_INTERRUPTS() gets here; every wait ends with "interrupted" and looks as well.
 */
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/time.h>
#include <sys/types.h>
#include <unistd.h>
#include <wasi/api.h>

#include "contract.h"
#include "../vfs/vfs.h"

/* in cell/interrupts.c */
extern int	pgcell_signal_postmaster(int signo);
extern bool pgcell_checkpoint_is_due(void);

volatile unsigned int pgcell_signal_pending;
volatile bool pgcell_timer_is_polled;

static unsigned int blocked;
static struct sigaction actions[NSIG];

/* what PostgreSQL calls when no handler was set: end the process like the default action would */
static bool
ends_process_by_default(int signo)
{
	return signo != SIGCHLD && signo != SIGURG && signo != SIGCONT && signo != SIGWINCH;
}

void
pgcell_signal_dispatch(void)
{
	unsigned int todo;

	while ((todo = pgcell_signal_pending & ~blocked) != 0)
	{
		int			signo = __builtin_ctz(todo);
		struct sigaction *action = &actions[signo];
		unsigned int saved = blocked;

		pgcell_atomic_and_32(&pgcell_signal_pending, ~(1u << signo));
		if (action->sa_handler == SIG_IGN)
			continue;
		if (action->sa_handler == SIG_DFL)
		{
			if (ends_process_by_default(signo))
				_exit(128 + signo);
			continue;
		}
		blocked |= action->sa_mask | 1u << signo;
		if (action->sa_flags & SA_SIGINFO)
		{
			siginfo_t	info = {.si_signo = signo};

			action->sa_sigaction(signo, &info, NULL);
		}
		else
			action->sa_handler(signo);
		blocked = saved;
	}
}

/* Called by patch 02: is there something that ProcessInterrupts() has to come back for? */
bool
pgcell_interrupts_left(void)
{
	return pgcell_timer_is_polled || (pgcell_signal_pending & ~blocked) != 0 || pgcell_checkpoint_is_due();
}

int
sigaction(int signo, const struct sigaction *act, struct sigaction *old)
{
	if (signo <= 0 || signo >= NSIG)
	{
		errno = EINVAL;
		return -1;
	}
	if (old)
		*old = actions[signo];
	if (act)
		actions[signo] = *act;
	return 0;
}

__sighandler_t
signal(int signo, __sighandler_t handler)
{
	struct sigaction act = {.sa_flags = SA_RESTART},
				old;

	act.sa_handler = handler;
	return sigaction(signo, &act, &old) < 0 ? SIG_ERR : old.sa_handler;
}

int
sigprocmask(int how, const sigset_t *set, sigset_t *old)
{
	if (old)
		*old = blocked;
	if (set)
	{
		blocked = how == SIG_BLOCK ? blocked | *set : how == SIG_UNBLOCK ? blocked & ~*set : *set;
		pgcell_signal_dispatch();
	}
	return 0;
}

int
sigpending(sigset_t *set)
{
	*set = pgcell_signal_pending & blocked;
	return 0;
}

int
raise(int signo)
{
	pgcell_atomic_or_32(&pgcell_signal_pending, 1u << signo);
	pgcell_signal_dispatch();
	return 0;
}

int
kill(pid_t pid, int signo)
{
	int			rc;

	if (pid < 0)				/* a process group: every session is the only one in its own */
		pid = -pid;
	if (pid == PGCELL_POSTMASTER_PID)
		return pgcell_signal_postmaster(signo);
	if (pid == pgcell_pid())
		return signo == 0 ? 0 : raise(signo);
	rc = pgcell_kill(pid, signo);
	if (rc < 0)
	{
		errno = -rc;
		return -1;
	}
	return 0;
}

int
killpg(pid_t pgrp, int signo)
{
	return kill(pgrp, signo);
}

int
sigsuspend(const sigset_t *set)
{
	unsigned int saved = blocked;

	blocked = *set;
	while (!(pgcell_signal_pending & ~blocked))
		pgcell_wait(0, -1);
	pgcell_signal_dispatch();
	blocked = saved;
	errno = EINTR;
	return -1;
}

int
sigwait(const sigset_t *set, int *signo)
{
	unsigned int hit;

	while (!(hit = pgcell_signal_pending & *set))
		pgcell_wait(0, -1);
	*signo = __builtin_ctz(hit);
	pgcell_atomic_and_32(&pgcell_signal_pending, ~(1u << *signo));
	return 0;
}

int
setitimer(int which, const struct itimerval *value, struct itimerval *old)
{
	if (which != ITIMER_REAL)
	{
		errno = EINVAL;
		return -1;
	}
	if (old)
		memset(old, 0, sizeof *old);
	pgcell_set_timer((int64_t) value->it_value.tv_sec * 1000000 + value->it_value.tv_usec,
					 (int64_t) value->it_interval.tv_sec * 1000000 + value->it_interval.tv_usec);
	return 0;
}

unsigned int
alarm(unsigned int seconds)
{
	pgcell_set_timer((int64_t) seconds * 1000000, 0);
	return 0;
}

/* Fills in revents of the pipes and returns how many are ready; finds the client's socket. */
static int
poll_local(struct pollfd *fds, nfds_t nfds, struct pollfd **client)
{
	int			ready = 0;

	*client = NULL;
	for (nfds_t i = 0; i < nfds; i++)
	{
		fds[i].revents = 0;
		if (fds[i].fd == PGCELL_CLIENT_FD)
			*client = &fds[i];
		else if (fds[i].fd >= 0 && (fds[i].events & POLLIN) && vfs_fd_readable(fds[i].fd))
		{
			fds[i].revents = POLLIN;
			ready++;
		}
	}
	return ready;
}

int
poll(struct pollfd *fds, nfds_t nfds, int timeout)
{
	struct pollfd *client;
	int			ready;
	int			events = 0;
	int			got;

	if (pgcell_signal_pending & ~blocked)
	{
		pgcell_signal_dispatch();
		errno = EINTR;
		return -1;
	}
	ready = poll_local(fds, nfds, &client);
	if (client)
		events = (client->events & POLLIN ? PGCELL_WAIT_READ : 0) | (client->events & POLLOUT ? PGCELL_WAIT_WRITE : 0);
	if (ready && !events)
		return ready;
	got = pgcell_wait(events, ready ? 0 : timeout);
	if (pgcell_signal_pending & ~blocked)
	{
		pgcell_signal_dispatch();
		errno = EINTR;
		return -1;
	}
	if (got < 0 && -got != EINTR)
	{
		errno = -got;
		return -1;
	}
	if (got > 0 && client)
	{
		client->revents = (got & PGCELL_WAIT_READ ? POLLIN : 0) | (got & PGCELL_WAIT_WRITE ? POLLOUT : 0);
		ready++;
	}
	return ready;
}
