// Runs the suite in every engine that is installed in tests/conformance: engines.js [options of run.js]
// Each engine is a process of its own, so that a crash is seen and harms no other. ENGINES names the ones to run.

import { spawn } from 'node:child_process';
import { existsSync } from 'node:fs';

const here = new URL('.', import.meta.url).pathname;
const installed = new URL('../conformance/node_modules', import.meta.url).pathname;
const TIMEOUT_MS = 300_000;

// Workers refuse to make code of strings: nothing here may need it
const NODE_FLAGS = ['--disallow-code-generation-from-strings'];
const ENGINES = {
  'node-22': [`${installed}/node-22/bin/node`, ...NODE_FLAGS],
  'node-24': [`${installed}/node-24/bin/node`, ...NODE_FLAGS],
  'node-26': [`${installed}/node-26/bin/node`, ...NODE_FLAGS],
  bun: [`${installed}/bun/bin/bun`],
};
const only = process.env.ENGINES?.split(/[ ,]+/);

/** @param {string} name @param {string[]} command @returns {Promise<boolean>} whether it passed */
function run(name, [program = '', ...flags]) {
  return new Promise((resolve) => {
    const child = spawn(program, [...flags, 'run.js', ...process.argv.slice(2)], { stdio: ['ignore', 'pipe', 'inherit'], cwd: here });
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
    child.on('error', (error) => console.log(`${name}: ${error.message}`));
    child.on('close', (code, signal) => {
      clearTimeout(timer);
      if (code !== 0) {
        console.log(`${name}: ${isTooLate ? `not through after ${TIMEOUT_MS / 1000} s` : `exit status ${code ?? signal}`}`);
      }
      resolve(code === 0);
    });
  });
}

let failed = 0;
let found = 0;
for (const [name, command] of Object.entries(ENGINES)) {
  if (only ? !only.includes(name) : !existsSync(command[0] ?? '')) {
    continue;
  }
  found++;
  failed += Number(!(await run(name, command)));
}
if (found === 0) {
  console.log('no engine is installed: npm ci in tests/conformance');
}
process.exitCode = failed > 0 || found === 0 ? 1 : 0;
