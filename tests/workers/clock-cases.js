// In Cloudflare's network the clock of a Worker stands still while it computes; in the workerd that npm brings it runs. So these cases
// give the guest a clock that stands still. Over the import transport.

import { equal, ok } from '../conformance/assert.js';
import { errors, value } from '../conformance/answers.js';

/** @param {import('../conformance/suite.js').Context} context */
async function openAtStandstill({ pgcell, modules }) {
  const handler = pgcell.createPGliteImportHandler();
  const now = Date.now();
  await pgcell.instantiate(modules.module, handler, { now: () => now });
  handler.start(pgcell.serialize.startup({ user: 'postgres' }));
  return { query: (/** @type {string} */ sql) => handler.exec(pgcell.serialize.query(sql)) };
}

/** @type {import('../conformance/suite.js').Case[]} */
export const clockCases = [
  {
    name: 'a clock that stands still: queries',
    async run(context) {
      const { query } = await openAtStandstill(context);
      value(query('create table t (id int primary key, at timestamptz default clock_timestamp(), key uuid default gen_random_uuid())'));
      value(query('insert into t select generate_series(1, 1000)'));
      value(query('analyze t'));
      equal(value(query('select count(distinct key) from t')), '1000');
      equal(value(query('select count(distinct at) from t')), '1');
    },
  },
  {
    name: 'a clock that stands still: pg_sleep comes back, and has moved the clock',
    async run(context) {
      const { query } = await openAtStandstill(context);
      const clock = () => Number(value(query('select extract(epoch from clock_timestamp()) * 1000')));
      const before = clock();
      value(query('select pg_sleep(0.2)'));
      const after = clock();
      ok(after - before >= 200 && after - before < 2000, `${after - before} ms`);
    },
  },
  {
    name: 'a clock that stands still: statement_timeout ends a sleep',
    async run(context) {
      const { query } = await openAtStandstill(context);
      value(query("set statement_timeout = '100ms'"));
      equal(errors(query('select pg_sleep(60)')), ['57014']);
      equal(value(query('select 1')), '1');
    },
  },
];
