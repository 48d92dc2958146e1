// Tries the packed package as a user would: run.js [PART OF A NAME]…
// Prints a line for each check, and "N passed, N failed" at the end; exits with 1 when something failed. $PGCELL_JS is another folder to pack.
// $CHROMIUM is another command than `chromium`.

import { findFaults, findUnseen, moduleGraph, readFiles, sizesOf } from './contents.js';
import { checkEngines } from './engines.js';
import { checkEsbuild } from './esbuild.js';
import { INSTALLED, install, PACKAGE } from './packed.js';
import { check, counts, equal } from './scratch.js';
import { checkTypes } from './types.js';
import { checkVite } from './vite.js';

async function checkContents() {
  const files = readFiles(INSTALLED);
  await check('contents: nothing else, and all that is referred to', () => {
    equal([...findFaults(files, PACKAGE)].join('; '), '');
    return `${files.size} files${[...files.keys()].some((path) => /^LICEN[CS]E/.test(path)) ? '' : ', no licence'}`;
  });
  await check('contents: these checks see what is wrong', () => equal(findUnseen(files).join('; '), ''));
  await check('contents: sizes of what a Worker needs', async () => {
    const paths = moduleGraph(files, 'dist/worker.js');
    const partsOf = (/** @type {(path: string) => boolean} */ isIn) => paths.filter(isIn).map((path) => files.get(path) ?? Buffer.alloc(0));
    const isModule = (/** @type {string} */ path) => path.endsWith('.wasm');
    equal(paths.filter(isModule).join(' '), 'dist/pgcell.wasm');
    const scripts = partsOf((path) => !isModule(path));
    return `pgcell.wasm ${await sizesOf(partsOf(isModule))}; ${scripts.length} scripts ${await sizesOf(scripts)}`;
  });
}

console.log(`package: ${await install()} bytes packed`);
await checkContents();
await checkEngines();
await checkTypes();
await checkEsbuild();
await checkVite();
console.log(`${counts.passed} passed, ${counts.failed} failed`);
process.exit(counts.failed > 0 || counts.passed === 0 ? 1 : 0);
