#define _GNU_SOURCE
#include "http.h"

#include <errno.h>
#include <fcntl.h>
#include <microhttpd.h>
#include <netdb.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "fail.h"
#include "listener.h"
#include "log.h"

#define CONNECTIONS_MAX 64
#define CONNECTION_BYTES 16384 /* of memory for a request's head */
#define CONNECTION_TIMEOUT_S 10
#define REASON_MAX 256

struct http_request {
	struct MHD_Connection *connection;
	bool is_waiting; /* suspended, in the list */
	bool is_answered;
	unsigned status;
	char reason[REASON_MAX];
	TAILQ_ENTRY(http_request) link;
};

static enum MHD_Result respond(struct MHD_Connection *connection, unsigned status, const char *type, char *body, size_t len,
			       enum MHD_ResponseMemoryMode mode)
{
	struct MHD_Response *response = MHD_create_response_from_buffer(len, body, mode);
	enum MHD_Result result;

	if (response == NULL) {
		if (mode == MHD_RESPMEM_MUST_FREE)
			free(body);
		return MHD_NO;
	}
	MHD_add_response_header(response, MHD_HTTP_HEADER_CONTENT_TYPE, type);
	MHD_add_response_header(response, MHD_HTTP_HEADER_CACHE_CONTROL, "no-store");
	if (status == MHD_HTTP_METHOD_NOT_ALLOWED)
		MHD_add_response_header(response, MHD_HTTP_HEADER_ALLOW, "GET, HEAD");
	result = MHD_queue_response(connection, status, response);
	MHD_destroy_response(response);
	return result;
}

static enum MHD_Result respond_text(struct MHD_Connection *connection, unsigned status, const char *text)
{
	char line[REASON_MAX + 2];
	int len = snprintf(line, sizeof(line), "%s\n", text);

	return respond(connection, status, "text/plain; charset=utf-8", line, (size_t)len, MHD_RESPMEM_MUST_COPY);
}

static enum MHD_Result show_metrics(struct http *http, struct MHD_Connection *connection)
{
	size_t len = 0;
	char *text = http->handlers->metrics(http->handlers->data, &len);

	if (text == NULL)
		return respond_text(connection, MHD_HTTP_INTERNAL_SERVER_ERROR, "out of memory");
	return respond(connection, MHD_HTTP_OK, "text/plain; version=0.0.4; charset=utf-8", text, len, MHD_RESPMEM_MUST_FREE);
}

static enum MHD_Result show_health(struct http *http, struct MHD_Connection *connection)
{
	const char *reason = http->handlers->health(http->handlers->data);

	return respond_text(connection, reason == NULL ? MHD_HTTP_OK : MHD_HTTP_SERVICE_UNAVAILABLE,
			    reason == NULL ? "ok" : reason);
}

/* Suspends the request until http_answer_ready(), unless that comes before this returns. */
static enum MHD_Result show_readiness(struct http *http, struct http_request *request)
{
	if (request->is_answered)
		return respond_text(request->connection, request->status, request->reason);
	if (http->is_closing)
		return respond_text(request->connection, MHD_HTTP_SERVICE_UNAVAILABLE, "the server has stopped");
	MHD_suspend_connection(request->connection);
	request->is_waiting = true;
	TAILQ_INSERT_TAIL(&http->waiting, request, link);
	if (!http->is_asking) {
		http->is_asking = true;
		http->handlers->ready(http->handlers->data);
	}
	return MHD_YES;
}

static enum MHD_Result on_request(void *data, struct MHD_Connection *connection, const char *url, const char *method,
				  const char *version, const char *upload, size_t *upload_len, void **context)
{
	struct http *http = data;
	struct http_request *request = *context;

	(void)version, (void)upload;
	if (request == NULL) { /* only the head is there yet */
		request = calloc(1, sizeof(*request));
		if (request == NULL)
			return MHD_NO;
		request->connection = connection;
		*context = request;
		return MHD_YES;
	}
	if (*upload_len > 0) { /* nobody wants it */
		*upload_len = 0;
		return MHD_YES;
	}
	if (strcmp(method, MHD_HTTP_METHOD_GET) != 0 && strcmp(method, MHD_HTTP_METHOD_HEAD) != 0)
		return respond_text(connection, MHD_HTTP_METHOD_NOT_ALLOWED, "GET and HEAD only");
	if (strcmp(url, "/metrics") == 0)
		return show_metrics(http, connection);
	if (strcmp(url, "/healthz") == 0)
		return show_health(http, connection);
	if (strcmp(url, "/readyz") == 0)
		return show_readiness(http, request);
	return respond_text(connection, MHD_HTTP_NOT_FOUND, "there are /metrics, /healthz and /readyz");
}

static void on_request_over(void *data, struct MHD_Connection *connection, void **context,
			    enum MHD_RequestTerminationCode code)
{
	struct http *http = data;
	struct http_request *request = *context;

	(void)connection, (void)code;
	if (request != NULL && request->is_waiting)
		TAILQ_REMOVE(&http->waiting, request, link);
	free(request);
	*context = NULL;
}

/* ---- the loop ---- */

static void on_timer(uv_timer_t *timer);

static void pump(struct http *http)
{
	MHD_UNSIGNED_LONG_LONG timeout_ms;

	do { /* answers given inside of it are for its next turn */
		http->has_answered = false;
		MHD_run(http->daemon);
	} while (http->has_answered);
	if (MHD_get_timeout(http->daemon, &timeout_ms) == MHD_YES)
		uv_timer_start(&http->timer, on_timer, timeout_ms, 0);
	else
		uv_timer_stop(&http->timer);
}

static void on_timer(uv_timer_t *timer)
{
	pump(timer->data);
}

static void on_event(uv_poll_t *poll, int status, int events)
{
	(void)status, (void)events;
	pump(poll->data);
}

void http_answer_ready(struct http *http, const char *reason)
{
	struct http_request *request;

	http->is_asking = false;
	http->has_answered = true;
	if (http->daemon == NULL)
		return;
	while ((request = TAILQ_FIRST(&http->waiting)) != NULL) {
		TAILQ_REMOVE(&http->waiting, request, link);
		request->is_waiting = false;
		request->is_answered = true;
		request->status = reason == NULL ? MHD_HTTP_OK : MHD_HTTP_SERVICE_UNAVAILABLE;
		snprintf(request->reason, sizeof(request->reason), "%s", reason == NULL ? "ok" : reason);
		MHD_resume_connection(request->connection);
	}
	uv_timer_start(&http->timer, on_timer, 0, 0); /* not from in here: the caller may be inside of MHD_run() */
}

/* ---- opening and closing ---- */

static int describe(struct http *http, int fd)
{
	struct sockaddr_storage bound = {0};
	socklen_t bound_len = sizeof(bound);
	char host[64], service[16];

	if (getsockname(fd, (struct sockaddr *)&bound, &bound_len) != 0 ||
	    getnameinfo((struct sockaddr *)&bound, bound_len, host, sizeof(host), service, sizeof(service),
			NI_NUMERICHOST | NI_NUMERICSERV) != 0)
		return -1;
	snprintf(http->name, sizeof(http->name), bound.ss_family == AF_INET6 ? "[%s]:%s" : "%s:%s", host, service);
	http->is_public = !listener_is_loopback((struct sockaddr *)&bound);
	return 0;
}

/* The socket, or -1 with a line in err. */
static int open_socket(const char *host, int64_t port, char *err, size_t err_len)
{
	struct addrinfo hints = {.ai_family = AF_UNSPEC, .ai_socktype = SOCK_STREAM, .ai_flags = AI_NUMERICSERV};
	struct addrinfo *found = NULL;
	char service[16];
	int one = 1;
	int fd;

	snprintf(service, sizeof(service), "%u", (unsigned)port);
	if (getaddrinfo(host, service, &hints, &found) != 0)
		return fail(err, err_len, "--metrics-listen: \"%.80s\" is not an address of this machine", host);
	fd = socket(found->ai_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (fd < 0 || setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one)) != 0 ||
	    bind(fd, found->ai_addr, found->ai_addrlen) != 0 || listen(fd, SOMAXCONN) != 0) {
		fail(err, err_len, "--metrics-listen: cannot listen on %.80s:%s: %s", host, service, strerror(errno));
		if (fd >= 0)
			close(fd);
		fd = -1;
	}
	freeaddrinfo(found);
	return fd;
}

int http_open(struct http *http, uv_loop_t *loop, const char *host, int64_t port, int passed_fd,
	      const struct http_handlers *handlers, char *err, size_t err_len)
{
	const union MHD_DaemonInfo *info;
	int fd;

	memset(http, 0, sizeof(*http));
	http->handlers = handlers;
	TAILQ_INIT(&http->waiting);
	fd = passed_fd >= 0 ? passed_fd : open_socket(host, port, err, err_len);
	if (fd < 0)
		return -1;
	if (fcntl(fd, F_SETFL, fcntl(fd, F_GETFL) | O_NONBLOCK) != 0 || describe(http, fd) != 0) {
		close(fd);
		return fail(err, err_len, "--metrics-listen: cannot tell the address of the socket");
	}
	http->daemon = MHD_start_daemon(MHD_USE_EPOLL | MHD_ALLOW_SUSPEND_RESUME, 0, NULL, NULL, on_request, http,
					MHD_OPTION_LISTEN_SOCKET, (MHD_socket)fd, MHD_OPTION_NOTIFY_COMPLETED, on_request_over,
					http, MHD_OPTION_CONNECTION_LIMIT, (unsigned)CONNECTIONS_MAX,
					MHD_OPTION_CONNECTION_MEMORY_LIMIT, (size_t)CONNECTION_BYTES,
					MHD_OPTION_CONNECTION_TIMEOUT, (unsigned)CONNECTION_TIMEOUT_S, MHD_OPTION_END);
	if (http->daemon == NULL) {
		close(fd);
		return fail(err, err_len, "--metrics-listen: cannot start serving HTTP on %s", http->name);
	}
	info = MHD_get_daemon_info(http->daemon, MHD_DAEMON_INFO_EPOLL_FD);
	if (info == NULL || uv_poll_init(loop, &http->poll, info->epoll_fd) != 0) {
		MHD_stop_daemon(http->daemon);
		http->daemon = NULL;
		return fail(err, err_len, "--metrics-listen: cannot watch %s", http->name);
	}
	uv_timer_init(loop, &http->timer);
	http->poll.data = http;
	http->timer.data = http;
	uv_poll_start(&http->poll, UV_READABLE, on_event);
	return 0;
}

void http_close(struct http *http)
{
	if (http->daemon == NULL)
		return;
	http->is_closing = true;
	http_answer_ready(http, "the server has stopped");
	for (int i = 0; i < 3; i++) /* who was suspended goes on, the answers leave */
		MHD_run(http->daemon);
	uv_close((uv_handle_t *)&http->poll, NULL);
	uv_close((uv_handle_t *)&http->timer, NULL);
	MHD_stop_daemon(http->daemon);
	http->daemon = NULL;
}
