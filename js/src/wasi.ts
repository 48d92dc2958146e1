/**
 * The few functions of WASI preview 1 that the portable modules import. There are no files: those are inside the guest.
 *
 * None of them throws, except proc_exit, for which nothing else is left: it must not return. The guest only calls it when its own
 * start fails, while an image is made: a panic of PostgreSQL is a trap.
 */
import { GuestMemory } from './memory.ts';

const ESUCCESS = 0;
const EBADF = 8;
const EFAULT = 21;
const EIO = 29;

const CLOCK_REALTIME = 0;
const CLOCK_MONOTONIC = 1;
const EINVAL = 28;

const STDIN = 0;
const STDOUT = 1;
const STDERR = 2;
const FILETYPE_CHARACTER_DEVICE = 2;

const SUBSCRIPTION_SIZE = 48;
const EVENT_SIZE = 32;
const EVENTTYPE_CLOCK = 0;
const SUBCLOCK_ABSTIME = 1;

/** getRandomValues() refuses more at once. */
const RANDOM_PIECE = 65536;
/** A line that gets longer than this many characters is passed on in pieces. */
const MAX_LOG_LINE = 65536;
/** A clock that stands still while it is read this often does not run during computation (Cloudflare Workers). */
const FROZEN_CLOCK_READS = 1_000_000;
/** Date.now() and performance.now() may be this far apart (milliseconds) before the one is corrected by the other. */
const MAX_CLOCK_DRIFT_MS = 5;

/** The guest has called proc_exit: the instance is dead. */
export class GuestExit extends Error {
  override readonly name = 'GuestExit';
  readonly code: number;

  constructor(code: number) {
    super(`the guest has ended itself with exit status ${code}`);
    this.code = code;
  }
}

export interface WasiOptions {
  /** Command line, the program's name first. Default: `['postgres']`. */
  args?: readonly string[];
  /** Environment. Default: empty. */
  env?: Readonly<Record<string, string>>;
  /** Called with each line that the guest writes to standard output (1) or standard error (2), without its line feed. Default: dropped. */
  log?: (line: string, fd: number) => void;
  /** The time in milliseconds since 1970, with fractions. Default: the engine's clocks. */
  now?: () => number;
  /**
   * Blocks for so many milliseconds; false when it can't. Default: `Atomics.wait` where the engine allows it, else a busy wait. If
   * neither makes time pass, the guest's clock is put forward by what it wanted to sleep.
   */
  sleep?: (ms: number) => boolean;
}

type WasiFunction = (...args: never[]) => number;

/** The imports `wasi_snapshot_preview1` of one instance. */
export interface Wasi {
  readonly imports: Readonly<Record<WasiFunctionName, WasiFunction>>;
  /** To be called once, after instantiation, before any export. */
  setMemory(memory: WebAssembly.Memory): void;
  /** Exit status when the guest has called proc_exit, else undefined. */
  readonly exitCode: number | undefined;
}

export type WasiFunctionName =
  | 'args_get'
  | 'args_sizes_get'
  | 'environ_get'
  | 'environ_sizes_get'
  | 'clock_res_get'
  | 'clock_time_get'
  | 'random_get'
  | 'poll_oneoff'
  | 'sched_yield'
  | 'proc_exit'
  | 'fd_read'
  | 'fd_write'
  | 'fd_fdstat_get';

/** One instance's WASI. Nothing is shared between instances. */
export function createWasi(options: WasiOptions = {}): Wasi {
  const encoder = new TextEncoder();
  const zeroTerminated = (text: string) => encoder.encode(`${text}\0`);
  const args = (options.args ?? ['postgres']).map(zeroTerminated);
  const environ = Object.entries(options.env ?? {}).map(([name, value]) => zeroTerminated(`${name}=${value}`));
  const clock = new Clock(options.now ?? engineClock(), options.sleep ?? blockingSleep);
  const logs = [undefined, new LineLog(STDOUT, options.log), new LineLog(STDERR, options.log)];
  let memory: GuestMemory | undefined;
  let exitCode: number | undefined;

  /** Runs with the memory; an address outside of it is the guest's error, not an exception. */
  const inMemory = (work: (view: DataView, bytes: Uint8Array) => number): number => {
    if (memory === undefined) {
      return EFAULT;
    }
    try {
      return work(memory.view, memory.bytes);
    } catch (error) {
      return error instanceof RangeError ? EFAULT : EIO;
    }
  };

  const putStrings = (strings: Uint8Array[], pointers: number, buffer: number) =>
    inMemory((view, bytes) => {
      let pointer = pointers >>> 0;
      let address = buffer >>> 0;
      for (const string of strings) {
        view.setUint32(pointer, address, true);
        bytes.set(string, address);
        pointer += 4;
        address += string.length;
      }
      return ESUCCESS;
    });
  const putSizes = (strings: Uint8Array[], count: number, size: number) =>
    inMemory((view) => {
      view.setUint32(count >>> 0, strings.length, true);
      view.setUint32(
        size >>> 0,
        strings.reduce((sum, string) => sum + string.length, 0),
        true,
      );
      return ESUCCESS;
    });

  const imports = {
    args_get: (pointers: number, buffer: number) => putStrings(args, pointers, buffer),
    args_sizes_get: (count: number, size: number) => putSizes(args, count, size),
    environ_get: (pointers: number, buffer: number) => putStrings(environ, pointers, buffer),
    environ_sizes_get: (count: number, size: number) => putSizes(environ, count, size),

    clock_res_get: (id: number, resolution: number) =>
      inMemory((view) => {
        if (id !== CLOCK_REALTIME && id !== CLOCK_MONOTONIC) {
          return EINVAL;
        }
        putNanoseconds(view, resolution >>> 0, 0.001);
        return ESUCCESS;
      }),
    clock_time_get: (id: number, _precision: bigint, time: number) => {
      if (id !== CLOCK_REALTIME && id !== CLOCK_MONOTONIC) {
        return EINVAL;
      }
      if (memory === undefined) {
        return EFAULT;
      }
      const { view } = memory;
      const address = time >>> 0;
      if (address + 8 > view.byteLength) {
        return EFAULT;
      }
      putNanoseconds(view, address, clock.now());
      return ESUCCESS;
    },

    random_get: (buffer: number, length: number) =>
      inMemory((_view, bytes) => {
        const end = (buffer >>> 0) + (length >>> 0);
        if (end > bytes.length) {
          return EFAULT;
        }
        for (let at = buffer >>> 0; at < end; at += RANDOM_PIECE) {
          globalThis.crypto.getRandomValues(bytes.subarray(at, Math.min(at + RANDOM_PIECE, end)) as Uint8Array<ArrayBuffer>);
        }
        return ESUCCESS;
      }),

    poll_oneoff: (subscriptions: number, events: number, count: number, eventCount: number) =>
      inMemory((view) => pollOneOff(view, clock, subscriptions >>> 0, events >>> 0, count >>> 0, eventCount >>> 0)),

    sched_yield: () => ESUCCESS,

    proc_exit: (code: number): never => {
      exitCode = code;
      throw new GuestExit(code);
    },

    fd_read: (fd: number, _iovecs: number, _count: number, readCount: number) =>
      inMemory((view) => {
        if (fd !== STDIN) {
          return EBADF;
        }
        view.setUint32(readCount >>> 0, 0, true);
        return ESUCCESS;
      }),
    fd_write: (fd: number, iovecs: number, count: number, writtenCount: number) =>
      inMemory((view, bytes) => {
        const log = logs[fd];
        if (log === undefined) {
          return EBADF;
        }
        let written = 0;
        for (let i = 0, at = iovecs >>> 0; i < count >>> 0; i++, at += 8) {
          const start = view.getUint32(at, true);
          const length = view.getUint32(at + 4, true);
          if (start + length > bytes.length) {
            return EFAULT;
          }
          log.write(bytes.subarray(start, start + length));
          written += length;
        }
        view.setUint32(writtenCount >>> 0, written, true);
        return ESUCCESS;
      }),
    fd_fdstat_get: (fd: number, stat: number) =>
      inMemory((view, bytes) => {
        if (fd < STDIN || fd > STDERR) {
          return EBADF;
        }
        const address = stat >>> 0;
        view.setUint32(address + 20, 0, true); // the last of its bytes first: out of bounds leaves nothing half written
        bytes.fill(0, address, address + 24);
        view.setUint8(address, FILETYPE_CHARACTER_DEVICE);
        view.setBigUint64(address + 8, ~0n & 0xffff_ffff_ffff_ffffn, true);
        return ESUCCESS;
      }),
  };

  return {
    imports: imports as unknown as Wasi['imports'],
    setMemory(guestMemory) {
      memory = new GuestMemory(guestMemory);
    },
    get exitCode() {
      return exitCode;
    },
  };
}

/** Writes milliseconds as a 64-bit number of nanoseconds, to the microsecond; without BigInt, because the guest asks often. */
function putNanoseconds(view: DataView, address: number, ms: number): void {
  const us = Math.floor(ms * 1000);
  const high = Math.floor(us / 2 ** 32);
  const low = (us - high * 2 ** 32) * 1000;
  const carry = Math.floor(low / 2 ** 32);
  view.setUint32(address, low >>> 0, true);
  view.setUint32(address + 4, high * 1000 + carry, true);
}

/** Milliseconds since 1970 with performance.now()'s resolution, following Date.now() when the machine's clock is set. */
function engineClock(): () => number {
  let base = Date.now() - performance.now();
  return () => {
    const precise = base + performance.now();
    const real = Date.now();
    if (Math.abs(real - precise) <= MAX_CLOCK_DRIFT_MS) {
      return precise;
    }
    base += real - precise;
    return real;
  };
}

/** Blocks the thread; false where the engine forbids that (a browser's main thread, some Workers). */
function blockingSleep(ms: number): boolean {
  try {
    Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, ms);
    return true;
  } catch {
    return false;
  }
}

/** The guest's only clock, realtime and monotonic in one. A sleep that time does not pass for moves it forward. */
class Clock {
  readonly #read: () => number;
  readonly #sleep: (ms: number) => boolean;
  /** Not earlier than this: where sleeps have put the clock. */
  #floor = 0;

  constructor(read: () => number, sleep: (ms: number) => boolean) {
    this.#read = read;
    this.#sleep = sleep;
  }

  now(): number {
    const now = this.#read();
    return now > this.#floor ? now : this.#floor;
  }

  sleep(ms: number): void {
    const until = this.now() + ms;
    if (!this.#sleep(ms)) {
      let last = this.#read();
      for (let same = 0; same < FROZEN_CLOCK_READS && this.now() < until; same++) {
        const now = this.#read();
        if (now !== last) {
          last = now;
          same = 0;
        }
      }
    }
    if (this.now() < until) {
      this.#floor = until;
    }
  }
}

/** Sleeps until the earliest clock; descriptors are always ready (reading is the end of file, writing never blocks). */
function pollOneOff(view: DataView, clock: Clock, subscriptions: number, events: number, count: number, eventCount: number): number {
  if (count === 0) {
    return EINVAL;
  }
  const last = events + count * EVENT_SIZE;
  if (last > view.byteLength || subscriptions + count * SUBSCRIPTION_SIZE > view.byteLength || eventCount + 4 > view.byteLength) {
    return EFAULT;
  }
  const now = clock.now();
  const delays: number[] = [];
  for (let i = 0; i < count; i++) {
    const at = subscriptions + i * SUBSCRIPTION_SIZE;
    let delay = 0;
    if (view.getUint8(at + 8) === EVENTTYPE_CLOCK) {
      delay = Number(view.getBigUint64(at + 24, true)) / 1e6;
      if ((view.getUint16(at + 40, true) & SUBCLOCK_ABSTIME) !== 0) {
        delay -= now;
      }
    }
    delays.push(Math.max(delay, 0));
  }
  const delay = Math.min(...delays);
  if (delay > 0) {
    clock.sleep(delay);
  }
  let happened = 0;
  delays.forEach((each, i) => {
    if (each > delay) {
      return;
    }
    const from = subscriptions + i * SUBSCRIPTION_SIZE;
    const to = events + happened++ * EVENT_SIZE;
    const userdata = view.getBigUint64(from, true);
    const type = view.getUint8(from + 8);
    for (let offset = 0; offset < EVENT_SIZE; offset += 8) {
      view.setBigUint64(to + offset, 0n, true);
    }
    view.setBigUint64(to, userdata, true);
    view.setUint8(to + 10, type);
  });
  view.setUint32(eventCount, happened, true);
  return ESUCCESS;
}

/** Standard output or error as lines. */
class LineLog {
  readonly #fd: number;
  readonly #log: WasiOptions['log'];
  readonly #decoder = new TextDecoder();
  #line = '';

  constructor(fd: number, log: WasiOptions['log']) {
    this.#fd = fd;
    this.#log = log;
  }

  write(bytes: Uint8Array): void {
    if (this.#log === undefined) {
      return;
    }
    const lines = (this.#line + this.#decoder.decode(bytes, { stream: true })).split('\n');
    this.#line = lines.pop() ?? '';
    for (const line of lines) {
      this.#log(line, this.#fd);
    }
    while (this.#line.length > MAX_LOG_LINE) {
      this.#log(this.#line.slice(0, MAX_LOG_LINE), this.#fd);
      this.#line = this.#line.slice(MAX_LOG_LINE);
    }
  }
}
