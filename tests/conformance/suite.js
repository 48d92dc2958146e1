// What every transport must do, on the real module. Knows neither the engine nor (but for the cases that say so) the transport:
//
//     for (const { name, run } of cases(transport)) await run({ pgcell, modules, open });

import { equal, ok } from './assert.js';
import { all, copied, errors, ready, rows, tags, types, value } from './answers.js';
import { badCases } from './suite-bad.js';
import { bigCases } from './suite-big.js';
import { fileCases } from './suite-files.js';
import { sessionCases } from './suite-sessions.js';
import { waitingCases } from './suite-waiting.js';

/**
 * @typedef {import('./driver.js').Cell} Cell
 * @typedef {import('./driver.js').Transport} Transport
 * @typedef {object} Context
 * @property {import('./driver.js').Pgcell} pgcell
 * @property {import('./driver.js').Modules} modules
 * @property {(options?: { onOutput?: (chunk: Uint8Array) => number | void, memoryLimitBytes?: number, isFresh?: boolean }) => Promise<Cell>} open
 *   A new instance, with a session of user postgres unless `isFresh`.
 * @typedef {object} Case
 * @property {string} name
 * @property {readonly Transport[]} [transports] the ones it makes sense for; all unless said
 * @property {boolean} [isBig] needs more memory than a small host has
 * @property {boolean} [needsWaiting] for the import transport, in engines with JSPI
 * @property {(context: Context) => Promise<void>} run
 */

/** @type {Case[]} */
const basicCases = [
  {
    name: 'simple query',
    async run({ open }) {
      const cell = await open();
      const messages = cell.query("select 1 as one, null::text, 'é' as text");
      equal(types(messages), ['rowDescription', 'dataRow', 'commandComplete', 'readyForQuery']);
      equal(rows(messages), [['1', null, 'é']]);
      equal(all(messages, 'rowDescription')[0]?.fields[0], {
        name: 'one',
        tableOid: 0,
        columnNumber: 0,
        typeOid: 23,
        typeSize: 4,
        typeModifier: -1,
        format: 'text',
      });
      equal(tags(messages), ['SELECT 1']);
      equal(ready(messages), 'idle');
      equal(cell.handler.status, 0);
      equal(types(cell.query('')), ['emptyQueryResponse', 'readyForQuery']);
    },
  },
  {
    name: 'several statements in one query',
    async run({ open }) {
      const cell = await open();
      const messages = cell.query('select 1; select 2; create table t (a int); insert into t values (1), (2)');
      equal(rows(messages), [['1'], ['2']]);
      equal(tags(messages), ['SELECT 1', 'SELECT 1', 'CREATE TABLE', 'INSERT 0 2']);
      equal(all(messages, 'readyForQuery').length, 1);
    },
  },
  {
    name: 'extended query with parameters',
    async run({ open, pgcell: { MessageWriter } }) {
      const cell = await open();
      const messages = cell.exec(
        new MessageWriter()
          .parse('', 'select $1::int + 1, $2::text, $3::bytea, $4::int is null', [23, 25, 17, 23])
          .describe('statement')
          .bind('', '', [Uint8Array.of(0, 0, 1, 0), 'é\n', Uint8Array.of(0, 255), null], { resultFormats: [1] })
          .describe('portal')
          .execute()
          .sync()
          .take(),
      );
      equal(types(messages), [
        'parseComplete',
        'parameterDescription',
        'rowDescription',
        'bindComplete',
        'rowDescription',
        'dataRow',
        'commandComplete',
        'readyForQuery',
      ]);
      equal(all(messages, 'parameterDescription')[0]?.typeOids, [23, 25, 17, 23]);
      const row = all(messages, 'dataRow')[0]?.values ?? [];
      equal(row.map((bytes) => [...(bytes ?? [])]), [[0, 0, 1, 1], [0xc3, 0xa9, 10], [0, 255], [1]]);
      equal(all(messages, 'rowDescription')[1]?.fields.map((field) => field.format), ['binary', 'binary', 'binary', 'binary']);
    },
  },
  {
    name: 'prepared statements and portals',
    async run({ open, pgcell: { MessageWriter } }) {
      const cell = await open();
      const writer = new MessageWriter();
      equal(types(cell.exec(writer.parse('s', 'select generate_series(1, $1::int)').sync().take())), ['parseComplete', 'readyForQuery']);
      const messages = cell.exec(
        writer.bind('p', 's', ['5']).execute('p', 2).execute('p', 2).execute('p', 2).close('portal', 'p').close('statement', 's').sync().take(),
      );
      equal(rows(messages).flat(), ['1', '2', '3', '4', '5']);
      equal(all(messages, 'portalSuspended').length, 2);
      equal(all(messages, 'closeComplete').length, 2);
      equal(errors(cell.exec(writer.bind('', 's', ['5']).sync().take())), ['26000']);
      equal(types(cell.exec(writer.parse('', '').bind('', '').describe('portal').execute().sync().take())), [
        'parseComplete',
        'bindComplete',
        'noData',
        'emptyQueryResponse',
        'readyForQuery',
      ]);
    },
  },
  {
    name: 'Flush sends what is owed without ending the batch',
    async run({ open, pgcell: { MessageWriter } }) {
      const cell = await open();
      const writer = new MessageWriter();
      equal(types(cell.exec(writer.parse('', 'select 1').flush().take())), ['parseComplete']);
      equal(types(cell.exec(writer.bind('', '').execute().flush().take())), ['bindComplete', 'dataRow', 'commandComplete']);
      equal(types(cell.exec(writer.sync().take())), ['readyForQuery']);
    },
  },
  {
    name: 'transaction status, commit and rollback',
    async run({ open }) {
      const cell = await open();
      equal(ready(cell.query('begin')), 'block');
      cell.query('create table t (a int)');
      equal(ready(cell.query('select 1/0')), 'failed');
      equal(errors(cell.query('select 1')), ['25P02']);
      equal(ready(cell.query('rollback')), 'idle');
      equal(errors(cell.query('select * from t')), ['42P01']);
      cell.query('begin; create table t (a int); insert into t values (7); commit');
      equal(value(cell.query('select a from t')), '7');
    },
  },
  {
    name: 'errors have every field that PostgreSQL gives',
    async run({ open }) {
      const cell = await open();
      cell.query('create schema s; create table s.t (a int constraint positive check (a > 0), b int not null)');
      const check = all(cell.query('insert into s.t values (-1, 1)'), 'errorResponse')[0]?.fields;
      equal(
        [check?.severity, check?.severityCode, check?.code, check?.schema, check?.table, check?.constraint],
        ['ERROR', 'ERROR', '23514', 's', 't', 'positive'],
      );
      ok(check?.message && check.detail && check.file && check.line && check.routine, 'message, detail, file, line and routine');
      const notNull = all(cell.query('insert into s.t values (1, null)'), 'errorResponse')[0]?.fields;
      equal([notNull?.code, notNull?.column], ['23502', 'b']);
      const position = all(cell.query('select nothing'), 'errorResponse')[0]?.fields;
      equal([position?.code, position?.position], ['42703', '8']);
      const raised = all(
        cell.query(
          `do $$ begin raise exception using errcode = 'ABCDE', message = 'm', detail = 'd', hint = 'h', datatype = 'dt'; end $$`,
        ),
        'errorResponse',
      )[0]?.fields;
      equal([raised?.code, raised?.message, raised?.detail, raised?.hint, raised?.dataType], ['ABCDE', 'm', 'd', 'h', 'dt']);
      ok(raised?.where?.includes('PL/pgSQL'), 'where');
      const internal = all(cell.query(`do $$ begin execute 'select 1 +'; end $$`), 'errorResponse')[0]?.fields;
      equal([internal?.internalQuery, internal?.internalPosition], ['select 1 +', '11']);
    },
  },
  {
    name: 'a notice',
    async run({ open }) {
      const cell = await open();
      const messages = cell.query(`do $$ begin raise notice 'hello %', 1; raise warning 'careful'; end $$`);
      equal(
        all(messages, 'noticeResponse').map(({ fields }) => [fields.severityCode, fields.message]),
        [['NOTICE', 'hello 1'], ['WARNING', 'careful']],
      );
      equal(tags(messages), ['DO']);
    },
  },
  {
    name: 'a notification',
    async run({ open }) {
      const cell = await open();
      equal(all(cell.query('listen news; notify other'), 'notificationResponse').length, 0);
      const messages = cell.query("notify news, 'text'");
      const [notification] = all(messages, 'notificationResponse');
      equal([notification?.channel, notification?.payload], ['news', 'text']);
      equal(String(notification?.processId), value(cell.query('select pg_backend_pid()')));
      equal(all(cell.query('begin; notify news; notify news; notify news; commit'), 'notificationResponse').length, 1);
      cell.query('unlisten news');
      equal(all(cell.query('notify news'), 'notificationResponse').length, 0);
    },
  },
  {
    name: 'COPY in and out',
    async run({ open, pgcell: { MessageWriter } }) {
      const cell = await open();
      const writer = new MessageWriter();
      const utf8 = new TextEncoder();
      cell.query('create table t (a int, b text)');
      const into = cell.exec(
        writer
          .query('copy t from stdin')
          .copyData(utf8.encode('1\tone\n2\tt'))
          .copyData(utf8.encode('wo\n'))
          .copyData(utf8.encode('3\t\\N\n'))
          .copyDone()
          .take(),
      );
      equal(types(into), ['copyInResponse', 'commandComplete', 'readyForQuery']);
      equal(tags(into), ['COPY 3']);
      const out = cell.query('copy t to stdout');
      equal(new TextDecoder().decode(copied(out)), '1\tone\n2\ttwo\n3\t\\N\n');
      equal(types(out).slice(-3), ['copyDone', 'commandComplete', 'readyForQuery']);
      const binary = copied(cell.query('copy t to stdout (format binary)'));
      const back = cell.exec(writer.query('copy t from stdin (format binary)').copyData(binary).copyDone().take());
      equal(tags(back), ['COPY 3']);
      equal(value(cell.query('select count(*) from t')), '6');
    },
  },
  {
    name: 'COPY in that the client gives up, or whose data are wrong',
    async run({ open, pgcell: { MessageWriter } }) {
      const cell = await open();
      const writer = new MessageWriter();
      cell.query('create table t (a int)');
      const failed = cell.exec(writer.query('copy t from stdin').copyData(new TextEncoder().encode('1\n')).copyFail('no more').take());
      equal(errors(failed), ['57014']);
      equal(ready(failed), 'idle');
      const wrong = cell.exec(
        writer
          .query('copy t from stdin')
          .copyData(new TextEncoder().encode('x\n'))
          .copyData(new TextEncoder().encode('2\n'))
          .copyDone()
          .query('select count(*) from t')
          .take(),
      );
      equal(errors(wrong), ['22P02']);
      equal(rows(wrong), [['0']]);
    },
  },
  {
    name: 'COPY in over the extended protocol',
    async run({ open, pgcell: { MessageWriter } }) {
      const cell = await open();
      cell.query('create table t (a int)');
      const messages = cell.exec(
        new MessageWriter()
          .parse('', 'copy t from stdin')
          .bind('', '')
          .execute()
          .copyData(new TextEncoder().encode('1\n2\n'))
          .copyDone()
          .sync()
          .take(),
      );
      equal(tags(messages), ['COPY 2']);
      equal(ready(messages), 'idle');
    },
  },
  {
    name: 'COPY in whose data run out is an error, and the next message works',
    async run({ open, pgcell: { MessageWriter } }) {
      const cell = await open();
      const writer = new MessageWriter();
      const data = new TextEncoder().encode('1\n');
      cell.query('create table t (a int)');
      for (const input of [writer.query('copy t from stdin').take(), writer.query('copy t from stdin').copyData(data).take()]) {
        const messages = cell.exec(input);
        equal(types(messages), ['copyInResponse', 'errorResponse', 'readyForQuery']);
        equal(errors(messages), ['08P01']);
        equal(types(cell.exec(writer.copyData(data).copyDone().take())), [], 'what comes too late is ignored');
        equal(value(cell.query('select count(*) from t')), '0');
      }
    },
  },
  {
    name: 'COPY in whose data run out in an extended query',
    async run({ open, pgcell: { MessageWriter } }) {
      const cell = await open();
      const writer = new MessageWriter();
      cell.query('create table t (a int)');
      const messages = cell.exec(writer.parse('', 'copy t from stdin').bind('', '').execute().take());
      equal(errors(messages), ['08P01']);
      equal(types(cell.exec(writer.copyData(new TextEncoder().encode('1\n')).copyDone().sync().take())), ['readyForQuery']);
      equal(value(cell.query('select count(*) from t')), '0');
    },
  },
  {
    name: 'an error in the middle of a simple query skips the rest of it',
    async run({ open }) {
      const cell = await open();
      cell.query('create table t (a int)');
      const messages = cell.query('insert into t values (1); select 1/0; insert into t values (2)');
      equal(types(messages), ['commandComplete', 'errorResponse', 'readyForQuery']);
      equal(errors(messages), ['22012']);
      equal(value(cell.query('select count(*) from t')), '0');
    },
  },
  {
    name: 'an error in the middle of an extended batch skips to Sync',
    async run({ open, pgcell: { MessageWriter } }) {
      const cell = await open();
      const writer = new MessageWriter();
      const batch = () =>
        writer.parse('', 'select 1/0').bind('', '').execute().parse('', 'select 2').bind('', '').execute();
      const whole = cell.exec(batch().sync().query('select 3').take());
      equal(types(whole).slice(0, 3), ['parseComplete', 'errorResponse', 'readyForQuery']); // Bind plans, and so divides
      equal(rows(whole), [['3']]);
      const first = cell.exec(batch().take());
      equal(errors(first), ['22012']);
      equal(types(cell.exec(writer.parse('', 'select 4').bind('', '').execute().take())), [], 'still skipped');
      equal(types(cell.exec(writer.sync().take())), ['readyForQuery']);
      equal(value(cell.query('select 5')), '5');
    },
  },
  {
    name: 'many messages in one call',
    async run({ open, pgcell: { MessageWriter } }) {
      const cell = await open();
      const writer = new MessageWriter();
      const count = 2000;
      for (let i = 0; i < count; i++) {
        if (i % 2) {
          writer.query(`select ${i}`);
        } else {
          writer.parse('', 'select $1::int').bind('', '', [String(i)]).execute().sync();
        }
      }
      const messages = cell.exec(writer.take());
      equal(rows(messages).flat(), Array.from({ length: count }, (_, i) => String(i)));
      equal(all(messages, 'readyForQuery').length, count);
      equal(cell.handler.status, 0);
    },
  },
  {
    name: 'a batch split at every point',
    async run({ open, pgcell: { MessageWriter, Status } }) {
      const cell = await open();
      const batch = new MessageWriter().query('select 1').parse('', 'select $1').bind('', '', ['two']).execute().sync().query('x').take();
      const whole = JSON.stringify(cell.exec(batch));
      const ends = messageEnds(batch);
      for (let at = 0; at <= batch.length; at++) {
        const first = cell.exec(batch.subarray(0, at));
        equal(cell.handler.status, ends.has(at) ? 0 : Status.INCOMPLETE, `status at ${at}`);
        equal(cell.exports.pgcell_input_wanted() > 0, !ends.has(at), `input wanted at ${at}`);
        const second = cell.exec(batch.subarray(at));
        ok(JSON.stringify([...first, ...second]) === whole, `the answers are others when split at ${at}`);
        equal(cell.exports.pgcell_input_wanted(), 0);
      }
    },
  },
  {
    name: 'one byte for each call',
    async run({ open, pgcell: { MessageWriter } }) {
      const cell = await open();
      const batch = new MessageWriter().query('select 1').parse('', 'select $1').bind('', '', ['two']).execute().sync().query('x').take();
      const whole = JSON.stringify(cell.exec(batch));
      const messages = [];
      for (let at = 0; at < batch.length; at++) {
        messages.push(...cell.exec(batch.subarray(at, at + 1)));
      }
      ok(JSON.stringify(messages) === whole, 'the answers are others');
    },
  },
  {
    name: 'one byte for each read',
    async run({ open, pgcell: { MessageWriter } }) {
      const cell = await open({ isFresh: true });
      cell.bytesPerRead = 1;
      equal(ready(cell.start()), 'idle');
      cell.query('create table t (a int)');
      const messages = cell.exec(
        new MessageWriter()
          .query("select repeat('x', 1000)")
          .query('copy t from stdin')
          .copyData(new TextEncoder().encode('1\n'.repeat(500)))
          .copyDone()
          .parse('', 'select $1')
          .bind('', '', ['y'.repeat(1000)])
          .execute()
          .sync()
          .take(),
      );
      equal(rows(messages), [['x'.repeat(1000)], ['y'.repeat(1000)]]);
      equal(tags(messages), ['SELECT 1', 'COPY 500', 'SELECT 1']);
    },
  },
  {
    name: 'an incomplete message can be dropped',
    async run({ open, pgcell: { serialize, Status } }) {
      const cell = await open();
      const half = serialize.query('select 1, 2, 3').subarray(0, 9);
      equal(types(cell.exec(half)), []);
      equal(cell.handler.status, Status.INCOMPLETE);
      equal(cell.exports.pgcell_input_wanted(), 20 - 9);
      cell.exports.pgcell_discard_input();
      equal(cell.exports.pgcell_input_wanted(), 0);
      equal(value(cell.query('select 4')), '4');
      cell.exec(half);
      cell.handler.reset();
      equal(value(cell.query('select 5')), '5');
    },
  },
  {
    name: 'a reader that takes little, or nothing for a while',
    async run({ open }) {
      /** @type {number[]} */
      const bytes = [];
      let isOpen = true;
      const cell = await open({
        isFresh: true,
        onOutput(chunk) {
          const size = isOpen ? Math.min(chunk.length, 100) : 0;
          bytes.push(...chunk.subarray(0, size));
          return size;
        },
      });
      const { BackendParser, serialize, Status } = cell.pgcell;
      const parser = new BackendParser();
      cell.start();
      equal(ready(parser.parse(Uint8Array.from(bytes.splice(0)))), 'idle');
      isOpen = false;
      const status = cell.handler.run(serialize.query("select repeat('x', 200000)"));
      equal(status, Status.OUTPUT);
      equal(bytes.length, 0);
      ok(cell.exports.pgcell_output_pending() > 100_000, 'the guest keeps the output');
      equal(cell.handler.flush(), Status.OUTPUT);
      equal(cell.handler.run(serialize.query('select 2')), Status.OUTPUT, 'input is run all the same');
      isOpen = true;
      equal(cell.handler.flush(), 0);
      equal(cell.exports.pgcell_output_pending(), 0);
      equal(
        rows(parser.parse(Uint8Array.from(bytes))).map(([text]) => text?.length),
        [200_000, 1],
      );
    },
  },
  {
    name: 'the clock and random numbers are the host’s, not the image’s',
    async run({ open }) {
      const cells = [await open(), await open()];
      const [first, second] = cells.map((cell) => value(cell.query('select gen_random_uuid()')));
      ok(first !== second, 'two instances have the same random numbers');
      const ms = Number(value(/** @type {Cell} */ (cells[0]).query('select extract(epoch from clock_timestamp()) * 1000')));
      ok(Math.abs(ms - Date.now()) < 2000, `the clock is ${ms - Date.now()} ms off`);
      const started = Number(value(/** @type {Cell} */ (cells[0]).query('select extract(epoch from pg_postmaster_start_time()) * 1000')));
      ok(Math.abs(started - Date.now()) < 60_000, `started ${Date.now() - started} ms ago`);
      const before = Date.now();
      /** @type {Cell} */ (cells[0]).query('select pg_sleep(0.1)');
      ok(Date.now() - before >= 90, 'pg_sleep sleeps');
    },
  },
  {
    name: 'instances are separate',
    async run({ open }) {
      const [a, b] = [await open(), await open()];
      a.query('create table t (a int)');
      equal(errors(b.query('select * from t')), ['42P01']);
      equal(value(a.query('select count(*) from t')), '0');
    },
  },
];

/** @param {Uint8Array} bytes */
function messageEnds(bytes) {
  const ends = new Set([0]);
  const view = new DataView(bytes.buffer, bytes.byteOffset);
  for (let at = 0; at < bytes.length; ) {
    at += 1 + view.getUint32(at + 1);
    ends.add(at);
  }
  return ends;
}

/**
 * The cases for a transport, or its variant, in this engine.
 *
 * @param {import('./modules.js').Variant} variant
 * @param {boolean} canWait whether the engine has JSPI
 * @returns {Case[]}
 */
export function cases(variant, canWait) {
  const transport = variant === 'asyncify' ? 'polling' : variant;
  const isWaiting = variant === 'asyncify' || (variant === 'imports' && canWait);
  return [...basicCases, ...sessionCases, ...fileCases, ...badCases, ...waitingCases, ...bigCases].filter(
    ({ transports, needsWaiting }) => (transports?.includes(transport) ?? true) && (!needsWaiting || isWaiting),
  );
}
