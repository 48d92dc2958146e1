// The way that every bundler knows: the address of the module from the bundler, the rest from the core.

import { PGlite } from 'pgcell/core';
import url from 'pgcell/pgcell.wasm';
import { ask } from './ask.js';
import { report } from './report.js';

report(async () => ask(PGlite, { wasmModule: await WebAssembly.compileStreaming(fetch(url)) }));
