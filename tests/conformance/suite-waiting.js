// The guest waits inside a call: under JSPI over the import transport, where the engine has it; over the polling transport in a module
// made with Asyncify.

import { equal, ok } from './assert.js';
import { all, errors, ready, rows, tags, types, value } from './answers.js';

/**
 * @typedef {import('../../js/dist/index.js').PGliteWaitingHandler | import('../../js/dist/index.js').PGliteWaitingPollingHandler} WaitingHandler
 * @typedef {import('../../js/dist/index.js').WaitingHandlerOptions} WaitingHandlerOptions
 */

/** @param {import('./suite.js').Context} context @param {WaitingHandlerOptions} [options] */
async function openWaiting({ pgcell, modules }, options = {}) {
  const make = modules.transport === 'polling' ? pgcell.createPGlitePollingHandler : pgcell.createPGliteImportHandler;
  /** @type {WaitingHandler} */
  const handler = make({ ...options, wait: true });
  const { exports } = await pgcell.instantiate(modules.module, handler);
  const messages = await handler.start(pgcell.serialize.startup({ user: 'postgres', database: 'postgres' }));
  return { handler, exports, messages };
}

const pause = () => new Promise((resolve) => setTimeout(resolve, 5));

/** A sink that collects messages and lets others wait for one. @param {import('./driver.js').Pgcell} pgcell */
function collector(pgcell) {
  const parser = new pgcell.BackendParser();
  /** @type {import('./answers.js').BackendMessage[]} */
  const messages = [];
  return {
    messages,
    /** @param {Uint8Array} chunk */
    add: (chunk) => void parser.parse(chunk, messages),
    /** @param {import('./answers.js').BackendMessage['type']} type */
    async until(type) {
      for (let i = 0; i < 1000; i++) {
        if (types(messages).includes(type)) {
          return;
        }
        await pause();
      }
      throw new Error(`${type} does not come`);
    },
  };
}

/** @type {import('./suite.js').Case[]} */
export const waitingCases = [
  {
    name: 'waiting: queries, errors and sessions as without',
    needsWaiting: true,
    async run(context) {
      const { handler, messages } = await openWaiting(context);
      const { serialize, Status } = context.pgcell;
      equal(ready(messages), 'idle');
      equal(rows(await handler.exec(serialize.query('select 1; select 2'))), [['1'], ['2']]);
      equal(errors(await handler.exec(serialize.query('select 1/0'))), ['22012']);
      equal(types(await handler.exec(serialize.query('select 3').subarray(0, 7))), []);
      equal(handler.status, Status.INCOMPLETE);
      equal(value(await handler.exec(serialize.query('select 3').subarray(7))), '3');
      await handler.exec(serialize.terminate());
      equal(handler.status, Status.ENDED);
      equal(ready(await handler.start(serialize.startup({ user: 'postgres' }))), 'idle');
      await handler.shutdown();
    },
  },
  {
    name: 'waiting: COPY in whose data come after CopyInResponse',
    needsWaiting: true,
    async run(context) {
      const { serialize } = context.pgcell;
      const sink = collector(context.pgcell);
      const { handler } = await openWaiting(context, { onOutput: sink.add });
      await handler.run(serialize.query('create table t (a int)'));
      sink.messages.length = 0;
      const status = await handler.run(
        (async function* () {
          yield serialize.query('copy t from stdin');
          await sink.until('copyInResponse');
          for (let i = 0; i < 20; i++) {
            await pause();
            yield serialize.copyData(new TextEncoder().encode(`${i}\n`));
          }
          yield serialize.copyDone();
        })(),
      );
      equal(status, 0);
      equal(types(sink.messages), ['copyInResponse', 'commandComplete', 'readyForQuery']);
      equal(tags(sink.messages), ['COPY 20']);
    },
  },
  {
    name: 'waiting: an open input is fed while the guest waits',
    needsWaiting: true,
    async run(context) {
      const { serialize } = context.pgcell;
      const sink = collector(context.pgcell);
      const { handler } = await openWaiting(context, { onOutput: sink.add });
      sink.messages.length = 0;
      let isOver = false;
      const session = handler.run().then((status) => {
        isOver = true;
        return status;
      });
      for (let i = 0; i < 3; i++) {
        sink.messages.length = 0;
        const bytes = serialize.query(`select ${i}`);
        for (let at = 0; at < bytes.length; at++) {
          await Promise.resolve();
          handler.pushInput(bytes.subarray(at, at + 1));
        }
        await sink.until('readyForQuery');
        equal(rows(sink.messages), [[String(i)]]);
        ok(!isOver, 'the guest waits for more');
      }
      handler.endInput();
      equal(await session, 0);
    },
  },
  {
    name: 'waiting: COPY in whose input ends without its end is an error',
    needsWaiting: true,
    async run(context) {
      const { serialize } = context.pgcell;
      const { handler } = await openWaiting(context);
      await handler.exec(serialize.query('create table t (a int)'));
      const messages = await handler.exec(
        (async function* () {
          yield serialize.query('copy t from stdin');
          await pause();
        })(),
      );
      equal(errors(messages), ['08P01']);
      equal(value(await handler.exec(serialize.query('select count(*) from t'))), '0');
    },
  },
  {
    name: 'waiting: a client that hangs up while the guest waits',
    needsWaiting: true,
    async run(context) {
      const { serialize, Status } = context.pgcell;
      const { handler } = await openWaiting(context);
      await handler.exec(serialize.query('create table t (a int)'));
      await handler.exec(serialize.query('begin; insert into t values (1)'));
      const session = handler.run();
      await pause();
      handler.hangUp();
      equal(await session, Status.ENDED);
      await handler.start(serialize.startup({ user: 'postgres' }));
      equal(value(await handler.exec(serialize.query('select count(*) from t'))), '0');
    },
  },
  {
    name: 'waiting: a slow reader holds the guest back',
    needsWaiting: true,
    async run(context) {
      const { serialize } = context.pgcell;
      let taken = 0;
      let pending = 0;
      /** @type {import('../../js/dist/index.js').GuestExports | undefined} */
      let guest;
      const { handler, exports } = await openWaiting(context, {
        async onOutput(chunk) {
          await pause();
          pending = Math.max(pending, guest?.pgcell_output_pending() ?? 0);
          const size = Math.min(chunk.length, 60_000);
          taken += size;
          return size;
        },
      });
      guest = exports;
      const before = exports.memory.buffer.byteLength;
      taken = 0;
      equal(await handler.run(serialize.query("select repeat('x', 1000) from generate_series(1, 10000)")), 0);
      ok(taken > 10_000_000, `${taken} bytes`);
      ok(pending < 1 << 20, `${pending} bytes waited in the guest`);
      ok(exports.memory.buffer.byteLength - before < 4 << 20, 'the memory has grown');
    },
  },
  {
    name: 'waiting: a suspended guest refuses other calls, and a query can be cancelled meanwhile',
    needsWaiting: true,
    async run(context) {
      const { serialize, Errno, GuestError } = context.pgcell;
      const { handler, exports } = await openWaiting(context);
      await handler.exec(serialize.query('create table t (a int)'));
      const session = handler.run();
      handler.pushInput(serialize.query('copy t from stdin'));
      await pause();
      equal(exports.interactive_one(0, -1), -Errno.EBUSY);
      equal(exports.pgl_backend(), -Errno.EBUSY);
      const code = await handler.exec(serialize.query('select 1')).catch((error) => error instanceof GuestError && error.code);
      equal(code, 'EBUSY');
      handler.pushInput(serialize.copyDone());
      handler.endInput();
      equal(await session, 0);
      equal(tags(handler.getMessages()), ['COPY 0']);
      equal(value(await handler.exec(serialize.query('select 1'))), '1');

      const messages = await handler.exec(
        (async function* () {
          yield serialize.query('copy t from stdin');
          await pause();
          handler.interrupt();
          yield serialize.copyData(new TextEncoder().encode('1\n'));
          await pause();
          yield serialize.copyDone();
        })(),
      );
      equal(errors(messages), ['57014']);
      equal(all(messages, 'readyForQuery').length, 1);
      equal(value(await handler.exec(serialize.query('select 1'))), '1');
    },
  },
  {
    name: 'waiting: errors of the host pass round the guest',
    needsWaiting: true,
    async run(context) {
      const { serialize } = context.pgcell;
      const ours = new Error('the disk is full');
      let isBroken = false;
      const sink = collector(context.pgcell);
      const { handler } = await openWaiting(context, {
        async onOutput(chunk) {
          await pause();
          if (isBroken) {
            throw ours;
          }
          sink.add(chunk);
        },
      });
      sink.messages.length = 0;
      isBroken = true;
      equal(await handler.run(serialize.query('select 1')).catch((error) => error === ours), true);
      isBroken = false;
      await handler.flush();
      equal(rows(sink.messages), [['1']]);
      const failing = (async function* () {
        yield serialize.query('select 2');
        throw ours;
      })();
      equal(await handler.run(failing).catch((error) => error === ours), true);
      equal(rows(sink.messages), [['1'], ['2']]);
    },
  },
];
