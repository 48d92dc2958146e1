// examples/browser in headless Chromium.

import { mkdirSync, writeFileSync } from 'node:fs';
import { openPage } from './chromium.js';
import { install, ROOT } from './scratch.js';
import { serve } from './server.js';

const SCREENSHOTS = `${ROOT}build/screenshots`;
const CONTROL = 2;
const WIDTH = 1200;
const HEIGHT = 1000;

/** @param {import('./check.js').Check} check */
export async function test(check) {
  const server = await serve(install('browser'));
  try {
    const page = await openPage(`${server.url}/`);
    try {
      await use(check, page);
    } finally {
      await page.close();
    }
  } finally {
    server.close();
  }
}

/** The newest entry of the output, as data. */
const NEWEST = `(() => {
  const article = document.querySelector('#output article');
  const isSeen = (element) => element.checkVisibility({ visibilityProperty: true, opacityProperty: true });
  const text = (selector) => [...article.querySelectorAll(selector)].filter(isSeen).map((element) => element.textContent);
  return {
    isFailed: article.classList.contains('failed'),
    head: text('thead th'),
    tables: [...article.querySelectorAll('table')].map((table) =>
      [...table.tBodies[0].rows].map((row) => [...row.cells].map((cell) => cell.textContent))),
    summaries: text('.summary'),
    messages: text('.message'),
    code: text('.sqlstate')[0],
    position: text('.position')[0],
    details: text('dt, dd'),
    time: text('.time')[0],
  };
})()`;

/** Where the caret is on the screen, and where the word that is wrong. */
const CARET = `(() => {
  const position = document.querySelector('#output article .position');
  const range = document.createRange();
  const start = position.firstChild.data.indexOf('relnames');
  range.setStart(position.firstChild, start);
  range.setEnd(position.firstChild, start + 1);
  const left = (place) => Math.round(place.getBoundingClientRect().left);
  return { caret: left(position.querySelector('.caret')), word: left(range) };
})()`;

/** @param {import('./check.js').Check} check @param {import('./chromium.js').Page} page */
async function use(check, page) {
  await page.send('Emulation.setDeviceMetricsOverride', { width: WIDTH, height: HEIGHT, deviceScaleFactor: 1, mobile: false });
  await setScheme(page, 'light');
  await page.until(`document.readyState === 'complete' && document.getElementById('run')?.disabled === false`);
  check.match('the page says what is there', await page.evaluate(`document.getElementById('status').textContent`), /^PostgreSQL 18\.\d+, ready in [\d.]+ m?s$/);
  check.equal('the text area has the focus', await page.evaluate(`document.activeElement.id`), 'sql');

  /** Types a query over what is there, and presses Ctrl+Enter. @param {string} sql @returns {Promise<any>} the newest entry */
  async function run(sql) {
    await begin(sql);
    await page.until(`document.getElementById('run').disabled === false`);
    return page.evaluate(NEWEST);
  }
  /** @param {string} sql */
  async function begin(sql) {
    await page.evaluate(`document.getElementById('sql').select(); document.getElementById('sql').focus()`);
    await page.type(sql);
    await page.press('Enter', CONTROL);
  }

  const results = await run(`create table t (a int, b text);\ninsert into t values (1, 'one'), (2, null);\nselect *, a * 1.50 as c, array[a] as d from t order by a`);
  check.equal('Ctrl+Enter runs what was typed', results.isFailed, false);
  check.equal('a result for each statement', results.summaries, ['CREATE', 'INSERT 2', '2 rows']);
  check.equal('rows are a table', [results.head, results.tables], [['a', 'b', 'c', 'd'], [[['1', 'one', '1.50', '{1}'], ['2', 'null', '3.00', '{2}']]]]);
  check.match('how long it took', results.time, /^[\d.]+ m?s$/);
  const columns = await run('select 1 as x, 2 as x');
  check.equal('columns of one name', [columns.head, columns.tables], [['x', 'x'], [[['1', '2']]]]);
  const nobody = await run('select 1 as x where false');
  check.equal('no rows', [nobody.head, nobody.tables, nobody.summaries], [['x'], [[]], ['0 rows']]);
  const many = await run('select i from generate_series(1, 2000) i');
  check.equal('of many rows the first ones', [many.tables[0].length, many.summaries], [500, ['2000 rows, the first 500 of them here']]);

  const wrong = await run(`select 1;\n\tselect '😀ü', relnames\nfrom pg_class`);
  check.equal('an error: SQLSTATE and message', [wrong.isFailed, wrong.code, wrong.messages], [
    true, '42703', ['ERROR 42703 column "relnames" does not exist'],
  ]);
  check.equal('an error: where', wrong.position, `LINE 2: \tselect '😀ü', relnames\nLINE 2: \tselect '😀ü', ^`);
  const { caret, word } = await page.evaluate(CARET);
  check.equal('the caret is below the word', caret, word);
  check.equal('an error: hint', wrong.details, ['Hint', 'Perhaps you meant to reference the column "pg_class.relname".']);
  const twice = await run('create unique index on t (a); insert into t values (1)');
  check.equal('an error: detail', [twice.code, twice.details], ['23505', ['Detail', 'Key (a)=(1) already exists.']]);
  const noticed = await run(`do $$ begin raise notice 'half way' using hint = 'patience'; end $$`);
  check.equal('a notice', [noticed.isFailed, noticed.messages, noticed.details], [false, ['NOTICE 00000 half way'], [
    'Hint', 'patience', 'Where', 'PL/pgSQL function inline_code_block line 1 at RAISE',
  ]]);

  const script = `<img src=x onerror="document.title='broken'"><script>document.title='broken'</script>`;
  const html = await run(`select '${script.replaceAll("'", "''")}' as "<b>name</b>"`);
  check.equal('HTML in values and names is text', [html.head, html.tables], [['<b>name</b>'], [[[script]]]]);
  const raised = await run(`do $$ begin raise exception '<img src=x>' using detail = '<b>', hint = '<i>'; end $$`);
  check.match('HTML in errors is text', raised.messages[0], /^ERROR P0001 <img src=x>$/);
  check.equal('none of it became elements', await page.evaluate(`[document.title, document.querySelectorAll('img, main i, main b, main script').length]`), ['SQL console', 0]);

  await page.evaluate(`document.querySelector('#restart').click()`);
  await page.until(`document.getElementById('run').disabled === false`);
  check.equal('a new database is empty', (await run('\\d')).tables, []);
  for (const name of ['Recursion', 'JSON', 'Full-text search', 'Planets']) {
    const sample = await sampleOf(page, name);
    check.that(`the sample ${name}`, !sample.isFailed && sample.tables.at(-1)?.length > 0, JSON.stringify(sample));
  }
  const list = await run('\\d');
  check.equal('\\d lists relations', list.tables[0]?.map((/** @type {string[]} */ row) => row.slice(0, 4)), [['public', 'planet', 'table', 'postgres']]);
  const described = await run('\\d planet;');
  check.equal('\\d NAME has columns, indexes and constraints', described.tables, [
    [['name', 'text', 't', ''], ['kind', 'text', 't', ''], ['radius_km', 'integer', 't', '']],
    [['CREATE UNIQUE INDEX planet_pkey ON public.planet USING btree (name)']],
    [['planet_pkey', 'PRIMARY KEY (name)'], ['planet_radius_km_check', 'CHECK ((radius_km > 0))']],
  ]);
  check.equal(`\\d of what is not there`, (await run(`\\d "o'clock"`)).messages, [`ERROR 42P01 relation "o'clock" does not exist`]);

  await page.evaluate(`document.getElementById('sql').focus()`);
  const stops = [];
  for (let i = 0; i < 3; i++) {
    await page.press('Tab');
    stops.push(await page.evaluate(`document.activeElement.textContent.replace(/\\s+/g, ' ')`));
  }
  check.equal('Tab goes from the text area to the buttons', stops, ['Run Ctrl Enter', 'Planets', 'Full-text search']);
  await page.press(' ');
  await page.until(`document.getElementById('run').disabled === false`);
  check.match('a button is pressed with the keyboard', (await page.evaluate(NEWEST)).head, /^rank,headline$/);

  await begin('select count(*) from generate_series(1, 1000000000)');
  await page.until(`document.getElementById('status').textContent === 'Running …'`);
  const began = performance.now();
  await page.evaluate(`new Promise((resolve) => requestAnimationFrame(() => resolve()))`);
  check.that('the page answers while a query runs', performance.now() - began < 1000, `after ${Math.round(performance.now() - began)} ms`);
  await page.evaluate(`document.querySelector('#restart').click()`);
  await page.until(`document.getElementById('run').disabled === false`);
  check.equal('a new database ends it', (await run('select 1')).tables, [[['1']]]);

  await page.evaluate(`document.querySelector('#restart').click()`);
  await page.until(`document.getElementById('run').disabled === false`);
  await sampleOf(page, 'An error');
  await sampleOf(page, 'Planets');
  for (const [scheme, name] of [['light', 'console'], ['dark', 'console-dark']]) {
    await setScheme(page, scheme ?? '');
    const size = await takeScreenshot(page, `${SCREENSHOTS}/${name}.png`);
    check.that(`build/screenshots/${name}.png`, size.width === WIDTH && size.height === HEIGHT && size.bytes > 20_000, JSON.stringify(size));
  }
  await page.send('Emulation.setDeviceMetricsOverride', { width: 360, height: 740, deviceScaleFactor: 1, mobile: false });
  check.that('on a narrow screen nothing sticks out', await page.evaluate(`document.documentElement.scrollWidth <= 360`));
  check.equal('the console of the page has no errors', page.errors, []);
}

/** @param {import('./chromium.js').Page} page @param {string} name */
async function sampleOf(page, name) {
  await page.evaluate(`[...document.querySelectorAll('#samples button')].find((button) => button.textContent === ${JSON.stringify(name)}).click()`);
  await page.until(`document.getElementById('run').disabled === false`);
  return page.evaluate(NEWEST);
}

/** @param {import('./chromium.js').Page} page @param {string} scheme */
async function setScheme(page, scheme) {
  await page.send('Emulation.setEmulatedMedia', { features: [{ name: 'prefers-color-scheme', value: scheme }] });
}

/** @param {import('./chromium.js').Page} page @param {string} path @returns {Promise<{ bytes: number, width: number, height: number }>} 0 if it is no PNG */
async function takeScreenshot(page, path) {
  await page.evaluate(`scrollTo(0, 0)`);
  const { data } = await page.send('Page.captureScreenshot', { format: 'png' });
  const png = Buffer.from(data, 'base64');
  mkdirSync(SCREENSHOTS, { recursive: true });
  writeFileSync(path, png);
  const isPng = png.subarray(0, 8).equals(Buffer.from('\x89PNG\r\n\x1a\n', 'latin1'));
  return { bytes: png.length, width: isPng ? png.readUInt32BE(16) : 0, height: isPng ? png.readUInt32BE(20) : 0 };
}
