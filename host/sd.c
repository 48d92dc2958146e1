#define _GNU_SOURCE
#include "sd.h"

#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#define FIRST_FD 3 /* SD_LISTEN_FDS_START */

static struct sd_socket sockets[SD_SOCKETS_MAX];
static unsigned socket_count;
static unsigned sockets_taken;
static struct sockaddr_un notify_address;
static socklen_t notify_len; /* 0: nobody listens */
static uint64_t watchdog_ms;

/* A whole decimal number, -1 for anything else. */
static long long number_in(const char *name)
{
	const char *text = getenv(name);
	char *end;
	long long value;

	if (text == NULL || text[0] < '0' || text[0] > '9')
		return -1;
	errno = 0;
	value = strtoll(text, &end, 10);
	return errno != 0 || *end != '\0' ? -1 : value;
}

static void find_notify_socket(void)
{
	const char *path = getenv("NOTIFY_SOCKET");
	size_t len = path != NULL ? strlen(path) : 0;

	if (len < 2 || len >= sizeof(notify_address.sun_path) || (path[0] != '/' && path[0] != '@'))
		return;
	notify_address.sun_family = AF_UNIX;
	memcpy(notify_address.sun_path, path, len);
	if (path[0] == '@') /* in the abstract namespace */
		notify_address.sun_path[0] = '\0';
	notify_len = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + len);
}

static void find_watchdog(void)
{
	long long usec = number_in("WATCHDOG_USEC");
	long long pid = number_in("WATCHDOG_PID");

	if (usec > 0 && (getenv("WATCHDOG_PID") == NULL || pid == getpid()))
		watchdog_ms = usec < 2000 ? 1 : (uint64_t)usec / 2000; /* twice as often as it must be */
}

/* Names are separated by colons. */
static void name_sockets(const char *names)
{
	for (unsigned i = 0; i < socket_count && names != NULL; i++) {
		size_t len = strcspn(names, ":");

		snprintf(sockets[i].name, sizeof(sockets[i].name), "%.*s", (int)(len < SD_NAME_MAX ? len : SD_NAME_MAX), names);
		names = names[len] == ':' ? names + len + 1 : NULL;
	}
}

static int find_sockets(char *err, size_t err_len)
{
	long long count = number_in("LISTEN_FDS");

	if (number_in("LISTEN_PID") != getpid() || count == 0)
		return 0;
	if (count < 0 || count > SD_SOCKETS_MAX) {
		snprintf(err, err_len, "LISTEN_FDS must be a number up to %d", SD_SOCKETS_MAX);
		return -1;
	}
	for (int i = 0; i < count; i++) {
		int flags = fcntl(FIRST_FD + i, F_GETFD);

		if (flags < 0 || fcntl(FIRST_FD + i, F_SETFD, flags | FD_CLOEXEC) < 0) {
			snprintf(err, err_len, "LISTEN_FDS says %lld, but descriptor %d is not open", count, FIRST_FD + i);
			return -1;
		}
		sockets[i].fd = FIRST_FD + i;
	}
	socket_count = (unsigned)count;
	name_sockets(getenv("LISTEN_FDNAMES"));
	return 0;
}

int sd_begin(char *err, size_t err_len)
{
	static const char *const ours[] = {"LISTEN_PID",    "LISTEN_FDS",    "LISTEN_FDNAMES",
					   "NOTIFY_SOCKET", "WATCHDOG_USEC", "WATCHDOG_PID"};
	int rc;

	find_notify_socket();
	find_watchdog();
	rc = find_sockets(err, err_len);
	for (size_t i = 0; i < sizeof(ours) / sizeof(ours[0]); i++)
		unsetenv(ours[i]);
	return rc;
}

bool sd_take_socket(struct sd_socket *out)
{
	if (sockets_taken == socket_count)
		return false;
	*out = sockets[sockets_taken++];
	return true;
}

static void send_state(const char *state)
{
	int fd;

	if (notify_len == 0)
		return;
	fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return;
	(void)sendto(fd, state, strlen(state), MSG_DONTWAIT | MSG_NOSIGNAL, (const struct sockaddr *)&notify_address, notify_len);
	close(fd);
}

void sd_notify(const char *format, ...)
{
	char state[512];
	va_list args;

	va_start(args, format);
	vsnprintf(state, sizeof(state), format, args);
	va_end(args);
	send_state(state);
}

void sd_notify_reloading(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	sd_notify("RELOADING=1\nMONOTONIC_USEC=%lld", (long long)now.tv_sec * 1000000 + now.tv_nsec / 1000);
}

uint64_t sd_watchdog_ms(void)
{
	return watchdog_ms;
}
