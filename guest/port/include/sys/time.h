#ifndef PGCELL_SYS_TIME_H
#define PGCELL_SYS_TIME_H
#include_next <sys/time.h>
#ifndef ITIMER_REAL
#define ITIMER_REAL 0
struct itimerval { struct timeval it_interval; struct timeval it_value; };
#endif
extern int	setitimer(int which, const struct itimerval *value, struct itimerval *old);
extern int	getitimer(int which, struct itimerval *value);
#endif
