// Values of PostgreSQL's types as JavaScript's, both ways.

import { equal, rejected } from './assert.js';

/** Of `select EXPRESSION`, by the text of it. @type {[string, unknown][]} */
const PARSED = [
  ['true', true],
  ["'f'::bool", false],
  ['1::int2', 1],
  ['(-2147483648)::int4', -2147483648],
  ['9007199254740991', 9007199254740991],
  ['9007199254740993', 9007199254740993n],
  ['(-9223372036854775808)::int8', -9223372036854775808n],
  ['4294967295::oid', 4294967295],
  ['1.5::float4', 1.5],
  ['1e300::float8', 1e300],
  ["'NaN'::float8", NaN],
  ["'-Infinity'::float8", -Infinity],
  ['1.50::numeric', '1.50'],
  ["'é'::text", 'é'],
  ["'x'::varchar", 'x'],
  ["'x'::char(3)", 'x  '],
  ["'x'::name", 'x'],
  [`'{"a":[1,null]}'::json`, { a: [1, null] }],
  [`'"x"'::jsonb`, 'x'],
  ["'null'::jsonb", null],
  ["'\\xdeadBEEF'::bytea", new Uint8Array([0xde, 0xad, 0xbe, 0xef])],
  ["''::bytea", new Uint8Array(0)],
  ["'2024-01-02'::date", new Date('2024-01-02T00:00:00Z')],
  ["'2024-01-02 03:04:05.678+02'::timestamptz", new Date('2024-01-02T01:04:05.678Z')],
  ["'2024-01-02 03:04:05.678'::timestamp", new Date(2024, 0, 2, 3, 4, 5, 678)],
  ["'12345-01-01'::date", new Date(Date.UTC(12345, 0, 1))],
  ["'infinity'::timestamptz", Infinity],
  ["'-infinity'::date", -Infinity],
  ["interval '1 day 02:03'", '1 day 02:03:00'],
  ["'12:34:56'::time", '12:34:56'],
  ["'1.2.3.4'::inet", '1.2.3.4'],
  ["'a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11'::uuid", 'a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11'],
  ["'(1,2)'::point", '(1,2)'],
  ["'[1,5)'::int4range", '[1,5)'],
  ["b'101'", '101'],
  ["'pg_class'::regclass", 'pg_class'],
  ["'{1,2,null}'::int[]", [1, 2, null]],
  ["'{}'::int[]", []],
  ["'{{1,2},{3,4}}'::int[]", [[1, 2], [3, 4]]],
  ["'{{{1,2},{3,4}},{{5,6},{7,8}}}'::int[]", [[[1, 2], [3, 4]], [[5, 6], [7, 8]]]],
  ["'[2:3]={1,2}'::int[]", [1, 2]],
  ["array['a', 'b,c', 'd\"e', null, '', 'NULL', '{x}', E'\\\\']", ['a', 'b,c', 'd"e', null, '', 'NULL', '{x}', '\\']],
  ["array['2024-01-02'::date, 'infinity']", [new Date('2024-01-02T00:00:00Z'), Infinity]],
  ['array[9007199254740993]', [9007199254740993n]],
  ['array[1.5::numeric]', ['1.5']],
  [`array['{"a":1}'::jsonb]`, [{ a: 1 }]],
  ["array['\\xde'::bytea]", [new Uint8Array([0xde])]],
  ["'{t,f}'::bool[]", [true, false]],
  ["'{(1\\,1)\\,(0\\,0);(2\\,2)\\,(0\\,0)}'::box[]", ['(1,1),(0,0)', '(2,2),(0,0)']],
  ['array[int4range(1, 3)]', ['[1,3)']],
];

/** What `select $1::TYPE` gives back. @type {[string, unknown, unknown][]} */
const ROUND_TRIPS = [
  ['int', 1, 1],
  ['int', '12', 12],
  ['int', 12n, 12],
  ['int', -0, 0],
  ['int', null, null],
  ['int', undefined, null],
  ['int8', 9007199254740993n, 9007199254740993n],
  ['float8', NaN, NaN],
  ['float8', -Infinity, -Infinity],
  ['numeric', '1.50', '1.50'],
  ['numeric', 2, '2'],
  ['text', 'a\'b"c\\', 'a\'b"c\\'],
  ['text', 1.5, '1.5'],
  ['text', true, 'true'],
  ['text', new Date(0), '1970-01-01T00:00:00.000Z'],
  ['bool', true, true],
  ['bool', 0, false],
  ['bool', 'yes', true],
  ['bool', 'F', false],
  ['json', { a: [1, 'x', null] }, { a: [1, 'x', null] }],
  ['jsonb', [1, 2], [1, 2]],
  ['jsonb', 5, 5],
  ['jsonb', '{"a":1}', { a: 1 }],
  ['jsonb', { a: 12n, d: new Date(0) }, { a: '12', d: '1970-01-01T00:00:00.000Z' }],
  ['bytea', new Uint8Array([0, 1, 255]), new Uint8Array([0, 1, 255])],
  ['timestamptz', new Date(1700000000123), new Date(1700000000123)],
  ['timestamptz', 1, new Date(1)],
  ['timestamptz', Infinity, Infinity],
  ['timestamptz', '2024-01-01 00:00+00', new Date('2024-01-01T00:00:00Z')],
  ['date', new Date('2024-05-06T12:00:00Z'), new Date('2024-05-06T00:00:00Z')],
  ['interval', '1 mon', '1 mon'],
  ['uuid', 'a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11', 'a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11'],
  ['point', [1, 2], '(1,2)'],
  ['int[]', [1, null, undefined], [1, null, null]],
  ['int[]', '{1,2}', [1, 2]],
  ['int[]', [], []],
  ['int[]', [[1, 2], [3, 4]], [[1, 2], [3, 4]]],
  ['text[]', ['', 'NULL', 'a\\b', 'a,b', '{}', ' x ', 'é"'], ['', 'NULL', 'a\\b', 'a,b', '{}', ' x ', 'é"']],
  ['jsonb[]', [{ a: 'x"y\\' }, [1, 2], '"s"', null], [{ a: 'x"y\\' }, [1, 2], 's', null]],
  ['bytea[]', [new Uint8Array([1, 2])], [new Uint8Array([1, 2])]],
  ['date[]', [new Date(0), '2024-01-01'], [new Date(0), new Date('2024-01-01T00:00:00Z')]],
  ['bool[]', [true, false, null], [true, false, null]],
  ['int8[]', [9007199254740993n, 5], [9007199254740993n, 5]],
  ['box[]', ['(1,1),(0,0)', '(2,2),(0,0)'], ['(1,1),(0,0)', '(2,2),(0,0)']],
];

/** @type {import('./suite.js').Case[]} */
export const typeCases = [
  {
    name: 'types: what PostgreSQL gives',
    async run({ open }) {
      const db = await open();
      for (const [expression, expected] of PARSED) {
        equal((await db.query(`select ${expression} as v`)).rows[0].v, expected, expression);
        equal((await db.exec(`select ${expression} as v`))[0].rows[0].v, expected, `${expression} through exec`);
      }
    },
  },
  {
    name: 'types: what PostgreSQL is given',
    async run({ open }) {
      const db = await open();
      for (const [type, value, expected] of ROUND_TRIPS) {
        equal((await db.query(`select $1::${type} as v`, [value])).rows[0].v, expected, `${type} ${String(value)}`);
      }
    },
  },
  {
    name: 'types: years before Christ and beyond four digits, both ways',
    isOwn: true,
    async run({ open }) {
      const db = await open();
      const dates = [Date.UTC(-43, 2, 15), Date.UTC(12345, 5, 6), new Date('0099-01-02T00:00:00Z').getTime()].map((ms) => new Date(ms));
      equal((await db.query('select $1::date[] as d, $1::timestamptz[] as t', [dates])).rows, [{ d: dates, t: dates }]);
      equal((await db.query("select '0044-03-15 BC'::date as d")).rows, [{ d: dates[0] }]);
    },
  },
  {
    name: 'types: other settings of the session',
    isOwn: true,
    async run({ open }) {
      const db = await open();
      await db.exec("set bytea_output to 'escape'; set timezone to 'America/New_York'");
      equal((await db.query("select '\\x410001ff5c'::bytea as b, '2024-06-01 12:00+05:30'::timestamptz as t")).rows, [
        { b: new Uint8Array([0x41, 0, 1, 0xff, 0x5c]), t: new Date('2024-06-01T06:30:00Z') },
      ]);
      equal((await db.query("select '1850-01-01 00:00+00'::timestamptz as t")).rows, [{ t: new Date('1850-01-01T00:00:00Z') }]);
    },
  },
  {
    name: 'types: arrays of types that were made later are text until refreshArrayTypes',
    async run({ open }) {
      const db = await open();
      await db.exec("create type mood as enum ('sad', 'ok'); create domain small as int check (value < 10)");
      equal((await db.query("select 'ok'::mood as a, array['ok','sad']::mood[] as b")).rows, [{ a: 'ok', b: '{ok,sad}' }]);
      await db.refreshArrayTypes();
      equal((await db.query("select $1::mood[] as b, '{1}'::small[] as c", [['ok', 'sad']])).rows, [{ b: ['ok', 'sad'], c: ['1'] }]);
    },
  },
  {
    name: 'types: arrays of initdb’s own types',
    async run({ open }) {
      const db = await open();
      const { rows } = await db.query("select array_agg(table_name) as t from information_schema.tables where table_name = 'pg_class'");
      equal(rows, [{ t: ['pg_class'] }]);
    },
  },
  {
    name: 'types: the parsers and serializers of the package',
    async run({ pgcell: { types } }) {
      equal([types.INT4, types.JSONB, types.TEXT], [23, 3802, 25]);
      equal([types.parseType('5', 23), types.parseType(null, 23), types.parseType('x', 99999)], [5, null, 'x']);
      equal([types.types.number.parse('5'), types.types.boolean.serialize(true), types.types.bytea.serialize(new Uint8Array([1]))], [5, 't', '\\x01']);
      equal(types.arrayParser('{a,"b c"}', (/** @type {string} */ x) => x, 1009), ['a', 'b c']);
      equal(types.arraySerializer(['a"'], (/** @type {string} */ x) => x, 1009), '{"a\\""}');
    },
  },
  {
    name: 'types: values that can’t be of the parameter’s type',
    async run({ open }) {
      const db = await open();
      await rejected(db.query('select $1::bool', ['x']), { message: 'Invalid input for boolean type' });
      await rejected(db.query('select $1::date', [true]), { message: 'Invalid input for date type' });
      await rejected(db.query('select $1::timestamptz', [NaN]), { name: 'RangeError' });
      await rejected(db.query('select $1::bytea', ['x']), { message: 'Invalid input for bytea type' });
      await rejected(db.query('select $1::int', [1.5]), { code: '22P02', message: 'invalid input syntax for type integer: "1.5"' });
      await rejected(db.query('select $1::int[]', [['a']]), { code: '22P02' });
      await rejected(db.query('select $1::text', ['a\0b']), { code: '22021' });
      equal((await db.query('select $1::int as a', [1])).rows, [{ a: 1 }]);
    },
  },
  {
    name: 'types: a value without text; what is no array',
    isOwn: true,
    async run({ open }) {
      const db = await open();
      await rejected(db.query('select $1::json', [() => 1]), { name: 'TypeError', message: /json/ });
      await rejected(db.query('select $1::int, $2::int[]', [1, 5]), { code: '22P02', message: 'malformed array literal: "5"' });
      equal((await db.query('select $1::bytea as b', [new Uint8Array([1]).buffer])).rows, [{ b: new Uint8Array([1]) }]);
      equal((await db.query('select $1::int as a', [1])).rows, [{ a: 1 }]);
    },
  },
];
