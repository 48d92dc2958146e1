#define _GNU_SOURCE
#include "cell_cmd.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/sendfile.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "control.h"

#define EXIT_USAGE 2

static const struct {
	const char *word;
	int rest; /* arguments after it */
	int file; /* which one is a file; 0: none */
	int open_flags;
} actions[] = {
	{"list", 0, 0, 0},
	{"create", 1, 0, 0},
	{"clone", 2, 0, 0},
	{"drop", 1, 0, 0},
	{"snapshot", 2, 2, O_RDWR | O_CREAT | O_TRUNC},
	{"restore", 2, 1, O_RDONLY},
};

static int fail(const char *what, const char *why)
{
	fprintf(stderr, "pgcell cell: %s: %s\n", what, why);
	return 1;
}

static int connect_control(const struct config *config)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	int len = snprintf(address.sun_path, sizeof(address.sun_path), "%s/.s.pgcell.%d", config->socket_dir, (int)config->control_port);
	int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);

	if (len < 0 || (size_t)len >= sizeof(address.sun_path)) {
		fail(config->socket_dir, "the name is too long for a socket's folder");
	} else if (fd < 0 || connect(fd, (struct sockaddr *)&address, sizeof(address)) != 0) {
		fail(address.sun_path, strerror(errno));
		fprintf(stderr, "Is a server running there? See --socket-dir and --port.\n");
	} else {
		return fd;
	}
	if (fd >= 0)
		close(fd);
	return -1;
}

/* Returns 0 or -1 with errno. *answer_fd is -1 without one. */
static int ask(int fd, const char *request, int file_fd, char *answer, size_t cap, int *answer_fd)
{
	struct iovec iov = {.iov_base = (void *)(uintptr_t)request, .iov_len = strlen(request)};
	union {
		struct cmsghdr align;
		uint8_t bytes[CMSG_SPACE(sizeof(int))];
	} ancillary;
	struct msghdr msg = {.msg_iov = &iov, .msg_iovlen = 1};
	struct cmsghdr *header;
	ssize_t len;

	if (file_fd >= 0) {
		memset(&ancillary, 0, sizeof(ancillary));
		msg.msg_control = ancillary.bytes;
		msg.msg_controllen = sizeof(ancillary);
		header = CMSG_FIRSTHDR(&msg);
		header->cmsg_level = SOL_SOCKET;
		header->cmsg_type = SCM_RIGHTS;
		header->cmsg_len = CMSG_LEN(sizeof(int));
		memcpy(CMSG_DATA(header), &file_fd, sizeof(int));
	}
	if (sendmsg(fd, &msg, MSG_NOSIGNAL) < 0)
		return -1;
	iov = (struct iovec){.iov_base = answer, .iov_len = cap - 1};
	msg = (struct msghdr){.msg_iov = &iov, .msg_iovlen = 1, .msg_control = ancillary.bytes, .msg_controllen = sizeof(ancillary)};
	len = recvmsg(fd, &msg, MSG_CMSG_CLOEXEC);
	if (len <= 0) {
		errno = len == 0 ? ECONNRESET : errno;
		return -1;
	}
	answer[len] = '\0';
	*answer_fd = -1;
	header = CMSG_FIRSTHDR(&msg);
	if (header != NULL && header->cmsg_type == SCM_RIGHTS && header->cmsg_len == CMSG_LEN(sizeof(int)))
		memcpy(answer_fd, CMSG_DATA(header), sizeof(int));
	return 0;
}

static int print_file(int fd)
{
	char buf[8192];
	ssize_t len;

	if (lseek(fd, 0, SEEK_SET) != 0)
		return fail("list", strerror(errno));
	while ((len = read(fd, buf, sizeof(buf))) > 0)
		fwrite(buf, 1, (size_t)len, stdout);
	return fflush(stdout) == 0 ? 0 : 1;
}

/* Without the file's name, which is ours to know. */
static int request_text(const struct config *config, size_t action, char *text, size_t cap)
{
	int len = snprintf(text, cap, "%s", actions[action].word);

	for (int i = 1; i <= actions[action].rest; i++) {
		if (i != actions[action].file)
			len += snprintf(text + len, cap > (size_t)len ? cap - (size_t)len : 0, " %s", config->rest[i]);
	}
	if (strcmp(actions[action].word, "create") == 0 && config->template != NULL)
		len += snprintf(text + len, cap > (size_t)len ? cap - (size_t)len : 0, " %s", config->template);
	if (strcmp(actions[action].word, "drop") == 0 && config->is_forced)
		len += snprintf(text + len, cap > (size_t)len ? cap - (size_t)len : 0, " force");
	return (size_t)len < cap ? 0 : -1;
}

static int run_once(const struct config *config, size_t action, int file_fd)
{
	char request[CONTROL_REQUEST_MAX], answer[CONTROL_ANSWER_MAX];
	int answer_fd = -1;
	int status = 1;
	int fd;

	if (request_text(config, action, request, sizeof(request)) != 0)
		return fail(actions[action].word, "a cell's name has at most 63 bytes");
	fd = connect_control(config);
	if (fd < 0)
		return 1;
	if (ask(fd, request, file_fd, answer, sizeof(answer), &answer_fd) != 0)
		fail("the server did not answer", strerror(errno));
	else if (strncmp(answer, "ok", 2) != 0)
		fprintf(stderr, "pgcell cell: %s\n", strncmp(answer, "error ", 6) == 0 ? answer + 6 : answer);
	else
		status = answer_fd >= 0 ? print_file(answer_fd) : 0;
	if (answer_fd >= 0)
		close(answer_fd);
	close(fd);
	return status;
}

/* Each name in turn, also after one that failed. */
static int drop_all(const struct config *config, size_t action)
{
	int status = 0;

	for (char **name = config->rest + 1; *name != NULL; name++) {
		struct config one = *config;

		one.rest = (char *[]){config->rest[0], *name, NULL};
		if (run_once(&one, action, -1) != 0)
			status = 1;
	}
	return status;
}

int cell_cmd(const struct config *config)
{
	int given = 0;

	while (config->rest[given] != NULL)
		given++;
	for (size_t i = 0; given > 0 && i < sizeof(actions) / sizeof(actions[0]); i++) {
		int file_fd = -1;
		int status;

		if (strcmp(actions[i].word, config->rest[0]) != 0)
			continue;
		if (strcmp(actions[i].word, "drop") == 0 && given > 1)
			return drop_all(config, i);
		if (given != actions[i].rest + 1)
			break;
		if (actions[i].file != 0) {
			const char *path = config->rest[actions[i].file];

			file_fd = open(path, actions[i].open_flags | O_CLOEXEC, 0600);
			if (file_fd < 0)
				return fail(path, strerror(errno));
		}
		status = run_once(config, i, file_fd);
		if (file_fd >= 0)
			close(file_fd);
		if (status != 0 && (actions[i].open_flags & O_CREAT) != 0)
			unlink(config->rest[actions[i].file]); /* not a snapshot */
		return status;
	}
	options_print_help(config->command, stderr);
	return EXIT_USAGE;
}
