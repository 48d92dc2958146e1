// Starts workerd with a Worker of this repository: its ES modules as they are, and a guest.

import { execFileSync, spawn } from 'node:child_process';
import { closeSync, mkdtempSync, openSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

const ROOT = new URL('../../', import.meta.url).pathname;
const BUILD = process.env.PGCELL_BUILD ?? `${ROOT}build`;
const WORKERD = new URL('node_modules/workerd/bin/workerd', import.meta.url).pathname;
const START_TIMEOUT_MS = 30_000;
/** From May 2026 on Node's modules are there without being asked for; nothing of ours wants them. */
const COMPATIBILITY_DATE = '2026-04-01';

/** What a Worker imports of the package; imports the module that is beside it. */
export const PACKAGE_ENTRY = 'js/dist/worker.js';
/** The same with all extensions. */
const FULL_ENTRY = 'js/dist/worker-full.js';

/** @type {Record<import('../conformance/driver.js').Transport, string>} */
export const GUESTS = { imports: 'pgcell.wasm', polling: 'pgcell-polling.wasm', callbacks: 'pgcell-callbacks.wasm' };

/** @param {string} name */
export const pathOfModule = (name) => `${BUILD}/${name}`;

/**
 * The ES modules that a file needs, itself first; `.wasm` files are not followed.
 *
 * @param {string} entry a path from the root of the repository
 * @returns {Map<string, string>} their texts by path
 */
export function moduleGraph(entry) {
  const graph = new Map();
  const waiting = [entry];
  for (let path = waiting.pop(); path !== undefined; path = waiting.pop()) {
    if (graph.has(path)) {
      continue;
    }
    const text = readFileSync(`${ROOT}${path}`, 'utf8');
    graph.set(path, text);
    for (const [, specifier] of text.matchAll(/^\s*(?:import|export)\b[^'";]*?['"](\.[^'"]+)['"]/gm)) {
      if (specifier !== undefined && !specifier.endsWith('.wasm')) {
        waiting.push(new URL(specifier, `file:///${path}`).pathname.slice(1));
      }
    }
  }
  return graph;
}

/** @param {string} text */
const quote = (text) => JSON.stringify(text);

/**
 * @param {string} entry a file in this folder
 * @param {import('../conformance/driver.js').Transport | undefined} transport whose module is `./guest.wasm`
 */
function configuration(entry, transport) {
  const folder = 'tests/workers/';
  const graph = moduleGraph(`${folder}${entry}`);
  const modules = [...graph.keys()].map((path) => `(name = ${quote(path)}, esModule = embed ${quote(`${ROOT}${path}`)})`);
  const wasm = (/** @type {string} */ name, /** @type {string} */ file) =>
    `(name = ${quote(name)}, wasm = embed ${quote(pathOfModule(file))})`;
  if (transport !== undefined) {
    modules.push(wasm(`${folder}guest.wasm`, GUESTS[transport]), wasm(`${folder}trampoline.wasm`, 'pgcell-trampoline.wasm'));
  } else if (graph.has(PACKAGE_ENTRY)) {
    modules.push(wasm('js/dist/pgcell.wasm', GUESTS.imports));
  } else if (graph.has(FULL_ENTRY)) {
    modules.push(wasm('js/dist/pgcell-full.wasm', 'pgcell-full.wasm'));
  }
  return `using Workerd = import "/workerd/workerd.capnp";
const config :Workerd.Config = (
  services = [(name = "main", worker = .worker)],
  sockets = [(name = "http", address = "127.0.0.1:0", http = (), service = "main")],
);
const worker :Workerd.Worker = (
  modules = [
    ${modules.join(',\n    ')},
  ],
  bindings = [(name = "TRANSPORT", text = ${quote(transport ?? '')})],
  compatibilityDate = ${quote(COMPATIBILITY_DATE)},
);
`;
}

/** @type {Set<import('node:child_process').ChildProcess>} */
const running = new Set();
process.on('exit', () => running.forEach((child) => child.kill('SIGKILL')));
for (const signal of /** @type {const} */ (['SIGINT', 'SIGTERM', 'SIGHUP'])) {
  process.on(signal, () => process.exit(1));
}

const scratch = mkdtempSync(join(tmpdir(), 'pgcell-workers-'));
process.on('exit', () => rmSync(scratch, { recursive: true }));

/**
 * Writes a configuration with all files in it, in binary, as wrangler does: as text it takes workerd 7 ms for each MB of them.
 *
 * @param {string} entry a file in this folder
 * @param {import('../conformance/driver.js').Transport} [transport]
 * @returns {string} a path for startWorker
 */
export function configure(entry, transport) {
  const path = join(scratch, `${entry}-${transport}`);
  writeFileSync(`${path}.capnp`, configuration(entry, transport));
  const binary = openSync(path, 'w');
  execFileSync(WORKERD, ['compile', '--config-only', '--import-path=/', `${path}.capnp`], { stdio: ['ignore', binary, 'inherit'], timeout: START_TIMEOUT_MS });
  closeSync(binary);
  return path;
}

/**
 * Starts a Worker on a free port of this machine.
 *
 * @param {string} config
 * @returns {Promise<{ url: string, stop: () => Promise<void> }>}
 */
export async function startWorker(config) {
  const child = spawn(WORKERD, ['serve', '--binary', config, '--control-fd=3'], { stdio: ['ignore', 'inherit', 'inherit', 'pipe'] });
  running.add(child);
  const ended = new Promise((resolve) => {
    child.once('error', resolve);
    child.once('exit', (code, signal) => resolve(code ?? signal));
  }).then((how) => {
    running.delete(child);
    return how;
  });
  const stop = async () => {
    child.kill('SIGKILL');
    await ended;
  };
  const control = /** @type {import('node:stream').Readable} */ (child.stdio[3]);
  /** @type {Promise<number>} */
  const listening = new Promise((resolve) => {
    let text = '';
    control.setEncoding('utf8').on('data', (data) => {
      text += data;
      for (const line of text.split('\n').slice(0, -1)) {
        const message = JSON.parse(line);
        if (message.event === 'listen') {
          resolve(message.port);
        }
      }
    });
  });
  let timer;
  const port = await Promise.race([
    listening,
    ended.then((how) => Promise.reject(new Error(`workerd has ended: ${how}`))),
    new Promise((resolve) => (timer = setTimeout(resolve, START_TIMEOUT_MS))),
  ]);
  clearTimeout(timer);
  if (port === undefined) {
    await stop();
    throw new Error(`workerd does not listen after ${START_TIMEOUT_MS / 1000} s`);
  }
  return { url: `http://127.0.0.1:${port}`, stop };
}
