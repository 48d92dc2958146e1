// A server on a free port of this machine, which takes what a page reports (POST /report), and a page in Chromium that reports once.

import { createReadStream, statSync } from 'node:fs';
import { createServer } from 'node:http';
import { extname, join, normalize } from 'node:path';
import { openPage } from '../browser/chromium.js';

const TIMEOUT_MS = 60_000;
/** @type {Record<string, string>} */
const TYPES = { '.wasm': 'application/wasm', '.js': 'text/javascript', '.html': 'text/html' };

/** @typedef {(request: import('node:http').IncomingMessage, response: import('node:http').ServerResponse) => void} Answer */

/** Answers with the files of a folder. @param {string} folder @returns {Answer} */
export const answerWithFiles = (folder) => (request, response) => {
  const path = join(folder, normalize(new URL(request.url ?? '/', 'http://localhost').pathname));
  const file = path.endsWith('/') ? `${path}index.html` : path;
  const size = statSync(file, { throwIfNoEntry: false })?.size;
  if (size === undefined) {
    response.writeHead(404).end();
    return;
  }
  response.writeHead(200, { 'content-type': TYPES[extname(file)] ?? 'application/octet-stream', 'content-length': size });
  createReadStream(file).on('error', () => response.destroy()).pipe(response);
};

/**
 * Opens a page in Chromium.
 *
 * @param {Answer} answer
 * @returns {Promise<string>} what it reports
 */
export async function reportOf(answer) {
  /** @type {(text: string) => void} */
  let finish = () => {};
  /** @type {Promise<string>} */
  const finished = new Promise((resolve) => (finish = resolve));
  const server = createServer(async (request, response) => {
    if (request.method !== 'POST' || request.url !== '/report') {
      answer(request, response);
      return;
    }
    let text = '';
    for await (const part of request.setEncoding('utf8')) {
      text += part;
    }
    response.end();
    finish(text);
  });
  await new Promise((resolve) => server.listen(0, '127.0.0.1', () => resolve(undefined)));
  const { port } = /** @type {import('node:net').AddressInfo} */ (server.address());
  const page = openPage(`http://127.0.0.1:${port}/`);
  const timer = setTimeout(() => finish(`no report after ${TIMEOUT_MS / 1000} s`), TIMEOUT_MS);
  const report = await Promise.race([finished, page.ended.then((how) => `Chromium has ended: ${how}`)]);
  clearTimeout(timer);
  await page.close();
  server.closeAllConnections();
  server.close();
  return report;
}
