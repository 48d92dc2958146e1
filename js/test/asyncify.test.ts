/** The handler of a module made with Asyncify, around a guest of a few lines; tests/conformance has the real one. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { ContractError, createPGlitePollingHandler, serialize, Status } from '../src/index.ts';
import type { WaitingHandlerOptions } from '../src/index.ts';

const INPUT = 1024;
const OUTPUT = 2048;
const CONTROL = 4096;
const BUFFER_SIZE = 16;
const OPERATION = CONTROL + 8;
const NORMAL = 0;
const UNWINDING = 1;
const REWINDING = 2;

/** What a guest does that was suspended, in place of a stack: a generator that yields where it calls sched_yield. */
type Work = () => Generator<void, number>;

function fakeGuest(options?: WaitingHandlerOptions) {
  const handler = createPGlitePollingHandler({ ...options, wait: true });
  const memory = new WebAssembly.Memory({ initial: 1, maximum: 100 });
  const view = () => new DataView(memory.buffer);
  let state = NORMAL;
  let running: Generator<void, number> | undefined;
  const guest = {
    memory,
    input: [] as number[],
    acknowledged: 0,
    discarded: 0,
    stacks: [] as number[][],
    status: 0,
    /** 1: waits for input, 2: for output. Whether there was some. */
    *wait(operation: number): Generator<void, boolean> {
      const before = guest.acknowledged;
      view().setUint32(OPERATION, operation, true);
      handler.wasiImports.sched_yield();
      while (state !== NORMAL) {
        yield;
        handler.wasiImports.sched_yield();
      }
      view().setUint32(OPERATION, 3, true);
      return operation === 1 ? view().getUint32(INPUT, true) === 1 : guest.acknowledged > before;
    },
    read(): boolean {
      const isReady = view().getUint32(INPUT, true) === 1;
      if (isReady) {
        guest.input.push(...new Uint8Array(memory.buffer, INPUT + 8, view().getUint32(INPUT + 4, true)));
        view().setUint32(INPUT, 0, true);
      }
      return isReady;
    },
    write(bytes: Uint8Array): void {
      new Uint8Array(memory.buffer).set(bytes, OUTPUT + 8);
      view().setUint32(OUTPUT + 4, bytes.length, true);
    },
    *work(): Generator<void, number> {
      guest.read();
      return guest.status;
    },
  };
  const start = (work: Work) => {
    assert.notEqual(state, UNWINDING);
    running ??= work();
    const step = running.next();
    if (step.done) {
      running = undefined;
      return step.value;
    }
    assert.equal(state, UNWINDING, 'left for no reason');
    return 12345; // what Asyncify returns then means nothing
  };
  const setState = (to: number) => (stack?: number) => {
    if (stack !== undefined) {
      guest.stacks.push([stack, view().getUint32(stack, true), view().getUint32(stack + 4, true)]);
    }
    state = to;
  };
  const exports = {
    memory,
    pgcell_contract_version: () => 1,
    pgl_initdb: () => 1,
    pgl_backend: () => 0,
    interactive_one: () => start(() => guest.work()),
    pgcell_flush: () => 0,
    pgcell_input_wanted: () => 0,
    pgcell_output_pending: () => 0,
    pgcell_discard_input: () => void guest.discarded++,
    pgcell_reload: () => 0,
    pgl_shutdown: () => 0,
    pgcell_set_memory_limit: () => 0,
    pgcell_signal_address: () => 1000,
    pgcell_interrupt_address: () => 1004,
    pglite_get_input_buffer: () => INPUT,
    pglite_get_output_buffer: () => OUTPUT,
    pglite_get_control: () => CONTROL,
    pglite_get_buffer_size: () => BUFFER_SIZE,
    pglite_signal_input_ready: () => 0,
    pglite_has_output: () => 0,
    pglite_get_output_length: () => view().getUint32(OUTPUT + 4, true),
    pglite_ack_output: () => {
      guest.acknowledged++;
      view().setUint32(OUTPUT + 4, 0, true);
      return 0;
    },
    pglite_reset_buffers: () => {},
    asyncify_get_state: () => state,
    asyncify_start_unwind: setState(UNWINDING),
    asyncify_stop_unwind: setState(NORMAL),
    asyncify_start_rewind: setState(REWINDING),
    asyncify_stop_rewind: setState(NORMAL),
  };
  return { handler, guest, exports };
}

function open(options?: WaitingHandlerOptions) {
  const all = fakeGuest(options);
  all.handler.setModule(all.exports as unknown as WebAssembly.Exports);
  return all;
}

const numbers = (count: number) => Uint8Array.from({ length: count }, (_, i) => i);

test('a module that was not made with Asyncify is refused by name', () => {
  const { handler, exports } = fakeGuest();
  const { asyncify_start_unwind: _, ...others } = exports;
  assert.throws(
    () => handler.setModule(others as unknown as WebAssembly.Exports),
    (error) => error instanceof ContractError && /not made with Asyncify.*asyncify_start_unwind.*pgcell-asyncify\.wasm/.test(error.message),
  );
});

test('input crosses a buffer at a time, in as many calls as it takes', async () => {
  const { handler, guest } = open();
  assert.equal(await handler.run(numbers(50)), 0);
  assert.deepEqual(guest.input, [...numbers(50)]);
});

test('a suspended guest gets input that comes later, and the stack is memory of its own', async () => {
  const { handler, guest } = open();
  guest.work = function* () {
    guest.read();
    while (guest.input.length < 3) {
      if (!(yield* guest.wait(1))) {
        return -1000;
      }
      guest.read();
    }
    return 0;
  };
  const status = await handler.run(
    (async function* () {
      for (const byte of [1, 2, 3]) {
        await new Promise((resolve) => setTimeout(resolve, 1));
        yield Uint8Array.of(byte);
      }
    })(),
  );
  assert.equal(status, 0);
  assert.deepEqual(guest.input, [1, 2, 3]);
  const [stack, top, end] = guest.stacks[0]!;
  assert.equal(stack, 65536, 'behind what there was');
  assert.equal(top, stack! + 8);
  assert.equal(end, guest.memory.buffer.byteLength);
});

test('the end of the input ends the wait', async () => {
  const { handler, guest } = open();
  guest.work = function* () {
    return (yield* guest.wait(1)) ? 1 : 0;
  };
  assert.equal(await handler.run([]), 0);
});

test('a suspended guest goes on when its output is taken, in pieces, or not at all', async () => {
  const seen: number[][] = [];
  let most = 2;
  const { handler, guest } = open({
    async onOutput(chunk) {
      await new Promise((resolve) => setTimeout(resolve, 1));
      seen.push([...chunk]);
      return Math.min(most, chunk.length);
    },
  });
  guest.work = function* () {
    guest.read();
    guest.write(Uint8Array.of(1, 2, 3));
    return (yield* guest.wait(2)) ? 0 : 1000;
  };
  assert.equal(await handler.run([]), 0);
  assert.deepEqual(seen, [[1, 2, 3], [3]]);
  most = 0;
  assert.equal(await handler.run([]), 1000 | Status.OUTPUT);
});

test('sched_yield outside of a wait, or of a call of the handler, does nothing', async () => {
  const { handler, guest, exports } = open();
  guest.work = function* () {
    yield* guest.wait(3);
    return 0;
  };
  assert.equal(await handler.run([]), 0);
  guest.work = function* () {
    return (yield* guest.wait(1)) ? 1 : 0;
  };
  assert.equal(exports.interactive_one(), 0);
  assert.deepEqual(guest.stacks, []);
});

test('who hangs up ends the session, whatever was left of a message', async () => {
  const { handler, guest } = open();
  const terminate = [...serialize.terminate()];
  guest.work = function* () {
    guest.read();
    return guest.input.slice(-5).join() === terminate.join() ? Status.ENDED : Status.INCOMPLETE;
  };
  const session = handler.run();
  handler.pushInput(Uint8Array.of(0x51, 0));
  handler.hangUp();
  assert.equal(await session, Status.ENDED);
  assert.equal(guest.discarded, 1);
});

test('a trap after the guest was suspended ends the instance', async () => {
  const { handler, guest } = open();
  guest.work = function* () {
    yield* guest.wait(1);
    throw new WebAssembly.RuntimeError('unreachable');
  };
  await assert.rejects(handler.run([]), /ENOTRECOVERABLE|unreachable/);
  await assert.rejects(handler.run([]), { code: 'ENOTRECOVERABLE' });
});
