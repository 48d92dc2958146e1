import assert from 'node:assert/strict';
import { test } from 'node:test';
import { arrayParser, arraySerializer, parsers, serializers, types } from '../src/types.ts';

test('arrays come back as they were', () => {
  const deep = ['', ' ', 'NULL', 'null', '{', '}', ',', ';', '"', '\\', '\\"', 'a b', 'é', null, '\n'];
  for (const typarray of [1009, 1020]) {
    for (const value of [[], deep, [deep, deep], [[deep], [deep]]]) {
      const text = arraySerializer(value, undefined, typarray);
      assert.deepEqual(arrayParser(text, undefined, typarray), value, text);
    }
  }
});

test('a text that is no array', () => {
  assert.throws(() => arrayParser('x', undefined, 1009), /not an array/);
  for (const cut of ['{', '{"a', '{"a\\', '{a,{b', '{"a"']) {
    assert.ok(Array.isArray(arrayParser(cut, undefined, 1009)), cut);
  }
});

test('dates come back as they were, in any year', () => {
  for (const ms of [0, 1, -1, Date.UTC(2024, 1, 29, 23, 59, 59, 999), Date.UTC(99999, 0, 1), Date.UTC(-1, 0, 1), -62135596800000]) {
    const text = serializers[1184]!(new Date(ms)).replace('T', ' ').replace('Z', '+00');
    assert.equal(parsers[1184]!(text).getTime(), ms, text);
  }
});

test('zones with minutes and seconds', () => {
  const parse = (text: string) => types.date.parse(text).toISOString();
  assert.equal(parse('2024-06-01 12:00:00+05:30'), '2024-06-01T06:30:00.000Z');
  assert.equal(parse('2024-06-01 12:00:00.5-00:00:10'), '2024-06-01T12:00:10.500Z');
  assert.equal(parse('2024-06-01 12:00:00.000009+00'), '2024-06-01T12:00:00.000Z');
});

test('bytes', () => {
  const all = Uint8Array.from({ length: 256 }, (_, i) => i);
  assert.deepEqual(types.bytea.parse(types.bytea.serialize(all)), all);
  assert.deepEqual(types.bytea.parse('\\xABcd'), new Uint8Array([0xab, 0xcd]));
  assert.throws(() => types.bytea.serialize('x'), /bytea/);
});
