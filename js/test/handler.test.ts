/** What the handlers do around the guest; tests/conformance has the real one. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { checkContract, ContractError, createPGliteImportHandler, Errno, GuestError, serialize } from '../src/index.ts';
import type { BackendMessage, HandlerOptions, PGliteImportHandler } from '../src/index.ts';
import { InputQueue } from '../src/queue.ts';

const READY = Uint8Array.of(0x5a, 0, 0, 0, 5, 0x49);

/** A guest of a few lines: reads everything, then writes one ReadyForQuery; `work` may be exchanged. */
function fakeGuest(options?: HandlerOptions) {
  const handler = createPGliteImportHandler(options as HandlerOptions & { wait?: false });
  const memory = new WebAssembly.Memory({ initial: 1, maximum: 4 });
  const guest = {
    handler,
    memory,
    input: [] as number[],
    discarded: 0,
    work: (): number => {
      for (let size = handler.imports.pglite_js_read(0, 100); size > 0; size = handler.imports.pglite_js_read(0, 100)) {
        guest.input.push(...new Uint8Array(memory.buffer, 0, size));
      }
      new Uint8Array(memory.buffer).set(READY, 200);
      return handler.imports.pglite_js_write(200, READY.length) === READY.length ? 0 : 2;
    },
  };
  const exports = {
    memory,
    pgcell_contract_version: () => 1,
    pgl_initdb: () => 1,
    pgl_backend: () => guest.work(),
    interactive_one: (_length: number, _firstByte: number) => guest.work(),
    pgcell_flush: () => guest.work(),
    pgcell_input_wanted: () => 0,
    pgcell_output_pending: () => 0,
    pgcell_discard_input: () => void guest.discarded++,
    pgl_shutdown: () => 0,
    pgcell_set_memory_limit: () => 0,
    pgcell_signal_address: () => 1000,
    pgcell_interrupt_address: () => 1004,
  };
  handler.setModule(exports as unknown as WebAssembly.Exports);
  return { ...guest, guest, exports };
}

const types = (messages: BackendMessage[]) => messages.map((message) => message.type);
const isGuestError = (code: string) => (error: unknown) => error instanceof GuestError && error.code === code;

test('input arrives in order, from bytes and from iterables', () => {
  const { handler, guest } = fakeGuest();
  assert.deepEqual(types(handler.exec(Uint8Array.of(1, 2, 3))), ['readyForQuery']);
  handler.setInput([Uint8Array.of(4), new Uint8Array(0), Uint8Array.of(5, 6)]);
  handler.pushInput(Uint8Array.of(7));
  handler.exec();
  handler.exec((function* () {
    yield Uint8Array.of(8);
    yield new Uint8Array(250).fill(9);
  })());
  assert.deepEqual(guest.input, [1, 2, 3, 4, 5, 6, 7, 8, ...new Array(250).fill(9)]);
});

test('output as chunks, as messages, and straight out', () => {
  const { handler } = fakeGuest();
  handler.run(serialize.sync());
  assert.deepEqual(handler.getOutput(), [READY]);
  assert.deepEqual(handler.getOutput(), []);
  handler.run();
  assert.deepEqual(types(handler.getMessages()), ['readyForQuery']);
  assert.deepEqual(handler.getMessages(), []);

  const seen: number[][] = [];
  let take: number | undefined = 0;
  const direct = fakeGuest({
    onOutput(chunk) {
      seen.push([...chunk]);
      return take;
    },
  }).handler;
  assert.equal(direct.run(), 2);
  take = undefined;
  assert.equal(direct.flush(), 0);
  assert.deepEqual(seen, [[...READY], [...READY]]);
  assert.deepEqual(direct.getOutput(), []);
});

test('views follow the memory when the guest grows it', () => {
  const { handler, guest, memory } = fakeGuest();
  const work = guest.work;
  guest.work = () => {
    memory.grow(1);
    return work();
  };
  assert.deepEqual(types(handler.exec(Uint8Array.of(1))), ['readyForQuery']);
  assert.deepEqual(guest.input, [1]);
});

test('errors of the host pass round the guest, not through it', () => {
  const ours = new Error('the disk is full');
  const throwing = fakeGuest({
    onOutput() {
      throw ours;
    },
  });
  assert.throws(() => throwing.handler.exec(serialize.sync()), (error) => error === ours);
  assert.equal(throwing.handler.status, 2, 'the guest has returned');

  const { handler, guest } = fakeGuest();
  const input = (function* () {
    yield Uint8Array.of(1);
    throw ours;
  })();
  assert.throws(() => handler.exec(input), (error) => error === ours);
  assert.deepEqual(guest.input, [1], 'what was given before has arrived');
  assert.deepEqual(types(handler.getMessages()), ['readyForQuery']);
  assert.deepEqual(types(handler.exec(Uint8Array.of(2))), ['readyForQuery'], 'the next call works');

  const nothingTaken = fakeGuest({ onOutput: () => 7 });
  assert.throws(() => nothingTaken.handler.exec(), RangeError);
  const negative = fakeGuest({ onOutput: () => -1 });
  assert.throws(() => negative.handler.exec(), RangeError);
});

test('a negative status is an error with its name, and the handler goes on', () => {
  const { handler, guest } = fakeGuest();
  const work = guest.work;
  for (const [errno, code] of [[Errno.EPROTO, 'EPROTO'], [Errno.ENOMEM, 'ENOMEM'], [Errno.ENOTCONN, 'ENOTCONN'], [99, 'E99']] as const) {
    guest.work = () => -errno;
    assert.throws(() => handler.exec(), isGuestError(code));
    assert.equal(handler.status, -errno);
  }
  guest.work = work;
  assert.deepEqual(types(handler.exec()), ['readyForQuery']);
});

test('calls from inside are refused before anything changes', () => {
  let handler: PGliteImportHandler;
  const refused: unknown[] = [];
  const guest = fakeGuest({
    onOutput() {
      for (const call of [() => handler.exec(Uint8Array.of(9)), () => handler.start(), () => handler.flush(), () => handler.shutdown()]) {
        try {
          call();
        } catch (error) {
          refused.push(error);
        }
      }
    },
  });
  handler = guest.handler;
  handler.run(Uint8Array.of(1));
  assert.equal(refused.length, 4);
  assert(refused.every(isGuestError('EBUSY')));
  assert.deepEqual(guest.guest.input, [1]);
});

test('after a trap the guest is not called again', () => {
  const { handler, guest } = fakeGuest();
  const trap = new WebAssembly.RuntimeError('unreachable');
  let calls = 0;
  guest.work = () => {
    calls++;
    throw trap;
  };
  for (let i = 0; i < 2; i++) {
    assert.throws(
      () => handler.exec(),
      (error) => error instanceof GuestError && error.code === 'ENOTRECOVERABLE' && error.cause === trap,
    );
  }
  assert.equal(calls, 1);
  assert.throws(() => handler.start(), isGuestError('ENOTRECOVERABLE'));
});

test('hanging up is the end of input, once it is read', () => {
  const { handler, guest } = fakeGuest();
  const results: number[] = [];
  guest.work = () => {
    for (let i = 0; i < 2; i++) {
      results.push(handler.imports.pglite_js_read(0, 100));
    }
    return 0;
  };
  handler.hangUp();
  handler.run(Uint8Array.of(1, 2));
  handler.start(Uint8Array.of(1));
  assert.deepEqual(results, [2, -Errno.EPIPE, 1, 0]);
});

test('signals', () => {
  const { handler, memory } = fakeGuest();
  handler.interrupt();
  handler.interrupt(15);
  assert.deepEqual([...new Uint32Array(memory.buffer, 1000, 2)], [(1 << 2) | (1 << 15), 1]);
  assert.throws(() => handler.interrupt(0), RangeError);
  assert.throws(() => handler.interrupt(32), RangeError);
});

test('reset drops what is queued', () => {
  const { handler, guest, exports } = fakeGuest();
  handler.run();
  handler.setInput(Uint8Array.of(1));
  handler.reset();
  assert.deepEqual(handler.getMessages(), []);
  handler.exec();
  assert.deepEqual(guest.input, []);
  assert.equal(guest.discarded, 1);
  void exports;
});

test('without a module there is a clear error', () => {
  assert.throws(() => createPGliteImportHandler().exec(), isGuestError('ENOTCONN'));
  createPGliteImportHandler().reset();
});

test('modules that do not keep the contract are refused by name', () => {
  const good = fakeGuest().exports as Record<string, unknown>;
  const refused = (exports: Record<string, unknown>, text: RegExp, transport?: 'polling' | 'callbacks') =>
    assert.throws(
      () => checkContract(exports as WebAssembly.Exports, transport ?? 'imports'),
      (error) => error instanceof ContractError && text.test(error.message),
    );
  checkContract(good as WebAssembly.Exports);
  refused({}, /pgcell_contract_version/);
  refused({ ...good, pgcell_contract_version: () => 7 }, /version 7 .* version 1/);
  refused({ ...good, interactive_one: undefined }, /interactive_one/);
  refused({ ...good, memory: undefined }, /memory/);
  refused(good, /pglite_get_input_buffer; the polling transport/, 'polling');
  refused(good, /set_read_write_cbs/, 'callbacks');
  refused({ ...good, set_read_write_cbs: () => {} }, /__indirect_function_table/, 'callbacks');
});

test('an iterator that fails does not lose what it gave before', () => {
  const queue = new InputQueue();
  queue.set((function* () {
    yield Uint8Array.of(1, 2);
    throw new Error('no more');
  })());
  const target = new Uint8Array(10);
  assert.equal(queue.read(target, 0, 10), 2);
  assert.throws(() => queue.read(target, 2, 8), /no more/);
  assert.equal(queue.read(target, 2, 8), 0);
});
