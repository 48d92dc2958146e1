// Errors of PostgreSQL's, and everything that is used in a wrong way.

import { equal, ok, rejected } from './assert.js';

/** A module, where the engine may compile one: in Workers it may not. @param {number[]} bytes */
function tryCompile(bytes) {
  try {
    return new WebAssembly.Module(new Uint8Array(bytes));
  } catch {
    return undefined;
  }
}

/** @type {import('./suite.js').Case[]} */
export const errorCases = [
  {
    name: 'errors: every field, the query, its parameters and options',
    async run({ open }) {
      const db = await open();
      await db.exec('create table t (id int primary key, n int check (n < 100), s text not null)');
      const options = { rowMode: 'array' };
      const error = await rejected(db.query('insert into t values ($1, $2, $3)', [1, 200, 'x'], options), {
        name: 'error',
        message: 'new row for relation "t" violates check constraint "t_n_check"',
        severity: 'ERROR',
        code: '23514',
        detail: 'Failing row contains (1, 200, x).',
        schema: 'public',
        table: 't',
        constraint: 't_n_check',
        file: 'execMain.c',
        routine: 'ExecConstraints',
        hint: undefined,
        query: 'insert into t values ($1, $2, $3)',
        params: [1, 200, 'x'],
        queryOptions: options,
      });
      ok(error.length > 100 && /^\d+$/.test(error.line), 'length and line');
      await rejected(db.query('insert into t (id) values (1)'), { code: '23502', column: 's' });
      await rejected(db.query('select * from nope where a = $1', [1]), { code: '42P01', position: '15', params: [1], queryOptions: undefined });
      await rejected(db.query('select upper(1, 2)'), { code: '42883', hint: /No function matches/ });
      await rejected(db.query("create domain d as int check (value > 0); ").then(() => db.query('select (-1)::d')), { code: '23514', dataType: 'd', constraint: 'd_check' });
      await rejected(db.query('do $$ begin perform 1 / 0; end $$'), { code: '22012', where: /PL\/pgSQL function inline_code_block line 1/ });
      await rejected(db.query("do $$ begin execute 'selec'; end $$"), { code: '42601', internalQuery: 'selec', internalPosition: '1' });
    },
  },
  {
    name: 'errors: exec stops at the first, and tells its query',
    async run({ open }) {
      const db = await open();
      await db.exec('create table t (a int)');
      await rejected(db.exec('insert into t values (1); select 1 / 0; insert into t values (2)'), {
        code: '22012',
        query: 'insert into t values (1); select 1 / 0; insert into t values (2)',
        params: undefined,
      });
      equal((await db.query('select count(*) as n from t')).rows, [{ n: 0 }]);
    },
  },
  {
    name: 'errors: the number of statements and parameters',
    async run({ open }) {
      const db = await open();
      await rejected(db.query('select 1; select 2'), { code: '42601' });
      await rejected(db.query('select $1::int'), { code: '08P01', params: [] });
      await rejected(db.query('select $1::int', [1, 2]), { code: '08P01' });
      await rejected(db.query('select 1', [1]), { code: '08P01' });
      equal((await db.query('select 1 as a')).rows, [{ a: 1 }]);
    },
  },
  {
    name: 'errors: arguments that can’t be',
    isOwn: true,
    async run({ open }) {
      const db = await open();
      for (const bad of [undefined, null, 5, {}]) {
        await rejected(db.query(bad), { name: 'TypeError', message: /a query is a string/ });
        await rejected(db.exec(bad), { name: 'TypeError' });
        await rejected(db.describeQuery(bad), { name: 'TypeError' });
      }
      await rejected(db.query('select 1', 5), { name: 'TypeError', message: /array/ });
      await rejected(db.query("select 'a\0b'"), { name: 'TypeError', message: /zero/ });
      await rejected(db.exec("select 'a\0b'"), { name: 'TypeError', message: /zero/ });
      await rejected(db.query('select 1', Array.from({ length: 70_000 }, () => 1)), { name: 'RangeError', message: /70000/ });
      await rejected(() => db.transaction(), { name: 'TypeError' });
      equal((await db.query('select $1::int as a', [1])).rows, [{ a: 1 }]);
      equal((await db.query('select 1 as a', null)).rows, [{ a: 1 }]);
    },
  },
  {
    name: 'errors: what parsers, serializers and callbacks throw',
    async run({ open }) {
      const db = await open();
      const boom = () => {
        throw new Error('boom');
      };
      await rejected(db.query('select 1', [], { parsers: { 23: boom } }), { message: 'boom' });
      await rejected(db.exec('select 1; select 2', { parsers: { 23: boom } }), { message: 'boom' });
      equal((await db.query('select 1 as a')).rows, [{ a: 1 }]);
      await db.exec('create table t (a int)');
      await rejected(db.query('insert into t values ($1)', [1], { serializers: { 23: boom } }), { message: 'boom' });
      equal([(await db.query('select count(*) as n from t')).rows, db.isInTransaction()], [[{ n: 0 }], false]);
    },
  },
  {
    name: 'errors: COPY without /dev/blob',
    isOwn: true,
    async run({ open }) {
      const db = await open();
      await db.exec('create table t (a int)');
      await rejected(db.query('copy t from stdin'), { code: '08P01' });
      await rejected(db.exec('copy t from stdin'), { code: '08P01' });
      equal((await db.query('copy t to stdout')).command, 'COPY');
      equal((await db.query('select count(*) as n from t')).rows, [{ n: 0 }]);
    },
  },
  {
    name: 'errors: what execProtocolRaw left undone is made good',
    isOwn: true,
    async run({ open, pgcell: { protocol } }) {
      const db = await open();
      await db.exec('create table t (a int)');
      for (const call of [() => db.query('insert into t values (1)'), () => db.query('insert into t values ($1)', [1]), () => db.exec('insert into t values (1)')]) {
        await db.execProtocolRaw(protocol.serialize.parse({ text: 'select nope' }));
        const result = await call();
        equal((Array.isArray(result) ? result[0] : result).affectedRows, 1);
      }
      await db.execProtocolRaw(protocol.serialize.parse({ text: 'select nope' }));
      equal((await db.query('select count(*) as n from t')).rows, [{ n: 3 }]);
    },
  },
  {
    name: 'errors: endless recursion ends in PostgreSQL’s own error',
    isOwn: true,
    async run({ open }) {
      const db = await open();
      await db.exec('create function f(int) returns int language plpgsql as $$ begin return f($1 + 1); end $$');
      await rejected(db.query('select f(1)'), { code: '54001' });
      await rejected(db.query(`select ${'('.repeat(20_000)}1${')'.repeat(20_000)}`), { code: /54001|42601/ });
      await rejected(db.query('select $1::jsonb', ['['.repeat(100_000)]), { code: '54001' });
      await rejected(db.query("select 'a' ~ $1", ['('.repeat(20_000) + 'a' + ')'.repeat(20_000)]), { code: /54001|2201B/ });
      equal((await db.query('select 1 as a')).rows, [{ a: 1 }]);
    },
  },
  {
    name: 'errors: PostgreSQL ends the session: a new one takes its place',
    isOwn: true,
    async run({ open }) {
      const db = await open();
      /** @type {string[]} */
      const got = [];
      await db.listen('c', (/** @type {string} */ payload) => got.push(payload));
      await db.exec("create table t (a int); set work_mem = '7MB'");
      await rejected(db.query('select pg_terminate_backend(pg_backend_pid())'), { code: '57P01', severity: 'FATAL' });
      equal((await db.query("select current_setting('work_mem') <> '7MB' as fresh, count(*) as n from t")).rows, [{ fresh: true, n: 0 }]);
      await db.query("notify c, 'x'");
      await new Promise((resolve) => setTimeout(resolve, 5));
      equal(got, ['x']);
    },
  },
  {
    name: 'errors: the session ends within a transaction',
    isOwn: true,
    async run({ open }) {
      const db = await open();
      await db.exec('create table t (a int)');
      await rejected(
        db.transaction(async (/** @type {any} */ tx) => {
          await tx.query('insert into t values (1)');
          await tx.query('select pg_terminate_backend(pg_backend_pid())').catch(() => {});
          await tx.query('insert into t values (2)');
        }),
        { message: 'Transaction is closed' },
      );
      await rejected(
        db.transaction(async (/** @type {any} */ tx) => {
          await tx.query('insert into t values (3)');
          await tx.query('select pg_terminate_backend(pg_backend_pid())').catch(() => {});
        }),
        { message: 'Transaction is closed' },
      );
      equal((await db.query('select count(*) as n from t')).rows, [{ n: 0 }]);
    },
  },
  {
    name: 'closed: everything is refused',
    isOwn: true,
    async run({ pgcell: { PGlite, ClosedError, protocol } }) {
      const db = /** @type {any} */ (await PGlite.create());
      await db.close();
      const message = protocol.serialize.query('select 1');
      for (const call of [
        () => db.close(),
        () => db.query('select 1'),
        () => db.sql`select 1`,
        () => db.exec('select 1'),
        () => db.describeQuery('select 1'),
        () => db.transaction(async () => {}),
        () => db.runExclusive(async () => {}),
        () => db.listen('c', () => {}),
        () => db.execProtocol(message),
        () => db.execProtocolRaw(message),
        () => db.execProtocolStream(message),
        () => db.execProtocolRawStream(message, { onRawData() {} }),
        () => db.execProtocolRawSync(message),
        () => db.isInTransaction(),
        () => db.dumpDataDir(),
        () => db.clone(),
        () => db.refreshArrayTypes(),
      ]) {
        const error = await rejected(async () => call(), { message: 'PGlite is closed', code: 'ERR_CLOSED' });
        ok(error instanceof ClosedError, 'a ClosedError');
      }
      await db.unlisten('c');
      await db[Symbol.asyncDispose]();
      equal(db.memoryBytes, 0);
    },
  },
  {
    name: 'closed: those who wait, and a transaction that is open',
    isOwn: true,
    async run({ pgcell: { PGlite } }) {
      const db = await PGlite.create();
      /** @type {Promise<any>[]} */
      let waiting = [];
      const transaction = db.transaction(async (tx) => {
        waiting = [db.query('select 1'), db.transaction(async () => {})].map((each) => rejected(each, { code: 'ERR_CLOSED' }));
        await Promise.all([db.close(), db.close()]);
        await rejected(tx.query('select 1'), { code: 'ERR_CLOSED' });
        return 1;
      });
      await rejected(transaction, { code: 'ERR_CLOSED' });
      equal((await Promise.all(waiting)).length, 2);
    },
  },
  {
    name: 'options that can’t be',
    isOwn: true,
    async run({ open, pgcell: { PGlite, MemoryFS } }) {
      await rejected(open({ fs: {} }), { name: 'TypeError', message: /MemoryFS/ });
      await (await open({ fs: new MemoryFS() })).query('select 1');
      await rejected(open({ username: 'nobody' }), { code: '28000', severity: 'FATAL', message: /nobody/ });
      await rejected(open({ database: 'nothing' }), { code: '3D000' });
      await rejected(open({ maximumMemory: 1 }), { name: 'RangeError' });
      const empty = tryCompile([0, 0x61, 0x73, 0x6d, 1, 0, 0, 0]);
      if (empty !== undefined) {
        await rejected(open({ wasmModule: empty }), { message: /not a module of pgcell|memory/ });
      }
      const failed = new PGlite({ username: 'nobody' });
      await rejected(failed.query('select 1'), { code: '28000' });
      await rejected(failed.exec('select 1'), { code: '28000' });
      await failed.close();
      equal(failed.closed, true);
    },
  },
  {
    name: 'an extension that fails',
    isOwn: true,
    async run({ open }) {
      const setup = async () => {
        throw new Error('no setup');
      };
      await rejected(open({ extensions: { bad: { name: 'bad', setup } } }), { message: 'no setup' });
      const init = async () => {
        throw new Error('no init');
      };
      await rejected(open({ extensions: { bad: { name: 'bad', setup: async () => ({ init }) } } }), { message: 'no init' });
    },
  },
];
