# make test: unit tests, the supervisor with a fake engine, the real thing end to end, PostgreSQL's own regression tests.

TESTS := $(BUILD)/tests
PYTHON := /usr/bin/python3
SANITIZE := -fsanitize=address,undefined -fno-sanitize-recover=undefined
TEST_CFLAGS := -std=gnu11 -O1 -g $(HOST_WARN) -Iguest/vfs
VFS_NATIVE := $(filter-out guest/vfs/vfs_wasi.c,$(wildcard guest/vfs/*.c))
HOST_LIBS := libuv libseccomp libmicrohttpd openssl
SUPERVISOR_SOURCES := $(addprefix host/,main.c options.c config_file.c manual.c log.c wire.c cell.c backend.c conn.c gate.c listener.c \
	forkserver.c forkserver_child.c supervisor.c observe.c auth.c vacuum.c serve.c leash.c channel.c port.c relay.c framing.c pgscan.c pgclient.c run.c \
	exec.c rows.c aligned.c out.c utf8.c sqlerror.c keeper.c copies.c copy.c control.c cell_cmd.c fair.c peers.c sandbox.c \
	tally.c metrics.c http.c probe.c operations.c sd.c tls.c tls_gateway.c)

UNIT := test-wire test-options test-config-file test-metrics test-wasi test-image test-wasm-image test-vfs test-vfs-kill test-vfs-model test-vfs-processes \
	test-stream test-transport-imports test-transport-callbacks test-transport-polling test-framing test-pgscan test-pgclient \
	test-rows
test-wire_SOURCES := host/wire.c
test-options_SOURCES := host/options.c host/config_file.c host/log.c
test-config-file_SOURCES := host/config_file.c
test-metrics_SOURCES := $(addprefix host/,metrics.c tally.c cell.c copies.c log.c)
test-framing_SOURCES := host/framing.c
test-pgscan_SOURCES := host/pgscan.c
test-pgclient_SOURCES := host/pgclient.c
test-rows_SOURCES := $(addprefix host/,rows.c aligned.c out.c utf8.c sqlerror.c pgclient.c log.c)
test-wasi_SOURCES := $(wildcard host/wasi*.c)
test-image_SOURCES := host/image.c
test-vfs_SOURCES := $(VFS_NATIVE)
test-vfs-kill_SOURCES := $(VFS_NATIVE)
test-vfs-model_SOURCES := $(VFS_NATIVE)
test-vfs-model_FLAGS := -DVFS_TRACK_CHANGES
test-vfs-processes_SOURCES := $(VFS_NATIVE)
test-wasm-image_SOURCES := guest/image/wasm_image.c
test-stream_SOURCES := guest/comm/stream.c
test-stream_FLAGS := -Wl,--wrap=malloc,--wrap=realloc,--wrap=free
test-transport-imports_SOURCES := guest/comm/imports.c guest/comm/stream.c
test-transport-callbacks_SOURCES := guest/comm/callbacks.c guest/comm/stream.c
test-transport-polling_SOURCES := guest/comm/polling.c guest/comm/stream.c
test-transport-polling_FLAGS := -Wl,--wrap=malloc
UNIT_DEFINES := -DVFS_TEST_STEPS

# $(1) is the test's name
define UNIT_RULE
$(TESTS)/$(1): tests/unit/$(1).c $$($(1)_SOURCES) $$(wildcard host/*.h guest/vfs/*.h guest/comm/*.h guest/image/*.h tests/unit/*.h)
	@mkdir -p $(TESTS)
	@$(CC_HOST) $(TEST_CFLAGS) $(UNIT_DEFINES) $(SANITIZE) tests/unit/$(1).c $$($(1)_SOURCES) $$($(1)_FLAGS) -lcmocka -o $$@
endef
$(foreach t,$(UNIT),$(eval $(call UNIT_RULE,$(t))))

$(TESTS)/pgcell-fake: $(SUPERVISOR_SOURCES) tests/host/fake-engine.c $(wildcard host/*.h)
	@mkdir -p $(TESTS)
	@$(CC_HOST) $(TEST_CFLAGS) $(SANITIZE) $(SUPERVISOR_SOURCES) tests/host/fake-engine.c $$(pkg-config --libs $(HOST_LIBS)) -o $@

# no sanitizers: they ask the kernel for what the sandbox forbids
$(TESTS)/pgcell-hostile: $(SUPERVISOR_SOURCES) tests/security/hostile-guest.c $(wildcard host/*.h)
	@mkdir -p $(TESTS)
	@$(CC_HOST) $(TEST_CFLAGS) $(SUPERVISOR_SOURCES) tests/security/hostile-guest.c $$(pkg-config --libs $(HOST_LIBS)) -o $@

$(TESTS)/c-host: $(BUILD)/pgcell.wasm $(wildcard examples/c-host/*)
	$(SAY) 'building the example host in C'
	@mkdir -p $(TESTS)
	@examples/c-host/build.sh $(BUILD)/pgcell.wasm $(TOOLS) $@

check-contract: $(MODULES) $(BUILD)/guest/native.wasm
	@scripts/check-contract.sh

check-c-host: $(TESTS)/c-host
	@tests/examples/test-c-host.sh $<

.PHONY: test check check-unit check-contract check-c-host check-host check-security check-headers check-packaging check-e2e check-regress check-isolation check-extensions fuzz
test: ## everything CI checks
	@$(MAKE) --no-print-directory deps
	@$(MAKE) --no-print-directory all
	@$(MAKE) --no-print-directory check check-js check-contract check-conformance check-workers check-js-extensions check-browser check-examples check-package check-packaging check-asyncify check-c-host check-e2e check-faults check-clients check-elixir check-regress check-isolation check-extensions

check: check-headers check-unit check-host check-security ## quick tests, nothing of PostgreSQL needed

check-unit: $(addprefix $(TESTS)/,$(UNIT))
	$(SAY) 'unit tests'
	@for t in $(UNIT); do timeout 300 $(TESTS)/$$t >$(TESTS)/$$t.log 2>&1 || { cat $(TESTS)/$$t.log; exit 1; }; \
		grep -aE 'PASSED|tests passed' $(TESTS)/$$t.log | tail -n 1 | sed "s/^/$$t: /"; done

check-host: $(TESTS)/pgcell-fake
	$(SAY) 'the supervisor, with a fake engine'
	@timeout 300 $(PYTHON) tests/host/test-supervisor.py $(TESTS)/pgcell-fake

check-security: $(TESTS)/pgcell-hostile ## what a guest that was taken over can do
	$(SAY) 'attacks from inside a session'
	@timeout 300 $(PYTHON) tests/security/test-sandbox.py $(TESTS)/pgcell-hostile

# every header compiles alone
check-headers:
	@for h in $(filter-out host/runtime.h,$(wildcard host/*.h)) $(wildcard guest/image/*.h) guest/comm/pglite-comm.h guest/comm/stream.h; do \
		clang-19 -std=gnu11 $(HOST_WARN) -include $$h -fsyntax-only -x c /dev/null || exit 1; done

tests/packaging/node_modules/.package-lock.json: tests/packaging/package-lock.json
	@cd tests/packaging && $(NPM_CI)

check-packaging: $(BUILD)/pgcell tests/packaging/node_modules/.package-lock.json
	$(SAY) 'units, Containerfile and Kubernetes manifests'
	@PGCELL=$(BUILD)/pgcell timeout 120 node --test tests/packaging/run.js >$(TESTS)/packaging.log 2>&1 || { cat $(TESTS)/packaging.log; exit 1; }
	@grep -E '^# (pass|fail)' $(TESTS)/packaging.log | tr '\n' ' '; echo

check-e2e: $(BUILD)/pgcell.img $(PG_NATIVE)/complete
	$(SAY) 'end to end'
	@PGCELL=$(BUILD)/pgcell PSQL=$(PG_NATIVE)/install/bin/psql timeout 1500 $(PYTHON) tests/e2e/run.py

check-regress: $(BUILD)/pgcell.img $(PG_NATIVE)/complete
	$(SAY) "PostgreSQL's own regression tests"
	@timeout 1500 tests/regress/run.sh

check-isolation: $(BUILD)/pgcell.img $(PG_NATIVE)/complete
	$(SAY) "PostgreSQL's own isolation tests"
	@timeout 900 tests/isolation/run.sh
	@timeout 300 tests/isolation/test-concurrent-checkpoints.sh $(BUILD)

check-extensions: $(BUILD)/pgcell.img $(PG_NATIVE)/complete ## the tests that ship with the extensions
	$(SAY) "the extensions' own tests"
	@timeout 1200 tests/extensions/run.sh

check-elixir: $(BUILD)/pgcell.img ## PgliteEx, with the real binary and Debian's Elixir
	$(SAY) 'PgliteEx'
	@cd elixir && mix format --check-formatted && mix compile --warnings-as-errors && PGCELL_BINARY=$(ROOT)/$(BUILD)/pgcell timeout 400 mix test

.PHONY: check-elixir check-clients check-faults check-faults-long bench-concurrency
tests/clients/node_modules/.package-lock.json: tests/clients/package-lock.json
	@cd tests/clients && $(NPM_CI)

check-clients: $(BUILD)/pgcell.img $(PG_NATIVE)/complete tests/clients/node_modules/.package-lock.json ## client libraries of six languages
	@PGCELL=$(BUILD)/pgcell timeout 900 $(PYTHON) tests/clients/run.py

check-faults: $(BUILD)/pgcell.img $(PG_NATIVE)/complete ## floods, slow clients, kills under load
	@tests/faults/test-fence.sh
	@PGCELL=$(BUILD)/pgcell timeout 300 $(PYTHON) tests/faults/cases.py
	@PGCELL=$(BUILD)/pgcell timeout 300 $(PYTHON) tests/faults/run.py --seed 1

check-faults-long: $(BUILD)/pgcell.img
	@PGCELL=$(BUILD)/pgcell timeout 1200 $(PYTHON) tests/faults/run.py --seconds 600

bench-concurrency: $(BUILD)/pgcell.img peer
	@bench/concurrency.py --build $(BUILD) --json $(BUILD)/bench/concurrency.json

fuzz: $(addprefix $(TESTS)/fuzz-,wire image stream polling framing pgclient config_file snapshot) ## fuzz what crosses a trust boundary, FUZZ_SECONDS each (default 30)
	@mkdir -p $(addprefix $(TESTS)/corpus-,wire image stream polling framing pgclient config_file snapshot)
	@$(TESTS)/fuzz-stream -max_total_time=$(or $(FUZZ_SECONDS),30) -max_len=4000 $(TESTS)/corpus-stream
	@$(TESTS)/fuzz-polling -max_total_time=$(or $(FUZZ_SECONDS),30) -max_len=2000 $(TESTS)/corpus-polling
	@$(TESTS)/fuzz-wire -max_total_time=$(or $(FUZZ_SECONDS),30) -max_len=10100 $(TESTS)/corpus-wire fuzz/corpus/wire
	@$(TESTS)/fuzz-framing -max_total_time=$(or $(FUZZ_SECONDS),30) -max_len=4000 $(TESTS)/corpus-framing fuzz/corpus/framing
	@$(TESTS)/fuzz-pgclient -max_total_time=$(or $(FUZZ_SECONDS),30) -max_len=4000 $(TESTS)/corpus-pgclient fuzz/corpus/pgclient
	@$(TESTS)/fuzz-config_file -max_total_time=$(or $(FUZZ_SECONDS),30) -max_len=8000 $(TESTS)/corpus-config_file fuzz/corpus/config_file
	@$(TESTS)/fuzz-snapshot -max_total_time=$(or $(FUZZ_SECONDS),30) $(TESTS)/corpus-snapshot
	@$(TESTS)/fuzz-image -max_total_time=$(or $(FUZZ_SECONDS),30) $(TESTS)/corpus-image

$(TESTS)/fuzz-stream $(TESTS)/fuzz-polling: $(TESTS)/fuzz-%: fuzz/fuzz-%.c $(wildcard guest/comm/*.[ch])
	@mkdir -p $(TESTS)
	@$(CC_HOST) $(TEST_CFLAGS) -fsanitize=fuzzer,address,undefined -fno-sanitize-recover=undefined $< guest/comm/stream.c -o $@

$(TESTS)/fuzz-snapshot: fuzz/fuzz-snapshot.c host/copy.c host/log.c
	@mkdir -p $(TESTS)
	@$(CC_HOST) $(TEST_CFLAGS) -fsanitize=fuzzer,address,undefined -fno-sanitize-recover=undefined $< host/log.c -o $@

$(TESTS)/fuzz-framing: host/pgscan.c
$(TESTS)/fuzz-config_file: host/options.c host/log.c
$(TESTS)/fuzz-%: fuzz/fuzz-%.c host/%.c
	@mkdir -p $(TESTS)
	@$(CC_HOST) $(TEST_CFLAGS) -fsanitize=fuzzer,address,undefined -fno-sanitize-recover=undefined $^ -o $@
