#include "serve.h"

#include <stddef.h>
#include <stdio.h>

#include "leash.h"
#include "log.h"
#include "sd.h"
#include "supervisor.h"

struct serve {
	struct supervisor *sv;
	struct leash leash;
};

static void on_leash_end(void *data)
{
	struct serve *serve = data;

	leash_close(&serve->leash);
	supervisor_stop(serve->sv, 0);
}

static void on_ready(struct supervisor *sv, void *data)
{
	struct serve *serve = data;
	int rc;

	serve->sv = sv;
	supervisor_say_ready(sv);
	rc = leash_hold(&serve->leash, supervisor_loop(sv), on_leash_end, serve);
	if (rc != 0) {
		log_error(NULL, 0, "--exit-with-stdin: %s", uv_strerror(rc));
		supervisor_stop(sv, 1);
	}
}

static void on_finish(struct supervisor *sv, void *data)
{
	struct serve *serve = data;

	(void)sv;
	leash_close(&serve->leash);
}

int serve_main(const struct config *config)
{
	static struct serve serve;
	struct supervisor_hooks hooks = {.on_ready = NULL};
	char err[512];

	if (sd_begin(err, sizeof(err)) != 0) {
		fprintf(stderr, "pgcell serve: %s\n", err);
		return 2;
	}
	if (config->exits_with_stdin) {
		leash_init(&serve.leash);
		hooks = (struct supervisor_hooks){.on_ready = on_ready, .on_finish = on_finish, .data = &serve};
	}
	return supervisor_run(config, &hooks);
}
