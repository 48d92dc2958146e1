#define _GNU_SOURCE
#include "fair.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include "backend.h"
#include "tally.h"

#define NICE_MAX 19
#define CAP_SYS_NICE_BIT 23 /* linux/capability.h */

static bool has_capability(void)
{
	char text[4096];
	int fd = open("/proc/self/status", O_RDONLY | O_CLOEXEC);
	ssize_t len = fd < 0 ? -1 : read(fd, text, sizeof(text) - 1);
	const char *line;

	if (fd >= 0)
		close(fd);
	text[len < 0 ? 0 : len] = '\0';
	line = strstr(text, "\nCapEff:");
	return line != NULL && (strtoull(line + 8, NULL, 16) >> CAP_SYS_NICE_BIT & 1) != 0;
}

bool fair_is_possible(void)
{
	struct rlimit limit;

	/* the limit is 20 minus the lowest nice value */
	return (getrlimit(RLIMIT_NICE, &limit) == 0 && limit.rlim_cur >= 20) || has_capability();
}

/* The smallest with 1.25^nice at least `working`. */
static int nice_for(unsigned working)
{
	double weight = 1;
	int nice = 0;

	while (nice < NICE_MAX && weight < working) {
		weight *= 1.25;
		nice++;
	}
	return nice;
}

static void set_nice(pid_t pid, int nice)
{
	char path[64], text[16];
	int len = snprintf(text, sizeof(text), "%d", nice);
	int fd;

	/* a session that has just ended is nobody's loss */
	(void)setpriority(PRIO_PROCESS, (id_t)pid, nice);
	snprintf(path, sizeof(path), "/proc/%d/autogroup", (int)pid);
	fd = open(path, O_WRONLY | O_CLOEXEC);
	if (fd < 0)
		return;
	(void)!write(fd, text, (size_t)len);
	close(fd);
}

void fair_weigh(struct cell *cell)
{
	struct backend *backend;
	unsigned working = 0;
	int nice;

	LIST_FOREACH (backend, &cell->backends, cell_link) {
		const struct tally *tally = tally_at(backend->tally);

		working += tally != NULL && backend->pid != 0 && !atomic_load(&tally->is_idle);
	}
	nice = nice_for(working);
	LIST_FOREACH (backend, &cell->backends, cell_link) {
		if (backend->tally == TALLY_NONE || backend->pid == 0 || backend->nice == nice)
			continue;
		set_nice(backend->pid, nice);
		backend->nice = nice;
	}
}
