import assert from 'node:assert/strict';
import { DatabaseSync } from 'node:sqlite';
import { test } from 'node:test';
import { StorageError } from '../src/errors.ts';
import { DurableObjectStorage } from '../src/storage-durable-object.ts';
import type { DurableObjectSqlStorage } from '../src/storage-durable-object.ts';
import { testCases } from './storage-cases.ts';

/** Node's SQLite in the shape of a Durable Object's, with its limits. */
function makeStorage() {
  const database = new DatabaseSync(':memory:');
  const storage: DurableObjectSqlStorage & { database: DatabaseSync; failAt: number } = {
    database,
    /** How many statements from now fails; negative: none. */
    failAt: -1,
    sql: {
      exec(query, ...parameters) {
        assert.ok(parameters.length <= 100, `${parameters.length} parameters`);
        assert.ok(query.length <= 100_000);
        assert.equal(query.split('?').length - 1, parameters.length);
        if (storage.failAt-- === 0) {
          throw new Error('SQLITE_FULL');
        }
        const rows = database.prepare(query).all(...(parameters as (number | Uint8Array)[]));
        // theirs are buffers, and a cursor is consumed only once
        return rows.map((row) => ({ ...row, ...('contents' in row && { contents: (row.contents as Uint8Array).slice().buffer }) })).values();
      },
    },
    transactionSync(work) {
      database.exec('BEGIN');
      try {
        const result = work();
        database.exec('COMMIT');
        return result;
      } catch (error) {
        database.exec('ROLLBACK');
        throw error;
      }
    },
  };
  return storage;
}

const block = (value: number) => new Uint8Array(8192).fill(value);
const numbers = (storage: DurableObjectStorage) => [...(storage.open() as Iterable<readonly [number, Uint8Array]>)].map(([number]) => number);

testCases('DurableObjectStorage', () => {
  const storage = makeStorage();
  return () => new DurableObjectStorage(storage);
});

test('a commit that fails is undone, and no other one is tried', () => {
  const object = makeStorage();
  const storage = new DurableObjectStorage(object);
  assert.deepEqual(numbers(storage), []);
  storage.commit(new Map([[1, block(1)]]));
  object.failAt = 2;
  const many = new Map(Array.from({ length: 200 }, (_, i) => [i, block(2)]));
  assert.throws(() => storage.commit(many), (error) => error instanceof StorageError && /SQLITE_FULL/.test(error.message));
  assert.throws(() => storage.commit(new Map([[2, block(2)]])), StorageError);
  storage.close();
  const again = new DurableObjectStorage(object);
  assert.deepEqual(numbers(again), [1]);
  again.close();
});

test('it is exclusive within an object, not beyond', () => {
  const [one, two] = [makeStorage(), makeStorage()];
  const storage = new DurableObjectStorage(one);
  assert.deepEqual(numbers(storage), []);
  assert.throws(() => new DurableObjectStorage(one).open(), StorageError);
  assert.deepEqual(numbers(new DurableObjectStorage(two)), []);
});

test('a table of another kind is refused', () => {
  const object = makeStorage();
  object.database.exec('CREATE TABLE pgcell_block (x)');
  assert.throws(() => new DurableObjectStorage(object).open(), (error) => error instanceof StorageError && /pgcell_block is not a table of pgcell/.test(error.message));
  const other = makeStorage();
  other.database.exec("CREATE TABLE pgcell_block (number INTEGER PRIMARY KEY, contents BLOB); INSERT INTO pgcell_block VALUES (3, x'00')");
  assert.throws(() => numbers(new DurableObjectStorage(other)), (error) => error instanceof StorageError && /number 3/.test(error.message));
});
