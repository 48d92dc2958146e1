#include "operations.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "log.h"

static char *write_metrics(void *data, size_t *len_bytes)
{
	struct operations *ops = data;
	static struct metrics_now now; /* big */
	char *text = NULL;
	FILE *out = open_memstream(&text, len_bytes);
	bool is_whole;

	if (out == NULL)
		return NULL;
	memset(&now, 0, sizeof(now));
	now.errors = ops->metrics.errors;
	ops->server->sample(&now, ops->server->data);
	metrics_write(&ops->metrics, &now, out);
	is_whole = ferror(out) == 0;
	if (fclose(out) != 0 || !is_whole) {
		free(text);
		return NULL;
	}
	return text;
}

static const char *tell_health(void *data)
{
	struct operations *ops = data;

	return ops->server->health(ops->server->data);
}

static void on_probed(const char *reason, const char *value, void *data)
{
	struct operations *ops = data;

	(void)value;
	ops->probed_ns = uv_hrtime();
	if (reason != NULL && (ops->was_ready || strcmp(reason, ops->reason) != 0))
		log_warn(NULL, 0, "not ready: %s", reason);
	ops->was_ready = reason == NULL;
	snprintf(ops->reason, sizeof(ops->reason), "%s", reason != NULL ? reason : "");
	http_answer_ready(&ops->http, reason);
}

static void ask_readiness(void *data)
{
	struct operations *ops = data;
	int rc;

	if (ops->server->is_stopping(ops->server->data)) {
		http_answer_ready(&ops->http, "the server is shutting down");
		return;
	}
	if (ops->probed_ns != 0 && (uv_hrtime() - ops->probed_ns) / 1000000 < READY_CACHE_MS) {
		http_answer_ready(&ops->http, ops->was_ready ? NULL : ops->reason);
		return;
	}
	if (!probe_is_idle(&ops->probe)) /* on_probed() comes, or its handles close in this turn of the loop */
		return;
	rc = ops->server->connect(ops->server->data);
	if (rc >= 0)
		rc = probe_start(&ops->probe, ops->loop, rc, "SELECT 1", READY_TIMEOUT_MS, on_probed, ops);
	if (rc < 0)
		on_probed(uv_strerror(rc), "", ops);
}

void operations_init(struct operations *ops)
{
	memset(ops, 0, sizeof(*ops));
	ops->passed_fd = -1;
}

int operations_open(struct operations *ops, uv_loop_t *loop, const struct config *config,
		    const struct operations_server *server, char *err, size_t err_len)
{
	int passed_fd = ops->passed_fd;

	ops->loop = loop;
	ops->server = server;
	ops->was_ready = true; /* so that the first failure is logged */
	ops->handlers = (struct http_handlers){
		.metrics = write_metrics, .health = tell_health, .ready = ask_readiness, .data = ops};
	ops->passed_fd = -1;
	if (config->metrics_host == NULL && passed_fd < 0)
		return 0;
	if (http_open(&ops->http, loop, config->metrics_host, config->metrics_port, passed_fd, &ops->handlers, err, err_len) != 0)
		return -1;
	if (ops->http.is_public)
		log_warn(NULL, 0, "metrics on %s: other machines can read them, without authentication", ops->http.name);
	return 0;
}

const char *operations_address(const struct operations *ops)
{
	return ops->http.daemon != NULL ? ops->http.name : NULL;
}

void operations_close(struct operations *ops)
{
	probe_cancel(&ops->probe);
	http_close(&ops->http);
}
