// The types, as TypeScript in its strict mode sees them in a user's project, with all that they refer to (`skipLibCheck` is off).

import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { PROJECT } from './packed.js';
import { check, equal, run } from './scratch.js';

const NODE_MODULES = new URL('../../js/node_modules', import.meta.url).pathname;
const TSC = `${NODE_MODULES}/.bin/tsc`;
const STRICTEST = { noUncheckedIndexedAccess: true, exactOptionalPropertyTypes: true, noPropertyAccessFromIndexSignature: true, verbatimModuleSyntax: true };
const NODENEXT = { module: 'nodenext' };
const BUNDLER = { module: 'esnext', moduleResolution: 'bundler' };
const DOM = { lib: ['ES2022', 'DOM'] };
const WEB_WORKER = { lib: ['ES2022', 'WebWorker'] };
/** Neither has WebAssembly: as the configurations that one finds for Node, it does without the check of declarations. */
const NODE = { lib: ['ES2022'], types: ['node'], typeRoots: [`${NODE_MODULES}/@types`], skipLibCheck: true };
const PROGRAM = ['types.ts', 'types-errors.ts'];

/** @type {Record<string, { files: string[], options: Record<string, unknown> }>} */
const PROJECTS = {
  'nodenext, DOM': { files: PROGRAM, options: { ...NODENEXT, ...DOM } },
  'nodenext, WebWorker': { files: PROGRAM, options: { ...NODENEXT, ...WEB_WORKER } },
  "nodenext, Node's types without DOM": { files: ['types-node.ts'], options: { ...NODENEXT, ...NODE } },
  'nodenext, from CommonJS': { files: ['types-require.cts'], options: { ...NODENEXT, ...DOM } },
  'bundler, DOM': { files: PROGRAM, options: { ...BUNDLER, ...DOM } },
  'bundler, WebWorker': { files: PROGRAM, options: { ...BUNDLER, ...WEB_WORKER } },
  'bundler, DOM, everything strict': { files: PROGRAM, options: { ...BUNDLER, ...DOM, ...STRICTEST } },
  'bundler, the condition workerd': { files: [...PROGRAM, 'types-worker.ts'], options: { ...BUNDLER, ...WEB_WORKER, customConditions: ['workerd'] } },
};

/** @param {string[]} files @param {Record<string, unknown>} options */
async function compile(files, options) {
  const compilerOptions = { target: 'ES2022', strict: true, skipLibCheck: false, noEmit: true, types: [], ...options };
  writeFileSync(join(PROJECT, 'tsconfig.json'), JSON.stringify({ compilerOptions, files }));
  const { stdout, stderr, ended } = await run([TSC, '-p', 'tsconfig.json', '--pretty', 'false'], { cwd: PROJECT });
  return { text: `${stdout}${stderr}`.trim(), ended };
}

export async function checkTypes() {
  for (const [name, { files, options }] of Object.entries(PROJECTS)) {
    await check(`types: ${name}`, async () => {
      const { text, ended } = await compile(files, options);
      equal(`${ended} ${text}`, '0 ');
    });
  }
  await check('types: without the expected errors each is one', async () => {
    const text = readFileSync(join(PROJECT, 'types-errors.ts'), 'utf8');
    const [expected, without] = [text.match(/^ *\/\/ @ts-expect-error: /gm)?.length, text.replaceAll('@ts-expect-error', '')];
    writeFileSync(join(PROJECT, 'types-bare.ts'), without);
    const found = (await compile(['types-bare.ts'], { ...BUNDLER, lib: ['ESNext', 'DOM'] })).text.match(/^types-bare\.ts.* error TS/gm)?.length;
    equal(found, expected);
    return `${found}`;
  });
}
