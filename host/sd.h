/*
 * What systemd and a service tell one another: sockets that were opened for us, and how we are. The protocols are those of
 * sd_listen_fds(3) and sd_notify(3), which are stable; without systemd nothing happens.
 *
 * Calling sequence:
 *	sd_begin()	once, early: takes what is meant for this process out of the environment, so that children do not have it
 *	sd_take_socket()	each passed socket, once
 *	sd_notify()	from then on
 */
#ifndef PGCELL_SD_H
#define PGCELL_SD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define SD_SOCKETS_MAX 8
#define SD_NAME_MAX 255

struct sd_socket {
	int fd; /* close-on-exec, the caller's */
	char name[SD_NAME_MAX + 1]; /* FileDescriptorName= of the unit, "" if it has none */
};

/* Returns 0, or -1 with a line in err when what was passed makes no sense. */
int sd_begin(char *err, size_t err_len) __attribute__((warn_unused_result));

/* False when there is none left. */
bool sd_take_socket(struct sd_socket *out);

/* Lines "NAME=value" with newlines between, formatted as by printf. Failures are nobody's problem. */
void sd_notify(const char *format, ...) __attribute__((format(printf, 1, 2)));

/* RELOADING=1 with the time it wants. */
void sd_notify_reloading(void);

/* How often WATCHDOG=1 is to be sent at least; 0: not at all. */
uint64_t sd_watchdog_ms(void);

#endif
