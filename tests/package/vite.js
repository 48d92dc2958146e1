// What a user does with Vite: `vite build`, its folder served by any server, and `vite dev`.

import { existsSync, writeFileSync } from 'node:fs';
import { readdir } from 'node:fs/promises';
import { join } from 'node:path';
import { build, createServer, version } from 'vite';
import { ANSWER } from './engines.js';
import { PROJECT } from './packed.js';
import { check, equal, SCRATCH } from './scratch.js';
import { answerWithFiles, reportOf } from './serve.js';

const COMMON = /** @satisfies {import('vite').InlineConfig} */ ({ root: PROJECT, configFile: false, logLevel: 'error', clearScreen: false });
const BOTH = `${ANSWER}, in a worker ${ANSWER}`;

/** A page with one script. @param {string} script */
const page = (script) => `<!doctype html><link rel="icon" href="data:,"><body></body><script type="module" src="/${script}"></script>`;

/** Builds the page, and opens it from the folder that this makes. @param {string} name @param {import('vite').InlineConfig} options */
async function built(name, options) {
  const folder = join(SCRATCH, `vite-${name}`);
  await build({ ...COMMON, ...options, build: { outDir: folder, emptyOutDir: true, ...options.build } });
  const modules = (await readdir(folder, { recursive: true })).filter((file) => file.endsWith('.wasm'));
  return { modules, report: await reportOf(answerWithFiles(folder)) };
}

/** Opens the page from the server for development. @param {string} name of its cache @param {import('vite').InlineConfig} options */
async function developed(name, options) {
  const cacheDir = join(PROJECT, `node_modules/.vite-${name}`);
  const server = await createServer({
    ...COMMON, ...options, appType: 'spa', cacheDir, server: { middlewareMode: true, ws: false, watch: null },
  });
  try {
    const report = await reportOf(server.middlewares);
    return { report, isOptimized: existsSync(join(cacheDir, 'deps/pgcell.js')) };
  } finally {
    await server.close();
  }
}

export async function checkVite() {
  writeFileSync(join(PROJECT, 'index.html'), page('page-with-worker.js'));
  await check(`vite ${version}: build, a page and its worker`, async () => {
    const { modules, report } = await built('page', { worker: { format: 'es' } });
    equal(report, BOTH);
    return modules.join(', ');
  });
  await check('vite: build, the worker as Vite makes it unless told otherwise', async () => equal((await built('iife', {})).report, BOTH));
  /** @type {[string, import('vite').InlineConfig, boolean][]} */
  const servers = [['optimized', {}, true], ['not optimized', { optimizeDeps: { exclude: ['pgcell'] } }, false]];
  for (const [name, options, expected] of servers) {
    await check(`vite: dev, the package ${name}`, async () => {
      const { report, isOptimized } = await developed(name.replace(' ', '-'), options);
      equal(report, BOTH);
      equal(isOptimized, expected);
    });
  }
}
