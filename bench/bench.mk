# Measurements; see docs/benchmarks.md, which "make bench" writes anew with BENCH_OPTIONS=--write-docs.

BENCH_OPTIONS ?=

bench/pglite/node_modules/.package-lock.json: bench/pglite/package-lock.json
	$(SAY) 'installing PGlite, to measure it'
	@cd bench/pglite && $(NPM_CI)

.PHONY: bench
bench: $(BUILD)/pgcell.img peer $(MODULES) $(BUILD)/pgcell-trampoline.wasm js $(CONFORMANCE)/node_modules/.package-lock.json bench/pglite/node_modules/.package-lock.json ## start, new cells, memory and query speed, beside native PostgreSQL; the transports; the npm package beside PGlite (BENCH_OPTIONS=--quick)
	@bench/run.py --build $(BUILD) $(BENCH_OPTIONS)

.PHONY: bench-vectors
bench-vectors: $(BUILD)/pgcell.img peer-extensions js ## pgvector: an index built and searched, beside native PostgreSQL and PGlite ($PGLITE: where it is installed with its vector extension)
	@bench/vectors.py --build $(BUILD) --rounds 3

.PHONY: bench-scale
bench-scale: $(BUILD)/pgcell.img ## what many cells weigh, how fast they come and go
	@bench/scale.py --build $(BUILD) $(BENCH_OPTIONS)
