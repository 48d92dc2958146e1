// The wire protocol through the database class.

import { equal, ok, rejected } from './assert.js';

/** @type {import('./suite.js').Case[]} */
export const protocolCases = [
  {
    name: 'execProtocol: messages and bytes',
    async run({ open, pgcell: { protocol } }) {
      const db = await open();
      const { messages, data } = await db.execProtocol(protocol.serialize.query("select 1 as a, null::text as b"));
      equal(
        messages.map((/** @type {any} */ { name, length }) => [name, length]),
        [['rowDescription', 46], ['dataRow', 15], ['commandComplete', 13], ['readyForQuery', 5]],
      );
      equal({ ...messages[0].fields[0] }, { name: 'a', tableID: 0, columnID: 0, dataTypeID: 23, dataTypeSize: 4, dataTypeModifier: -1, format: 0 });
      equal([messages[0].fieldCount, messages[1].fields, messages[2].text, messages[3].status], [2, ['1', null], 'SELECT 1', 'I']);
      equal([data instanceof Uint8Array, data[0]], [true, 'T'.charCodeAt(0)]);
    },
  },
  {
    name: 'execProtocol: one message after the other',
    async run({ open, pgcell: { protocol } }) {
      const { serialize } = protocol;
      const db = await open();
      const answers = [];
      for (const message of [
        serialize.parse({ text: 'select $1::int as a', types: [23] }),
        serialize.describe({ type: 'S' }),
        serialize.bind({ values: ['5'] }),
        serialize.describe({ type: 'P' }),
        serialize.execute({}),
        serialize.close({ type: 'S' }),
        serialize.sync(),
      ]) {
        answers.push((await db.execProtocol(message)).messages);
      }
      equal(
        answers.map((messages) => messages.map((/** @type {any} */ { name }) => name)),
        [
          ['parseComplete'],
          ['parameterDescription', 'rowDescription'],
          ['bindComplete'],
          ['rowDescription'],
          ['dataRow', 'commandComplete'],
          ['closeComplete'],
          ['readyForQuery'],
        ],
      );
      equal([answers[1][0].dataTypeIDs, answers[4][0].fields], [[23], ['5']]);
    },
  },
  {
    name: 'execProtocol: errors and notices',
    async run({ open, pgcell: { protocol } }) {
      const db = await open();
      const bad = protocol.serialize.query('select nope');
      await rejected(db.execProtocol(bad), { code: '42703', position: '8', query: undefined });
      const { messages } = await db.execProtocol(bad, { throwOnError: false });
      equal(messages.map((/** @type {any} */ { name }) => name), ['error', 'readyForQuery']);
      ok(messages[0] instanceof Error && /** @type {any} */ (messages[0]).code === '42703', 'the error is a message');
      /** @type {string[]} */
      const notices = [];
      await db.execProtocol(protocol.serialize.query("do $$ begin raise notice 'x'; end $$"), { onNotice: (/** @type {any} */ { message }) => notices.push(message) });
      equal(notices, ['x']);
    },
  },
  {
    name: 'execProtocol: notifications reach those who listen',
    async run({ open, pgcell: { protocol } }) {
      const db = await open();
      /** @type {string[]} */
      const got = [];
      await db.listen('c', (/** @type {string} */ payload) => got.push(payload));
      await db.execProtocol(protocol.serialize.query("notify c, 'x'"));
      await new Promise((resolve) => setTimeout(resolve, 5));
      equal(got, ['x']);
    },
  },
  {
    name: 'execProtocolStream: messages only',
    async run({ open, pgcell: { protocol } }) {
      const db = await open();
      const messages = await db.execProtocolStream(protocol.serialize.query('select 1'));
      equal(messages.map((/** @type {any} */ { name }) => name), ['rowDescription', 'dataRow', 'commandComplete', 'readyForQuery']);
      await rejected(db.execProtocolStream(protocol.serialize.query('select nope')), { code: '42703' });
    },
  },
  {
    name: 'execProtocolRaw: bytes only, errors among them',
    async run({ open, pgcell: { protocol } }) {
      const db = await open();
      const types = (/** @type {Uint8Array} */ bytes) => {
        let text = '';
        for (let at = 0; at < bytes.length; at += 1 + new DataView(bytes.buffer, bytes.byteOffset).getUint32(at + 1)) {
          text += String.fromCharCode(bytes[at] ?? 0);
        }
        return text;
      };
      const one = await db.execProtocolRaw(protocol.serialize.query('select 1'));
      equal(types(await db.execProtocolRaw(protocol.serialize.query('select nope'))), 'EZ');
      equal(types(one), 'TDCZ', 'bytes that were given stay as they are');
      equal(types(db.execProtocolRawSync(protocol.serialize.query('select 1; select 2'))), 'TDCTDCZ');
    },
  },
  {
    name: 'execProtocolRawStream: in pieces',
    async run({ open, pgcell: { protocol } }) {
      const db = await open();
      /** @type {Uint8Array[]} */
      const chunks = [];
      equal(await db.execProtocolRawStream(protocol.serialize.query("select repeat('x', 1000) from generate_series(1, 1000)"), { onRawData: (/** @type {Uint8Array} */ chunk) => chunks.push(chunk) }), undefined);
      ok(chunks.length > 1, `${chunks.length} pieces`);
      const whole = await db.execProtocolRaw(protocol.serialize.query("select repeat('x', 1000) from generate_series(1, 1000)"));
      equal(chunks.reduce((sum, { length }) => sum + length, 0), whole.length);
    },
  },
  {
    name: 'execProtocolRawStream: a reader that throws',
    isOwn: true,
    async run({ open, pgcell: { protocol } }) {
      const db = await open();
      const query = protocol.serialize.query("select repeat('x', 1000) from generate_series(1, 1000)");
      let calls = 0;
      const onRawData = () => {
        if (++calls === 3) {
          throw new Error('full');
        }
      };
      await rejected(db.execProtocolRawStream(query, { onRawData }), { message: 'full' });
      equal((await db.query('select 1 as a')).rows, [{ a: 1 }]);
      equal((await db.execProtocol(protocol.serialize.query('select 2'))).messages.length, 4);
    },
  },
  {
    name: 'protocol.Parser: the stream in pieces',
    async run({ open, pgcell: { protocol } }) {
      const db = await open();
      const bytes = await db.execProtocolRaw(protocol.serialize.query("select 1, 'text'"));
      const parser = new protocol.Parser();
      /** @type {string[]} */
      const names = [];
      for (let at = 0; at < bytes.length; at += 7) {
        parser.parse(bytes.slice(at, at + 7), ({ name }) => names.push(name));
      }
      equal(names, ['rowDescription', 'dataRow', 'commandComplete', 'readyForQuery']);
    },
  },
  {
    name: 'COPY through the protocol',
    isOwn: true,
    async run({ open, pgcell: { protocol, MessageWriter } }) {
      const db = await open();
      await db.exec('create table t (a int)');
      const copy = new MessageWriter().query('copy t from stdin').copyData(new TextEncoder().encode('1\n2\n')).copyDone().take();
      equal((await db.execProtocol(copy)).messages.map((/** @type {any} */ { name }) => name), ['copyInResponse', 'commandComplete', 'readyForQuery']);
      const { messages } = await db.execProtocol(protocol.serialize.query('copy t to stdout'));
      equal(messages.filter((/** @type {any} */ { name }) => name === 'copyData').map((/** @type {any} */ { chunk }) => new TextDecoder().decode(chunk)), ['1\n', '2\n']);
    },
  },
];
