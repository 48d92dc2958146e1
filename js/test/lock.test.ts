import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Lock } from '../src/lock.ts';

const sleep = (ms: number) => new Promise((resolve) => setTimeout(resolve, ms));

test('one after the other, in the order of asking', async () => {
  const lock = new Lock();
  const order: number[] = [];
  let running = 0;
  await Promise.all(
    [5, 0, 3, 1].map((ms, i) =>
      lock.run(async () => {
        assert.equal(++running, 1);
        await sleep(ms);
        running--;
        order.push(i);
      }),
    ),
  );
  assert.deepEqual(order, [0, 1, 2, 3]);
  assert.equal(lock.isHeld, false);
});

test('who throws gives the lock on', async () => {
  const lock = new Lock();
  const failed = assert.rejects(
    lock.run(() => {
      throw new Error('no');
    }),
    /no/,
  );
  assert.equal(await lock.run(() => 1), 1);
  await failed;
  assert.throws(() =>
    lock.runSync(() => {
      throw new Error('no');
    }),
  );
  assert.equal(lock.isHeld, false);
});

test('ten thousand that wait', async () => {
  const lock = new Lock();
  let sum = 0;
  const all = Array.from({ length: 10_000 }, (_, i) => lock.run(() => void (sum += i)));
  assert.equal(lock.isHeld, true);
  await Promise.all(all);
  assert.deepEqual([sum, lock.isHeld], [49_995_000, false]);
});
