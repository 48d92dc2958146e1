// 64 MiB in and out: what is far bigger than any buffer arrives whole and in order.

import { equal, equalBytes, ok } from './assert.js';
import { all, copied, errors, ready, tags, value } from './answers.js';

const BIG = 64 << 20;

/** Letters that do not repeat within any buffer's length, so that a piece lost, doubled or moved is seen. @param {number} size */
function letters(size) {
  const bytes = new Uint8Array(size);
  let seed = 1;
  for (let i = 0; i < size; i++) {
    seed = (Math.imul(seed, 1664525) + 1013904223) >>> 0;
    bytes[i] = 97 + ((seed >>> 16) % 26);
  }
  return bytes;
}

/** The same, with a line feed at every thousandth byte. @param {number} size */
function lines(size) {
  const bytes = letters(size);
  for (let i = 999; i < size; i += 1000) {
    bytes[i] = 10;
  }
  bytes[size - 1] = 10;
  return bytes;
}

/** @type {import('./suite.js').Case[]} */
export const bigCases = [
  {
    name: '64 MiB in as one parameter, and out again as one value',
    isBig: true,
    async run({ open, pgcell: { MessageWriter } }) {
      const cell = await open();
      const data = letters(BIG);
      const messages = cell.exec(
        new MessageWriter().parse('', 'select length($1), $1', [25]).bind('', '', [data], { parameterFormats: [0] }).execute().sync().take(),
      );
      equal(errors(messages), []);
      equal(ready(messages), 'idle');
      const values = all(messages, 'dataRow')[0]?.values ?? [];
      equal(new TextDecoder().decode(values[0] ?? undefined), String(BIG));
      equalBytes(values[1] ?? new Uint8Array(0), data, 'the value');
      equal(value(cell.query('select 1')), '1');
    },
  },
  {
    name: '64 MiB in as one literal',
    isBig: true,
    async run({ open, pgcell: { serialize } }) {
      const cell = await open();
      const text = new TextDecoder().decode(letters(BIG));
      equal(value(cell.exec(serialize.query(`select length('${text}')`))), String(BIG));
      equal(value(cell.query('select 1')), '1');
    },
  },
  {
    name: '64 MiB out as one value',
    isBig: true,
    async run({ open }) {
      const cell = await open();
      const messages = cell.query(`select repeat('0123456789abcde' || chr(10), ${BIG / 16})`);
      const bytes = all(messages, 'dataRow')[0]?.values[0];
      equal(bytes?.length, BIG);
      ok(bytes?.every((byte, i) => byte === '0123456789abcde\n'.charCodeAt(i % 16)), 'the value is another');
      equal(value(cell.query('select 1')), '1');
    },
  },
  {
    name: '64 MiB in by COPY, and out again',
    isBig: true,
    async run({ open, pgcell: { serialize } }) {
      const cell = await open();
      const data = lines(BIG);
      const piece = 1_000_003; // ends within lines
      cell.query('create temp table t (line text)');
      const into = cell.exec(
        (function* () {
          yield serialize.query('copy t from stdin');
          for (let at = 0; at < data.length; at += piece) {
            yield serialize.copyData(data.subarray(at, at + piece));
          }
          yield serialize.copyDone();
        })(),
      );
      equal(tags(into), [`COPY ${Math.ceil(BIG / 1000)}`]);
      equal(ready(into), 'idle');
      const out = cell.query('copy t to stdout');
      equalBytes(copied(out), data, 'what was copied');
      equal(tags(out), [`COPY ${Math.ceil(BIG / 1000)}`]);
      equal(value(cell.query('select 1')), '1');
    },
  },
  {
    name: '64 MiB out in many rows',
    isBig: true,
    async run({ open }) {
      const cell = await open();
      const count = BIG / 64;
      const messages = cell.query(`select lpad(i::text, 57, ' ') from generate_series(1, ${count}) i`);
      const found = all(messages, 'dataRow');
      equal(found.length, count);
      for (let i = 0; i < count; i += 4097) {
        equal(Number(new TextDecoder().decode(found[i]?.values[0] ?? undefined)), i + 1);
      }
      equal(tags(messages), [`SELECT ${count}`]);
    },
  },
];
