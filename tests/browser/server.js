// Serves what a page needs of this repository, on a free port of this machine, and takes the page's reports.

import { createReadStream } from 'node:fs';
import { stat } from 'node:fs/promises';
import { createServer } from 'node:http';
import { basename, extname } from 'node:path';

const ROOT = new URL('../../', import.meta.url).pathname;
const BUILD = process.env.PGCELL_BUILD ?? `${ROOT}build`;
const SERVED = /^\/(?:build\/[\w-]+\.wasm|js\/dist\/(?:[\w-]+\.js|pgcell\.wasm)|tests\/(?:browser|conformance|js-api|workers)\/[\w-]+\.(?:js|html))$/;
/** @type {Record<string, string>} */
const TYPES = { '.wasm': 'application/wasm', '.js': 'text/javascript', '.html': 'text/html' };

/**
 * @param {(text: string) => void} onReport
 * @returns {Promise<{ url: string, close: () => void }>}
 */
export async function serve(onReport) {
  const server = createServer(async (request, response) => {
    const path = new URL(request.url ?? '/', 'http://localhost').pathname;
    if (request.method === 'POST' && path === '/report') {
      let text = '';
      for await (const part of request.setEncoding('utf8')) {
        text += part;
      }
      response.end();
      onReport(text);
      return;
    }
    // the package's own copy of the module is made from the one in the build folder
    const file = path.endsWith('.wasm') ? `${BUILD}/${basename(path)}` : `${ROOT}${path.slice(1)}`;
    const size = SERVED.test(path) ? await stat(file).then(({ size }) => size, () => undefined) : undefined;
    if (size === undefined) {
      response.writeHead(404).end();
      onReport(`FAILED: the page wants ${path}`);
      return;
    }
    response.writeHead(200, { 'content-type': TYPES[extname(path)], 'content-length': size, 'cache-control': 'no-store' });
    createReadStream(file).on('error', () => response.destroy()).pipe(response);
  });
  await new Promise((resolve) => server.listen(0, '127.0.0.1', () => resolve(undefined)));
  const { port } = /** @type {import('node:net').AddressInfo} */ (server.address());
  return {
    url: `http://127.0.0.1:${port}`,
    close() {
      server.closeAllConnections();
      server.close();
    },
  };
}
