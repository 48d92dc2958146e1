// Runs the suite in this engine (Node or Bun): run.js [--transport=NAME]… [--small] [--list] [PART OF A NAME]…
// Prints a line for each failure, and "TRANSPORT: N passed, N failed" for each transport; exits with 1 when something failed.

import * as pgcell from '../../js/dist/index.js';
import { Cell } from './driver.js';
import { isThere, loadModules, VARIANTS } from './modules.js';
import { cases } from './suite.js';

const options = process.argv.slice(2).filter((argument) => argument.startsWith('--'));
const parts = process.argv.slice(2).filter((argument) => !argument.startsWith('--'));
const chosen = options.filter((option) => option.startsWith('--transport=')).map((option) => option.slice('--transport='.length));
const unknown = [
  ...options.filter((option) => !option.startsWith('--transport=') && !['--small', '--list', '--verbose'].includes(option)),
  ...chosen.filter((name) => !VARIANTS.some((variant) => variant === name)),
];
if (unknown.length > 0) {
  console.error(`run.js: unknown: ${unknown.join(' ')}`);
  process.exit(2);
}

let anyFailed = false;
let lastFailure = '';
for (const transport of chosen.length > 0 ? VARIANTS.filter((each) => chosen.includes(each)) : VARIANTS) {
  if (!isThere(transport)) {
    console.log(`${transport}: skipped: its module is not there (make check-asyncify builds it)`);
    continue;
  }
  const wanted = cases(transport, pgcell.canWait()).filter(
    ({ name, isBig }) => !(isBig && options.includes('--small')) && (parts.length === 0 || parts.some((part) => name.includes(part))),
  );
  if (options.includes('--list')) {
    console.log(wanted.map(({ name }) => `${transport}: ${name}`).join('\n'));
    continue;
  }
  const modules = await loadModules(transport);
  let passed = 0;
  let failed = 0;
  for (const { name, run } of wanted) {
    /** @type {Cell[]} */
    const cells = [];
    const started = performance.now();
    try {
      await run({
        pgcell,
        modules,
        async open({ isFresh = false, ...rest } = {}) {
          const cell = await Cell.make(pgcell, modules, rest);
          cells.push(cell);
          if (!isFresh) {
            cell.start();
          }
          return cell;
        },
      });
      passed++;
      if (options.includes('--verbose')) {
        console.log(`${transport}: ${name}: ${Math.round(performance.now() - started)} ms`);
      }
    } catch (error) {
      failed++;
      const text = indent(describe(error));
      console.log(`${transport}: FAILED: ${name}\n${text === lastFailure ? '    as the one before' : text}`);
      lastFailure = text;
      for (const { logs } of cells) {
        if (logs.length > 0) {
          console.log(indent(`the guest said:\n${logs.slice(-10).join('\n')}`));
        }
      }
    }
  }
  anyFailed ||= failed > 0 || wanted.length === 0;
  console.log(`${transport}: ${passed} passed, ${failed} failed`);
}
process.exitCode = anyFailed ? 1 : 0;

/** An error, where in the suite, and its causes. @param {unknown} error @returns {string} */
function describe(error) {
  if (!(error instanceof Error)) {
    return String(error);
  }
  const frames = (error.stack ?? '').split('\n').filter((line) => line.includes('/suite'));
  const text = [`${error.name}: ${error.message}`, ...frames.slice(0, 3)].join('\n');
  return error.cause === undefined ? text : `${text}\ncaused by ${describeTrap(error.cause)}`;
}

/** The top of the guest's stack. @param {unknown} cause */
function describeTrap(cause) {
  return cause instanceof Error ? `${cause}\n${(cause.stack ?? '').split('\n').filter((line) => line.includes('wasm')).slice(0, 12).join('\n')}` : String(cause);
}

/** @param {string} text */
function indent(text) {
  return text.replace(/^/gm, '    ');
}
