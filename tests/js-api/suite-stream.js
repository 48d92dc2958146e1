// Results that are taken row by row.

import { equal, ok, rejected } from './assert.js';

const MIB = 1 << 20;

/** @param {AsyncIterable<any>} stream */
async function collect(stream) {
  const rows = [];
  for await (const row of stream) {
    rows.push(row);
  }
  return rows;
}

/** @type {import('./suite.js').Case[]} */
const cases = [
  {
    name: 'queryStream: rows as those of query, whatever the number of rows at a time',
    async run({ open }) {
      const db = await open();
      const query = "select i, i::text || 'x' as s, array[i, null] as a from generate_series(1, $1) i";
      const { rows } = await db.query(query, [10]);
      for (const batchRows of [1, 3, 10, 11, 100, undefined]) {
        equal(await collect(db.queryStream(query, [10], { batchRows })), rows, `${batchRows} at a time`);
      }
      equal(await collect(db.queryStream('select 1 as a, 2 as b', null, { rowMode: 'array' })), [[1, 2]]);
      equal(await collect(db.queryStream('select 1 where false')), []);
      equal(await collect(db.queryStream('')), []);
      equal(await collect(db.queryStream('create table t (i int)')), []);
      equal(await collect(db.queryStream('insert into t values (1), (2) returning i')), [{ i: 1 }, { i: 2 }]);
      equal((await db.query('select count(*)::int as n from t')).rows, [{ n: 2 }]);
    },
  },
  {
    name: 'queryStream: a big result takes little memory, and is made as it is taken',
    async run({ open }) {
      const db = await open();
      await db.exec('create sequence made');
      const before = db.memoryBytes;
      let bytes = 0;
      for await (const { s } of db.queryStream("select repeat('x', 10000) as s, nextval('made') from generate_series(1, 6000)")) {
        bytes += s.length;
        if (bytes === 1_000_000) {
          break;
        }
      }
      equal((await db.query('select last_value::int as n from made')).rows, [{ n: 100 }]);
      for await (const { s } of db.queryStream("select repeat('x', 10000) as s from generate_series(1, 6000)")) {
        bytes += s.length;
      }
      equal(bytes, 61_000_000);
      ok(db.memoryBytes - before < 8 * MIB, `${(db.memoryBytes - before) / MIB} MiB more`);
    },
  },
  {
    name: 'queryStream: errors at the start, in the middle, in parameters and parsers',
    async run({ open }) {
      const db = await open();
      await rejected(collect(db.queryStream('selec')), { code: '42601', query: 'selec' });
      await rejected(collect(db.queryStream('select $1::int', ['x'])), { code: '22P02', params: ['x'] });
      await rejected(collect(db.queryStream('select $1::int', [1, 2])), { code: '08P01' });
      /** @type {number[]} */
      const seen = [];
      const stream = db.queryStream('select 100 / (50 - i) as x, i from generate_series(1, 100) i', [], { batchRows: 10 });
      await rejected(
        (async () => {
          for await (const { i } of stream) {
            seen.push(i);
          }
        })(),
        { code: '22012' },
      );
      equal([seen.length, db.isInTransaction()], [40, false]);
      const parsers = {
        23() {
          throw new Error('boom');
        },
      };
      await rejected(collect(db.queryStream('select 1', [], { parsers })), { message: 'boom' });
      await rejected(collect(db.queryStream('select $1::int', [1], { serializers: parsers })), { message: 'boom' });
      await rejected(collect(db.queryStream('select 1', [], { batchRows: 0 })), { name: 'RangeError' });
      await rejected(collect(db.queryStream(/** @type {any} */ (5))), { name: 'TypeError' });
      equal((await db.query('select 1 as a')).rows, [{ a: 1 }]);
    },
  },
  {
    name: 'queryStream: others wait until it has ended',
    async run({ open }) {
      const db = await open();
      /** @type {string[]} */
      const order = [];
      const stream = db.queryStream('select i from generate_series(1, 4) i', [], { batchRows: 2 });
      await stream.next();
      const others = [
        db.query('select 1').then(() => order.push('query')),
        db.transaction(async () => {}).then(() => order.push('transaction')),
        collect(db.queryStream('select 1')).then(() => order.push('stream')),
      ];
      await new Promise((resolve) => setTimeout(resolve, 5));
      order.push('end');
      await stream.return();
      await Promise.all(others);
      equal(order, ['end', 'query', 'transaction', 'stream']);
    },
  },
  {
    name: 'queryStream: in a transaction',
    async run({ open }) {
      const db = await open();
      await db.exec('create table t (i int)');
      await db.transaction(async (/** @type {any} */ tx) => {
        await tx.query('insert into t select generate_series(1, 10)');
        equal((await collect(tx.queryStream('select i from t', [], { batchRows: 3 }))).length, 10);
        for await (const { i } of tx.queryStream('select i from t order by i', [], { batchRows: 1 })) {
          if (i === 3) {
            break;
          }
        }
        await tx.query('insert into t values (11)');
      });
      equal((await db.query('select max(i) as n from t')).rows, [{ n: 11 }]);
    },
  },
  {
    name: 'queryStream: of an instance that is closed, before and meanwhile',
    async run({ open }) {
      const db = await open();
      const stream = db.queryStream('select i from generate_series(1, 4) i', [], { batchRows: 1 });
      await stream.next();
      const closing = db.close();
      await stream.return();
      await closing;
      await rejected(collect(db.queryStream('select 1')), { name: 'ClosedError' });
    },
  },
];

export const streamCases = cases.map((test) => ({ ...test, isOwn: true }));
