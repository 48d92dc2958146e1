// Headless Chromium, driven by the DevTools protocol through a pipe: no port, no library.

import { spawn } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { scratch } from './scratch.js';

const FLAGS = [
  '--headless', '--remote-debugging-pipe', '--no-sandbox', '--disable-gpu', '--disable-quic', '--disable-dev-shm-usage', '--no-first-run',
  '--no-default-browser-check', '--disable-background-networking', '--disable-component-update', '--disable-sync', '--disable-extensions',
  '--disable-breakpad', '--force-color-profile=srgb',
];
const CALL_TIMEOUT_MS = 30_000;
const CLOSE_TIMEOUT_MS = 5_000;

/** @type {Set<() => void>} */
const running = new Set();
process.on('exit', () => running.forEach((kill) => kill()));

/**
 * @typedef {{
 *   send: (method: string, parameters?: object) => Promise<any>,
 *   evaluate: (expression: string) => Promise<any>,
 *   until: (expression: string) => Promise<any>,
 *   press: (key: string, modifiers?: number) => Promise<void>,
 *   type: (text: string) => Promise<void>,
 *   errors: string[],
 *   close: () => Promise<void>,
 * }} Page
 * `send` is a command of the protocol; `evaluate` gives the value of an expression in the page; `until` waits for a true one; `errors` are those
 * that the console of the page has.
 */

/** @param {string} url @returns {Promise<Page>} */
export async function openPage(url) {
  const profile = mkdtempSync(join(scratch, 'chromium-'));
  // a session of its own, so that all its processes can be ended by one number
  const child = spawn(process.env.CHROMIUM ?? 'chromium', [...FLAGS, `--user-data-dir=${profile}`, 'about:blank'], {
    detached: true,
    env: { ...process.env, HOME: profile, TMPDIR: profile, XDG_CONFIG_HOME: profile, XDG_CACHE_HOME: profile },
    stdio: ['ignore', 'ignore', 'pipe', 'pipe', 'pipe'],
  });
  let log = '';
  /** @type {import('node:stream').Readable} */ (child.stderr).setEncoding('utf8').on('data', (text) => (log = (log + text).slice(-4000)));
  const kill = () => {
    try {
      if (child.pid !== undefined) {
        process.kill(-child.pid, 'SIGKILL');
      }
    } catch {
      // it has ended already
    }
    rmSync(profile, { recursive: true, force: true, maxRetries: 5, retryDelay: 100 });
  };
  running.add(kill);
  const ended = new Promise((resolve) => {
    child.once('error', (error) => resolve(String(error)));
    child.once('close', (code, signal) => resolve(`${code ?? signal}\n${log}`));
  });

  const commands = /** @type {import('node:stream').Writable} */ (child.stdio[3]);
  const messages = /** @type {import('node:stream').Readable} */ (child.stdio[4]);
  commands.on('error', () => {}); // `ended` tells
  /** @type {Map<number, { resolve: (result: any) => void, reject: (error: Error) => void }>} */
  const waiting = new Map();
  /** @type {string[]} */
  const errors = [];
  let lastId = 0;
  /** @type {string | undefined} */
  let sessionId;
  ended.then((how) => waiting.forEach(({ reject }) => reject(new Error(`Chromium has ended: ${how}`))));

  /** @param {any} message */
  function take({ id, result, error, method, params }) {
    if (id !== undefined) {
      const call = waiting.get(id);
      waiting.delete(id);
      error ? call?.reject(new Error(error.message)) : call?.resolve(result);
    } else if (method === 'Runtime.exceptionThrown') {
      errors.push(params.exceptionDetails.exception?.description ?? params.exceptionDetails.text);
    } else if (method === 'Log.entryAdded' && params.entry.level === 'error') {
      errors.push(`${params.entry.text} ${params.entry.url ?? ''}`);
    }
  }
  let rest = '';
  messages.setEncoding('utf8').on('data', (text) => {
    const parts = (rest + text).split('\0');
    rest = parts.pop() ?? '';
    parts.forEach((part) => take(JSON.parse(part)));
  });

  /** @type {Page['send']} */
  async function send(method, params = {}) {
    const id = ++lastId;
    const answer = new Promise((resolve, reject) => waiting.set(id, { resolve, reject }));
    const timer = setTimeout(() => waiting.get(id)?.reject(new Error(`${method}: no answer after ${CALL_TIMEOUT_MS / 1000} s`)), CALL_TIMEOUT_MS);
    commands.write(`${JSON.stringify({ id, method, params, sessionId })}\0`);
    return answer.finally(() => clearTimeout(timer));
  }

  /** @type {Page['evaluate']} */
  async function evaluate(expression) {
    const { result, exceptionDetails } = await send('Runtime.evaluate', { expression, awaitPromise: true, returnByValue: true });
    if (exceptionDetails !== undefined) {
      throw new Error(`${expression}: ${exceptionDetails.exception?.description ?? exceptionDetails.text}`);
    }
    return result.value;
  }

  /** @type {Page} */
  const page = {
    send,
    evaluate,
    errors,
    async until(expression) {
      const deadline = performance.now() + CALL_TIMEOUT_MS;
      for (;;) {
        const value = await evaluate(expression);
        if (value) {
          return value;
        }
        if (performance.now() > deadline) {
          throw new Error(`not true after ${CALL_TIMEOUT_MS / 1000} s: ${expression}; errors of the page: ${errors.join('; ') || 'none'}`);
        }
        await new Promise((resolve) => setTimeout(resolve, 20));
      }
    },
    async press(key, modifiers = 0) {
      const code = { Enter: 13, Tab: 9, ' ': 32 }[key];
      const event = { key, code: key === ' ' ? 'Space' : key, windowsVirtualKeyCode: code, modifiers };
      const text = { Enter: '\r', ' ': ' ' }[key];
      await send('Input.dispatchKeyEvent', { type: 'keyDown', ...event, ...(text && modifiers === 0 ? { text } : {}) });
      await send('Input.dispatchKeyEvent', { type: 'keyUp', ...event });
    },
    async type(text) {
      await send('Input.insertText', { text });
    },
    async close() {
      child.kill(); // kindly, so that it waits for its own children
      const timer = setTimeout(kill, CLOSE_TIMEOUT_MS);
      await ended;
      clearTimeout(timer);
      kill();
      running.delete(kill);
    },
  };

  try {
    const { targetId } = await send('Target.createTarget', { url: 'about:blank' });
    ({ sessionId } = await send('Target.attachToTarget', { targetId, flatten: true }));
    await Promise.all(['Runtime.enable', 'Log.enable', 'Page.enable'].map((method) => send(method)));
    await send('Page.navigate', { url });
  } catch (error) {
    await page.close();
    throw error;
  }
  return page;
}
