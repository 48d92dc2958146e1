// postgres.js (postgres). A `sql` is a pool; with max: 1 it is a connection.

import { strict as assert } from 'node:assert';
import { once } from 'node:events';
import { Readable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { text } from 'node:stream/consumers';
import postgres from 'postgres';
import { cell, check, finish, rejects, settings, sleep, tcp, unix, within } from './checks.js';

const connect = (more = {}) => postgres({ ...tcp, max: 1, connection: settings, onnotice: () => {}, ...more });
const a = connect();
const b = connect();

/** Runs the body with a connection that is closed after it. */
async function using(more, body) {
  const sql = connect(more);
  try {
    return await body(sql);
  } finally {
    await sql.end({ timeout: 5 });
  }
}

// ---- connect ----

for (const [name, address] of Object.entries({ 'TCP': tcp, 'Unix socket': unix })) {
  await check(`connect: ${name}`, () => using(address, async (sql) => {
    assert.deepEqual([...await sql`select 6 * ${7}::int as answer`], [{ answer: 42 }]);
    assert.equal(sql.parameters.server_encoding, 'UTF8');
    assert.match(sql.parameters.server_version, /^18/);
  }));
}
await check('connect: no such database', () => using({ database: `nosuch@${cell}` }, (sql) =>
  rejects(sql`select 1`, '3D000', { severity: 'FATAL', message: /database "nosuch.*" does not exist/ })));
await check('connect: no such role', () => using({ user: 'nobody here' }, (sql) =>
  rejects(sql`select 1`, '28000', { message: /role "nobody here" does not exist/ })));
await check('connect: another cell is another PostgreSQL', async () => {
  await a`create table here (i int)`;
  await using({ database: `postgres@${cell}-2` }, (sql) => rejects(sql`select * from here`, '42P01'));
  assert.equal((await b`select * from here`).count, 0);
});
await check('connect: another database of the cell', () => using({ database: `template1@${cell}` }, async (sql) => {
  assert.match((await sql`select current_database() as d`)[0].d, /^template1/);
}));

// ---- types ----

const bytes = Buffer.from(Array.from({ length: 256 }, (_, i) => i));
const values = {
  int: [-2147483648, 'int'],
  bigint: ['9223372036854775807', 'bigint'],
  numeric: ['12345678901234567890.1234567890', 'numeric'],
  'double precision': [0.1, 'float8'],
  'infinite double precision': [-Infinity, 'float8'],
  boolean: [false, 'bool'],
  'text in many scripts': ['Žluťoučký κόσμε 日本語 🐘 e\u0301 \'"\\\n', 'text'],
  'empty text': ['', 'text'],
  'long text': ['0123456789🐘'.repeat(100_000), 'text'],
  bytea: [bytes, 'bytea'],
  json: [{ a: [1, null, 'ü'], b: { c: true } }, 'json'],
  jsonb: [{ deep: [{ x: 1.5 }], text: 'ü🐘' }, 'jsonb'],
  'int array': [[1, 0, -3], 'int[]'],
  'text array': [['a,b', '"', '\\', 'ü'], 'text[]'], // it has no nulls in arrays
  'two-dimensional array': [[[1, 2], [3, 4]], 'int[]'],
  timestamptz: [new Date('2024-02-29T23:59:59.987Z'), 'timestamptz'],
  'timestamp before 1970': [new Date('1899-12-31T23:00:00.001Z'), 'timestamptz'],
  uuid: ['6f1ed002-ab5d-4a3c-9d0e-0123456789ab', 'uuid'],
  null: [null, 'text'],
};
for (const [name, [sent, type]] of Object.entries(values)) {
  await check(`types: ${name}`, async () => {
    // the type of a parameter is what the server describes it as
    const [row] = await a.unsafe(`select $1::${type} as v, $1::${type} is null as n`, [sent], { prepare: true });
    assert.deepEqual(row, { v: sent, n: sent === null });
  });
}
await check('types: rows of parameters', async () => {
  await a`create table many (i int, t text, j jsonb, d timestamptz)`;
  const rows = Array.from({ length: 1000 }, (_, i) => ({ i, t: `řádek ${i}`, j: { i }, d: new Date(i * 1000) }));
  await a`insert into many ${a(rows)}`;
  assert.deepEqual([...await a`select * from many order by i`], rows);
});

// ---- prepared ----

await check('prepared: a statement, 300 times', async () => {
  for (let i = 0; i < 300; i++) {
    assert.equal((await a`select ${i}::int * 2 as twice`)[0].twice, 2 * i);
  }
  const [row] = await a`select (generic_plans + custom_plans)::int as uses from pg_prepared_statements where statement like '%as twice'`;
  assert.equal(row.uses, 300);
});
await check('prepared: many at once in a pipeline', async () => {
  const results = await Promise.all(Array.from({ length: 200 }, (_, i) => a`select ${i}::int as i, ${'x'.repeat(i)}::text as x`));
  assert.deepEqual(results.map(([row]) => [row.i, row.x.length]), Array.from({ length: 200 }, (_, i) => [i, i]));
});
await check('prepared: an error leaves the pipeline usable', async () => {
  const divide = (by) => a`select 10 / ${by}::int as q`;
  const outcomes = await Promise.allSettled([5, 0, 2].map(divide));
  assert.deepEqual(outcomes.map((o) => o.value?.[0].q ?? o.reason.code), [2, '22012', 5]);
});
await check('prepared: described', async () => {
  const { types, columns } = await a`select ${1}::int8 as "číslo", ${''}::text as t`.describe();
  assert.deepEqual([types, columns.map(({ name, type }) => [name, type])], [[20, 25], [['číslo', 20], ['t', 25]]]);
});
await check('prepared: a cursor reads in parts', async () => {
  let sum = 0;
  for await (const rows of a`select i from generate_series(1, ${25_000}::int) i`.cursor(1000)) {
    assert.equal(rows.length, 1000);
    sum += rows.reduce((total, { i }) => total + i, 0);
  }
  assert.equal(sum, (25_000 * 25_001) / 2);
});

// ---- copy ----

await a`create table copied (i int primary key, v text)`;
const lines = Array.from({ length: 20_000 }, (_, i) => `${i}\tůň ${i}\n`);
const count = async () => (await a`select count(*)::int as n from copied`)[0].n;
await check('copy: in and out', async () => {
  await pipeline(Readable.from(lines), await a`copy copied from stdin`.writable());
  assert.equal(await count(), 20_000);
  // of its own: this driver may leave a connection paused after it
  const out = await using({}, async (sql) => text(await sql`copy (select * from copied order by i) to stdout`.readable()));
  assert.equal(out, lines.join(''));
});
await check('copy: a bad row undoes it', async () => {
  const stream = await a`copy copied from stdin`.simple().writable(); // otherwise this driver waits for a Sync it does not send
  const failed = once(stream, 'error').then(([error]) => Promise.reject(error));
  stream.write('50000\tgood\n50001\tgood\nbad\tline\n');
  await rejects(failed, '22P02', { where: /COPY copied, line 3, column i/ });
  assert.equal(await count(), 20_000);
});

// ---- errors ----

await a`create table strict (i int primary key, n text not null, c int constraint positive check (c > 0))`;
await a`insert into strict values (1, 'one', 1)`;
const errors = {
  'syntax': ['selec 1', '42601', { position: '1', routine: 'scanner_yyerror', severity: 'ERROR' }],
  'unknown column': ['select nothing from strict', '42703', { position: '8' }],
  'unique': ["insert into strict values (1, 'x', 1)", '23505',
    { constraint_name: 'strict_pkey', table_name: 'strict', schema_name: 'public', detail: 'Key (i)=(1) already exists.' }],
  'not null': ['insert into strict values (2, null, 1)', '23502', { column_name: 'n', table_name: 'strict' }],
  'check': ["insert into strict values (2, 'x', 0)", '23514', { constraint_name: 'positive' }],
  'raised in plpgsql': ["do $$ begin raise exception 'own' using errcode = 'ZZ001', detail = 'dé', hint = 'hí'; end $$", 'ZZ001',
    { message: 'own', detail: 'dé', hint: 'hí', where: /PL\/pgSQL function inline_code_block line 1 at RAISE/ }],
};
for (const [name, [sql, sqlstate, fields]] of Object.entries(errors)) {
  await check(`errors: ${name}`, async () => {
    await rejects(a.unsafe(sql), sqlstate, fields);
    assert.equal((await a`select ${1}::int as one`)[0].one, 1);
  });
}
await check('errors: notices', async () => {
  let notice;
  await using({ onnotice: (said) => (notice = said) }, (sql) => sql`do $$ begin raise warning 'hear %', 'ye'; end $$`);
  assert.deepEqual([notice.message, notice.severity, notice.code], ['hear ye', 'WARNING', '01000']);
});
await check('errors: a session that another one ends, and its successor', () => using({}, async (sql) => {
  const [{ pid }] = await sql`select pg_backend_pid() as pid`;
  const waiting = sql`select pg_sleep(20)`.then(() => 'slept', (error) => error.code);
  await sleep(200);
  await a`select pg_terminate_backend(${pid})`;
  assert.match(await within(10, waiting), /^(57P01|CONNECTION_CLOSED)$/); // the latter when this driver sees the end first
  await sql`select 1`.catch(() => {}); // it says so twice
  assert.notEqual((await sql`select pg_backend_pid() as pid`)[0].pid, pid); // connects by itself
}));

// ---- transactions ----

await a`create table account (id int primary key, amount int not null)`;
const reset = () => a`truncate account; insert into account select i, 100 from generate_series(1, 20) i`.simple();
const amounts = async (sql = a) => (await sql`select array_agg(amount order by id) as all from account where id <= 2`)[0].all;
const give = (sql, id, amount) => sql`update account set amount = amount + ${amount} where id = ${id}`;

await check('transactions: commit, rollback, savepoint', async () => {
  await reset();
  await a.begin(async (sql) => {
    await give(sql, 1, 1);
    assert.deepEqual(await amounts(b), [100, 100]);
    await rejects(sql.savepoint(async (inner) => {
      await give(inner, 1, 1000);
      await inner`select 1 / 0`;
    }), '22012');
    await give(sql, 2, 2);
  });
  assert.deepEqual(await amounts(b), [101, 102]);
  await assert.rejects(a.begin(async (sql) => {
    await give(sql, 1, 50);
    throw new Error('changed my mind');
  }), /changed my mind/);
  assert.deepEqual(await amounts(b), [101, 102]);
});
/** Runs the body in a transaction of each connection; all have come to `together()` before any goes on. */
function inBoth(mode, body) {
  let arrived = 0;
  let go;
  const all = new Promise((done) => (go = done));
  const together = () => (++arrived === 2 && go(), all);
  return Promise.allSettled([a, b].map((connection, i) => connection.begin(mode, (sql) => body(sql, i, together))));
}
await check('transactions: serializable ones that conflict', async () => {
  await reset();
  const outcomes = await inBoth('isolation level serializable', async (sql, i, together) => {
    await sql`select sum(amount) from account`;
    await together();
    await give(sql, 1 + i, -100);
  });
  assert.deepEqual(outcomes.map((o) => o.reason?.code).filter(Boolean), ['40001']);
  assert.deepEqual((await amounts()).sort(), [0, 100]);
});
await check('transactions: a deadlock', async () => {
  await reset();
  const outcomes = await inBoth('', async (sql, i, together) => {
    await sql`set local deadlock_timeout = '200ms'`;
    await give(sql, 1 + i, 1);
    await together();
    await give(sql, 2 - i, 1);
  });
  assert.deepEqual(outcomes.map((o) => o.reason?.code).filter(Boolean), ['40P01']);
  assert.deepEqual(await amounts(), [101, 101]);
});

// ---- notifications ----

await check('notifications: to an idle connection', async () => {
  const heard = [];
  let heardOne;
  const { unlisten } = await b.listen('news', (payload) => {
    heard.push(payload);
    heardOne();
  });
  await sleep(500);
  for (const payload of ['žádné ', 'two']) {
    const told = new Promise((done) => (heardOne = done));
    await a.notify('news', payload);
    await within(5, told);
  }
  await unlisten();
  await a.notify('news', 'three');
  await sleep(300);
  assert.deepEqual(heard, ['žádné ', 'two']);
});

// ---- cancel ----

for (const [name, sql] of Object.entries({ 'sleeps': 'select pg_sleep(20)', 'computes': 'select count(*) from (select generate_series(1, 2000000000)) s' })) {
  for (const [way, address] of Object.entries({ 'TCP': tcp, 'the Unix socket': unix })) {
    await check(`cancel: a query that ${name}, by a request over ${way}`, () => using(address, async (c) => {
      const [{ pid }] = await c`select pg_backend_pid() as pid`;
      const query = c.unsafe(sql);
      const ended = rejects(query, '57014', { message: 'canceling statement due to user request' });
      await sleep(200);
      query.cancel();
      await within(10, ended);
      assert.equal((await c`select pg_backend_pid() as pid`)[0].pid, pid);
    }));
  }
}
await check('cancel: statement_timeout', async () => {
  await a`set statement_timeout = '300ms'`;
  const late = { message: 'canceling statement due to statement timeout' };
  await within(10, rejects(a`select pg_sleep(20)`, '57014', late));
  await within(10, rejects(a`select count(*) from (select generate_series(1, 2000000000)) s`, '57014', late));
  await a.unsafe(`set statement_timeout = ${settings.statement_timeout}`);
  assert.equal((await a`select 1 as one`)[0].one, 1);
});

// ---- pool ----

await check('pool: 20 connections move money and lose none', () => using({ max: 20 }, async (pool) => {
  await reset();
  const pids = new Set();
  const outcomes = await Promise.allSettled(Array.from({ length: 400 }, (_, i) => pool.begin(async (sql) => {
    const [from, to] = [1 + (i % 20), 1 + ((i * 7 + 3) % 20)].sort((x, y) => x - y); // in one order: no deadlock
    const [{ pid }] = await sql`select pg_backend_pid() as pid`;
    pids.add(pid);
    await give(sql, from, -i);
    await give(sql, to, i);
    if (i % 5 === 0) {
      throw new Error('undo');
    }
  })));
  assert.equal(outcomes.filter((o) => o.status === 'fulfilled').length, 320);
  assert.deepEqual([...new Set(outcomes.map((o) => o.reason?.message).filter(Boolean))], ['undo']);
  const [{ total, moved }] = await a`select sum(amount)::int as total, sum(abs(amount - 100))::int as moved from account`;
  assert.equal(total, 2000);
  assert.ok(moved > 0, 'nothing moved');
  assert.equal(pids.size, 20);
}));

await Promise.all([a.end({ timeout: 5 }), b.end({ timeout: 5 })]);
finish();
