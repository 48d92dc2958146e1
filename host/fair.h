/*
 * Processors are shared out by the kernel among sessions; this makes it among cells. A cell with n sessions that work has each of them
 * at a nice value of log(n) / log(1.25), so that together they weigh about as much as one (each step of nice is 1.25 times: sched(7)).
 * Where the kernel groups processes by Unix session (autogroup, same page), it is the group's nice value that counts.
 *
 * Nice values can only be taken back with CAP_SYS_NICE or RLIMIT_NICE: without these nothing is done.
 *
 * Calling sequence: fair_is_possible() once; fair_weigh() for every cell, now and then.
 */
#ifndef PGCELL_FAIR_H
#define PGCELL_FAIR_H

#include <stdbool.h>

#include "cell.h"

bool fair_is_possible(void);

/* Looks at which sessions work (tally.h). */
void fair_weigh(struct cell *cell);

#endif
