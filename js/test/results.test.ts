import assert from 'node:assert/strict';
import { test } from 'node:test';
import { ProtocolError } from '../src/protocol-backend.ts';
import { newAnswer, readAnswer } from '../src/results.ts';
import { parsers } from '../src/types.ts';

const latin = (text: string) => Uint8Array.from(text, (letter) => letter.charCodeAt(0));
const i16 = (value: number) => String.fromCharCode((value >> 8) & 0xff, value & 0xff);
const i32 = (value: number) => i16(value >> 16) + i16(value);
const message = (type: string, contents: string) => type + i32(contents.length + 4) + contents;
const description = message('T', `${i16(2)}a\0${i32(0)}${i16(0)}${i32(23)}${i16(4)}${i32(-1)}${i16(0)}b\0${i32(0)}${i16(0)}${i32(25)}${i16(-1)}${i32(-1)}${i16(0)}`);
const row = (...values: (string | null)[]) =>
  message('D', i16(values.length) + values.map((value) => (value === null ? i32(-1) : i32(value.length) + value)).join(''));
const done = message('C', 'SELECT 2\0');
const ready = message('Z', 'I');

const options = { parserOf: (typeId: number) => parsers[typeId] };
const read = (text: string) => readAnswer(latin(text), options, newAnswer());

test('rows of a described result', () => {
  const answer = read(description + row('-12', 'x'.repeat(40)) + row(null, '') + done + ready);
  assert.deepEqual(answer.results[0]?.rows, [
    { a: -12, b: 'x'.repeat(40) },
    { a: null, b: '' },
  ]);
  assert.equal(answer.isReady, true);
});

test('numbers of every length', () => {
  for (const text of ['0', '-0', '7', '-2147483648', '123456789012345', '1234567890123456', '1e300', '-1.5', 'NaN', 'Infinity']) {
    const value = read(description + row(text, null) + done).results[0]?.rows[0]?.['a'];
    assert.ok(Object.is(value, text === '-0' ? -0 : +text), text);
  }
});

test('rows that lie about their length, or were not described', () => {
  const bad = [
    row('1', 'x'),
    description + row('1'),
    description + message('D', i16(2) + i32(100) + '1'),
    description + message('D', i16(2) + i32(-2)),
    description + message('D', i16(2) + i32(1)),
    description + message('D', ''),
    description.slice(0, -1),
    'D\0\0',
    `D${i32(3)}`,
    `D${i32(-5)}`,
    `D${i32(0x7fffffff)}`,
  ];
  for (const text of bad) {
    assert.throws(() => read(text), ProtocolError, JSON.stringify(text));
  }
});

test('any byte changed: an answer or a ProtocolError', () => {
  const good = latin(description + row('1', 'x') + done + ready);
  for (let at = 0; at < good.length; at++) {
    for (const flip of [1, 0x80, 0xff]) {
      const bad = good.slice();
      bad[at]! ^= flip;
      try {
        readAnswer(bad, options, newAnswer());
      } catch (error) {
        assert.ok(error instanceof ProtocolError, `${at}: ${error}`);
      }
    }
  }
});
