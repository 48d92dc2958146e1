import assert from 'node:assert/strict';
import { test } from 'node:test';
import { createWasi, GuestExit } from '../src/wasi.ts';
import type { WasiOptions } from '../src/wasi.ts';

const EBADF = 8;
const EFAULT = 21;
const EINVAL = 28;

function setUp(options?: WasiOptions) {
  const memory = new WebAssembly.Memory({ initial: 2 });
  const wasi = createWasi(options);
  wasi.setMemory(memory);
  const call = (name: keyof typeof wasi.imports, ...args: (number | bigint)[]) =>
    (wasi.imports[name] as (...args: (number | bigint)[]) => number)(...args);
  const view = () => new DataView(memory.buffer);
  const put = (at: number, text: string) => {
    const bytes = new TextEncoder().encode(text);
    new Uint8Array(memory.buffer).set(bytes, at);
    return bytes.length;
  };
  const get = (at: number, size: number) => new TextDecoder().decode(new Uint8Array(memory.buffer, at, size));
  return { memory, wasi, call, view, put, get };
}

test('arguments and environment', () => {
  const { call, view, get } = setUp({ args: ['postgres', 'é'], env: { A: '1', LONG: 'x y' } });
  assert.equal(call('args_sizes_get', 0, 4), 0);
  assert.deepEqual([view().getUint32(0, true), view().getUint32(4, true)], [2, 12]);
  assert.equal(call('args_get', 0, 100), 0);
  assert.deepEqual([view().getUint32(0, true), view().getUint32(4, true)], [100, 109]);
  assert.equal(get(100, 12), 'postgres\0é\0');
  assert.equal(call('environ_sizes_get', 0, 4), 0);
  assert.deepEqual([view().getUint32(0, true), view().getUint32(4, true)], [2, 13]);
  assert.equal(call('environ_get', 0, 100), 0);
  assert.equal(get(100, 13), 'A=1\0LONG=x y\0');
});

test('the clock is right to the nanosecond arithmetic, and near Date.now()', () => {
  for (const ms of [0, 1.5, 1_800_000_000_000.25, 4_294_967.296, 9_000_000_000_000]) {
    const { call, view } = setUp({ now: () => ms });
    assert.equal(call('clock_time_get', 0, 0n, 8), 0);
    assert.equal(view().getBigUint64(8, true), BigInt(Math.floor(ms * 1000)) * 1000n);
  }
  const { call, view } = setUp();
  for (const id of [0, 1]) {
    call('clock_time_get', id, 0n, 0);
    assert(Math.abs(Number(view().getBigUint64(0, true) / 1_000_000n) - Date.now()) < 50);
    assert.equal(call('clock_res_get', id, 0), 0);
    assert.equal(view().getBigUint64(0, true), 1000n);
  }
  assert.equal(call('clock_time_get', 9, 0n, 0), EINVAL);
  assert.equal(call('clock_res_get', 9, 0), EINVAL);
});

test('random bytes, more than getRandomValues() gives at once', () => {
  const { memory, call } = setUp();
  assert.equal(call('random_get', 10, 131_000), 0);
  const bytes = new Uint8Array(memory.buffer);
  assert.equal(bytes.subarray(0, 10).every((byte) => byte === 0), true);
  assert.equal(bytes.subarray(131_010).every((byte) => byte === 0), true);
  for (const at of [10, 65_500, 130_900]) {
    assert(bytes.subarray(at, at + 100).some((byte) => byte !== 0));
  }
});

test('addresses outside of the memory are the guest’s error', () => {
  const { call } = setUp();
  assert.equal(call('random_get', 131_000, 1000), EFAULT);
  assert.equal(call('random_get', -1, 1), EFAULT);
  assert.equal(call('clock_time_get', 0, 0n, -4), EFAULT);
  assert.equal(call('clock_time_get', 0, 0n, 131_070), EFAULT);
  assert.equal(call('args_get', 131_072, 0), EFAULT);
  assert.equal(call('fd_write', 1, -8, 1, 0), EFAULT);
  assert.equal(call('fd_fdstat_get', 1, 131_060), EFAULT);
  assert.equal(call('poll_oneoff', 0, 131_000, 100, 0), EFAULT);
  assert.equal(call('poll_oneoff', 0, 100, 0, 0), EINVAL);
});

test('views follow the memory when it grows', () => {
  const { memory, call, view } = setUp({ now: () => 5 });
  call('clock_time_get', 0, 0n, 0);
  memory.grow(1);
  assert.equal(call('clock_time_get', 0, 0n, 140_000), 0);
  assert.equal(view().getBigUint64(140_000, true), 5_000_000n);
});

test('standard output and error come as lines, across writes and within characters', () => {
  const lines: string[] = [];
  const { call, view, put, memory } = setUp({ log: (line, fd) => lines.push(`${fd}:${line}`) });
  const write = (fd: number, ...texts: string[]) => {
    let at = 1000;
    texts.forEach((text, i) => {
      const size = put(at, text);
      view().setUint32(i * 8, at, true);
      view().setUint32(i * 8 + 4, size, true);
      at += size;
    });
    assert.equal(call('fd_write', fd, 0, texts.length, 500), 0);
    return view().getUint32(500, true);
  };
  assert.equal(write(2, 'one\ntw', 'o\n'), 8);
  write(1, 'standard ');
  write(2, 'three\n');
  write(1, 'output\n\n');
  assert.deepEqual(lines, ['2:one', '2:two', '2:three', '1:standard output', '1:']);
  lines.length = 0;
  new Uint8Array(memory.buffer).set([0xc3], 2000);
  view().setUint32(0, 2000, true);
  view().setUint32(4, 1, true);
  call('fd_write', 2, 0, 1, 500);
  new Uint8Array(memory.buffer).set([0xa9, 10], 2000);
  view().setUint32(4, 2, true);
  call('fd_write', 2, 0, 1, 500);
  assert.deepEqual(lines, ['2:é']);
  lines.length = 0;
  write(2, 'x'.repeat(60_000));
  write(2, 'y'.repeat(60_000));
  assert.deepEqual(lines, [`2:${'x'.repeat(60_000)}${'y'.repeat(5536)}`], 'a line without end is passed on in pieces');
  assert.equal(call('fd_write', 3, 0, 0, 500), EBADF);
});

test('standard input is empty, all three are terminals', () => {
  const { call, view } = setUp();
  view().setUint32(500, 99, true);
  assert.equal(call('fd_read', 0, 0, 0, 500), 0);
  assert.equal(view().getUint32(500, true), 0);
  assert.equal(call('fd_read', 1, 0, 0, 500), EBADF);
  for (const fd of [0, 1, 2]) {
    assert.equal(call('fd_fdstat_get', fd, 600), 0);
    assert.equal(view().getUint8(600), 2);
  }
  assert.equal(call('fd_fdstat_get', 3, 600), EBADF);
});

/** Subscriptions at 0, events at 1000, their number at 2000. */
function subscribe(view: DataView, i: number, userdata: bigint, type: number, timeoutMs = 0, isAbsolute = false) {
  view.setBigUint64(i * 48, userdata, true);
  view.setUint8(i * 48 + 8, type);
  view.setBigUint64(i * 48 + 24, BigInt(timeoutMs * 1e6), true);
  view.setUint16(i * 48 + 40, isAbsolute ? 1 : 0, true);
}

test('poll_oneoff sleeps until the earliest clock', () => {
  let now = 1000;
  const slept: number[] = [];
  const { call, view } = setUp({
    now: () => now,
    sleep(ms) {
      slept.push(ms);
      now += ms;
      return true;
    },
  });
  subscribe(view(), 0, 11n, 0, 500);
  subscribe(view(), 1, 22n, 0, 1020, true);
  assert.equal(call('poll_oneoff', 0, 1000, 2, 2000), 0);
  assert.deepEqual(slept, [20]);
  assert.equal(view().getUint32(2000, true), 1);
  assert.equal(view().getBigUint64(1000, true), 22n);
  assert.equal(view().getUint8(1010), 0);
  subscribe(view(), 1, 33n, 2);
  assert.equal(call('poll_oneoff', 0, 1000, 2, 2000), 0);
  assert.deepEqual(slept, [20], 'a descriptor is always ready');
  assert.equal(view().getBigUint64(1000, true), 33n);
  assert.equal(view().getUint8(1010), 2);
});

test('poll_oneoff really sleeps', () => {
  const { call, view } = setUp();
  subscribe(view(), 0, 1n, 0, 30);
  const before = performance.now();
  assert.equal(call('poll_oneoff', 0, 1000, 1, 2000), 0);
  assert(performance.now() - before >= 29);
});

test('where nothing makes time pass, a sleep moves the guest’s clock and returns', () => {
  let now = 1000;
  const { call, view } = setUp({ now: () => now, sleep: () => false });
  const time = () => {
    call('clock_time_get', 1, 0n, 3000);
    return Number(view().getBigUint64(3000, true) / 1_000_000n);
  };
  subscribe(view(), 0, 1n, 0, 3_600_000);
  assert.equal(call('poll_oneoff', 0, 1000, 1, 2000), 0);
  assert.equal(time(), 3_601_000);
  now = 2000;
  assert.equal(time(), 3_601_000, 'never backwards');
  now = 4_000_000;
  assert.equal(time(), 4_000_000, 'the real clock catches up');
});

test('proc_exit is recorded', () => {
  const { wasi, call } = setUp();
  assert.equal(wasi.exitCode, undefined);
  assert.throws(() => call('proc_exit', 3), GuestExit);
  assert.equal(wasi.exitCode, 3);
});
