// Input from a broken or hostile client, and a broken host: bounded, reported, and the next message works.

import { equal, ok, refused } from './assert.js';
import { all, errors, rows, types, value } from './answers.js';

/** @typedef {import('./driver.js').Cell} Cell */

/** A message with any length in its header. @param {string} type @param {number} length @param {string} contents */
function message(type, length, contents = '') {
  const bytes = new Uint8Array(5 + contents.length);
  bytes[0] = type.charCodeAt(0);
  new DataView(bytes.buffer).setInt32(1, length);
  bytes.set([...contents].map((letter) => letter.charCodeAt(0)), 5);
  return bytes;
}

/**
 * The session ends, and a new one finds the table.
 *
 * @param {Cell} cell @param {Uint8Array} bytes @param {string} what
 * @param {readonly string[]} codes with these errors
 */
function endsSession(cell, bytes, what, codes) {
  const messages = cell.exec(bytes);
  equal(errors(messages), codes, what);
  ok(all(messages, 'errorResponse').every(({ fields }) => fields.severityCode === 'FATAL'), what);
  equal(cell.handler.status, cell.pgcell.Status.ENDED, what);
  cell.start();
  equal(value(cell.query('select count(*) from t')), '0', what);
}

/** Bytes of memory for a cell that is to run out of it. */
const LIMIT = 64 << 20;

/** How the guest reports a broken transport: an error number of WASI's that the transport gave comes back as it is. */
const BROKEN = ['EPROTO', 'E1'];

/** Works as if nothing had been. @param {Cell} cell */
function works(cell) {
  equal(rows(cell.query("select 1, repeat('x', 20000)")).map((row) => row.map((text) => text?.length)), [[1, 20000]]);
  equal(cell.handler.status, 0);
}

/** @type {import('./suite.js').Case[]} */
export const badCases = [
  {
    name: 'lengths that no message can have end the session',
    async run({ open }) {
      const cell = await open();
      cell.query('create table t (a int)');
      for (const length of [0, 1, 3, -1, -2147483648]) {
        endsSession(cell, message('Q', length, 'select 1\0'), `length ${length}`, []); // PostgreSQL says it to its log only
      }
      for (const type of ['S', 'H', 'c', 'X', 'E', 'D', 'C']) {
        endsSession(cell, message(type, 0x7fffffff), `a ${type} of 2 GiB`, []);
      }
    },
  },
  {
    name: 'unknown types of messages end the session',
    async run({ open }) {
      const cell = await open();
      cell.query('create table t (a int)');
      for (const type of ['\0', '?', 'z', '\x7f', 'R']) {
        endsSession(cell, message(type, 4), `type ${JSON.stringify(type)}`, ['08P01']);
      }
    },
  },
  {
    name: 'a length that is too short for the contents',
    async run({ open }) {
      const cell = await open();
      cell.query('create table t (a int)');
      const messages = cell.exec(message('Q', 4 + 8, 'select 1\0'));
      equal(errors(messages).slice(0, 1), ['08P01']);
      cell.start();
      equal(value(cell.query('select count(*) from t')), '0');
    },
  },
  {
    name: 'a length that is too long for the contents waits, and can be dropped',
    async run({ open, pgcell: { Status } }) {
      const cell = await open();
      equal(types(cell.exec(message('Q', 1000, 'select 1\0'))), []);
      equal(cell.handler.status, Status.INCOMPLETE);
      equal(cell.exports.pgcell_input_wanted(), 1000 - 4 - 9);
      cell.exports.pgcell_discard_input();
      works(cell);
      // 1 GiB is promised and never comes: nothing is allocated for a promise
      const before = cell.memoryBytes;
      equal(types(cell.exec(message('Q', 0x3ffffffe, 'select 1\0'))), []);
      ok(cell.memoryBytes - before < 16 << 20, `${cell.memoryBytes - before} bytes for a promise`);
      cell.exports.pgcell_discard_input();
      works(cell);
    },
  },
  {
    name: 'contents that lie about themselves are errors',
    async run({ open, pgcell: { MessageWriter, serialize } }) {
      const cell = await open();
      const sync = serialize.sync();
      cell.exec(new MessageWriter().parse('', 'select $1').sync().take());
      /** @type {[string, Uint8Array][]} */
      const lies = [
        ['Bind with more parameters than it has', message('B', 4 + 6, '\0\0\0\0\x7f\xff')],
        ['Bind with a value longer than the message', message('B', 4 + 12, '\0\0\0\0\0\x01\x7f\x7f\x7f\x7f\0\0')],
        ['Parse with more types than it has', message('P', 4 + 4, '\0\0\x7f\x7f')],
        ['Parse without its strings', message('P', 4)],
        ['Describe of nobody', message('D', 4 + 2, '?\0')],
        ['Execute without its row limit', message('E', 4 + 1, '\0')],
      ];
      for (const [what, bytes] of lies) {
        const messages = cell.exec(bytes.subarray(0, 1 + new DataView(bytes.buffer).getInt32(1)));
        equal(errors(messages), ['08P01'], what);
        equal(types(cell.exec(sync)), ['readyForQuery'], what);
      }
      works(cell);
    },
  },
  {
    name: 'start-up packets that are none',
    async run({ open, pgcell: { Status } }) {
      const cell = await open({ isFresh: true });
      /** @type {[string, number[]][]} */
      const packets = [
        ['length 0', [0, 0, 0, 0]],
        ['length 7', [0, 0, 0, 7, 0, 3, 0]],
        ['length of 16 MiB', [0, 255, 255, 255, 0, 3, 0, 0]],
        ['no terminator', [0, 0, 0, 13, 0, 3, 0, 0, 117, 115, 101, 114, 0]],
        ['protocol 0', [0, 0, 0, 8, 0, 0, 0, 0]],
      ];
      for (const [what, bytes] of packets) {
        cell.start(Uint8Array.from(bytes));
        equal(cell.handler.status, Status.ENDED, what);
        cell.start();
        works(cell);
      }
    },
  },
  {
    name: 'random bytes',
    async run({ open }) {
      const cell = await open();
      let seed = 42;
      for (let round = 0; round < 300; round++) {
        const bytes = new Uint8Array(1 + (seed % 60));
        for (let i = 0; i < bytes.length; i++) {
          seed = (Math.imul(seed, 1664525) + 1013904223) >>> 0;
          bytes[i] = seed >>> 24;
        }
        if (round % 2) {
          bytes[0] = 'QPBEDCSHdcfFX'.charCodeAt(seed % 13);
          bytes.fill(0, 1, 4);
        }
        if (round % 3 === 0) {
          cell.start(bytes);
        } else {
          cell.exec(bytes);
        }
        ok(cell.handler.status >= 0, `status ${cell.handler.status}`);
        cell.start();
        equal(value(cell.query('select 1')), '1', `round ${round}`);
      }
    },
  },
  {
    name: 'interactive_one with a length that lies',
    async run({ open, pgcell: { Errno } }) {
      const cell = await open();
      for (const length of [-1, -2147483648]) {
        equal(cell.exports.interactive_one(length, -1), -Errno.EINVAL, `length ${length}`);
        equal(cell.exports.interactive_one(0, 1000), -Errno.EINVAL, 'a first byte that is none');
      }
      for (const [length, first] of [
        [0x7fffffff, 0x51],
        [1, -1],
        [100, 0x58],
      ]) {
        equal(cell.exports.interactive_one(length, first), 0, `length ${length}, first byte ${first}`);
      }
      works(cell);
    },
  },
  {
    name: 'endless recursion is an error',
    async run({ open }) {
      const cell = await open();
      cell.query('create function f(i int) returns int language plpgsql as $$ begin return f(i + 1); end $$');
      for (let i = 0; i < 3; i++) {
        equal(errors(cell.query('select f(1)')), ['54001']);
        works(cell);
      }
    },
  },
  {
    name: 'deep nesting is an error: expressions',
    async run({ open }) {
      const cell = await open();
      for (const depth of [5000, 20_000, 100_000]) {
        ok(errors(cell.query(`select ${'('.repeat(depth)}1${')'.repeat(depth)}`)).length <= 1, 'an error or none');
        ok(errors(cell.query(`select 1${'+1'.repeat(depth)}`)).length <= 1, 'an error or none');
        ok(errors(cell.query(`select ${'-'.repeat(depth).replace(/-/g, '- ')}1`)).length <= 1, 'an error or none');
        works(cell);
      }
    },
  },
  {
    name: 'deep nesting is an error: regular expressions',
    async run({ open }) {
      const cell = await open();
      for (const depth of [1000, 5000, 50_000]) {
        const codes = errors(cell.query(`select 'x' ~ (repeat('(', ${depth}) || 'x' || repeat(')', ${depth}))`));
        ok(codes.length <= 1, `${depth}: ${codes}`);
        works(cell);
      }
    },
  },
  {
    name: 'deep nesting is an error: JSON',
    async run({ open }) {
      const cell = await open();
      equal(errors(cell.query("select repeat('[', 100000)::json")), ['54001']);
      works(cell);
      equal(errors(cell.query("select (repeat('[', 100000) || repeat(']', 100000))::jsonb")), ['54001']);
      works(cell);
    },
  },
  {
    name: 'too much memory is an error',
    async run({ open }) {
      const cell = await open({ memoryLimitBytes: LIMIT });
      equal(errors(cell.query("select repeat('x', 2000000000)")), ['54000']);
      works(cell);
      for (let i = 0; i < 3; i++) {
        equal(errors(cell.query("select array_agg(repeat('x', 1 << 20) || i) from generate_series(1, 1000) i")), ['53200']);
        works(cell);
        const codes = errors(cell.query("create table t as select repeat('x', 1 << 20) || i as a from generate_series(1, 100) i; select length(string_agg(a, '')) from t"));
        ok(codes.length === 1 && ['53200', '53100'].includes(codes[0] ?? ''), String(codes));
        works(cell);
      }
      ok(cell.memoryBytes <= LIMIT, `${cell.memoryBytes} bytes`);
      cell.start();
      works(cell);
    },
  },
  {
    name: 'a message that does not fit into memory is dropped',
    async run({ open, pgcell: { MessageWriter, serialize } }) {
      const cell = await open({ memoryLimitBytes: LIMIT });
      const big = new Uint8Array(LIMIT).fill(97);
      for (const bytes of [
        new MessageWriter().parse('', 'select $1').bind('', '', [big]).execute().sync().take(),
        serialize.query(`select '${'a'.repeat(LIMIT)}'`),
      ]) {
        refused('ENOMEM', () => cell.exec(bytes));
        cell.handler.reset();
        works(cell);
      }
      ok(cell.memoryBytes <= LIMIT, `${cell.memoryBytes} bytes`);
    },
  },
  {
    name: 'output that does not fit into memory is an error',
    transports: ['imports', 'callbacks'],
    async run({ open, pgcell: { serialize } }) {
      const cell = await open({ memoryLimitBytes: LIMIT });
      cell.brokenWrite = () => 0;
      let text = '';
      try {
        cell.handler.run(serialize.query("select repeat('x', 100000) from generate_series(1, 10000)"));
      } catch (error) {
        text = String(error);
      }
      ok(cell.handler.status !== -cell.pgcell.Errno.ENOTRECOVERABLE, `the instance is dead: ${text}`);
      ok(cell.memoryBytes <= LIMIT, `${cell.memoryBytes} bytes`);
      cell.brokenWrite = undefined;
      cell.start();
      works(cell);
    },
  },

  // a host whose functions are broken

  {
    name: 'read returns more than was asked, or nonsense',
    transports: ['imports', 'callbacks'],
    async run({ open, pgcell: { Errno } }) {
      const cell = await open();
      /** @type {((ptr: number, max: number) => number)[]} */
      const broken = [(_ptr, max) => max + 1, () => 0x7fffffff, () => -1, () => -65, () => -100_000, () => -2147483648];
      for (const read of broken) {
        let calls = 0;
        cell.brokenRead = (ptr, max) => {
          ok(++calls < 1000, 'endless reading');
          return read(ptr, max);
        };
        refused(BROKEN, () => cell.handler.exec([]));
        cell.brokenRead = undefined;
        works(cell);
      }
    },
  },
  {
    name: 'read that breaks in the middle of a message',
    transports: ['imports', 'callbacks'],
    async run({ open, pgcell: { serialize } }) {
      const cell = await open();
      const bytes = serialize.query('select 7');
      equal(types(cell.exec(bytes.subarray(0, 8))), []);
      cell.brokenRead = (_ptr, max) => max + 5;
      refused('EPROTO', () => cell.handler.exec([]));
      cell.brokenRead = undefined;
      cell.handler.reset();
      works(cell);
    },
  },
  {
    name: 'read that breaks in the middle of COPY',
    transports: ['imports', 'callbacks'],
    async run({ open, pgcell: { serialize } }) {
      const cell = await open();
      cell.query('create table t (a int)');
      const statement = serialize.query('copy t from stdin');
      let isGiven = false;
      cell.brokenRead = (ptr, max) => {
        if (isGiven) {
          return max + 1;
        }
        isGiven = true;
        new Uint8Array(cell.exports.memory.buffer).set(statement, ptr >>> 0);
        return statement.length;
      };
      refused('EPROTO', () => cell.handler.exec([]));
      cell.brokenRead = undefined;
      cell.handler.reset();
      works(cell);
      equal(value(cell.query('select count(*) from t')), '0');
    },
  },
  {
    name: 'write takes one byte at a time',
    transports: ['imports', 'callbacks'],
    async run({ open }) {
      const cell = await open();
      /** @type {number[]} */
      const bytes = [];
      cell.brokenWrite = (ptr) => {
        bytes.push(new Uint8Array(cell.exports.memory.buffer)[ptr >>> 0] ?? 0);
        return 1;
      };
      equal(types(cell.query("select repeat('x', 20000)")), []);
      cell.brokenWrite = undefined;
      const messages = new cell.pgcell.BackendParser().parse(Uint8Array.from(bytes));
      equal(types(messages), ['rowDescription', 'dataRow', 'commandComplete', 'readyForQuery']);
      works(cell);
    },
  },
  {
    name: 'write takes nothing for a while',
    transports: ['imports', 'callbacks'],
    async run({ open, pgcell: { serialize, Status } }) {
      const cell = await open();
      cell.brokenWrite = () => 0;
      for (let i = 1; i <= 3; i++) {
        equal(cell.handler.run(serialize.query(`select ${i}`)), Status.OUTPUT);
      }
      ok(cell.exports.pgcell_output_pending() > 0, 'the guest keeps the output');
      cell.brokenWrite = undefined;
      equal(cell.handler.flush(), 0);
      equal(rows(cell.handler.getMessages()), [['1'], ['2'], ['3']]);
      works(cell);
    },
  },
  {
    name: 'write takes more than was offered, or nonsense',
    transports: ['imports', 'callbacks'],
    async run({ open, pgcell: { serialize, Errno } }) {
      const cell = await open();
      /** @type {((ptr: number, length: number) => number)[]} */
      const broken = [(_ptr, length) => length + 1, () => 0x7fffffff, () => -1, () => -65, () => -100_000, () => -2147483648];
      for (const write of broken) {
        let calls = 0;
        cell.brokenWrite = (ptr, length) => {
          ok(++calls < 1000, 'endless writing');
          return write(ptr, length);
        };
        refused(BROKEN, () => cell.handler.run(serialize.query('select 5')));
        cell.brokenWrite = undefined;
        cell.handler.flush();
        equal(rows(cell.handler.getMessages()), [['5']], 'the output is kept');
        works(cell);
      }
    },
  },
  {
    name: 'write says that the client is gone',
    transports: ['imports', 'callbacks'],
    async run({ open, pgcell: { serialize, Errno } }) {
      const cell = await open();
      cell.query('create table t (a int)');
      cell.brokenWrite = () => -Errno.EPIPE;
      try {
        cell.handler.run(serialize.query('insert into t values (1)'));
        cell.handler.run(serialize.query("select repeat('x', 1000000)"));
      } catch {
        // that the guest says so is allowed; that it goes on is what counts
      }
      cell.brokenWrite = undefined;
      cell.start();
      works(cell);
    },
  },
  {
    name: 'a call from inside the guest is refused',
    transports: ['imports', 'callbacks'],
    async run({ open, pgcell: { serialize, Errno } }) {
      const cell = await open();
      /** @type {number[]} */
      const answers = [];
      cell.brokenWrite = (_ptr, length) => {
        answers.push(cell.exports.interactive_one(0, -1), cell.exports.pgl_backend(), cell.exports.pgcell_flush(), cell.exports.pgl_shutdown());
        return length;
      };
      cell.handler.run(serialize.query('select 1'));
      cell.brokenWrite = undefined;
      ok(answers.length >= 4, 'the guest wrote');
      ok(answers.every((answer) => answer === -Errno.EBUSY), String(answers));
      works(cell);
    },
  },
  {
    name: 'without functions there is no transport; they are kept over sessions',
    transports: ['callbacks'],
    async run({ open }) {
      const cell = await open();
      const table = cell.exports.__indirect_function_table;
      const read = table.length - 2;
      cell.exports.set_read_write_cbs(0, 0);
      refused('ENOTCONN', () => cell.query('select 1'));
      refused('ENOTCONN', () => cell.start());
      cell.exports.set_read_write_cbs(read, read + 1);
      cell.start();
      works(cell);
      cell.start();
      works(cell);
    },
  },

  // a host that plays with the buffers of the polling transport

  {
    name: 'the control block tells what goes on',
    transports: ['polling'],
    async run({ open, pgcell: { BufferField, BufferStatus, ControlField, CONTROL_MAGIC, serialize } }) {
      const cell = await open();
      const { exports } = cell;
      const control = exports.pglite_get_control();
      /** @param {number} field */
      const read = (field) => cell.view.getUint32(control + field, true);
      equal(read(ControlField.MAGIC), CONTROL_MAGIC);
      equal(read(ControlField.BUFFER_SIZE), exports.pglite_get_buffer_size());
      equal([read(ControlField.OPERATION), read(ControlField.STATUS), read(ControlField.LAST_ERROR), read(ControlField.ERRORS)], [0, 0, 0, 0]);
      const [inputChunks, outputChunks] = [read(ControlField.INPUT_CHUNKS), read(ControlField.OUTPUT_CHUNKS)];
      const size = exports.pglite_get_buffer_size();
      cell.exec(serialize.query(`select '${'x'.repeat(size)}'`));
      equal(read(ControlField.INPUT_CHUNKS) - inputChunks, 2);
      ok(read(ControlField.OUTPUT_CHUNKS) - outputChunks >= 2, 'chunks of output');
      for (const buffer of [exports.pglite_get_input_buffer(), exports.pglite_get_output_buffer()]) {
        equal(cell.view.getUint32(buffer + BufferField.STATUS, true), BufferStatus.EMPTY);
      }
      equal(exports.pglite_has_output(), 0);
      equal(exports.pglite_get_output_length(), 0);
    },
  },
  {
    name: 'a host may set the status word itself',
    transports: ['polling'],
    async run({ open, pgcell: { BufferField, BufferStatus, serialize } }) {
      const cell = await open();
      const { exports } = cell;
      const buffer = exports.pglite_get_input_buffer();
      const bytes = serialize.query('select 6');
      new Uint8Array(exports.memory.buffer).set(bytes, buffer + BufferField.DATA);
      cell.view.setUint32(buffer + BufferField.LENGTH, bytes.length, true);
      cell.view.setUint32(buffer + BufferField.STATUS, BufferStatus.READY, true);
      equal(value(cell.handler.exec([])), '6');
      equal(cell.view.getUint32(buffer + BufferField.STATUS, true), BufferStatus.EMPTY);
      works(cell);
    },
  },
  {
    name: 'a status word or a length that was overwritten',
    transports: ['polling'],
    async run({ open, pgcell: { BufferField, BufferStatus, ControlField, Errno } }) {
      const cell = await open();
      const { exports } = cell;
      const buffer = exports.pglite_get_input_buffer();
      const size = exports.pglite_get_buffer_size();
      const errorsBefore = cell.view.getUint32(exports.pglite_get_control() + ControlField.ERRORS, true);
      for (const [status, length] of [
        [7, 10],
        [0xffffffff, 0],
        [BufferStatus.READY, size + 1],
        [BufferStatus.READY, 0xffffffff],
        [BufferStatus.READY, 0x80000000],
      ]) {
        cell.view.setUint32(buffer + BufferField.STATUS, /** @type {number} */ (status), true);
        cell.view.setUint32(buffer + BufferField.LENGTH, /** @type {number} */ (length), true);
        refused('EPROTO', () => cell.handler.exec([]));
        equal(cell.view.getUint32(buffer + BufferField.STATUS, true), BufferStatus.EMPTY);
        equal(cell.view.getUint32(exports.pglite_get_control() + ControlField.LAST_ERROR, true), Errno.EPROTO);
        works(cell);
      }
      ok(cell.view.getUint32(exports.pglite_get_control() + ControlField.ERRORS, true) >= errorsBefore + 5, 'errors are counted');
    },
  },
  {
    name: 'lengths that lie when input is signalled',
    transports: ['polling'],
    async run({ open, pgcell: { Errno } }) {
      const cell = await open();
      const { exports } = cell;
      const size = exports.pglite_get_buffer_size();
      for (const length of [-1, size + 1, 0x7fffffff, -2147483648]) {
        equal(exports.pglite_signal_input_ready(length), -Errno.EINVAL, `length ${length}`);
        works(cell);
      }
      equal(exports.pglite_signal_input_ready(0), 0);
      works(cell);
    },
  },
  {
    name: 'acknowledgements out of turn',
    transports: ['polling'],
    async run({ open, pgcell: { Errno, serialize } }) {
      const cell = await open();
      const { exports } = cell;
      equal(exports.pglite_ack_output(), -Errno.EINVAL);
      works(cell);
      cell.handler.takeOutput = (/** @type {unknown} */ _exports, /** @type {number} */ status) => status;
      cell.handler.run(serialize.query('select 1'));
      delete cell.handler.takeOutput;
      equal(exports.pglite_has_output(), 1);
      ok(exports.pglite_get_output_length() > 0, 'output');
      equal(exports.pglite_ack_output(), 0);
      for (let i = 0; i < 3; i++) {
        equal(exports.pglite_ack_output(), -Errno.EINVAL);
      }
      equal(exports.pglite_has_output(), 0);
      works(cell);
    },
  },
  {
    name: 'an output buffer that was overwritten',
    transports: ['polling'],
    async run({ open, pgcell: { BufferField, serialize } }) {
      const cell = await open();
      const { exports } = cell;
      const buffer = exports.pglite_get_output_buffer();
      const takeOutput = cell.handler.takeOutput;
      for (const [status, length] of [
        [0, 0],
        [7, 0xffffffff],
        [1, 0x7fffffff],
      ]) {
        cell.handler.takeOutput = (/** @type {unknown} */ _exports, /** @type {number} */ status) => status;
        cell.handler.run(serialize.query("select repeat('y', 200000)"));
        delete cell.handler.takeOutput;
        ok(cell.handler.takeOutput === takeOutput, 'the handler is whole again');
        cell.view.setUint32(buffer + BufferField.STATUS, /** @type {number} */ (status), true);
        cell.view.setUint32(buffer + BufferField.LENGTH, /** @type {number} */ (length), true);
        ok(exports.pglite_get_output_length() <= exports.pglite_get_buffer_size(), 'a length within the buffer');
        const messages = cell.handler.exec([]);
        equal(rows(messages).map(([text]) => text), ['y'.repeat(200_000)]);
        works(cell);
      }
    },
  },
  {
    name: 'buffers can be reset at any time',
    transports: ['polling'],
    async run({ open, pgcell: { serialize } }) {
      const cell = await open();
      const { exports } = cell;
      cell.exec(serialize.query('select 1').subarray(0, 7));
      cell.handler.reset();
      equal(exports.pgcell_input_wanted(), 0);
      works(cell);
      cell.handler.takeOutput = (/** @type {unknown} */ _exports, /** @type {number} */ status) => status;
      cell.handler.run(serialize.query("select repeat('y', 200000)"));
      delete cell.handler.takeOutput;
      cell.handler.reset();
      equal([exports.pglite_has_output(), exports.pgcell_output_pending()], [0, 0]);
      works(cell);
    },
  },
  {
    name: 'random play with the buffers',
    transports: ['polling'],
    async run({ open, pgcell: { BufferField, Errno, serialize } }) {
      const cell = await open();
      const { exports } = cell;
      const [input, output] = [exports.pglite_get_input_buffer(), exports.pglite_get_output_buffer()];
      const size = exports.pglite_get_buffer_size();
      let seed = 7;
      const random = () => (seed = (Math.imul(seed, 1664525) + 1013904223) >>> 0) >>> 8;
      const word = () => [0, 1, 2, 8, size, size + 1, 0x7fffffff, 0x80000000, 0xffffffff][random() % 9] ?? 0;
      const query = serialize.query("select repeat('z', 100000)");
      /** @type {(() => number)[]} */
      const moves = [
        () => (cell.view.setUint32(input + BufferField.STATUS, word(), true), 0),
        () => (cell.view.setUint32(input + BufferField.LENGTH, word(), true), 0),
        () => (cell.view.setUint32(output + BufferField.STATUS, word(), true), 0),
        () => (cell.view.setUint32(output + BufferField.LENGTH, word(), true), 0),
        () => (new Uint8Array(exports.memory.buffer).set(query, input + BufferField.DATA), 0),
        () => exports.pglite_signal_input_ready(random() % 4 ? query.length : word() | 0),
        () => exports.pglite_ack_output(),
        () => exports.pglite_has_output(),
        () => exports.pglite_get_output_length(),
        () => exports.pgcell_flush(),
        () => exports.interactive_one(random() % 100, -1),
        () => (random() % 8 ? 0 : (exports.pglite_reset_buffers(), 0)),
        () => (random() % 8 ? 0 : (exports.pgcell_discard_input(), 0)),
        () => (random() % 32 ? 0 : exports.pgl_backend()),
      ];
      const known = new Set(Object.values(Errno).map((errno) => -errno));
      for (let i = 0; i < 3000; i++) {
        const result = moves[random() % moves.length]?.() ?? 0;
        ok(result >= 0 ? result <= size : known.has(result), `answer ${result}`);
        ok(exports.pglite_get_output_length() <= size, 'more output than a buffer holds');
        if (i % 100 === 0) {
          cell.handler.reset();
          cell.start();
          works(cell);
        }
      }
    },
  },
  {
    name: 'the module imports WASI and its transport, and names an import that is not there',
    async run({ pgcell, modules }) {
      const { module, transport } = modules;
      const wanted = WebAssembly.Module.imports(module);
      const handler = transport === 'imports' ? pgcell.createPGliteImportHandler() : { imports: {} };
      const env = /** @type {WebAssembly.ModuleImports} */ (handler.imports);
      const known = { wasi_snapshot_preview1: /** @type {WebAssembly.ModuleImports} */ (pgcell.createWasi().imports), env };
      for (const { module: from, name } of wanted) {
        ok(name in (known[/** @type {keyof typeof known} */ (from)] ?? {}), `nobody provides ${from}.${name}`);
        const others = structureOf(known);
        delete others[from]?.[name];
        let text = '';
        try {
          await WebAssembly.instantiate(module, others);
        } catch (error) {
          ok(error instanceof WebAssembly.LinkError || error instanceof TypeError, String(error));
          text = error.message;
        }
        ok(text.includes(name), `without ${name}: ${text || 'no error'}`);
      }
      equal(wanted.filter((each) => each.module === 'env').map((each) => each.name).sort(), Object.keys(env).sort());
    },
  },
];

/** @param {WebAssembly.Imports} imports @returns {WebAssembly.Imports} */
function structureOf(imports) {
  return Object.fromEntries(Object.entries(imports).map(([from, functions]) => [from, { ...functions }]));
}
