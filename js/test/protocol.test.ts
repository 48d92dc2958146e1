import assert from 'node:assert/strict';
import { test } from 'node:test';
import { BackendParser, MessageWriter, ProtocolError, serialize } from '../src/protocol.ts';
import type { BackendMessage } from '../src/protocol.ts';

const utf8 = new TextEncoder();

/** A message of the backend: type, then bytes, numbers (one byte each) or strings (as they are, zeros included). */
function backend(type: string, ...parts: (string | number[] | Uint8Array)[]): Uint8Array {
  const body = parts.flatMap((part) => (typeof part === 'string' ? [...utf8.encode(part)] : [...part]));
  const length = body.length + 4;
  return Uint8Array.from([type.charCodeAt(0), length >> 24, length >> 16, length >> 8, length, ...body]);
}

const parse = (...chunks: Uint8Array[]): BackendMessage[] => {
  const parser = new BackendParser();
  return chunks.flatMap((chunk) => parser.parse(chunk));
};
const parseOne = (...args: Parameters<typeof backend>) => {
  const messages = parse(backend(...args));
  assert.equal(messages.length, 1);
  return messages[0];
};
const hex = (bytes: Uint8Array) => Buffer.from(bytes).toString('latin1');

test('every message of the backend is parsed', () => {
  const cases: [Parameters<typeof backend>, unknown][] = [
    [['1'], { type: 'parseComplete' }],
    [['2'], { type: 'bindComplete' }],
    [['3'], { type: 'closeComplete' }],
    [['A', [0, 0, 0, 7], 'ch\0pay\0'], { type: 'notificationResponse', processId: 7, channel: 'ch', payload: 'pay' }],
    [['C', 'SELECT 1\0'], { type: 'commandComplete', tag: 'SELECT 1' }],
    [
      ['D', [0, 3], [0, 0, 0, 2], 'ab', [255, 255, 255, 255], [0, 0, 0, 0]],
      { type: 'dataRow', values: [utf8.encode('ab'), null, new Uint8Array(0)] },
    ],
    [['G', [0, 0, 2, 0, 0, 0, 0]], { type: 'copyInResponse', format: 'text', columnFormats: ['text', 'text'] }],
    [['H', [1, 0, 1, 0, 1]], { type: 'copyOutResponse', format: 'binary', columnFormats: ['binary'] }],
    [['W', [0, 0, 0]], { type: 'copyBothResponse', format: 'text', columnFormats: [] }],
    [['I'], { type: 'emptyQueryResponse' }],
    [['K', [0, 0, 1, 0], [1, 2, 3, 4]], { type: 'backendKeyData', processId: 256, secretKey: Uint8Array.of(1, 2, 3, 4) }],
    [['R', [0, 0, 0, 0]], { type: 'authentication', method: 'ok' }],
    [['R', [0, 0, 0, 2]], { type: 'authentication', method: 'kerberosV5' }],
    [['R', [0, 0, 0, 3]], { type: 'authentication', method: 'cleartextPassword' }],
    [['R', [0, 0, 0, 5], [9, 8, 7, 6]], { type: 'authentication', method: 'md5Password', salt: Uint8Array.of(9, 8, 7, 6) }],
    [['R', [0, 0, 0, 7]], { type: 'authentication', method: 'gss' }],
    [['R', [0, 0, 0, 8], 'x'], { type: 'authentication', method: 'gssContinue', data: utf8.encode('x') }],
    [['R', [0, 0, 0, 9]], { type: 'authentication', method: 'sspi' }],
    [['R', [0, 0, 0, 10], 'SCRAM-SHA-256\0A\0\0'], { type: 'authentication', method: 'sasl', mechanisms: ['SCRAM-SHA-256', 'A'] }],
    [['R', [0, 0, 0, 11], 'd'], { type: 'authentication', method: 'saslContinue', data: utf8.encode('d') }],
    [['R', [0, 0, 0, 12], 'e'], { type: 'authentication', method: 'saslFinal', data: utf8.encode('e') }],
    [['S', 'TimeZone\0Europe/Zürich\0'], { type: 'parameterStatus', name: 'TimeZone', value: 'Europe/Zürich' }],
    [
      ['T', [0, 1], 'id\0', [255, 255, 255, 255], [0, 1], [0, 0, 0, 23], [255, 255], [255, 255, 255, 255], [0, 1]],
      {
        type: 'rowDescription',
        fields: [
          { name: 'id', tableOid: 0xffffffff, columnNumber: 1, typeOid: 23, typeSize: -1, typeModifier: -1, format: 'binary' },
        ],
      },
    ],
    [['V', [255, 255, 255, 255]], { type: 'functionCallResponse', value: null }],
    [['V', [0, 0, 0, 1], 'v'], { type: 'functionCallResponse', value: utf8.encode('v') }],
    [['Z', 'I'], { type: 'readyForQuery', transaction: 'idle' }],
    [['Z', 'T'], { type: 'readyForQuery', transaction: 'block' }],
    [['Z', 'E'], { type: 'readyForQuery', transaction: 'failed' }],
    [['c'], { type: 'copyDone' }],
    [['d', 'row\n'], { type: 'copyData', data: utf8.encode('row\n') }],
    [['n'], { type: 'noData' }],
    [['s'], { type: 'portalSuspended' }],
    [['t', [0, 2], [0, 0, 0, 25], [0, 0, 0, 23]], { type: 'parameterDescription', typeOids: [25, 23] }],
    [['v', [0, 0, 0, 0], [0, 0, 0, 1], '_pq_.x\0'], { type: 'negotiateProtocolVersion', minorVersion: 0, unknownOptions: ['_pq_.x'] }],
  ];
  for (const [args, expected] of cases) {
    assert.deepEqual(parseOne(...args), expected, args[0]);
  }
});

test('every field of an error is there, unknown ones as well', () => {
  const letters = 'SVCMDHPpqWstcdnFLR';
  const message = parseOne('E', [...letters].map((letter) => `${letter}=${letter}\0`).join('') + 'Zlater\0\0');
  assert(message?.type === 'errorResponse');
  const { other, ...fields } = message.fields;
  assert.deepEqual(Object.values(fields), [...letters].map((letter) => `=${letter}`));
  assert.deepEqual([...other], [['Z', 'later']]);
  assert.equal(parseOne('N', '\0')?.type, 'noticeResponse');
});

test('chunks may end anywhere', () => {
  const stream = Uint8Array.from([
    ...backend('S', 'a\0b\0'),
    ...backend('1'),
    ...backend('D', [0, 1], [0, 0, 0, 40], 'x'.repeat(40)),
    ...backend('C', 'SELECT 1\0'),
    ...backend('Z', 'I'),
  ]);
  const whole = parse(stream);
  assert.equal(whole.length, 5);
  for (let i = 0; i <= stream.length; i++) {
    assert.deepEqual(parse(stream.subarray(0, i), stream.subarray(i)), whole, `split at ${i}`);
  }
  for (const size of [1, 2, 3, 7]) {
    const chunks = [];
    for (let at = 0; at < stream.length; at += size) {
      chunks.push(stream.slice(at, at + size));
    }
    assert.deepEqual(parse(...chunks), whole, `chunks of ${size}`);
  }
});

test('a message that has begun is known, and forgotten by reset', () => {
  const parser = new BackendParser();
  assert.deepEqual(parser.parse(backend('Z', 'I').subarray(0, 5)), []);
  assert.equal(parser.isWithinMessage, true);
  parser.reset();
  assert.equal(parser.isWithinMessage, false);
  assert.equal(parser.parse(backend('Z', 'I')).length, 1);
});

test('contents are views, without copies, when a message lies in one chunk', () => {
  const chunk = backend('d', 'data');
  const [message] = parse(chunk);
  assert(message?.type === 'copyData');
  assert.equal(message.data.buffer, chunk.buffer);
});

test('what is not the protocol is refused', () => {
  const bad: Record<string, Uint8Array> = {
    'unknown type': backend('?'),
    'length below 4': Uint8Array.of(0x5a, 0, 0, 0, 3),
    'negative length': Uint8Array.of(0x44, 255, 255, 255, 255),
    'length above 1 GiB': Uint8Array.of(0x44, 0x7f, 255, 255, 255),
    'short message that claims to be long': Uint8Array.of(0x5a, 0, 1, 0, 0),
    'row with fewer columns than it says': backend('D', [0, 2], [0, 0, 0, 0]),
    'row with bytes left': backend('D', [0, 0], [1]),
    'value beyond the message': backend('D', [0, 1], [0, 0, 0, 9], 'x'),
    'value of length -2': backend('D', [0, 1], [255, 255, 255, 254]),
    'string without its end': backend('C', 'SELECT 1'),
    'string whose end is in the next message': Uint8Array.from([...backend('C', 'SELECT'), ...backend('C', 'x\0')]),
    'error without its end': backend('E', 'Mtext\0'),
    'unknown transaction status': backend('Z', '?'),
    'unknown format': backend('H', [2, 0, 0]),
    'unknown authentication': backend('R', [0, 0, 0, 99]),
    'more options than there are': backend('v', [0, 0, 0, 0], [127, 255, 255, 255], 'x\0'),
  };
  for (const [name, bytes] of Object.entries(bad)) {
    assert.throws(() => parse(bytes), ProtocolError, name);
    assert.throws(() => parse(bytes.subarray(0, 2), bytes.subarray(2)), ProtocolError, `${name}, in two chunks`);
  }
});

test('messages before a bad one are given', () => {
  const messages: BackendMessage[] = [];
  assert.throws(() => new BackendParser().parse(Uint8Array.from([...backend('1'), ...backend('?')]), messages), ProtocolError);
  assert.deepEqual(messages, [{ type: 'parseComplete' }]);
});

test('every message of the frontend', () => {
  const cases: [Uint8Array, string][] = [
    [serialize.startup({ user: 'u' }), '\0\0\0\x10\0\x03\0\0user\0u\0\0'],
    [serialize.startup({}, 2), '\0\0\0\x09\0\x03\0\x02\0'],
    [serialize.sslRequest(), '\0\0\0\x08\x04\xd2\x16\x2f'],
    [serialize.gssEncRequest(), '\0\0\0\x08\x04\xd2\x16\x30'],
    [serialize.cancelRequest(1, Uint8Array.of(1, 2, 3, 4)), '\0\0\0\x10\x04\xd2\x16\x2e\0\0\0\x01\x01\x02\x03\x04'],
    [serialize.password('p'), 'p\0\0\0\x06p\0'],
    [serialize.query('é'), 'Q\0\0\0\x07\xc3\xa9\0'],
    [serialize.parse('s', 't', [23, 0xffffffff]), 'P\0\0\0\x12s\0t\0\0\x02\0\0\0\x17\xff\xff\xff\xff'],
    [serialize.bind('p', 's'), 'B\0\0\0\x0ep\0s\0\0\0\0\0\0\0'],
    [serialize.bind('', '', ['é', null]), 'B\0\0\0\x16\0\0\0\0\0\x02\0\0\0\x02\xc3\xa9\xff\xff\xff\xff\0\0'],
    [serialize.bind('', '', ['a', Uint8Array.of(7)]), 'B\0\0\0\x1a\0\0\0\x02\0\0\0\x01\0\x02\0\0\0\x01a\0\0\0\x01\x07\0\0'],
    [serialize.bind('', '', ['a'], { parameterFormats: [1], resultFormats: [1] }), 'B\0\0\0\x15\0\0\0\x01\0\x01\0\x01\0\0\0\x01a\0\x01\0\x01'],
    [serialize.describe('statement', 's'), 'D\0\0\0\x07Ss\0'],
    [serialize.describe('portal'), 'D\0\0\0\x06P\0'],
    [serialize.execute('', 5), 'E\0\0\0\x09\0\0\0\0\x05'],
    [serialize.close('portal', 'p'), 'C\0\0\0\x07Pp\0'],
    [serialize.sync(), 'S\0\0\0\x04'],
    [serialize.flush(), 'H\0\0\0\x04'],
    [serialize.copyData(Uint8Array.of(1)), 'd\0\0\0\x05\x01'],
    [serialize.copyDone(), 'c\0\0\0\x04'],
    [serialize.copyFail('no'), 'f\0\0\0\x07no\0'],
    [serialize.terminate(), 'X\0\0\0\x04'],
  ];
  for (const [bytes, expected] of cases) {
    assert.equal(hex(bytes), expected);
  }
});

test('a writer puts messages one behind the other and is empty afterwards', () => {
  const writer = new MessageWriter();
  const bytes = writer.parse('', 'select 1').bind('', '').execute().sync().take();
  assert.equal(hex(bytes).replace(/[^PBES]/g, ''), 'PBES');
  assert.equal(writer.take().length, 0);
  assert.equal(hex(writer.sync().take()), 'S\0\0\0\x04');
  assert.equal(hex(bytes).replace(/[^PBES]/g, ''), 'PBES', 'bytes that were taken stay as they are');
});

test('long texts, of any width', () => {
  for (const text of ['x'.repeat(3_000_000), 'é€😀'.repeat(300_000), 'é€😀'.repeat(100)]) {
    const bytes = serialize.query(text);
    assert.equal(new TextDecoder().decode(bytes.subarray(5, -1)), text);
    assert.equal(new DataView(bytes.buffer).getUint32(1), bytes.length - 1);
  }
});

test('a message that can not be sent leaves the writer as it was', () => {
  const writer = new MessageWriter().query('a');
  assert.throws(() => writer.query('b\0c'), TypeError);
  assert.throws(() => writer.parse('', 'x', new Array(65536).fill(0)), RangeError);
  assert.throws(() => writer.bind('', '', new Array(65536).fill(null)), RangeError);
  assert.equal(hex(writer.sync().take()), 'Q\0\0\0\x06a\0S\0\0\0\x04');
});
