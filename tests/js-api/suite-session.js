// The life of an instance: options, notifications, extensions, clone, close.

import { equal, ok, rejected } from './assert.js';

const settle = () => new Promise((resolve) => setTimeout(resolve, 5));

/** @type {import('./suite.js').Case[]} */
export const sessionCases = [
  {
    name: 'an instance gets ready by itself, and its queries wait for that',
    async run({ pgcell: { PGlite } }) {
      const db = new PGlite();
      equal([db.ready, db.closed], [false, false]);
      equal((await db.query('select 1 as a')).rows, [{ a: 1 }]);
      equal([db.ready, db.closed, await db.waitReady], [true, false, undefined]);
      await db.close();
      equal([db.ready, db.closed], [false, true]);
    },
  },
  {
    name: 'options: user and database, dataDir, what is accepted',
    async run({ open }) {
      const db = await open({ username: 'postgres', database: 'template1', relaxedDurability: true, debug: 0 });
      equal((await db.query('select current_user::text as u, current_database()::text as d')).rows, [{ u: 'postgres', d: 'template1' }]);
      equal([db.debug, db.dataDir], [0, undefined]);
      equal((await open({ dataDir: 'memory://x' })).dataDir, 'memory://x');
    },
  },
  {
    name: 'settings of the session',
    async run({ open }) {
      const db = await open();
      equal((await db.query("select current_setting('timezone') as tz, current_setting('client_encoding') as e, current_setting('datestyle') as d")).rows, [
        { tz: 'UTC', e: 'UTF8', d: 'ISO, MDY' },
      ]);
      await db.exec("set application_name = 'mine'; create temp table tt (a int)");
      equal((await db.query('show application_name')).rows, [{ application_name: 'mine' }]);
    },
  },
  {
    name: 'instances have nothing in common',
    async run({ open }) {
      const [a, b] = [await open(), await open()];
      await a.exec('create table t (n int)');
      await rejected(b.query('select * from t'), { code: '42P01' });
    },
  },
  {
    name: 'listen, unlisten, onNotification',
    async run({ open }) {
      const db = await open();
      /** @type {unknown[]} */
      const got = [];
      const unlisten = await db.listen('Foo', (/** @type {string} */ payload) => got.push(['lower', payload]));
      await db.listen('"Foo"', (/** @type {string} */ payload) => got.push(['quoted', payload]));
      const off = db.onNotification((/** @type {string} */ channel, /** @type {string} */ payload) => got.push([channel, payload]));
      await db.exec(`notify foo, 'a'; notify "Foo", 'b'`);
      await settle();
      equal(got.splice(0), [['lower', 'a'], ['foo', 'a'], ['quoted', 'b'], ['Foo', 'b']]);
      await unlisten();
      off();
      await db.query("select pg_notify('foo', 'c')");
      await db.query('notify "Foo"');
      await settle();
      equal(got.splice(0), [['quoted', '']]);
      await db.unlisten('"Foo"');
      await db.query(`notify "Foo", 'd'`);
      await settle();
      equal([got, (await db.query('select pg_listening_channels()')).rows], [[], []]);
    },
  },
  {
    name: 'listen: two callbacks, one at a time taken away',
    async run({ open }) {
      const db = await open();
      /** @type {string[]} */
      const got = [];
      const first = await db.listen('c', () => got.push('first'));
      const second = await db.listen('c', () => got.push('second'));
      await db.query('notify c');
      await first();
      await db.query('notify c');
      await second();
      await db.query('notify c');
      await settle();
      equal(got, ['first', 'second', 'second']);
      await db.unlisten('nothing');
    },
  },
  {
    name: 'listen: within a transaction, from its commit on',
    async run({ open }) {
      const db = await open();
      /** @type {string[]} */
      const got = [];
      const unlisten = await db.transaction(async (/** @type {any} */ tx) => tx.listen('c', (/** @type {string} */ payload) => got.push(payload)));
      await db.query("notify c, 'x'");
      await settle();
      equal(got, ['x']);
      await db.transaction(async (/** @type {any} */ tx) => unlisten(tx));
      await db.query("notify c, 'y'");
      await settle();
      equal(got, ['x']);
    },
  },
  {
    name: 'listen: channels of any name',
    isOwn: true,
    async run({ open }) {
      const db = await open();
      /** @type {string[]} */
      const got = [];
      await db.listen('"a ""b"" ; drop"', (/** @type {string} */ payload) => got.push(payload));
      await db.query('select pg_notify($1, $2)', ['a "b" ; drop', 'x']);
      await settle();
      equal(got, ['x']);
    },
  },
  {
    name: 'extensions: namespace, setup, init and close',
    async run({ pgcell: { PGlite } }) {
      /** @type {unknown[]} */
      const steps = [];
      const extension = {
        name: 'an extension',
        setup: async (/** @type {any} */ pg) => {
          steps.push(['setup', pg.ready]);
          return {
            namespaceObj: { ask: async () => (await pg.query('select 1 as a')).rows },
            init: async () => {
              await pg.exec('create table made (a int)');
              steps.push('init');
            },
            close: async () => {
              steps.push(['close', pg.closed]);
            },
          };
        },
      };
      const db = await PGlite.create({ extensions: { mine: extension } });
      equal(await db.mine.ask(), [{ a: 1 }]);
      await db.close();
      equal(steps, [['setup', false], 'init', ['close', false]]);
    },
  },
  {
    name: 'extensions: their close can still run queries',
    isOwn: true,
    async run({ pgcell: { PGlite } }) {
      /** @type {unknown[]} */
      const rows = [];
      const setup = async (/** @type {any} */ pg) => ({ close: async () => void rows.push(...(await pg.query('select 1 as a')).rows) });
      const db = await PGlite.create({ extensions: { mine: { name: 'mine', setup } } });
      await db.close();
      equal(rows, [{ a: 1 }]);
    },
  },
  {
    name: 'clone: the same data, then apart',
    async run({ open, pgcell: { PGlite } }) {
      const db = await open();
      await db.exec('create table t as select generate_series(1, 1000) as n');
      const clone = await db.clone();
      ok(clone instanceof PGlite, 'a PGlite');
      await clone.exec('delete from t where n > 10');
      await db.exec('insert into t values (0)');
      const counts = await Promise.all([db, clone].map(async (each) => (await each.query('select count(*) as n from t')).rows[0].n));
      await clone.close();
      equal([counts, (await db.query('select 1 as a')).rows], [[1001, 10], [{ a: 1 }]]);
    },
  },
  {
    name: 'clone: the session comes along, its listeners and its transaction don’t',
    isOwn: true,
    async run({ open }) {
      const db = await open({ parsers: { 20: (/** @type {string} */ x) => `#${x}` } });
      await db.exec("set work_mem = '7MB'; create temp table tt as select 5 as n; create type mood as enum ('ok'); prepare p as select 6 as n");
      await db.refreshArrayTypes();
      let heard = 0;
      await db.listen('c', () => heard++);
      const clone = await db.transaction(async (/** @type {any} */ tx) => {
        await tx.exec('insert into tt values (8)');
        return db.clone();
      });
      equal((await clone.exec('show work_mem; table tt; execute p')).map((/** @type {any} */ { rows }) => rows), [[{ work_mem: '7MB' }], [{ n: 5 }], [{ n: 6 }]]);
      equal((await clone.query("select array['ok']::mood[] as m, 1::int8 as i")).rows, [{ m: ['ok'], i: '#1' }]);
      equal([clone.isInTransaction(), (await db.query('select count(*)::int as n from tt')).rows], [false, [{ n: 2 }]]);
      await clone.query('notify c');
      await settle();
      equal(heard, 0);
      await db.query('notify c');
      await settle();
      equal(heard, 1);
      const uuids = await Promise.all([db, clone].map(async (each) => (await each.query('select gen_random_uuid()::text as u, random() as r')).rows[0]));
      ok(uuids[0].u !== uuids[1].u && uuids[0].r !== uuids[1].r, 'other random numbers');
      const again = await clone.clone();
      equal((await again.query('table tt')).rows, [{ n: 5 }]);
      await again.close();
      await clone.close();
    },
  },
  {
    name: 'clone: of a bigger memory',
    isOwn: true,
    async run({ open }) {
      const db = await open();
      await db.exec("create table t as select i, repeat('x', 1000) as s from generate_series(1, 10000) i");
      const clone = await db.clone();
      ok(clone.memoryBytes >= db.memoryBytes, `${clone.memoryBytes} and ${db.memoryBytes} bytes`);
      equal((await clone.query('select sum(length(s))::int as n from t')).rows, [{ n: 10_000_000 }]);
      await clone.exec('insert into t select * from t');
      equal((await db.query('select count(*)::int as n from t')).rows, [{ n: 10_000 }]);
      await clone.close();
    },
  },
  {
    name: 'memory: a small database takes less than 48 MiB',
    isOwn: true,
    async run({ open }) {
      const db = await open();
      await db.exec("create table t as select i, md5(i::text) as s from generate_series(1, 5000) i; create index on t (s)");
      ok(db.memoryBytes > 0 && db.memoryBytes < 48 * 1024 * 1024, `${db.memoryBytes} bytes`);
    },
  },
  {
    name: 'memory: initialMemory and maximumMemory',
    isOwn: true,
    async run({ open }) {
      const big = await open({ initialMemory: 40 * 1024 * 1024 });
      ok(big.memoryBytes >= 40 * 1024 * 1024, `${big.memoryBytes} bytes`);
      const small = await open({ maximumMemory: 40 * 1024 * 1024 });
      await rejected(small.exec("create table t as select repeat('x', 1000) as s from generate_series(1, 100000)"), { code: /53100|53200/ });
      ok(small.memoryBytes <= 40 * 1024 * 1024, `${small.memoryBytes} bytes`);
      equal((await small.query('select 1 as a')).rows, [{ a: 1 }]);
    },
  },
  {
    name: 'close: what runs is finished, what comes later is refused',
    async run({ pgcell: { PGlite } }) {
      const db = await PGlite.create();
      const last = db.query('select pg_sleep(0.01), 1 as a', [], { rowMode: 'array' });
      const closing = db.close();
      equal((await last).rows, [['', 1]]);
      equal([await closing, db.closed, db.ready], [undefined, true, false]);
    },
  },
  {
    name: 'Symbol.asyncDispose',
    async run({ pgcell: { PGlite } }) {
      const db = await PGlite.create();
      await db[Symbol.asyncDispose]();
      equal(db.closed, true);
    },
  },
];
