# The npm package, and the conformance suite of the portable modules in the engines that npm brings.

CONFORMANCE := tests/conformance
NPM_CI = npm ci --no-progress --silent && touch node_modules/.package-lock.json
# the newest one with long-term support; the machine's own may be too old
NODE := $(ROOT)/$(CONFORMANCE)/node_modules/node-24/bin/node
TSC := node_modules/.bin/tsc

js/node_modules/.package-lock.json: js/package-lock.json
	$(SAY) 'installing what the npm package is built with'
	@cd js && $(NPM_CI)

$(CONFORMANCE)/node_modules/.package-lock.json: $(CONFORMANCE)/package-lock.json
	$(SAY) 'installing engines: Node 22, 24 and 26, and Bun'
	@cd $(CONFORMANCE) && $(NPM_CI)

js/dist/index.js: js/node_modules/.package-lock.json js/tsconfig.json $(wildcard js/src/*.ts)
	@cd js && rm -rf dist && $(TSC) -p tsconfig.json && touch dist/index.js

js/dist/pgcell.wasm: $(BUILD)/pgcell.wasm js/dist/index.js
	@cp $(BUILD)/pgcell.wasm $@

.PHONY: js check-js check-conformance check-asyncify
js: js/dist/index.js js/dist/pgcell.wasm ## the npm package

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

WORKERS := tests/workers
$(WORKERS)/node_modules/.package-lock.json: $(WORKERS)/package-lock.json
	$(SAY) 'installing workerd'
	@cd $(WORKERS) && $(NPM_CI)

WORKERS_NEED := js $(CONFORMANCE)/node_modules/.package-lock.json $(WORKERS)/node_modules/.package-lock.json $(MODULES) $(BUILD)/pgcell-trampoline.wasm

.PHONY: check-workers check-browser check-examples bench-workers
check-workers: $(WORKERS_NEED)
	$(SAY) 'the suites in workerd'
	@cd js && $(TSC) -p ../$(WORKERS)
	@timeout 900 $(NODE) $(WORKERS)/run.js

check-browser: $(WORKERS_NEED)
	$(SAY) 'the suites in headless Chromium'
	@cd js && $(TSC) -p ../tests/browser
	@timeout 900 $(NODE) tests/browser/run.js

check-examples: $(WORKERS_NEED) ## the examples, each where it belongs: workerd, Node, Chromium
	$(SAY) 'the examples'
	@cd js && $(TSC) -p ../tests/examples
	@timeout 600 $(NODE) tests/examples/run.js

bench-workers: $(WORKERS_NEED) ## cold start of a Worker, beside an empty one
	@timeout 300 $(NODE) $(WORKERS)/run.js --times
