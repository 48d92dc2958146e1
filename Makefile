# make run      set-up, build and a server to connect to
# make test     everything CI checks
# make help     the other targets
#
# Nothing is rebuilt that did not change; compilers run through ccache, so that a fresh clone on a machine that built before is quick.

BUILD := build
ROOT := $(CURDIR)
JOBS ?= $(shell nproc)
CC_HOST := ccache clang-19
export CCACHE_BASEDIR := $(ROOT)
export CCACHE_NOHASHDIR := 1
export CCACHE_SLOPPINESS := include_file_ctime,include_file_mtime
# headers of ours stand before the libc's: without this a new one would not be noticed
export CCACHE_NODIRECT := 1

SAY = @printf 'pgcell: %s\n'

.PHONY: all
all: $(BUILD)/pgcell $(BUILD)/pgcell.img $(BUILD)/pgcell.1 $(BUILD)/pgcell.conf.sample $(BUILD)/guest/modules $(BUILD)/pgcell-full.wasm $(BUILD)/pgcell-trampoline.wasm

include guest/guest.mk
include host/host.mk
include js/js.mk
include tests/tests.mk
include bench/bench.mk

.PHONY: deps
deps: ## install the Debian packages that are missing (root or sudo)
	@scripts/deps.sh

.PHONY: run
run: ## set-up, build, server
	@$(MAKE) --no-print-directory deps
	@$(MAKE) --no-print-directory all
	@exec $(BUILD)/pgcell serve

.PHONY: clean
clean: ## remove what was built, keep tools and sources
	rm -rf $(BUILD)/guest $(BUILD)/host $(BUILD)/tests $(BUILD)/pgcell $(BUILD)/*.wasm $(BUILD)/*.img

.PHONY: help
help:
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | awk -F':.*## ' '{ printf "  make %-14s %s\n", $$1, $$2 }'
