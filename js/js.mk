# The npm package, and the conformance suite of the portable modules in the engines that npm brings.

CONFORMANCE := tests/conformance
NPM_CI = npm ci --no-progress --silent && touch node_modules/.package-lock.json
# the newest one with long-term support; the machine's own may be too old
NODE := $(ROOT)/$(CONFORMANCE)/node_modules/node-24/bin/node
TSC := node_modules/.bin/tsc
ENTRIES := index node browser worker node-full browser-full worker-full template

js/node_modules/.package-lock.json: js/package-lock.json
	$(SAY) 'installing what the npm package is built with'
	@cd js && $(NPM_CI)

$(CONFORMANCE)/node_modules/.package-lock.json: $(CONFORMANCE)/package-lock.json
	$(SAY) 'installing engines: Node 22, 24 and 26, and Bun'
	@cd $(CONFORMANCE) && $(NPM_CI)

# What entries share is in files of their own: an error of pgcell/core is one of pgcell, too. One file instead of forty starts 15 ms earlier in Node.
js/dist/index.js: js/node_modules/.package-lock.json js/tsconfig.json js/package.json $(wildcard js/src/*.ts)
	@cd js && rm -rf dist && $(TSC) -p tsconfig.json && node_modules/.bin/esbuild $(addprefix src/,$(addsuffix .ts,$(ENTRIES))) --outdir=dist \
		--bundle --splitting --format=esm --platform=neutral --target=es2022 --charset=utf8 --chunk-names=shared-[hash] \
		'--external:node:*' --external:./pgcell.wasm --external:./pgcell-full.wasm --log-level=warning && touch dist/index.js

js/dist/pgcell.wasm: $(BUILD)/pgcell.wasm js/dist/index.js
	@cp $(PG_SOURCE)/COPYRIGHT js/dist/COPYRIGHT.PostgreSQL
	@cp $(BUILD)/pgcell.wasm $@
	@node scripts/sizes.mjs

js/dist/pgcell-full.wasm: $(BUILD)/pgcell-full.wasm js/dist/index.js
	@cp $(BUILD)/src/vector/LICENSE js/dist/COPYRIGHT.pgvector
	@cp $< $@

.PHONY: js check-js check-conformance check-asyncify
js: js/dist/index.js js/dist/pgcell.wasm js/dist/pgcell-full.wasm ## the npm package

check-js: js $(CONFORMANCE)/node_modules/.package-lock.json
	$(SAY) 'the npm package, in four engines'
	@cd js && for p in test ../$(CONFORMANCE) ../tests/js-api ../tests/js-node; do $(TSC) -p $$p || exit 1; done
	@cd js && timeout 120 $(NODE) --test --test-reporter=dot "test/*.test.ts"
	@for v in 22 24 26; do timeout 180 $(CONFORMANCE)/node_modules/node-$$v/bin/node --test --test-reporter=dot tests/js-node/node.test.js || exit 1; done
	@timeout 600 $(NODE) tests/js-api/engines.js

check-conformance: js/dist/index.js $(CONFORMANCE)/node_modules/.package-lock.json $(MODULES) $(BUILD)/pgcell-trampoline.wasm
	$(SAY) 'the three transports in four engines'
	@timeout 1500 $(NODE) $(CONFORMANCE)/engines.js

check-asyncify: js/dist/index.js $(CONFORMANCE)/node_modules/.package-lock.json $(BUILD)/pgcell-asyncify.wasm ## build and test the module made with Asyncify
	$(SAY) 'the polling transport made with Asyncify, in four engines'
	@timeout 1500 $(NODE) $(CONFORMANCE)/engines.js --transport=asyncify

PACKAGE := tests/package
$(PACKAGE)/node_modules/.package-lock.json: $(PACKAGE)/package-lock.json
	$(SAY) 'installing bundlers: esbuild and Vite'
	@cd $(PACKAGE) && $(NPM_CI)

WORKERS := tests/workers
$(WORKERS)/node_modules/.package-lock.json: $(WORKERS)/package-lock.json
	$(SAY) 'installing workerd'
	@cd $(WORKERS) && $(NPM_CI)

WORKERS_NEED := js $(CONFORMANCE)/node_modules/.package-lock.json $(WORKERS)/node_modules/.package-lock.json $(MODULES) $(BUILD)/pgcell-trampoline.wasm

.PHONY: check-workers check-browser check-examples check-package bench-workers bench-first-select
check-workers: $(WORKERS_NEED)
	$(SAY) 'the suites in workerd'
	@cd js && $(TSC) -p ../$(WORKERS)
	@timeout 900 $(NODE) $(WORKERS)/run.js

.PHONY: check-js-extensions
check-js-extensions: $(WORKERS_NEED) ## extensions with the full module, in Node and workerd
	$(SAY) 'extensions in Node and workerd'
	@cd js && $(TSC) -p ../tests/extensions
	@timeout 1500 $(NODE) tests/extensions/engines.js

check-browser: $(WORKERS_NEED)
	$(SAY) 'the suites in headless Chromium'
	@cd js && $(TSC) -p ../tests/browser
	@timeout 900 $(NODE) tests/browser/run.js

check-examples: $(WORKERS_NEED) ## the examples, each where it belongs: workerd, Node, Chromium
	$(SAY) 'the examples'
	@cd js && $(TSC) -p ../tests/examples
	@timeout 600 $(NODE) tests/examples/run.js

PACKAGE_NEED := $(WORKERS_NEED) $(PACKAGE)/node_modules/.package-lock.json
check-package: $(PACKAGE_NEED) ## the package as it is packed and installed: engines, types, bundlers
	$(SAY) 'the packed package'
	@cd js && $(TSC) -p ../$(PACKAGE)
	@timeout 600 $(NODE) $(PACKAGE)/run.js

bench-first-select: $(PACKAGE_NEED) ## import to the first answer, in three Nodes
	@timeout 300 $(NODE) $(PACKAGE)/first-select.js

bench-workers: $(WORKERS_NEED) ## cold start of a Worker, beside an empty one
	@timeout 300 $(NODE) $(WORKERS)/run.js --times
