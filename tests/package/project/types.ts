// A program with types, and what it may rely on; types-errors.ts has what the types must refuse.

import { ClosedError, createPGliteImportHandler, createPGlitePollingHandler, DatabaseError, instantiate, PGcell, PGlite, serialize, types } from 'pgcell';
import type { Extension, PGliteInterface, PGliteOptions, QueryOptions, Results, Transaction } from 'pgcell';
import { PGlite as Core } from 'pgcell/core';
import { identifier, query, raw } from 'pgcell/template';

interface Todo {
  id: number;
  task: string;
  done: boolean;
}

const counter = {
  name: 'counter',
  async setup(_pg: unknown) {
    let calls = 0;
    return { namespaceObj: { count: () => ++calls } };
  },
} satisfies Extension;

const options = {
  username: 'postgres',
  initialMemory: 32 << 20,
  parsers: { [types.TEXT]: (value: string) => value.toUpperCase() },
  onStderr: (text: string) => text.length,
  extensions: { counter },
} satisfies PGliteOptions;

/** What runs in a transaction. */
async function add(tx: Transaction, task: string): Promise<number> {
  const { rows } = await tx.query<Pick<Todo, 'id'>>('insert into todo (task) values ($1) returning id', [task]);
  return rows[0]!.id;
}

export async function database(): Promise<Todo[]> {
  const db = await PGlite.create(options);
  const count: number = db.counter.count();
  const inner: QueryOptions = { rowMode: 'array', paramTypes: [types.INT4], onNotice: ({ message }) => message };
  const id: number = await db.transaction(async (tx) => add(tx, `task ${count}`));
  const found: Results<Todo> = await db.sql<Todo>`select * from todo where id = ${id}`;
  const arrays = await db.query<[number, string]>('select id, task from todo', [], inner);
  const first: [number, string] | undefined = arrays.rows[0];
  const results: Results[] = await db.exec('select 1; select 2');
  const fields: { name: string; dataTypeID: number }[] = results[0]!.fields;
  const { queryParams } = await db.describeQuery('select $1::int');
  const built = query`select ${1} from ${identifier`todo`} ${raw`where true`}`;
  const unlisten = await db.listen('done', (payload: string) => payload.length);
  await unlisten();
  const dump: File | Blob = await db.dumpDataDir('gzip');
  const other: PGlite = await PGcell.create({ loadDataDir: dump });
  try {
    await other.query(built.query, built.params);
  } catch (error) {
    if (error instanceof DatabaseError) {
      const { code, detail }: { code?: string | undefined; detail?: string | undefined } = error;
      throw new Error(`${code} ${detail}`);
    }
    if (!(error instanceof ClosedError)) {
      throw error;
    }
  }
  await other.close();
  return first || fields || queryParams ? found.rows : [];
}

/** A library that takes any instance. */
export const version = async (db: PGliteInterface): Promise<unknown> => (await db.query<{ version: string }>('select version()')).rows[0]?.version;

export async function lowLevel(module: WebAssembly.Module): Promise<Uint8Array> {
  const handler = createPGliteImportHandler();
  const { exports, instance } = await instantiate(module, handler, { memoryLimitBytes: 64 << 20 });
  const memory: WebAssembly.Memory = exports.memory;
  handler.start(serialize.startup({ user: 'postgres', database: 'postgres' }));
  handler.exec(serialize.query('select 1'));
  const polling = await instantiate(module, createPGlitePollingHandler());
  polling.handler.pushInput(serialize.query('select 1'));
  const core: PGlite = await Core.create({ wasmModule: module }); // an instance is one, whichever entry made it
  return memory.buffer.byteLength > 0 && instance ? core.execProtocolRaw(serialize.query('select 1')) : new Uint8Array();
}
