// A scratch folder, the programs that run in it, and the count of checks. At the end of the process the folder is removed, and what still
// runs is ended with all that it started.

import { spawn } from 'node:child_process';
import { mkdtempSync, realpathSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

const TIMEOUT_MS = 60_000;

export const SCRATCH = mkdtempSync(join(realpathSync(tmpdir()), 'pgcell-package-'));
process.on('exit', () => rmSync(SCRATCH, { recursive: true, maxRetries: 5, retryDelay: 100 }));
for (const signal of /** @type {const} */ (['SIGINT', 'SIGTERM', 'SIGHUP'])) {
  process.on(signal, () => process.exit(1));
}

/** @type {Set<() => void>} */
const running = new Set();
process.on('exit', () => running.forEach((kill) => kill()));

/**
 * Runs a program to its end.
 *
 * @param {string[]} command
 * @param {{ cwd?: string, timeoutMs?: number }} [options] cwd: the scratch folder if missing
 * @returns {Promise<{ stdout: string, stderr: string, ended: string }>} ended: '0', the exit status, a signal, or why it was ended
 */
export function run([program = '', ...args], { cwd = SCRATCH, timeoutMs = TIMEOUT_MS } = {}) {
  return new Promise((resolve, reject) => {
    // a session of its own, so that all its processes can be ended by one number
    const child = spawn(program, args, { cwd, detached: true, stdio: ['ignore', 'pipe', 'pipe'] });
    const kill = () => {
      try {
        if (child.pid !== undefined) {
          process.kill(-child.pid, 'SIGKILL');
        }
      } catch {
        // it has ended already
      }
    };
    running.add(kill);
    let isTooLate = false;
    const timer = setTimeout(() => {
      isTooLate = true;
      kill();
    }, timeoutMs);
    let stdout = '';
    let stderr = '';
    child.stdout.setEncoding('utf8').on('data', (text) => (stdout += text));
    child.stderr.setEncoding('utf8').on('data', (text) => (stderr += text));
    const end = () => {
      clearTimeout(timer);
      running.delete(kill);
    };
    child.once('error', (error) => {
      end();
      reject(error);
    });
    child.once('close', (code, signal) => {
      end();
      resolve({ stdout, stderr, ended: isTooLate ? `not through after ${timeoutMs / 1000} s` : String(code ?? signal) });
    });
  });
}

/**
 * As `run`, for a program that must succeed.
 *
 * @param {Parameters<typeof run>} args
 * @returns {Promise<string>} what it printed
 */
export async function succeed(...args) {
  const { stdout, stderr, ended } = await run(...args);
  if (ended !== '0') {
    throw new Error(`${args[0].slice(0, 3).join(' ')}: ended: ${ended}\n${stdout}${stderr}`);
  }
  return stdout;
}

export const counts = { passed: 0, failed: 0 };
/** Only checks with this in their names are made. */
const parts = process.argv.slice(2).filter((argument) => !argument.startsWith('--'));

/**
 * Makes one check and prints a line for it.
 *
 * @param {string} name
 * @param {() => Promise<string | void> | string | void} body throws when something is wrong; may return what to print beside the name
 */
export async function check(name, body) {
  if (parts.length > 0 && !parts.some((part) => name.includes(part))) {
    return;
  }
  try {
    const note = await body();
    counts.passed++;
    console.log(`package: ${name}${note ? `: ${note}` : ''}`);
  } catch (error) {
    counts.failed++;
    console.log(`package: FAILED: ${name}: ${error instanceof Error ? error.message : error}`);
  }
}

/** @param {unknown} actual @param {unknown} expected */
export function equal(actual, expected) {
  if (actual !== expected) {
    throw new Error(`got ${JSON.stringify(actual)}, expected ${JSON.stringify(expected)}`);
  }
}
