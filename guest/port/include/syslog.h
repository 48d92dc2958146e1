#ifndef PGCELL_SYSLOG_H
#define PGCELL_SYSLOG_H
#define LOG_PID 1
#define LOG_NDELAY 8
#define LOG_NOWAIT 16
#endif
