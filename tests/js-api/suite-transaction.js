// transaction, and who waits for whom.

import { equal, ok, rejected } from './assert.js';

/** @param {number} ms */
const sleep = (ms) => new Promise((resolve) => setTimeout(resolve, ms));

/** @param {any} db */
async function withTable(db) {
  await db.exec('create table t (n int)');
  return db;
}

/** @param {any} db */
const count = async (db) => (await db.query('select count(*) as n from t')).rows[0].n;

/** @type {import('./suite.js').Case[]} */
export const transactionCases = [
  {
    name: 'transaction: committed, with what the callback returns',
    async run({ open }) {
      const db = await withTable(await open());
      const result = await db.transaction(async (/** @type {any} */ tx) => {
        await tx.query('insert into t values ($1)', [1]);
        await tx.exec('insert into t values (2); insert into t values (3)');
        await tx.sql`insert into t values (${4})`;
        equal([tx.closed, db.isInTransaction()], [false, true]);
        return (await tx.query('select count(*) as n from t')).rows[0].n;
      });
      equal([result, await count(db), db.isInTransaction()], [4, 4, false]);
    },
  },
  {
    name: 'transaction: rolled back when the callback throws, or a statement fails',
    async run({ open }) {
      const db = await withTable(await open());
      const mine = new Error('mine');
      const failed = db.transaction(async (/** @type {any} */ tx) => {
        await tx.query('insert into t values (1)');
        throw mine;
      });
      ok((await rejected(failed, {})) === mine, 'the same error');
      await rejected(
        db.transaction(async (/** @type {any} */ tx) => {
          await tx.query('insert into t values (1)');
          await tx.query('select 1 / 0');
        }),
        { code: '22012', query: 'select 1 / 0' },
      );
      await rejected(db.transaction(() => Promise.reject(mine)), { message: 'mine' });
      await rejected(
        db.transaction(() => {
          throw mine;
        }),
        { message: 'mine' },
      );
      equal([await count(db), db.isInTransaction()], [0, false]);
    },
  },
  {
    name: 'transaction: an error that the callback swallowed is told',
    async run({ open, pgcell: { TransactionAbortedError } }) {
      const db = await withTable(await open());
      const error = await rejected(
        db.transaction(async (/** @type {any} */ tx) => {
          await tx.query('insert into t values (1)');
          await tx.query('select 1 / 0').catch(() => {});
        }),
        { code: '25P02', severity: 'ERROR', query: 'COMMIT' },
      );
      ok(error instanceof TransactionAbortedError, 'a TransactionAbortedError');
      equal(await count(db), 0);
    },
  },
  {
    name: 'transaction: rollback',
    async run({ open }) {
      const db = await withTable(await open());
      const result = await db.transaction(async (/** @type {any} */ tx) => {
        await tx.query('insert into t values (1)');
        await tx.rollback();
        equal(tx.closed, true);
        await rejected(tx.query('select 1'), { message: 'Transaction is closed' });
        await rejected(tx.rollback(), { message: 'Transaction is closed' });
        return 'done';
      });
      equal([result, await count(db)], ['done', 0]);
    },
  },
  {
    name: 'transaction: of no use afterwards',
    async run({ open }) {
      const db = await open();
      /** @type {any} */
      let tx;
      await db.transaction(async (/** @type {any} */ given) => {
        tx = given;
      });
      equal(tx.closed, true);
      for (const call of [() => tx.query('select 1'), () => tx.exec('select 1'), () => tx.sql`select 1`, () => tx.rollback(), () => tx.listen('x', () => {})]) {
        await rejected(call, { message: 'Transaction is closed' });
      }
    },
  },
  {
    name: 'transaction: COMMIT itself fails',
    async run({ open }) {
      const db = await open();
      await db.exec('create table p (id int primary key); create table c (p int references p deferrable initially deferred)');
      await rejected(db.transaction((/** @type {any} */ tx) => tx.query('insert into c values (1)')), { code: '23503', table: 'c' });
      equal([(await db.query('select count(*) as n from c')).rows, db.isInTransaction()], [[{ n: 0 }], false]);
    },
  },
  {
    name: 'transaction: the callback ends it by itself',
    async run({ open }) {
      const db = await withTable(await open());
      equal(await db.transaction(async (/** @type {any} */ tx) => (await tx.exec('insert into t values (1); commit'), 1)), 1);
      equal(await db.transaction(async (/** @type {any} */ tx) => (await tx.exec('insert into t values (1); rollback'), 2)), 2);
      equal(await count(db), 1);
    },
  },
  {
    name: 'transaction: everybody else waits, in the order of their calls',
    async run({ open }) {
      const db = await open();
      /** @type {string[]} */
      const order = [];
      const first = db.transaction(async (/** @type {any} */ tx) => {
        order.push('first begins');
        await tx.query('select 1');
        await sleep(20);
        order.push('first ends');
      });
      const query = db.query('select 1').then(() => order.push('query'));
      const second = db.transaction(async () => {
        order.push('second');
      });
      const exec = db.exec('select 1').then(() => order.push('exec'));
      await Promise.all([first, query, second, exec]);
      equal(order, ['first begins', 'first ends', 'query', 'second', 'exec']);
    },
  },
  {
    name: 'transaction: a failed one does not stop those that wait',
    async run({ open }) {
      const db = await open();
      const failed = rejected(
        db.transaction(async () => {
          await sleep(5);
          throw new Error('no');
        }),
        { message: 'no' },
      );
      const results = await Promise.all([db.query('select 1 as a'), db.transaction(async (/** @type {any} */ tx) => tx.query('select 2 as a'))]);
      await failed;
      equal(results.map(({ rows }) => rows), [[{ a: 1 }], [{ a: 2 }]]);
    },
  },
  {
    name: 'runExclusive: queries wait',
    async run({ open }) {
      const db = await open();
      /** @type {string[]} */
      const order = [];
      const exclusive = db.runExclusive(async () => {
        await sleep(10);
        order.push('exclusive');
        return 5;
      });
      const query = db.query('select 1').then(() => order.push('query'));
      equal([await exclusive, await query.then(() => order)], [5, ['exclusive', 'query']]);
      await rejected(db.runExclusive(() => Promise.reject(new Error('x'))), { message: 'x' });
      equal((await db.query('select 1 as a')).rows, [{ a: 1 }]);
    },
  },
  {
    name: 'callbacks may call the instance: their queries wait',
    isOwn: true,
    async run({ open }) {
      const db = await open();
      /** @type {Promise<any>[]} */
      const inner = [];
      const options = {
        onNotice: () => inner.push(db.query('select 2 as a')),
        parsers: { 23: (/** @type {string} */ x) => (inner.push(db.query('select 3::int8 as a'), db.execProtocolRaw(new Uint8Array([0x53, 0, 0, 0, 4]))), +x) },
      };
      await db.exec("create function f() returns int language plpgsql as $$ begin raise notice 'x'; return 1; end $$");
      const { rows } = await db.query("select f() as a, repeat('x', 100) as b from generate_series(1, 2)", [], options);
      equal(rows, [1, 2].map(() => ({ a: 1, b: 'x'.repeat(100) })));
      const results = await Promise.all(inner);
      equal(results.filter((result) => result.rows).map((result) => result.rows[0].a), [2, 3, 2, 3]);
    },
  },
];
