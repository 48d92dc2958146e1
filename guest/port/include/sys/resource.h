#ifndef PGCELL_RESOURCE_H
#define PGCELL_RESOURCE_H
#include <sys/time.h>
#include <sys/types.h>
typedef unsigned long long rlim_t;
struct rlimit { rlim_t rlim_cur; rlim_t rlim_max; };
#define RLIM_INFINITY (~0ULL)
#define RLIMIT_STACK 3
#define RLIMIT_CORE 4
#define RLIMIT_NOFILE 7
#define RUSAGE_SELF 0
#define RUSAGE_CHILDREN -1
struct rusage
{
	struct timeval ru_utime, ru_stime;
	long		ru_maxrss, ru_ixrss, ru_idrss, ru_isrss, ru_minflt, ru_majflt, ru_nswap, ru_inblock, ru_oublock,
				ru_msgsnd, ru_msgrcv, ru_nsignals, ru_nvcsw, ru_nivcsw;
};
extern int	getrlimit(int resource, struct rlimit *rlim);
extern int	setrlimit(int resource, const struct rlimit *rlim);
extern int	getrusage(int who, struct rusage *usage);
#endif
