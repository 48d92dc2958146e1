# Measurements; see docs/benchmarks.md, which "make bench" writes anew with BENCH_OPTIONS=--write-docs.

BENCH_OPTIONS ?=

.PHONY: bench
bench: $(BUILD)/pgcell.img peer $(MODULES) $(BUILD)/pgcell-trampoline.wasm js/dist/index.js $(CONFORMANCE)/node_modules/.package-lock.json ## start, new cells, memory and query speed, beside native PostgreSQL; the transports (BENCH_OPTIONS=--quick)
	@bench/run.py --build $(BUILD) $(BENCH_OPTIONS)
