// What every storage must do, in any engine. Knows neither the engine nor the kind of storage:
//
//     for (const { name, run } of storageCases) await run({ make });
//
// where `make` makes a new storage for the same place, which is empty before each case.

import { equal, ok, rejected } from '../js-api/assert.js';

/**
 * @typedef {import('../../js/dist/index.js').Storage} Storage
 * @typedef {object} Context
 * @property {() => Storage} make
 * @typedef {object} Case
 * @property {string} name
 * @property {(context: Context) => Promise<void>} run
 */

const BLOCK_BYTES = 8192;

/** @param {number} value from 1 to 255 @returns {Uint8Array} a view of the middle of a bigger buffer, as those of a guest's memory are */
const block = (value) => new Uint8Array(3 * BLOCK_BYTES).fill(255 - value).subarray(BLOCK_BYTES, 2 * BLOCK_BYTES).fill(value);

/** @param {Record<number, number | undefined>} values of numbers; undefined: deleted */
const changes = (values) => new Map(Object.entries(values).map(([number, value]) => [Number(number), value === undefined ? undefined : block(value)]));

/** What is stored, as `changes` takes it. @param {Storage} storage not open yet */
async function openAndRead(storage) {
  /** @type {Record<number, number>} */
  const values = {};
  for await (const [number, contents] of await storage.open()) {
    const value = contents[0] ?? 0;
    ok(contents.length === BLOCK_BYTES && contents.every((byte) => byte === value), `block ${number} as it was written`);
    ok(!(number in values), `block ${number} once`);
    values[number] = value;
  }
  return values;
}

/** @param {Context} context @param {Record<number, number>} expected */
async function expectStored({ make }, expected) {
  const storage = make();
  equal(await openAndRead(storage), expected);
  await storage.close();
}

/** @type {readonly Case[]} */
export const storageCases = [
  {
    name: 'a new storage is empty, and so is one to which nothing was committed',
    async run(context) {
      await expectStored(context, {});
      const storage = context.make();
      equal(await openAndRead(storage), {});
      await storage.commit(new Map());
      await storage.commit(changes({ 7: undefined }));
      await storage.close();
      await expectStored(context, {});
    },
  },
  {
    name: 'what was committed is there when it is opened again: new, changed and deleted blocks, of any numbers',
    async run(context) {
      const storage = context.make();
      await openAndRead(storage);
      await storage.commit(changes({ 0: 1, 2560: 2, 8000: 3, 458752: 4, 524287: 5 }));
      await storage.close();
      await expectStored(context, { 0: 1, 2560: 2, 8000: 3, 458752: 4, 524287: 5 });
      const again = context.make();
      await openAndRead(again);
      await again.commit(changes({ 0: 6, 1: 7, 2560: undefined, 9: undefined }));
      await again.commit(changes({ 1: 8, 8000: undefined, 2560: 9 }));
      await again.commit(changes({ 524287: undefined, 5: 10 }));
      await again.close();
      await expectStored(context, { 0: 6, 1: 8, 5: 10, 2560: 9, 458752: 4 });
    },
  },
  {
    name: 'what is committed may be changed as soon as the call has returned',
    async run(context) {
      const storage = context.make();
      await openAndRead(storage);
      const [one, two] = [block(1), block(2)];
      const first = storage.commit(new Map([[1, one]]));
      one.fill(99);
      const second = storage.commit(new Map([[2, two]]));
      two.fill(99);
      await Promise.all([first, second]);
      await storage.close();
      await expectStored(context, { 1: 1, 2: 2 });
    },
  },
  {
    name: 'commits that do not wait for one another are stored in their order',
    async run(context) {
      const storage = context.make();
      await openAndRead(storage);
      const commits = [];
      for (let i = 1; i <= 100; i++) {
        commits.push(storage.commit(changes({ 1: i, [10 + i]: i, [10 + i - 1]: undefined })));
        if (i % 7 === 0) {
          await commits[i - 3];
        }
      }
      await Promise.all(commits);
      await storage.close();
      await expectStored(context, { 1: 100, 110: 100 });
    },
  },
  {
    name: 'thousands of blocks at once',
    async run(context) {
      const storage = context.make();
      await openAndRead(storage);
      const numbers = Array.from({ length: 2345 }, (_, i) => 1000 + i * 3);
      const valueOf = (/** @type {number} */ number) => 1 + (number % 250);
      await storage.commit(changes(Object.fromEntries(numbers.map((number) => [number, valueOf(number)]))));
      await storage.commit(changes(Object.fromEntries(numbers.slice(0, 1111).map((number) => [number, undefined]))));
      await storage.close();
      await expectStored(context, Object.fromEntries(numbers.slice(1111).map((number) => [number, valueOf(number)])));
    },
  },
  {
    name: 'a second instance is refused, until the first is closed',
    async run(context) {
      const storage = context.make();
      await openAndRead(storage);
      await storage.commit(changes({ 3: 3 }));
      await rejected(async () => context.make().open(), { name: 'StorageError', code: 'ERR_STORAGE', message: /in use/ });
      await storage.commit(changes({ 4: 4 }));
      await storage.close();
      await expectStored(context, { 3: 3, 4: 4 });
    },
  },
];

/**
 * Only of OPFSStorage, in a page or another place without its synchronous files.
 *
 * @type {readonly Case[]}
 */
export const opfsElsewhereCases = [
  {
    name: 'files that can be written in place are missing: the error says what to use',
    async run({ make }) {
      await rejected(async () => make().open(), { name: 'StorageError', message: /Worker.*IndexedDBStorage/ });
    },
  },
];
