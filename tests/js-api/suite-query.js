// query, exec, sql, describeQuery and their options.

import { equal, ok, rejected } from './assert.js';

/** @type {import('./suite.js').Case[]} */
export const queryCases = [
  {
    name: 'query: rows, fields, command and counts',
    async run({ open }) {
      const db = await open();
      equal(await db.query("select 1 as a, 'x'::text as b, null as c"), {
        rows: [{ a: 1, b: 'x', c: null }],
        fields: [
          { name: 'a', dataTypeID: 23 },
          { name: 'b', dataTypeID: 25 },
          { name: 'c', dataTypeID: 25 },
        ],
        command: 'SELECT',
        affectedRows: 0,
        rowCount: 1,
      });
      equal(await db.query('create table t (id serial primary key, n int, s text unique)'), {
        rows: [],
        fields: [],
        command: 'CREATE',
        affectedRows: 0,
      });
      equal(await db.query("insert into t (n, s) values (1, 'a'), (2, 'b') returning id"), {
        rows: [{ id: 1 }, { id: 2 }],
        fields: [{ name: 'id', dataTypeID: 23 }],
        command: 'INSERT',
        affectedRows: 2,
        rowCount: 2,
      });
      equal((await db.query('update t set n = n + 1')).affectedRows, 2);
      equal((await db.query('delete from t where n = $1', [3])).affectedRows, 1);
      const merge = 'merge into t using (values (2)) v (n) on t.n = v.n when matched then update set s = null';
      equal((await db.query(merge)).affectedRows, 1);
      equal((await db.query('explain select 1')).command, 'EXPLAIN');
    },
  },
  {
    name: 'query: no statement at all',
    async run({ open }) {
      const db = await open();
      equal(await db.query(''), { rows: [], fields: [], affectedRows: 0 });
      equal(await db.exec('-- nothing'), [{ rows: [], fields: [], affectedRows: 0 }]);
    },
  },
  {
    name: 'query: rowMode',
    async run({ open }) {
      const db = await open();
      equal((await db.query('select 1 as a, 2 as a')).rows, [{ a: 2 }]);
      equal((await db.query('select 1 as a, 2 as a', [], { rowMode: 'array' })).rows, [[1, 2]]);
      equal((await db.query('select 1 as a', [], { rowMode: 'object' })).rows, [{ a: 1 }]);
      equal((await db.exec('select 1; select 2, 3', { rowMode: 'array' })).map((/** @type {any} */ { rows }) => rows), [[[1]], [[2, 3]]]);
      equal((await db.query('select from generate_series(1, 3)')).rows, [{}, {}, {}]);
    },
  },
  {
    name: 'query: a column may have any name',
    isOwn: true,
    async run({ open }) {
      const db = await open();
      const [row] = (await db.query('select 1 as "__proto__", 2 as "constructor", 3 as "é ""x"""')).rows;
      equal(Object.keys(row), ['__proto__', 'constructor', 'é "x"']);
      equal(Object.getOwnPropertyDescriptor(row, '__proto__')?.value, 1);
    },
  },
  {
    name: 'query: parsers and serializers, of the query and of the instance',
    async run({ open }) {
      const db = await open({ parsers: { 23: (/** @type {string} */ x) => `p${x}` }, serializers: { 23: () => '7' } });
      equal((await db.query('select $1::int as a, array[1] as b', [1])).rows, [{ a: 'p7', b: ['p1'] }]);
      const options = {
        parsers: { 23: (/** @type {string} */ x, /** @type {number} */ type) => `${x}/${type}` },
        serializers: { 23: (/** @type {number} */ x) => String(x + 1), 25: (/** @type {string} */ x) => `${x}!` },
      };
      equal((await db.query('select $1::int as a, $2::text as b, null::int as c', [1, 'x'], options)).rows, [{ a: '2/23', b: 'x!', c: null }]);
    },
  },
  {
    name: 'query: paramTypes',
    async run({ open }) {
      const db = await open();
      equal((await db.query('select $1 as a, $2 as b', [1, { x: 2 }], { paramTypes: [23, 3802] })).rows, [{ a: 1, b: { x: 2 } }]);
      equal((await db.query('select $1 as a, $2::text as b', [1, 'x'], { paramTypes: [23] })).rows, [{ a: 1, b: 'x' }]);
    },
  },
  {
    name: 'query: notices',
    async run({ open }) {
      const db = await open();
      /** @type {any[]} */
      const notices = [];
      const onNotice = (/** @type {any} */ notice) => notices.push(notice);
      await db.query("do $$ begin raise notice 'hi %', 1 using hint = 'h'; raise warning 'w'; end $$", [], { onNotice });
      equal(
        notices.map(({ name, severity, code, message, hint }) => [name, severity, code, message, hint]),
        [
          ['notice', 'NOTICE', '00000', 'hi 1', 'h'],
          ['notice', 'WARNING', '01000', 'w', undefined],
        ],
      );
      await db.exec('drop table if exists nothing; select 1', { onNotice });
      equal(notices[2].message, 'table "nothing" does not exist, skipping');
    },
  },
  {
    name: 'exec: a result for each statement, counts that add up',
    async run({ open }) {
      const db = await open();
      const results = await db.exec('create table t (n int); insert into t values (1), (2); update t set n = 3; select n from t');
      equal(
        results.map((/** @type {any} */ { rows, command, affectedRows, rowCount }) => [rows.length, command, affectedRows, rowCount]),
        [
          [0, 'CREATE', 0, undefined],
          [0, 'INSERT', 2, 2],
          [0, 'UPDATE', 4, 2],
          [2, 'SELECT', 4, 2],
        ],
      );
      const cursor = await db.exec('begin; declare c cursor for values (1), (2); fetch 1 from c; move 1 in c; fetch 1 from c; commit');
      equal(cursor[2].rows, [{ column1: 1 }]);
      equal([cursor[4].rows, cursor[4].fields.length, cursor[4].rowCount], [[], 1, 0]);
    },
  },
  {
    name: 'sql: values are parameters; identifiers, raw SQL and nested templates are not',
    async run({ open, pgcell: { identifier, query, raw, sql } }) {
      const db = await open();
      await db.exec(`create table "my ""t" (id int, s text); insert into "my ""t" values (1, 'a'), (2, 'b')`);
      equal((await db.sql`select ${1}::int as a, ${'x'} as b, ${[1, 2]}::int[] as c`).rows, [{ a: 1, b: 'x', c: [1, 2] }]);
      const isFirst = sql`${identifier`s`} = ${'a'}`;
      equal((await db.sql`select id from ${identifier`my "t`} where ${isFirst} ${raw`and id = ${0 + 1}`}`).rows, [{ id: 1 }]);
      equal(query`a ${1} ${sql`b ${2} ${sql`c ${3}`}`} ${identifier`x.${'y"'}`} ${null}`, {
        query: 'a $1 b $2 c $3 "x.y""" $4',
        params: [1, 2, 3, null],
      });
    },
  },
  {
    name: 'describeQuery',
    async run({ open }) {
      const db = await open();
      await db.exec('create table t (id int, s text)');
      const { queryParams, resultFields } = await db.describeQuery('select id, s from t where id = $1 and s = $2');
      equal(queryParams.map((/** @type {any} */ { dataTypeID, serializer }) => [dataTypeID, serializer(1)]), [
        [23, '1'],
        [25, '1'],
      ]);
      equal(
        resultFields.map((/** @type {any} */ { name, dataTypeID, parser }) => [name, dataTypeID, parser('5')]),
        [
          ['id', 23, 5],
          ['s', 25, '5'],
        ],
      );
      equal(await db.describeQuery('insert into t values (1)'), { queryParams: [], resultFields: [] });
      equal((await db.query('select count(*) from t')).rows, [{ count: 0 }]);
      await rejected(db.describeQuery('select * from nope'), { code: '42P01', query: 'select * from nope' });
      equal((await db.query('select 1 as a')).rows, [{ a: 1 }]);
    },
  },
  {
    name: 'formatQuery',
    async run({ open, pgcell: { formatQuery } }) {
      const db = await open();
      await db.exec('create table t (n int, j jsonb)');
      equal(await formatQuery(db, 'select * from t where n = $1 and n > $2', [1, '2']), "select * from t where n = '1' and n > '2'");
      const values = ["a'b", { a: 1 }, new Date(0), [1, 2]];
      equal(await formatQuery(db, 'select $1::text, $2::jsonb, $3::date, $4::int[]', values), `select 'a''b'::text, '{"a": 1}'::jsonb, '1970-01-01'::date, '{1,2}'::int[]`);
      equal([await formatQuery(db, 'select 1'), await formatQuery(db, 'select $1::int', [null])], ['select 1', 'select NULL::int']);
    },
  },
  {
    name: 'formatQuery: what looks like a parameter within a string, a name or a comment',
    isOwn: true,
    async run({ open, pgcell: { formatQuery } }) {
      const db = await open();
      const query = `select '$1', e'\\'$1', "$1", $x$ $1 $x$ /* $1 */, $1::int -- $1`;
      const text = await formatQuery(db, query.replace('"$1"', '1 as "$1"'), [5]);
      equal(text, query.replace('"$1"', '1 as "$1"').replace('$1::int', "'5'::int"));
    },
  },
  {
    name: 'COPY from and to /dev/blob',
    async run({ open }) {
      const db = await open();
      await db.exec('create table t (a int, b text)');
      const from = await db.query("copy t from '/dev/blob'", [], { blob: new Blob(['1\tone\n2\t\\N\n']) });
      equal([from.command, from.affectedRows, from.blob], ['COPY', 2, undefined]);
      const to = await db.query("copy t to '/dev/blob' with (format csv, header)");
      ok(to.blob instanceof Blob, 'a Blob');
      equal(await to.blob.text(), 'a,b\n1,one\n2,\n');
      const results = await db.exec("insert into t values (3, 'x'); copy t to '/dev/blob'");
      equal(await results[1].blob.text(), '1\tone\n2\t\\N\n3\tx\n');
      equal((await db.query('select 1')).blob, undefined);
      await db.transaction(async (/** @type {any} */ tx) => {
        await tx.query("copy t from '/dev/blob'", [], { blob: new Blob(['4\tfour\n']) });
        equal(await (await tx.query("copy (select a from t) to '/dev/blob'")).blob.text(), '1\n2\n3\n4\n');
      });
    },
  },
  {
    name: 'COPY /dev/blob: errors leave nothing behind',
    isOwn: true,
    async run({ open }) {
      const db = await open();
      await db.exec('create table t (a int)');
      await rejected(db.query("copy t from '/dev/blob'", [], { blob: new Blob(['x\n']) }), { code: '22P02', where: /COPY t, line 1/ });
      await rejected(db.query("copy t from '/dev/blob'"), { code: '58P01' });
      await rejected(db.query("copy (select 1/0) to '/dev/blob'"), { code: '22012' });
      const { blob } = await db.query("copy t to '/dev/blob'");
      equal(blob.size, 0);
      const big = new Blob([Array.from({ length: 50_000 }, (_, i) => `${i}\n`).join('')]);
      equal((await db.query("copy t from '/dev/blob'", [], { blob: big })).affectedRows, 50_000);
      equal((await db.query("copy t to '/dev/blob'")).blob.size, big.size);
    },
  },
  {
    name: 'query: many at once, in the order of their calls',
    async run({ open }) {
      const db = await open();
      await db.exec('create table t (id serial, n int)');
      await Promise.all(Array.from({ length: 200 }, (_, i) => db.query('insert into t (n) values ($1)', [i])));
      equal((await db.query('select count(*) from t where n = id - 1')).rows, [{ count: 200 }]);
    },
  },
  {
    name: 'query: big values and many rows',
    async run({ open }) {
      const db = await open();
      const text = 'é'.repeat(300_000);
      equal((await db.query('select length($1::text) as n, $1::text as t', [text])).rows[0], { n: 300_000, t: text });
      const { rows } = await db.query("select i, repeat('x', i % 50) as s from generate_series(1, 20000) i");
      equal([rows.length, rows[19_999], rows[48]], [20_000, { i: 20_000, s: '' }, { i: 49, s: 'x'.repeat(49) }]);
    },
  },
];
