// The three transports beside each other, in one process: SELECT 1, a result of 100 MB and a COPY of 100 MB into a table.
// transports.js [--turns=N] [--first=N] [--only=WORKLOAD]…; PGCELL_BUILD is the folder of the modules. Prints a line of JSON for each
// workload, which bench/run.py makes a table of. --first says in which order (0 to 5) the modules are compiled: the place of code and
// memory makes a difference, too.
//
// Each workload has an instance of its own for each transport, so that the memory that it ends with was this workload's. The instances
// take turns, in all six orders; what is compared is always of the same turn. A workload begins when its times have stopped falling:
// V8 compiles what is called often a second time, at its leisure.

import { readFile } from 'node:fs/promises';

import * as pgcell from '../js/dist/index.js';

/**
 * @typedef {import('../js/dist/index.js').Transport} Transport
 * @typedef {{ transport: Transport, module: WebAssembly.Module, trampoline: WebAssembly.Module | undefined }} Modules
 * @typedef {(ptr: number, size: number) => number} TransportFunction
 *
 * @typedef {object} Contestant One transport at one workload.
 * @property {() => number} once What is measured. A number that all transports must agree on, such as the bytes of output
 * @property {() => void} [prepare] Before each turn, not measured
 * @property {() => void} [check] After each turn, not measured. Throws if the turn did not do its work
 * @property {() => number} memoryBytes
 *
 * @typedef {object} Workload
 * @property {string} name
 * @property {string} what
 * @property {'µs' | 'ms'} unit
 * @property {number} repeats Calls of once() that make a turn
 * @property {number} turns That are measured
 * @property {(modules: Modules) => Promise<Contestant>} make
 */

const BUILD = process.env['PGCELL_BUILD'] ?? new URL('../build', import.meta.url).pathname;
/** @type {[Transport, string][]} */
const FILES = [['imports', 'pgcell.wasm'], ['polling', 'pgcell-polling.wasm'], ['callbacks', 'pgcell-callbacks.wasm']];

const BIG = 100_000_000;
const LINE = 1000;
const ROWS = BIG / LINE;
const COPY_MESSAGE = 65536;
/** A workload is warm after so long, when a window of turns was not faster by more than this than the window before. */
const WARM_MS = 5000;
const WARM_WINDOW = 3;
const WARM_GAIN = 0.01;
const WARM_MOST = 100;
const ORDERS = [[0, 1, 2], [1, 2, 0], [2, 0, 1], [0, 2, 1], [2, 1, 0], [1, 0, 2]];

const ENGINE = `Node ${process.versions.node} (V8 ${process.versions.v8.split('.', 2).join('.')})`;

const { serialize } = pgcell;
const STARTUP = serialize.startup({ user: 'postgres', database: 'postgres' });
const SELECT_1 = serialize.query('select 1');

// ---- through the handlers ----

/** @param {Modules} modules @param {import('../js/dist/index.js').HandlerOptions} [options] */
async function open({ transport, module, trampoline }, options) {
  const handler = {
    imports: pgcell.createPGliteImportHandler,
    polling: pgcell.createPGlitePollingHandler,
    callbacks: pgcell.createPGliteCallbackHandler,
  }[transport](options);
  const { exports } = await pgcell.instantiate(module, handler, trampoline ? { trampoline } : {});
  handler.start(STARTUP);
  return { handler, memoryBytes: () => exports.memory.buffer.byteLength };
}

/** @param {import('../js/dist/index.js').BackendMessage[]} messages */
function checkRow(messages) {
  if (!messages.some(({ type }) => type === 'dataRow')) {
    throw new Error('SELECT 1 has no row');
  }
}

/** Output is counted and dropped. @param {Modules} modules */
async function openCounting(modules) {
  let bytes = 0;
  const { handler, memoryBytes } = await open(modules, { onOutput: (chunk) => void (bytes += chunk.length) });
  return {
    memoryBytes,
    /** @param {import('../js/dist/index.js').Input} input */
    run(input) {
      bytes = 0;
      handler.run(input);
      return bytes;
    },
  };
}

/** @param {Modules} modules @returns {Promise<Contestant>} */
async function selectByHandler(modules) {
  const { handler, memoryBytes } = await open(modules);
  checkRow(handler.exec(SELECT_1));
  return { once: () => handler.exec(SELECT_1).length, memoryBytes };
}

/** @param {Modules} modules @returns {Promise<Contestant>} */
async function result(modules) {
  const { run, memoryBytes } = await openCounting(modules);
  const query = serialize.query(`select repeat('x', ${LINE}), generate_series(1, ${ROWS})`);
  if (run(query) < BIG) {
    throw new Error('the result is too short');
  }
  return { once: () => run(query), memoryBytes };
}

// anything else would be of another length
const RIGHT_COUNT = serialize.query(`select '${ROWS} ${BIG - ROWS}' as rows`);
const COUNT = serialize.query('select count(*) || \' \' || sum(length(line)) as rows from lines');

/** A COPY of `ROWS` lines, in messages of 64 KiB. */
function copyMessages() {
  const lines = new Uint8Array(BIG).fill(120);
  for (let at = LINE - 1; at < BIG; at += LINE) {
    lines[at] = 10;
  }
  const header = 5;
  const messages = [serialize.query('copy lines from stdin')];
  for (let at = 0; at < BIG; at += COPY_MESSAGE - header) {
    messages.push(serialize.copyData(lines.subarray(at, at + COPY_MESSAGE - header)));
  }
  return [...messages, serialize.copyDone()];
}

/** @param {Uint8Array[]} messages @returns {(modules: Modules) => Promise<Contestant>} */
function copyIn(messages) {
  return async (modules) => {
    const { run, memoryBytes } = await openCounting(modules);
    run(serialize.query('create unlogged table lines (line text)'));
    return {
      prepare: () => void run(serialize.query('truncate lines')),
      once: () => run(messages),
      check() {
        if (run(COUNT) !== run(RIGHT_COUNT)) {
          throw new Error('the table has other rows');
        }
      },
      memoryBytes,
    };
  };
}

// ---- without the handlers: what the shortest host does, bytes in and bytes out ----

/** @param {Modules} modules @returns {Promise<Contestant>} */
async function selectBare({ transport, module, trampoline }) {
  /** @type {any} */
  let guest;
  let bytes = new Uint8Array(0);
  let input = STARTUP;
  let isRead = false;
  let output = new Uint8Array(0);
  // a memory that grows takes its buffer away
  const memory = () => (bytes.length === 0 ? (bytes = new Uint8Array(guest.memory.buffer)) : bytes);
  /** @type {TransportFunction} */
  const read = (ptr, max) => {
    if (isRead) {
      return 0;
    }
    if (max < input.length) {
      throw new Error(`the guest reads but ${max} bytes`);
    }
    isRead = true;
    memory().set(input, ptr);
    return input.length;
  };
  /** @type {TransportFunction} */
  const write = (ptr, length) => {
    output = memory().slice(ptr, ptr + length);
    return length;
  };

  const wasi = pgcell.createWasi();
  const instance = await WebAssembly.instantiate(module, {
    wasi_snapshot_preview1: wasi.imports,
    env: transport === 'imports' ? { pglite_js_read: read, pglite_js_write: write } : {},
  });
  guest = instance.exports;
  wasi.setMemory(guest.memory);
  if (transport === 'callbacks' && trampoline) {
    const functions = (await WebAssembly.instantiate(trampoline, { env: { read, write } })).exports;
    const at = guest.__indirect_function_table.grow(2);
    guest.__indirect_function_table.set(at, functions['read']);
    guest.__indirect_function_table.set(at + 1, functions['write']);
    guest.set_read_write_cbs(at, at + 1);
  }

  const data = pgcell.BufferField.DATA;
  const isPolling = transport === 'polling';
  const inputData = isPolling ? guest.pglite_get_input_buffer() + data : 0;
  const outputData = isPolling ? guest.pglite_get_output_buffer() + data : 0;
  /** @param {() => number} entry @param {boolean} isFirst */
  const byPolling = (entry, isFirst) => {
    // a new session drops input that was signalled before
    const begun = isFirst ? entry() : 0;
    memory().set(input, inputData);
    if (guest.pglite_signal_input_ready(input.length) !== input.length) {
      throw new Error('the guest does not take the input');
    }
    const status = guest.interactive_one(input.length, input[0]);
    for (let length = guest.pglite_get_output_length(); length > 0; length = guest.pglite_ack_output()) {
      output = memory().slice(outputData, outputData + length);
    }
    // what it says of output that waits is over
    return begun < 0 ? begun : status < 0 ? status : 0;
  };
  const byCalls = (/** @type {() => number} */ entry) => {
    isRead = false;
    return entry();
  };
  const run = isPolling ? byPolling : byCalls;
  /** @param {number} status */
  const check = (status) => {
    if (status !== 0) {
      throw new Error(`${transport}: status ${status}`);
    }
    return output.length;
  };

  const interactiveOne = () => guest.interactive_one(input.length, input[0]);
  check(run(() => guest.pgl_backend(), true));
  input = SELECT_1;
  check(run(interactiveOne, false));
  checkRow(new pgcell.BackendParser().parse(output));
  return { once: () => check(run(interactiveOne, false)), memoryBytes: () => guest.memory.buffer.byteLength };
}

// ---- turns ----

/** @param {number[]} values */
const median = (values) => values.toSorted((a, b) => a - b)[values.length >> 1] ?? NaN;

/** Lets V8 put in place what it has compiled meanwhile. */
const breathe = () => new Promise((resolve) => setTimeout(resolve, 2));

/** Linux brings a thread's CPU time up to date when it sleeps; in between it is up to 4 ms behind. */
const sleep = () => void Atomics.wait(NOTHING, 0, 0, 0.1);
const NOTHING = new Int32Array(new SharedArrayBuffer(4));

/**
 * One turn of each, in the order of this number. Seconds for each, by the clock and of this thread's CPU time, in which everything
 * happens: others who are at work on the machine are not in that.
 *
 * @param {Contestant[]} contestants @param {number} repeats @param {number} number
 */
async function turn(contestants, repeats, number) {
  const times = contestants.map(() => ({ seconds: NaN, cpuSeconds: NaN }));
  const outputs = contestants.map(() => 0);
  for (const i of ORDERS[number % ORDERS.length] ?? []) {
    const { prepare, once, check } = /** @type {Contestant} */ (contestants[i]);
    let bytes = 0;
    prepare?.();
    await breathe();
    sleep();
    const begin = performance.now();
    const cpuBegin = process.threadCpuUsage();
    for (let repeat = 0; repeat < repeats; repeat++) {
      bytes += once();
    }
    const milliseconds = performance.now() - begin;
    sleep();
    const { user, system } = process.threadCpuUsage(cpuBegin);
    times[i] = { seconds: milliseconds / 1e3 / repeats, cpuSeconds: (user + system) / 1e6 / repeats };
    outputs[i] = bytes;
    check?.();
  }
  if (new Set(outputs).size !== 1 || outputs[0] === 0) {
    throw new Error(`the transports gave outputs of different lengths: ${outputs}`);
  }
  return times;
}

/** @param {Workload} workload @param {Modules[]} modules */
async function measure({ name, what, unit, repeats, turns: count, make }, modules) {
  const contestants = [];
  for (const each of modules) {
    contestants.push(await make(each));
  }

  /** @type {number[][]} */
  const warm = contestants.map(() => []);
  const isFalling = (/** @type {number[]} */ times) =>
    median(times.slice(-WARM_WINDOW)) < median(times.slice(-2 * WARM_WINDOW, -WARM_WINDOW)) * (1 - WARM_GAIN);
  const begin = performance.now();
  let warmTurns = 0;
  while (warmTurns < WARM_MOST && (warmTurns < 2 * WARM_WINDOW || performance.now() - begin < WARM_MS || warm.some(isFalling))) {
    (await turn(contestants, repeats, warmTurns++)).forEach(({ cpuSeconds }, i) => warm[i]?.push(cpuSeconds));
  }

  /** @type {Awaited<ReturnType<typeof turn>>[]} */
  const turns = [];
  for (let number = 0; number < count; number++) {
    turns.push(await turn(contestants, repeats, number));
  }

  const transports = contestants.map(({ memoryBytes }, i) => ({
    transport: modules[i]?.transport,
    seconds: turns.map((times) => times[i]?.seconds),
    cpuSeconds: turns.map((times) => times[i]?.cpuSeconds),
    memoryBytes: memoryBytes(),
  }));
  console.log(JSON.stringify({ name, what, unit, engine: ENGINE, warmTurns, transports }));
}

/** @param {string} name */
const compile = async (name) => WebAssembly.compile(await readFile(`${BUILD}/${name}`));

/** @param {string} name The values of an option */
const option = (name) => process.argv.filter((argument) => argument.startsWith(`--${name}=`)).map((argument) => argument.slice(name.length + 3));

const turns = Number(option('turns').at(-1) ?? 10);
const first = Number(option('first').at(-1) ?? 0);
const only = option('only');
/** @type {Workload[]} */
const WORKLOADS = [
  { name: 'select-1-bare', what: 'SELECT 1, bytes in and bytes out', unit: 'µs', repeats: 1000, turns: 10 * turns, make: selectBare },
  { name: 'select-1', what: 'SELECT 1 by the handler\'s exec()', unit: 'µs', repeats: 1000, turns: 10 * turns, make: selectByHandler },
  { name: 'result', what: '100 MB result, counted and dropped', unit: 'ms', repeats: 1, turns, make: result },
  { name: 'copy-in', what: '100 MB COPY FROM STDIN, unlogged table', unit: 'ms', repeats: 1, turns, make: copyIn(copyMessages()) },
];
/** @type {Modules[]} */
const modules = [];
for (const i of ORDERS[first % ORDERS.length] ?? []) {
  const [transport, file] = /** @type {[Transport, string]} */ (FILES[i]);
  const trampoline = transport === 'callbacks' ? await compile('pgcell-trampoline.wasm') : undefined;
  modules.push({ transport, module: await compile(file), trampoline });
}
for (const workload of WORKLOADS) {
  if (only.length === 0 || only.includes(workload.name)) {
    await measure(workload, modules);
  }
}
