// Opens a page in headless Chromium, and ends it.

import { spawn } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

const FLAGS = [
  '--headless', '--no-sandbox', '--disable-gpu', '--disable-quic', '--disable-dev-shm-usage', '--no-first-run', '--no-default-browser-check',
  '--disable-background-networking', '--disable-component-update', '--disable-sync', '--disable-extensions', '--disable-breakpad',
  // the page is never in front: it is not to be slowed down for that
  '--disable-background-timer-throttling', '--disable-renderer-backgrounding', '--disable-backgrounding-occluded-windows',
];

const CLOSE_TIMEOUT_MS = 5_000;

/** @type {Set<() => void>} */
const running = new Set();
process.on('exit', () => running.forEach((kill) => kill()));
for (const signal of /** @type {const} */ (['SIGINT', 'SIGTERM', 'SIGHUP'])) {
  process.on(signal, () => process.exit(1));
}

/**
 * @param {string} url
 * @returns {{ ended: Promise<string>, close: () => Promise<void> }} `ended` tells how, if Chromium ends before it is closed
 */
export function openPage(url) {
  const profile = mkdtempSync(join(tmpdir(), 'pgcell-chromium-'));
  // a session of its own, so that all its processes can be ended by one number
  const child = spawn(process.env.CHROMIUM ?? 'chromium', [...FLAGS, `--user-data-dir=${profile}`, url], {
    detached: true,
    env: { ...process.env, HOME: profile, TMPDIR: profile, XDG_CONFIG_HOME: profile, XDG_CACHE_HOME: profile },
    stdio: ['ignore', 'ignore', 'pipe'],
  });
  let log = '';
  child.stderr.setEncoding('utf8').on('data', (text) => (log = (log + text).slice(-4000)));
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
  return {
    ended,
    async close() {
      child.kill(); // kindly, so that it waits for its own children
      const timer = setTimeout(kill, CLOSE_TIMEOUT_MS);
      await ended;
      clearTimeout(timer);
      kill();
      running.delete(kill);
    },
  };
}
