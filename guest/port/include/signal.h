/*
 * signal.h
 *	  POSIX signals for PostgreSQL on WASI.
 *
 * WASI has no signals.  As in PostgreSQL's Windows port they are emulated: somebody (the host, raise(), a timer) sets a
 * bit in pgcell_signal_pending, and the handler runs when the process next looks: in CHECK_FOR_INTERRUPTS() or when a
 * wait returns.  Numbers are those of Linux on x86, so that a host can pass its own through.  See signals.c.
 */
#ifndef PGCELL_SIGNAL_H
#define PGCELL_SIGNAL_H

#include <features.h>
#include <sys/types.h>
#include <time.h>
#include <__typedef_sigset_t.h>

typedef int sig_atomic_t;
typedef void (*__sighandler_t) (int);
typedef __sighandler_t sighandler_t;

#define SIG_DFL ((__sighandler_t) 0)
#define SIG_IGN ((__sighandler_t) 1)
#define SIG_ERR ((__sighandler_t) -1)

#define SIGHUP 1
#define SIGINT 2
#define SIGQUIT 3
#define SIGILL 4
#define SIGTRAP 5
#define SIGABRT 6
#define SIGBUS 7
#define SIGFPE 8
#define SIGKILL 9
#define SIGUSR1 10
#define SIGSEGV 11
#define SIGUSR2 12
#define SIGPIPE 13
#define SIGALRM 14
#define SIGTERM 15
#define SIGCHLD 17
#define SIGCONT 18
#define SIGSTOP 19
#define SIGTSTP 20
#define SIGTTIN 21
#define SIGTTOU 22
#define SIGURG 23
#define SIGXCPU 24
#define SIGXFSZ 25
#define SIGVTALRM 26
#define SIGPROF 27
#define SIGWINCH 28
#define SIGIO 29
#define SIGPWR 30
#define SIGSYS 31
#define NSIG 32
#define _NSIG NSIG

#define SIG_BLOCK 0
#define SIG_UNBLOCK 1
#define SIG_SETMASK 2

#define SA_NOCLDSTOP 1
#define SA_NOCLDWAIT 2
#define SA_SIGINFO 4
#define SA_RESTART 0x10000000
#define SA_NODEFER 0x40000000
#define SA_RESETHAND 0x80000000

#define FPE_INTDIV 1
#define FPE_INTOVF 2

typedef struct siginfo_t
{
	int			si_signo;
	int			si_code;
	pid_t		si_pid;
	uid_t		si_uid;
} siginfo_t;

struct sigaction
{
	union
	{
		__sighandler_t sa_handler;
		void		(*sa_sigaction) (int, siginfo_t *, void *);
	}			__sa_handler;
	sigset_t	sa_mask;
	int			sa_flags;
};
#define sa_handler __sa_handler.sa_handler
#define sa_sigaction __sa_handler.sa_sigaction

extern int	sigaction(int signo, const struct sigaction *act, struct sigaction *old);
extern __sighandler_t signal(int signo, __sighandler_t handler);
extern int	raise(int signo);
extern int	kill(pid_t pid, int signo);
extern int	killpg(pid_t pgrp, int signo);
extern int	sigprocmask(int how, const sigset_t *set, sigset_t *old);
extern int	sigsuspend(const sigset_t *set);
extern int	sigwait(const sigset_t *set, int *signo);
extern int	sigpending(sigset_t *set);

static inline int sigemptyset(sigset_t *set) { *set = 0; return 0; }
static inline int sigfillset(sigset_t *set) { *set = ~0u; return 0; }
static inline int sigaddset(sigset_t *set, int signo) { *set |= 1u << signo; return 0; }
static inline int sigdelset(sigset_t *set, int signo) { *set &= ~(1u << signo); return 0; }
static inline int sigismember(const sigset_t *set, int signo) { return (*set >> signo) & 1; }

/* Signals raised and not yet handled; bit N is signal N.  The host may set bits at any time (see the contract). */
extern volatile unsigned int pgcell_signal_pending;
/* Runs the handlers of pending signals that are not blocked. */
extern void pgcell_signal_dispatch(void);

#endif
