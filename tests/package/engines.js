// The installed package in Node and Bun, as ES module and from CommonJS.

import { existsSync } from 'node:fs';
import { PROJECT } from './packed.js';
import { check, equal, run } from './scratch.js';

const ENGINES = new URL('../conformance/node_modules', import.meta.url).pathname;

/** Commands by names. @type {Record<string, string>} */
export const NODES = Object.fromEntries(['node-22', 'node-24', 'node-26'].map((name) => [name, `${ENGINES}/${name}/bin/node`]));
const ALL = { ...NODES, bun: `${ENGINES}/bun/bin/bun` };

/** What project/ask.js finds out when all is well. */
export const ANSWER = '1 42 closed';

/** @type {Record<string, string>} */
const PROGRAMS = {
  'select.js': ANSWER,
  'require.cjs': ANSWER,
  'dynamic.cjs': ANSWER,
  'entries.js': `${ANSWER} | TypeError | select $1 from "Some table" | pgcell | true | ERR`,
};

export async function checkEngines() {
  for (const [name, command] of Object.entries(ALL)) {
    for (const [program, expected] of Object.entries(PROGRAMS)) {
      await check(`${name}: ${program}`, async () => {
        if (!existsSync(command)) {
          throw new Error('the engine is not installed: npm ci in tests/conformance');
        }
        const { stdout, stderr, ended } = await run([command, program], { cwd: PROJECT });
        equal(`${ended} ${stdout.trim()} ${stderr.trim()}`, `0 ${expected} `); // warnings are for nobody's users
      });
    }
  }
}
