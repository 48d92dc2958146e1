// Runs the suite in every engine that is installed beside it (npm ci in this folder): engines.js [options of run.js]
// Each engine and transport is a process of its own, so that a crash is seen and harms no other. Prints one line for each.

import { spawn } from 'node:child_process';
import { existsSync } from 'node:fs';
import { VARIANTS } from './modules.js';

const here = new URL('.', import.meta.url).pathname;
const TIMEOUT_MS = 600_000;

const ENGINES = {
  'node-22': ['node_modules/node-22/bin/node'],
  'node-24': ['node_modules/node-24/bin/node'],
  'node-26': ['node_modules/node-26/bin/node'],
  bun: ['node_modules/bun/bin/bun'],
};
const only = process.env.ENGINES?.split(/[ ,]+/);
const isTransport = (/** @type {string} */ option) => option.startsWith('--transport=');
const chosen = process.argv.slice(2).filter(isTransport);
const options = process.argv.slice(2).filter((option) => !isTransport(option));

/** @param {string} name @param {string[]} command @returns {Promise<boolean>} whether it passed */
function run(name, command) {
  return new Promise((resolve) => {
    const child = spawn(`${here}${command[0]}`, command.slice(1), { stdio: ['ignore', 'pipe', 'inherit'], cwd: here });
    let isTooLate = false;
    const timer = setTimeout(() => {
      isTooLate = true;
      child.kill('SIGKILL');
    }, TIMEOUT_MS);
    child.stdout.setEncoding('utf8');
    let rest = '';
    child.stdout.on('data', (text) => {
      const lines = (rest + text).split('\n');
      rest = lines.pop() ?? '';
      for (const line of lines) {
        console.log(`${name}: ${line}`);
      }
    });
    child.on('close', (code, signal) => {
      clearTimeout(timer);
      if (code !== 0) {
        console.log(`${name}: ${isTooLate ? `not through after ${TIMEOUT_MS / 1000} s` : `exit status ${code ?? signal}`}: ${command.slice(1).join(' ')}`);
      }
      resolve(code === 0);
    });
  });
}

let failed = 0;
let found = 0;
for (const [name, command] of Object.entries(ENGINES)) {
  if (only ? !only.includes(name) : !existsSync(`${here}${command[0]}`)) {
    continue;
  }
  found++;
  for (const transport of chosen.length > 0 ? chosen : VARIANTS.map((variant) => `--transport=${variant}`)) {
    failed += Number(!(await run(name, [...command, 'run.js', transport, ...options])));
  }
  const flags = name.startsWith('node') ? ['--disallow-code-generation-from-strings'] : [];
  failed += Number(!(await run(name, [...command, ...flags, 'no-code-generation.js'])));
}
if (found === 0) {
  console.log('no engine is installed: npm ci in tests/conformance');
}
process.exitCode = failed > 0 || found === 0 ? 1 : 0;
