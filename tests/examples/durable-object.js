// examples/durable-object in workerd, which is killed and started again.

import { startWorker } from '../workers/workerd.js';
import { client } from './http.js';
import { configure } from './wrangler.js';

/** @param {import('./check.js').Check} check */
export async function test(check) {
  const config = configure('durable-object');
  /** @type {any[]} */
  let before = [];
  await during(config, async (call) => {
    check.equal('a new counter is 0', (await call('GET', '/counter/visits')).json, { name: 'visits', value: 0 });
    check.equal('a new counter has no history', (await call('GET', '/counter/visits/history')).json, []);
    const values = [];
    for (let i = 0; i < 5; i++) {
      values.push((await call('POST', '/counter/visits')).json.value);
    }
    check.equal('each POST adds one', values, [1, 2, 3, 4, 5]);
    const many = await Promise.all(Array.from({ length: 20 }, () => call('POST', '/counter/visits')));
    const sorted = many.map(({ json }) => json.value).sort((a, b) => a - b);
    check.equal('twenty at once have values of their own', sorted, Array.from({ length: 20 }, (_, i) => i + 6));
    check.equal('another counter is another database', (await call('POST', '/counter/downloads')).json, { name: 'downloads', value: 1 });
    check.equal('another path is 404', (await call('GET', '/counter')).status, 404);
    check.equal('another method is 405', (await call('DELETE', '/counter/visits')).status, 405);
    before = (await call('GET', '/counter/visits/history')).json;
    check.equal('the history has every value, the newest first', before.map(({ value }) => value), Array.from({ length: 25 }, (_, i) => 25 - i));
    check.that('the history says when', before.every(({ at }) => /^\d{4}-.*Z$/.test(at)), JSON.stringify(before));
    // killed right after this answer
    check.equal('the last increment before workerd is killed', (await call('POST', '/counter/visits')).json.value, 26);
  });
  await during(config, async (call) => {
    check.equal('after a restart the count is there', (await call('GET', '/counter/visits')).json.value, 26);
    check.equal('the other counter too', (await call('GET', '/counter/downloads')).json.value, 1);
    check.equal('the history is the same', (await call('GET', '/counter/visits/history')).json.slice(1), before);
    check.equal('increments go on', (await call('POST', '/counter/visits')).json.value, 27);
    check.equal('a counter made after the restart', (await call('POST', '/counter/later')).json.value, 1);
  });
  await during(config, async (call) => {
    const values = await Promise.all(['visits', 'downloads', 'later'].map((name) => call('GET', `/counter/${name}`)));
    check.equal('and all are there after another restart', values.map(({ json }) => json.value), [27, 1, 1]);
  });
}

/** @param {string} config @param {(call: ReturnType<typeof client>) => Promise<void>} work with a workerd that is killed afterwards */
async function during(config, work) {
  const { url, stop } = await startWorker(config);
  try {
    await work(client(url));
  } finally {
    await stop();
  }
}
