// What a user does with esbuild: for browsers, for Node and for Workers; and that the bundles run.

import { build } from 'esbuild';
import { execFileSync } from 'node:child_process';
import { closeSync, copyFileSync, openSync, readdirSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { startWorker } from '../workers/workerd.js';
import { ANSWER, NODES } from './engines.js';
import { INSTALLED, PROJECT } from './packed.js';
import { check, equal, SCRATCH, succeed } from './scratch.js';
import { answerWithFiles, reportOf } from './serve.js';

const NODE = NODES['node-24'] ?? '';
const WORKERD = new URL('../workers/node_modules/workerd/bin/workerd', import.meta.url).pathname;
const TIMEOUT_MS = 30_000;
const HTML = '<!doctype html><link rel="icon" href="data:,"><body></body><script type="module" src="page.js"></script>';

let count = 0;

/**
 * Bundles a file of the project into a new folder.
 *
 * @param {string} entry
 * @param {import('esbuild').BuildOptions} options
 * @returns {Promise<string>} the folder
 */
async function bundle(entry, options) {
  const outdir = join(SCRATCH, `esbuild-${++count}`);
  const { warnings } = await build({ absWorkingDir: PROJECT, entryPoints: [entry], outdir, bundle: true, format: 'esm', logLevel: 'silent', ...options });
  equal(warnings.map(({ text }) => text).join('\n'), '');
  return outdir;
}

/** @param {string} folder */
const copyModule = (folder) => copyFileSync(join(INSTALLED, 'dist/pgcell.wasm'), join(folder, 'pgcell.wasm'));

/** @param {string} folder @param {string} [name] */
const kib = (folder, name = 'page.js') => `${(statSync(join(folder, name)).size / 1024).toFixed(0)} KiB of JavaScript`;

/** Opens a page whose script is page.js. @param {string} folder */
function open(folder) {
  writeFileSync(join(folder, 'index.html'), HTML);
  return reportOf(answerWithFiles(folder));
}

/** Asks the Worker of a folder, in the engine of Cloudflare Workers. @param {string} folder with worker.js and one module */
async function askWorker(folder) {
  const quote = JSON.stringify;
  const files = readdirSync(folder).filter((name) => /\.(?:js|wasm)$/.test(name)).sort((a) => (a.endsWith('.js') ? -1 : 1)); // the script first
  const modules = files.map((name) =>
    `(name = ${quote(name)}, ${name.endsWith('.js') ? 'esModule' : 'wasm'} = embed ${quote(join(folder, name))})`);
  const config = join(folder, 'config');
  writeFileSync(`${config}.capnp`, `using Workerd = import "/workerd/workerd.capnp";
const config :Workerd.Config = (
  services = [(name = "main", worker = .worker)],
  sockets = [(name = "http", address = "127.0.0.1:0", http = (), service = "main")],
);
const worker :Workerd.Worker = (modules = [${modules.join(', ')}], compatibilityDate = "2026-04-01");
`);
  const binary = openSync(config, 'w');
  execFileSync(WORKERD, ['compile', '--config-only', '--import-path=/', `${config}.capnp`], { stdio: ['ignore', binary, 'inherit'], timeout: TIMEOUT_MS });
  closeSync(binary);
  const { url, stop } = await startWorker(config);
  try {
    return await (await fetch(url, { signal: AbortSignal.timeout(TIMEOUT_MS) })).text();
  } finally {
    await stop();
  }
}

/** @type {import('esbuild').BuildOptions} */
const BROWSER = { platform: 'browser' };
/** @type {import('esbuild').BuildOptions} */
const FOR_NODE = { platform: 'node' };
/** @type {import('esbuild').BuildOptions} */
const FOR_WORKERS = { conditions: ['workerd'] };

export async function checkEsbuild() {
  await check('esbuild: browser, the module copied beside the bundle', async () => {
    const folder = await bundle('page.js', { ...BROWSER, minify: true });
    copyModule(folder);
    equal(await open(folder), ANSWER);
    return kib(folder);
  });
  await check('esbuild: browser, the loader `file` and the core', async () => {
    const folder = await bundle('page-url.js', { ...BROWSER, loader: { '.wasm': 'file' }, entryNames: 'page' });
    equal(await open(folder), ANSWER);
  });
  await check('esbuild: browser, without the module the error names it', async () => {
    const report = await open(await bundle('page.js', BROWSER));
    equal(report.replace(/http:\/\/[^/]+/, ''), 'FAILED: /pgcell.wasm: 404 Not Found');
  });
  await check('esbuild: Node, ES module, the module copied beside the bundle', async () => {
    const folder = await bundle('select.js', FOR_NODE);
    copyModule(folder);
    equal((await succeed([NODE, join(folder, 'select.js')], { cwd: folder })).trim(), ANSWER);
  });
  await check('esbuild: Node, CommonJS, the package external', async () => {
    const outdir = join(PROJECT, 'out'); // from where it finds the package
    await bundle('dynamic.cjs', { ...FOR_NODE, format: 'cjs', external: ['pgcell'], outdir, outExtension: { '.js': '.cjs' } });
    equal((await succeed([NODE, join(outdir, 'dynamic.cjs')])).trim(), ANSWER);
  });
  await check('esbuild: Workers, the loader `copy`', async () => {
    equal(await askWorker(await bundle('worker.js', { ...FOR_WORKERS, loader: { '.wasm': 'copy' } })), ANSWER);
  });
  await check('esbuild: Workers, the module external', async () => {
    const folder = await bundle('worker.js', { ...FOR_WORKERS, external: ['*.wasm'], minify: true });
    copyModule(folder);
    equal(await askWorker(folder), ANSWER);
    return kib(folder, 'worker.js');
  });
}
