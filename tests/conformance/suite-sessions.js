// Sessions: how they begin, how they end, and what is left of them.

import { equal, ok, refused } from './assert.js';
import { all, errors, ready, rows, types, value } from './answers.js';

/** @param {import('./answers.js').BackendMessage[]} messages */
const fatal = (messages) =>
  all(messages, 'errorResponse')
    .filter(({ fields }) => fields.severityCode === 'FATAL')
    .map(({ fields }) => fields.code);

/** @typedef {import('./driver.js').Cell} Cell */

/** The bytes that are there, as text. @param {Cell} cell @returns {string} */
const text = (cell) => cell.handler.getOutput().map((/** @type {Uint8Array} */ chunk) => String.fromCharCode(...chunk)).join('');

/** Begins a session whose answer is no message. @param {Cell} cell @param {Uint8Array} bytes */
function startRaw(cell, bytes) {
  const { handler } = cell;
  handler.getMessages = () => [];
  try {
    handler.start(bytes);
  } finally {
    delete handler.getMessages;
  }
  return text(cell);
}

/** @type {import('./suite.js').Case[]} */
export const sessionCases = [
  {
    name: 'start-up packet with user, database and settings',
    async run({ open }) {
      const cell = await open({ isFresh: true });
      const messages = cell.start({
        user: 'postgres',
        database: 'postgres',
        application_name: 'conformance',
        options: '-c work_mem=1MB',
        DateStyle: 'German',
      });
      equal(messages[0], { type: 'authentication', method: 'ok' });
      equal(ready(messages), 'idle');
      equal(cell.handler.status, 0);
      const parameters = new Map(all(messages, 'parameterStatus').map(({ name, value }) => [name, value]));
      equal(parameters.get('client_encoding'), 'UTF8');
      equal(parameters.get('application_name'), 'conformance');
      equal(parameters.get('DateStyle'), 'German, DMY');
      ok(parameters.get('server_version')?.startsWith('18'), 'server_version');
      const [key] = all(messages, 'backendKeyData');
      equal(key?.secretKey.length, 4);
      equal(String(key?.processId), value(cell.query('select pg_backend_pid()')));
      equal(rows(cell.query("select current_user, current_database(), current_setting('work_mem')")), [['postgres', 'postgres', '1MB']]);
    },
  },
  {
    name: 'start-up packet split at every point, and byte by byte',
    async run({ open, pgcell: { serialize, Status } }) {
      const cell = await open({ isFresh: true });
      const packet = serialize.startup({ user: 'postgres', database: 'postgres' });
      for (let at = 1; at < packet.length; at += 1) {
        equal(types(cell.start(packet.subarray(0, at))), [], `the first ${at} bytes`);
        equal(cell.handler.status, Status.INCOMPLETE);
        equal(ready(cell.exec(packet.subarray(at))), 'idle', `split at ${at}`);
      }
      const messages = cell.start(packet.subarray(0, 1));
      for (let at = 1; at < packet.length; at++) {
        messages.push(...cell.exec(packet.subarray(at, at + 1)));
      }
      equal(ready(messages), 'idle');
    },
  },
  {
    name: 'a session may begin without input',
    async run({ open, pgcell: { serialize } }) {
      const cell = await open({ isFresh: true });
      equal(types(cell.start(new Uint8Array(0))), []);
      equal(ready(cell.exec(serialize.startup({ user: 'postgres' }))), 'idle');
    },
  },
  {
    name: 'start-up packet and the first queries in one call',
    async run({ open, pgcell: { MessageWriter } }) {
      const cell = await open({ isFresh: true });
      const messages = cell.start(new MessageWriter().startup({ user: 'postgres' }).query('select 1').query('select 2').take());
      equal(rows(messages), [['1'], ['2']]);
    },
  },
  {
    name: 'without a start-up packet, as hosts written for PGlite begin',
    async run({ open, pgcell: { serialize } }) {
      const cell = await open({ isFresh: true });
      const messages = cell.start(serialize.query('select current_user, current_database()'));
      equal(rows(messages), [['postgres', 'postgres']]);
      equal(ready(messages), 'idle');
      equal(value(cell.query('select 2')), '2');
    },
  },
  {
    name: 'requests for encryption are answered N',
    async run({ open, pgcell: { MessageWriter } }) {
      const cell = await open({ isFresh: true });
      equal(startRaw(cell, new MessageWriter().sslRequest().take()), 'N');
      cell.handler.run(new MessageWriter().gssEncRequest().take());
      equal(text(cell), 'N');
      equal(ready(cell.exec(new MessageWriter().startup({ user: 'postgres' }).take())), 'idle');
    },
  },
  {
    name: 'protocol 3.2 has longer keys; newer minor versions are negotiated, other major ones refused',
    async run({ open, pgcell: { serialize, Status } }) {
      const cell = await open({ isFresh: true });
      const three = cell.start(serialize.startup({ user: 'postgres' }, 2));
      equal(ready(three), 'idle');
      equal(all(three, 'backendKeyData')[0]?.secretKey.length, 32);
      const later = cell.start(serialize.startup({ user: 'postgres', '_pq_.unknown': '1' }, 9999));
      const [negotiated] = all(later, 'negotiateProtocolVersion');
      equal(negotiated?.unknownOptions, ['_pq_.unknown']);
      equal(ready(later), 'idle');
      // such a client is told in the form that it understands: a letter and a zero-terminated text
      ok(startRaw(cell, Uint8Array.of(0, 0, 0, 8, 0, 2, 0, 0)).startsWith('EFATAL:  unsupported frontend protocol 2.0'), 'protocol 2.0');
      equal(cell.handler.status, Status.ENDED);
      equal(ready(cell.start()), 'idle');
    },
  },
  {
    name: 'who is not let in gets FATAL, and the next session works',
    async run({ open, pgcell: { Status } }) {
      const cell = await open({ isFresh: true });
      /** @type {[Record<string, string>, string][]} */
      const refusals = [
        [{ user: 'postgres', database: 'nowhere' }, '3D000'],
        [{ user: 'nobody', database: 'postgres' }, '28000'],
        [{ database: 'postgres' }, '28000'],
        [{ user: 'postgres', no_such_setting: '1' }, '42704'],
        [{ user: 'postgres', work_mem: 'much' }, '22023'],
        [{ user: 'postgres', options: '-c' }, '42601'],
      ];
      for (const [parameters, code] of refusals) {
        const messages = cell.start(parameters);
        equal(fatal(messages), [code], JSON.stringify(parameters));
        equal(cell.handler.status, Status.ENDED);
        equal(value((cell.start(), cell.query('select 1'))), '1');
      }
    },
  },
  {
    name: 'a cancel request as the first packet ends without an answer',
    async run({ open, pgcell: { serialize, Status } }) {
      const cell = await open({ isFresh: true });
      equal(types(cell.start(serialize.cancelRequest(1, new Uint8Array(4)))), []);
      equal(cell.handler.status, Status.ENDED);
      equal(ready(cell.start()), 'idle');
    },
  },
  {
    name: 'Terminate ends the session; the next one finds the data but nothing of the session',
    async run({ open, pgcell: { MessageWriter, Status, serialize } }) {
      const cell = await open();
      cell.query("create table t (a int); insert into t values (1); set application_name = 'mine'; create temp table temporary (a int)");
      cell.query('listen news; select pg_advisory_lock(1)');
      cell.exec(new MessageWriter().parse('s', 'select 1').sync().query('begin; insert into t values (2)').take());
      equal(types(cell.exec(serialize.terminate())), []);
      equal(cell.handler.status, Status.ENDED);
      const messages = cell.start();
      equal(ready(messages), 'idle');
      equal(value(cell.query('select count(*) from t')), '1');
      equal(value(cell.query('show application_name')), '');
      equal(errors(cell.query('select * from temporary')), ['42P01']);
      equal(errors(cell.exec(new MessageWriter().bind('', 's').sync().take())), ['26000']);
      equal(value(cell.query('select count(*) from pg_locks where locktype = $$advisory$$')), '0');
      equal(value(cell.query('select count(*) from pg_stat_activity where backend_type = $$client backend$$')), '1');
      equal(all(cell.query('notify news'), 'notificationResponse').length, 0);
      cell.query('create temp table temporary (a int)');
    },
  },
  {
    name: 'after the end of a session there is none',
    async run({ open, pgcell: { serialize, Status } }) {
      const cell = await open();
      cell.exec(serialize.terminate());
      const status = cell.exports.interactive_one(0, -1);
      ok(status === Status.ENDED || status === -cell.pgcell.Errno.ENOTCONN, `status ${status}`);
      equal(ready(cell.start()), 'idle');
    },
  },
  {
    name: 'nothing can be run before a session has begun',
    async run({ open }) {
      const cell = await open({ isFresh: true });
      refused('ENOTCONN', () => cell.query('select 1'));
      equal(ready(cell.start()), 'idle');
      equal(value(cell.query('select 1')), '1');
    },
  },
  {
    name: 'FATAL in a session, and pgl_backend in the middle of one',
    async run({ open, pgcell: { Status } }) {
      const cell = await open();
      cell.query('create table t (a int); insert into t values (1)');
      const messages = cell.query('select pg_terminate_backend(pg_backend_pid())');
      equal(fatal(messages), ['57P01']);
      equal(cell.handler.status, Status.ENDED);
      equal(ready(cell.start()), 'idle');
      cell.query('begin; insert into t values (2)');
      equal(ready(cell.start()), 'idle', 'a new session over one that is in a transaction');
      equal(value(cell.query('select count(*) from t')), '1');
      cell.query('begin; select 1/0');
      equal(ready(cell.start()), 'idle', 'a new session over one in a failed transaction');
      equal(value(cell.query('select count(*) from t')), '1');
    },
  },
  {
    name: 'messages behind Terminate are not run',
    async run({ open, pgcell: { MessageWriter, Status } }) {
      const cell = await open();
      const messages = cell.exec(new MessageWriter().query('create table t (a int)').terminate().query('drop table t').take());
      equal(types(messages), ['commandComplete', 'readyForQuery']);
      equal(cell.handler.status, Status.ENDED);
      cell.start();
      equal(value(cell.query('select count(*) from t')), '0');
    },
  },
  {
    name: 'a client that hangs up in a transaction is rolled back',
    transports: ['imports', 'callbacks'],
    async run({ open, pgcell: { Status } }) {
      const cell = await open();
      cell.query('create table t (a int)');
      cell.query('begin; insert into t values (1)');
      cell.handler.hangUp();
      equal(types(cell.handler.exec([])), []);
      equal(cell.handler.status, Status.ENDED);
      cell.start();
      equal(value(cell.query('select count(*) from t')), '0');
    },
  },
  {
    name: 'many sessions one after the other do not eat memory',
    async run({ open, pgcell: { serialize } }) {
      const cell = await open();
      cell.query('create table t (a int)');
      const run = () => {
        cell.start();
        cell.query('insert into t values (1); select * from pg_class');
        cell.exec(serialize.terminate());
      };
      for (let i = 0; i < 20; i++) {
        run();
      }
      const before = cell.memoryBytes;
      for (let i = 0; i < 100; i++) {
        run();
      }
      ok(cell.memoryBytes - before < 4 << 20, `100 sessions took ${(cell.memoryBytes - before) / 1024} KiB`);
      cell.start();
      equal(value(cell.query('select count(*) from t')), '120');
    },
  },
  {
    name: 'other users and databases',
    async run({ open }) {
      const cell = await open();
      cell.query('create role alice login');
      cell.query('create database other');
      equal(ready(cell.start({ user: 'alice', database: 'other' })), 'idle');
      equal(rows(cell.query('select current_user, session_user, current_database()')), [['alice', 'alice', 'other']]);
      equal(errors(cell.query('create role bob')), ['42501']);
      equal(ready(cell.start({ user: 'postgres', database: 'template1' })), 'idle');
      cell.start();
      equal(errors(cell.query('drop database other')), []);
    },
  },
  {
    name: 'the host cancels a query',
    transports: ['imports', 'callbacks'],
    async run({ open, pgcell: { BackendParser, serialize } }) {
      const parser = new BackendParser();
      /** @type {import('./answers.js').BackendMessage[]} */
      let messages = [];
      let isCancelling = false;
      const cell = await open({
        isFresh: true,
        onOutput(chunk) {
          parser.parse(chunk.slice(), messages);
          if (isCancelling) {
            cell.handler.interrupt();
          }
        },
      });
      cell.start();
      messages = [];
      isCancelling = true;
      cell.handler.run(serialize.query('select generate_series(1, 100000000)'));
      equal(errors(messages), ['57014']);
      isCancelling = false;
      messages = [];
      cell.handler.run(serialize.query('select 1'));
      equal(errors(messages), [], 'the next query works');
      equal(rows(messages), [['1']]);
    },
  },
  {
    name: 'a cancel while nothing runs harms nothing',
    async run({ open }) {
      const cell = await open();
      cell.handler.interrupt();
      cell.query('select 1');
      equal(value(cell.query('select 2')), '2');
    },
  },
  {
    name: 'SIGTERM ends the session',
    async run({ open, pgcell: { SIGTERM, Status } }) {
      const cell = await open();
      cell.handler.interrupt(SIGTERM);
      equal(fatal(cell.query('select 1')), ['57P01']);
      equal(cell.handler.status, Status.ENDED);
      cell.start();
      equal(value(cell.query('select 1')), '1');
    },
  },
  {
    name: 'statement_timeout',
    async run({ open }) {
      const cell = await open();
      cell.query("set statement_timeout = '100ms'");
      const before = Date.now();
      equal(errors(cell.query('select count(*) from generate_series(1, 1000000000)')), ['57014']);
      equal(errors(cell.query('select pg_sleep(60)')), ['57014']);
      ok(Date.now() - before < 10_000, `${Date.now() - before} ms`);
      equal(value(cell.query('select 1')), '1');
    },
  },
  {
    name: 'shutdown',
    async run({ open }) {
      const cell = await open();
      cell.query('create table t (a int)');
      cell.handler.shutdown();
      equal(cell.handler.status, 0);
      refused('ENOTCONN', () => cell.query('select 1'));
      refused('ENOTCONN', () => cell.start());
      refused('ENOTCONN', () => cell.query('select 1'));
    },
  },
  {
    name: 'shutdown before any session',
    async run({ open }) {
      const cell = await open({ isFresh: true });
      cell.handler.shutdown();
      refused('ENOTCONN', () => cell.start());
    },
  },
];
