// The page of the console: what is typed goes to database.js, and what comes back is shown. Everything is shown as text, never as HTML.

import { describeRelations } from './describe.js';

/** @typedef {import('./database.js').Answer} Answer */
/** @typedef {import('./database.js').Notice} Notice */
/** @typedef {import('./database.js').Result} Result */

/** Of each result; the rest is counted only. */
const ROWS_SHOWN = 500;
/** OIDs of the types whose values are aligned to the right: int8, int2, int4, oid, float4, float8, numeric. */
const NUMBERS = new Set([20, 21, 23, 26, 700, 701, 1700]);

/** @type {Record<string, string>} */
const SAMPLES = {
  Planets: `create table if not exists planet (name text primary key, kind text not null, radius_km int not null check (radius_km > 0));
insert into planet values
  ('Mercury', 'rocky', 2440), ('Venus', 'rocky', 6052), ('Earth', 'rocky', 6371), ('Mars', 'rocky', 3390),
  ('Jupiter', 'gas giant', 69911), ('Saturn', 'gas giant', 58232), ('Uranus', 'ice giant', 25362), ('Neptune', 'ice giant', 24622)
on conflict do nothing;

select name, kind, radius_km, rank() over (partition by kind order by radius_km desc) as rank_of_kind,
  round(100.0 * radius_km / max(radius_km) over (), 1) as percent_of_largest
from planet order by radius_km desc;`,

  'Full-text search': `with line (text) as (values
  ('The quick brown foxes jumped over the lazy dogs'),
  ('A lazy afternoon with a fox and a good book'),
  ('Dogs bark, the caravan moves on'))
select round(ts_rank(to_tsvector('english', text), query)::numeric, 3) as rank,
  ts_headline('english', text, query, 'StartSel=«, StopSel=»') as headline
from line, websearch_to_tsquery('english', 'fox or jumping') as query
where to_tsvector('english', text) @@ query
order by rank desc;`,

  Recursion: `with recursive mandelbrot (cx, cy, x, y, n) as (
  select c * 0.04 - 2.1, r * 0.09 - 1.1, 0.0::float8, 0.0::float8, 0
  from generate_series(0, 72) c, generate_series(0, 24) r
  union all
  select cx, cy, x * x - y * y + cx, 2 * x * y + cy, n + 1 from mandelbrot where n < 40 and x * x + y * y < 4)
select string_agg(substr(' .,:;-~+=*oxO%#@', 1 + most * 15 / 40, 1), '' order by cx) as mandelbrot
from (select cx, cy, max(n) as most from mandelbrot group by cx, cy) as point
group by cy order by cy;`,

  JSON: `select item ->> 'name' as name, (item ->> 'price')::numeric as price, tag
from jsonb_path_query('[{"name": "lamp", "price": 24.9, "tags": ["light", "desk"]}, {"name": "chair", "price": 89, "tags": []}]', '$[*]') as item
left join jsonb_array_elements_text(item -> 'tags') as tag on true;`,

  'An error': `select name, raduis
from (values ('Earth', 6371)) as planet (name, radius);`,
};

/** @template {HTMLElement} E @param {string} id @returns {E} */
const byId = (id) => /** @type {E} */ (document.getElementById(id));
const form = byId('form');
const output = byId('output');
const status = byId('status');
/** @type {HTMLTextAreaElement} */
const input = byId('sql');
/** @type {HTMLButtonElement} */
const run = byId('run');

/**
 * An element. Strings among the children become text.
 *
 * @template {keyof HTMLElementTagNameMap} T
 * @param {T} tag
 * @param {string} [className]
 * @param {(string | Node)[]} children
 */
function make(tag, className = '', ...children) {
  const element = document.createElement(tag);
  element.className = className;
  element.append(...children);
  return element;
}

/* The database */

/** @type {Worker | undefined} */
let database;
/** @type {Map<number, (answer: Answer) => void>} */
const waiting = new Map();
let lastId = 0;

/** @param {boolean} isReady */
function setReady(isReady, text = '') {
  run.disabled = !isReady;
  status.textContent = text;
}

function start() {
  database?.terminate();
  waiting.clear();
  setReady(false, 'Starting PostgreSQL …');
  const started = performance.now();
  database = new Worker('./database.js', { type: 'module' });
  database.onerror = (event) => setReady(false, `database.js does not run. ${event.message ?? ''}`);
  database.onmessage = ({ data }) => {
    if (data.failure !== undefined) {
      setReady(false, data.failure);
    } else if (data.version !== undefined) {
      setReady(true, `PostgreSQL ${data.version}, ready in ${duration(performance.now() - started)}`);
    } else {
      waiting.get(data.id)?.(data);
      waiting.delete(data.id);
    }
  };
}

/** @param {string} sql @returns {Promise<Answer>} never settled if the database is ended before */
function ask(sql) {
  return new Promise((resolve) => {
    const id = ++lastId;
    waiting.set(id, resolve);
    database?.postMessage({ id, sql });
  });
}

/** @param {string} text what was typed */
async function answer(text) {
  if (run.disabled || text.trim() === '') {
    return;
  }
  setReady(false, 'Running …');
  const description = describeRelations(text);
  const { results = [], error, notices, ms } = await ask(description ?? text);
  setReady(true, `${error ? 'Failed' : 'Done'} in ${duration(ms)}`);
  output.prepend(
    make(
      'article',
      error ? 'failed' : '',
      make('h2', '', make('code', '', text.trim().replaceAll(/\s+/g, ' ')), make('span', 'time', duration(ms))),
      ...notices.map((notice) => showNotice(notice, text)),
      // of \d only the parts that there are
      ...results.filter(({ rows }) => description === undefined || rows.length > 0).map(showResult),
      ...(error ? [showNotice(error, description === undefined ? text : '')] : []),
    ),
  );
}

/* What is shown */

/** @param {number} ms */
const duration = (ms) => (ms < 1000 ? `${ms.toFixed(ms < 10 ? 1 : 0)} ms` : `${(ms / 1000).toFixed(2)} s`);

/** @param {Result} result */
function showResult({ command, rowCount, fields, rows }) {
  const summary = `${command} ${rowCount ?? ''}`.trim();
  if (fields.length === 0) {
    return make('p', 'summary', summary);
  }
  const numeric = fields.map(({ dataTypeID }) => (NUMBERS.has(dataTypeID) ? 'number' : ''));
  const head = make('tr', '', ...fields.map(({ name }, i) => Object.assign(make('th', numeric[i], name), { scope: 'col' })));
  const body = rows.slice(0, ROWS_SHOWN).map((row) =>
    make('tr', '', ...row.map((value, i) => (value === null ? make('td', 'null', 'null') : make('td', numeric[i], value)))),
  );
  const hidden = rows.length - body.length;
  const count = `${rows.length} ${rows.length === 1 ? 'row' : 'rows'}`;
  const table = make('table', '', make('thead', '', head), make('tbody', '', ...body));
  const caption = make('p', 'summary', hidden > 0 ? `${count}, the first ${ROWS_SHOWN} of them here` : count);
  // wide tables can be scrolled with the keyboard too
  const scroller = Object.assign(make('div', 'scroller', table), { tabIndex: 0, role: 'region', ariaLabel: `Result: ${count}` });
  return make('div', 'result', scroller, caption);
}

/** An error or a notice. @param {Notice} notice @param {string} sql what it is about */
function showNotice({ severity = 'ERROR', code, message, detail, hint, where, position }, sql) {
  const lines = make('dl');
  for (const [name, text] of Object.entries({ Detail: detail, Hint: hint, Where: where })) {
    if (text) {
      lines.append(make('dt', '', name), make('dd', '', text));
    }
  }
  const isError = severity === 'ERROR' || severity === 'FATAL' || severity === 'PANIC';
  return make(
    'div',
    isError ? 'notice error' : 'notice',
    make('p', 'message', make('strong', '', severity), ' ', make('code', 'sqlstate', code ?? ''), ' ', message),
    ...(position && sql ? [mark(sql, Number(position))] : []),
    ...(lines.childElementCount > 0 ? [lines] : []),
  );
}

/** The line of an error and below the place a caret, as psql shows them. @param {string} sql @param {number} position in characters, from 1 */
function mark(sql, position) {
  const before = [...sql].slice(0, position - 1).join(''); // PostgreSQL counts code points, strings are in UTF-16
  const lineStart = before.lastIndexOf('\n') + 1;
  const line = sql.slice(lineStart).split('\n', 1)[0];
  const label = `LINE ${before.split('\n').length}: `;
  // what is in front of the caret is the same text, unseen: as wide as that, tabs and emoji included
  return make('pre', 'position', `${label}${line}\n`, make('span', 'unseen', label + before.slice(lineStart)), make('span', 'caret', '^'));
}

/* What can be done */

form.addEventListener('submit', (event) => {
  event.preventDefault();
  answer(input.value);
});
input.addEventListener('keydown', (event) => {
  if (event.key === 'Enter' && (event.ctrlKey || event.metaKey)) {
    event.preventDefault();
    answer(input.value);
  }
});
byId('restart').addEventListener('click', () => {
  output.replaceChildren();
  start();
});
for (const [name, sql] of Object.entries({ ...SAMPLES, '\\d': '\\d' })) {
  const button = Object.assign(make('button', 'sample', name), { type: 'button' });
  button.addEventListener('click', () => {
    input.value = sql;
    answer(sql);
  });
  byId('samples').append(button);
}
input.value = SAMPLES.Planets ?? '';
start();
