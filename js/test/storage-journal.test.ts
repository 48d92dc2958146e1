import assert from 'node:assert/strict';
import { test } from 'node:test';
import { HEADER_BYTES } from '../src/block-file.ts';
import { checksum } from '../src/checksum.ts';
import { StorageError } from '../src/errors.ts';
import { BLOCK_BYTES } from '../src/storage.ts';
import { JournalStorage } from '../src/storage-journal.ts';
import { FaultDisk, makeRandom, PowerCut } from './fault-disk.ts';
import type { Random } from './fault-disk.ts';
import { testCases } from './storage-cases.ts';

/** Of the random tests, together. */
const RANDOM_MS = 3000;
const SEED = Number(process.env.PGCELL_SEED ?? Date.now() % 2 ** 31);
/** A few blocks, so that most commits apply the journal. */
const SMALL_JOURNAL_BYTES = 5 * BLOCK_BYTES;
const NUMBERS = [0, 1, 2560, 2561, 8000, 458752, 460600, 524287];

/** By number: the word of which the block is full; a block that is not there is not in it. */
type State = ReadonlyMap<number, number>;
type Change = readonly [number: number, value: number | undefined];

/** Words, so that a block of 8 KiB is compared quickly. */
const block = (value: number) => new Uint8Array(new Uint32Array(BLOCK_BYTES / 4).fill(value).buffer);
const changesOf = (changes: readonly Change[]) => new Map(changes.map(([number, value]) => [number, value === undefined ? undefined : block(value)]));
const make = (disk: FaultDisk, maxJournalBytes = SMALL_JOURNAL_BYTES) => new JournalStorage(disk.file('blocks'), disk.file('journal'), maxJournalBytes);

function afterwards(state: State, changes: readonly Change[]): State {
  const result = new Map(state);
  for (const [number, value] of changes) {
    if (value === undefined) {
      result.delete(number);
    } else {
      result.set(number, value);
    }
  }
  return result;
}

async function openAndRead(storage: JournalStorage): Promise<State> {
  const state = new Map<number, number>();
  for await (const [number, contents] of await storage.open()) {
    const words = new Uint32Array(contents.buffer, contents.byteOffset, BLOCK_BYTES / 4);
    assert.ok(words.every((word) => word === words[0]), `block ${number} is mixed`);
    assert.ok(!state.has(number), `block ${number} is there twice`);
    state.set(number, words[0]!);
  }
  return state;
}

const show = (state: State) => JSON.stringify([...state].sort(([a], [b]) => a - b));

testCases('JournalStorage in memory, without a lock', () => {
  const disk = new FaultDisk();
  let isOpen = false;
  return () => {
    const storage = make(disk);
    return {
      open() {
        if (isOpen) {
          throw new StorageError('in use');
        }
        isOpen = true;
        return storage.open();
      },
      commit: (changes) => storage.commit(changes),
      close() {
        isOpen = false;
        return storage.close();
      },
    };
  };
});

test('the checksum is XXH32', () => {
  const words = (bytes: Uint8Array) => new Uint32Array(bytes.slice().buffer);
  const text = words(new TextEncoder().encode('Nobody inspects the spammish repetition of this.'));
  assert.equal(checksum(text, 0, 12, 0), 0x798b94b7);
  assert.equal(checksum(text, 0, 12, 42), 0x8f8312ed);
  assert.equal(checksum(text, 0, 12, 0xffffffff), 0x3d6005f8);
  assert.equal(checksum(words(Uint8Array.from({ length: 8212 }, (_, i) => (i + 247) % 251)), 1, 2053, 7), 0xf1daca52);
});

/**
 * Commits at random until the power goes, which is set before; then looks whether what is there is what was reported, with none, some
 * or all of what came after that.
 *
 * @returns what is there then; undefined if the power did not go
 */
async function runUntilPowerCut(disk: FaultDisk, state: State, random: Random): Promise<State | undefined> {
  /** After each commit. */
  const states: State[] = [state];
  let reported = 0;
  try {
    const storage = make(disk);
    assert.equal(show(await openAndRead(storage)), show(state), 'opened again');
    for (let group = random(8); group >= 0; group--) {
      const commits: Promise<void>[] = [];
      for (let i = random(3); i >= 0; i--) {
        const isDeletion = random(4) === 0;
        const changes = Array.from({ length: 1 + random(3) }, (): Change => [NUMBERS[random(NUMBERS.length)]!, isDeletion ? undefined : random(2 ** 32)]);
        states.push(afterwards(states.at(-1)!, changes));
        const mine = states.length - 1;
        commits.push(storage.commit(changesOf(changes)).then(() => void (reported = Math.max(reported, mine))));
      }
      for (const result of await Promise.allSettled(commits)) {
        if (result.status === 'rejected') {
          throw result.reason.cause;
        }
      }
    }
    if (random(2) === 0) {
      await storage.close();
    }
    return undefined;
  } catch (error) {
    if (!(error instanceof PowerCut)) {
      throw error;
    }
  } finally {
    state = states.at(-1)!;
  }
  disk.restart(random(4) === 0 ? undefined : random);
  const found = await openAndRead(make(disk));
  const allowed = states.slice(reported).map(show);
  assert.ok(allowed.includes(show(found)), `${show(found)} is none of ${allowed.join(' ')}`);
  return found;
}

test('a power cut loses nothing that was reported, and leaves no half of a commit', async (t) => {
  t.diagnostic(`PGCELL_SEED=${SEED}`);
  const end = Date.now() + RANDOM_MS;
  let cuts = 0;
  for (let seed = SEED; Date.now() < end; seed++) {
    const random = makeRandom(seed);
    const disk = new FaultDisk();
    let state: State = new Map();
    try {
      for (let life = 0; life < 8; life++) {
        if (random(3) === 0) {
          disk.stepsLeft = random([100, 9000, 50_000, 300_000][random(4)]!);
        } else {
          disk.callsLeft = random([6, 20, 60][random(3)]!);
        }
        const found = await runUntilPowerCut(disk, state, random);
        if (found === undefined) {
          break;
        }
        state = found;
        cuts++;
      }
    } catch (error) {
      throw new Error(`with PGCELL_SEED=${seed}`, { cause: error });
    }
  }
  t.diagnostic(`${cuts} power cuts`);
  assert.ok(cuts > 20);
});

test('a power cut at each step around the borders of records, in a history with everything', async () => {
  const random = makeRandom(1);
  const history: readonly (readonly Change[])[] = [
    [[0, 1], [1, 2]],
    [[0, 3], [2560, 4], [1, undefined]],
    [[1, 5], [458752, 6]],
    [[0, undefined], [1, undefined]],
    [[524287, 7], [0, 8]],
  ];
  const states = history.reduce<State[]>((states, changes) => [...states, afterwards(states.at(-1)!, changes)], [new Map()]);
  /** @returns how many commits were reported */
  const live = async (disk: FaultDisk, borders?: number[]) => {
    let reported = 0;
    try {
      const storage = make(disk, 3 * BLOCK_BYTES);
      await openAndRead(storage);
      for (const changes of history) {
        borders?.push(disk.steps);
        await storage.commit(changesOf(changes));
        reported++;
      }
      await storage.close();
    } catch (error) {
      assert.ok(error instanceof PowerCut || (error as Error).cause instanceof PowerCut, String(error));
    }
    return reported;
  };
  const whole = new FaultDisk();
  const borders: number[] = [0];
  assert.equal(await live(whole, borders), history.length);
  let cuts = 0;
  for (let steps = 0; steps < whole.steps; ) {
    const disk = new FaultDisk();
    disk.stepsLeft = steps;
    const reported = await live(disk);
    disk.restart(steps % 3 === 0 ? undefined : random);
    const found = show(await openAndRead(make(disk)));
    assert.ok(states.slice(reported, reported + 2).map(show).includes(found), `cut after ${steps} steps: ${found} after ${reported} commits`);
    cuts++;
    // contents are 8 KiB, of which one byte is as good as another
    steps += borders.some((border) => steps >= border && steps < border + 60) ? 1 : 97;
  }
  assert.ok(cuts > 500);
});

for (const [kind, file] of [['sync', 'journal'], ['write', 'journal'], ['sync', 'blocks'], ['write', 'blocks']] as const) {
  test(`after a ${kind} of ${file} that failed every commit fails, and what was reported is there`, async () => {
    const disk = new FaultDisk();
    const storage = make(disk);
    await openAndRead(storage);
    let state: State = new Map();
    for (let i = 0; ; i++) {
      const changes: Change[] = [[i % 3, i], [10 + i, i]];
      if (i === 4) {
        disk.failNext = { kind, file };
      }
      const error = await storage.commit(changesOf(changes)).then(() => undefined, (error: unknown) => error);
      if (error !== undefined) {
        assert.ok(error instanceof StorageError && /EIO/.test(error.message), String(error));
        break;
      }
      state = afterwards(state, changes);
      assert.ok(i < 20);
    }
    assert.equal(disk.failNext, undefined);
    const { steps } = disk;
    await assert.rejects(storage.commit(changesOf([[1, 99]])), StorageError);
    await assert.rejects(storage.commit(changesOf([[2, 99]])), StorageError);
    await storage.close();
    assert.equal(disk.steps, steps, 'nothing is tried again');
    const copy = disk.copy();
    copy.restart(() => 0); // nothing that was not synced
    assert.equal(show(await openAndRead(make(copy))), show(state));
    // or else the process starts again, and the power goes later
    const again = await openAndRead(make(disk));
    disk.restart(() => 0);
    assert.equal(show(await openAndRead(make(disk))), show(again));
    assert.ok(kind === 'sync' && file === 'journal' ? again.has(14) : show(again) === show(state));
  });
}

/** A storage with blocks in slots and a commit in the journal. */
async function makeUsed(): Promise<FaultDisk> {
  const disk = new FaultDisk();
  const storage = make(disk);
  await openAndRead(storage);
  await storage.commit(changesOf([[0, 10], [1, 11], [2, 12]]));
  await storage.close();
  const again = make(disk);
  await openAndRead(again);
  await again.commit(changesOf([[1, 21]]));
  await again.commit(changesOf([[1, 22], [3, 23]]));
  return disk;
}

const USED = show(new Map([[0, 10], [1, 22], [2, 12], [3, 23]]));
const USED_BEFORE = show(new Map([[0, 10], [1, 21], [2, 12]]));

test('garbage and old records behind the journal are ignored; so is a last commit that is not whole, wherever it is cut or changed', async () => {
  const garbage = await makeUsed();
  const { length } = garbage.file('journal').contents;
  garbage.file('journal').write(new Uint8Array(20_000).fill(0xa5), length);
  assert.equal(show(await openAndRead(make(garbage))), USED);
  assert.equal(garbage.file('journal').size(), HEADER_BYTES);
  const old = await makeUsed();
  old.file('journal').write(old.file('journal').contents.slice(HEADER_BYTES, HEADER_BYTES + 8212), length);
  assert.equal(show(await openAndRead(make(old))), USED);
  const start = length - 2 * 8212;
  for (let at = start; at < length; at += at < start + 40 ? 1 : 251) {
    const cut = await makeUsed();
    cut.file('journal').truncate(at);
    assert.equal(show(await openAndRead(make(cut))), USED_BEFORE, `cut at ${at}`);
    const changed = await makeUsed();
    changed.file('journal').contents[at]! ^= 1 << at % 8;
    assert.equal(show(await openAndRead(make(changed))), USED_BEFORE, `changed at ${at}`);
  }
});

test('what was whole behind a commit that was not does not come back when that gets a successor of its length', async () => {
  for (const fates of [[0, 1], [1, 1]]) {
    const disk = new FaultDisk();
    await openAndRead(make(disk));
    const storage = make(disk);
    await openAndRead(storage);
    await Promise.all([storage.commit(changesOf([[1, 1]])), storage.commit(changesOf([[2, 2]]))]);
    disk.file('journal').write(new Uint8Array(1).fill(0xff), HEADER_BYTES + 100);
    disk.restart(() => 1);
    const again = make(disk);
    assert.equal(show(await openAndRead(again)), show(new Map()));
    disk.callsLeft = 1; // to write it, not to sync it
    await assert.rejects(again.commit(changesOf([[1, 3]])), StorageError);
    disk.restart(() => fates.shift()!);
    const found = await openAndRead(make(disk));
    assert.ok(!found.has(2), show(found));
  }
});

test('files of another kind, version or database, damaged and missing ones are refused; nothing is written', async () => {
  const other = await makeUsed();
  const cases: Record<string, [RegExp, (disk: FaultDisk) => void]> = {
    'blocks of another kind': [/blocks is damaged at its begin, or it is no file of pgcell blocks/, (disk) => disk.file('blocks').contents.fill(0x41)],
    'a journal of another kind': [/journal is damaged at its begin, or it is no file of pgcell journal/, (disk) => disk.file('journal').contents.fill(0)],
    'a small text': [/blocks is damaged at its begin/, (disk) => (disk.file('blocks').contents = new TextEncoder().encode('hello'))],
    'exchanged files': [/blocks is damaged at its begin/, (disk) => (disk.file('blocks').contents = disk.file('journal').contents)],
    'no journal': [/journal is missing, or not the one of blocks/, (disk) => (disk.file('journal').contents = new Uint8Array(0))],
    'the journal of another': [/journal is missing, or not the one of blocks/, (disk) => (disk.file('journal').contents = other.file('journal').contents)],
    'no blocks': [/journal has changes, but blocks.* is empty/, (disk) => (disk.file('blocks').contents = new Uint8Array(0))],
    'a damaged slot': [/blocks is damaged at byte 36$/, (disk) => (disk.file('blocks').contents[100]! ^= 1)],
    'a slot too many': [/blocks is damaged at byte 32884$/, (disk) => disk.file('blocks').write(new Uint8Array(1), 36 + 4 * 8212)],
    'a slot twice': [
      /blocks is damaged at byte 32884$/,
      (disk) => disk.file('blocks').write(disk.file('blocks').contents.slice(HEADER_BYTES, HEADER_BYTES + 8212), 36 + 4 * 8212),
    ],
    'another version': [
      /blocks is of version 2 with blocks of 8192 bytes, not of version 1 with 8192/,
      (disk) => {
        const words = new Uint32Array(disk.file('blocks').contents.buffer, 0, 9);
        words[4] = 2;
        words[8] = checksum(words, 0, 8, 0);
      },
    ],
  };
  for (const [name, [message, damage]] of Object.entries(cases)) {
    const disk = await makeUsed();
    damage(disk);
    const isSlot = name.includes('slot'); // seen behind the journal, which is applied before
    const before = ['blocks', 'journal'].map((file) => disk.file(file).contents.slice());
    await assert.rejects(openAndRead(make(disk)), (error) => error instanceof StorageError && message.test(error.message), name);
    assert.ok(isSlot || ['blocks', 'journal'].every((file, i) => Buffer.compare(disk.file(file).contents, before[i]!) === 0), name);
  }
});

test('commits that come while others are synced share the next sync', async () => {
  const disk = new FaultDisk();
  const storage = make(disk, Infinity);
  await openAndRead(storage);
  const file = disk.file('journal');
  const { sync } = file;
  let syncs = 0;
  file.sync = () => {
    syncs++;
    return sync.call(file);
  };
  const first = storage.commit(changesOf([[1, 1]]));
  await Promise.resolve();
  assert.equal(syncs, 1);
  await Promise.all([first, ...[2, 3, 4, 5].map((value) => storage.commit(changesOf([[1, value]])))]);
  assert.equal(syncs, 2);
  await storage.close();
  assert.equal(show(await openAndRead(make(disk))), show(new Map([[1, 5]])));
});

test('slots of deleted blocks are used again, and the journal is kept small', async () => {
  const disk = new FaultDisk();
  const storage = make(disk);
  await openAndRead(storage);
  for (let i = 0; i < 100; i++) {
    await storage.commit(changesOf([[i, i], [i + 1, i], ...(i >= 2 ? [[i - 2, undefined] as const] : [])]));
    assert.ok(disk.file('journal').size() <= HEADER_BYTES + SMALL_JOURNAL_BYTES + 3 * 8212);
  }
  await storage.close();
  assert.equal(disk.file('journal').size(), HEADER_BYTES);
  assert.ok(disk.file('blocks').size() <= HEADER_BYTES + 4 * 8212);
});

test('what is no block is refused', async () => {
  const storage = make(new FaultDisk());
  await openAndRead(storage);
  for (const [number, contents] of [[-1, block(1)], [2 ** 19, block(1)], [1.5, block(1)], [NaN, undefined], [1, new Uint8Array(8191)]] as const) {
    await assert.rejects(async () => storage.commit(new Map([[number, contents]])), RangeError);
  }
});
