// examples/worker in workerd.

import { startWorker } from '../workers/workerd.js';
import { client } from './http.js';
import { configure } from './wrangler.js';

/** @param {import('./check.js').Check} check */
export async function test(check) {
  const { url, stop } = await startWorker(configure('worker'));
  try {
    await use(check, client(url));
  } finally {
    await stop();
  }
}

/** @param {import('./check.js').Check} check @param {ReturnType<typeof client>} call */
async function use(check, call) {
  const post = (/** @type {unknown} */ note) => call('POST', '/notes', JSON.stringify(note));
  const first = await Promise.all(Array.from({ length: 8 }, () => call('GET', '/notes')));
  check.equal('eight first requests at once share one empty database', first.map(({ status, json }) => [status, json.length]), Array(8).fill([200, 0]));

  const made = await post({ title: 'Soup', body: 'Two onions, <b>chopped</b> finely, and ½ l of "stock"' });
  const { created, ...note } = made.json;
  check.equal('POST /notes answers 201 with the note', [made.status, note], [
    201,
    { id: 1, title: 'Soup', body: 'Two onions, <b>chopped</b> finely, and ½ l of "stock"' },
  ]);
  check.match('POST /notes says when it was made', created, /^\d{4}-\d\d-\d\dT.*Z$/);
  check.equal('POST /notes says where the note is', made.headers.get('location'), '/notes/1');
  check.equal('a note needs no body', (await post({ title: 'Bread' })).json.body, '');
  check.equal('GET /notes/ID', await call('GET', '/notes/1').then(({ status, json }) => [status, json]), [200, made.json]);
  check.equal('GET /notes has the newest first', (await call('GET', '/notes')).json.map((/** @type {any} */ { title }) => title), ['Bread', 'Soup']);

  await post({ title: 'Onion tart', body: 'Butter and flour' });
  const found = await call('GET', '/search?q=chopping+OR+onion');
  check.equal('GET /search finds other forms of a word, the title counts more', found.json.map((/** @type {any} */ { title }) => title), ['Onion tart', 'Soup']);
  check.match('GET /search marks what it found', found.json[1]?.excerpt, /«onions».*«chopped»/);
  check.equal('GET /search finds nothing', (await call('GET', '/search?q=onion+-tart+-soup')).json, []);
  check.equal('GET /search without a query finds nothing', (await call('GET', '/search')).json, []);

  /** @param {string} what @param {import('./http.js').Answer} answer @param {number} status @param {string | undefined} code @param {RegExp} message */
  function refused(what, answer, status, code, message) {
    check.equal(what, [answer.status, answer.json.code], [status, code]);
    check.match(`${what}: the message`, answer.json.message, message);
  }
  const twice = await post({ title: 'Soup' });
  refused('a title twice is 409', twice, 409, '23505', /duplicate key/);
  check.equal('a title twice: the detail', [twice.json.detail, twice.json.constraint], ['Key (title)=(Soup) already exists.', 'note_title_key']);
  refused('no JSON is 400', await call('POST', '/notes', '{ "title": '), 400, '22P02', /invalid input syntax for type json/);
  refused('no body is 400', await call('POST', '/notes', ''), 400, '22P02', /invalid input syntax for type json/);
  refused('JSON of another kind is 400', await post(['Soup']), 400, '22023', /array/);
  refused('no title is 400', await post({ body: 'x' }), 400, '23502', /null value in column "title"/);
  refused('an empty title is 400', await post({ title: '' }), 400, '23514', /check constraint/);
  refused('a long body is 400', await post({ title: 'Long', body: 'x'.repeat(10_001) }), 400, '23514', /check constraint/);
  refused('an id beyond int is 400', await call('GET', '/notes/99999999999'), 400, '22003', /out of range/);
  refused('a note that is not there is 404', await call('GET', '/notes/99'), 404, undefined, /nothing/);
  refused('another path is 404', await call('GET', '/'), 404, undefined, /nothing/);
  const wrong = await call('PUT', '/notes/1', '{}');
  refused('another method is 405', wrong, 405, undefined, /PUT/);
  check.equal('405 says what is allowed', wrong.headers.get('allow'), 'GET, DELETE');

  const quoted = await post({ title: "'); drop table note; --" });
  check.equal('SQL in a title is a title', [quoted.status, quoted.json.title], [201, "'); drop table note; --"]);
  check.equal('DELETE /notes/ID answers 204 without a body', await call('DELETE', '/notes/1').then(({ status, json }) => [status, json]), [204, undefined]);
  check.equal('what is deleted is gone', (await call('GET', '/notes/1')).status, 404);
  check.equal('what is deleted can not be deleted again', (await call('DELETE', '/notes/1')).status, 404);
  const many = await Promise.all(Array.from({ length: 30 }, (_, i) => post({ title: `Note ${i}` })));
  check.equal('thirty notes at once have ids of their own', new Set(many.map(({ json }) => json.id)).size, 30);
}
