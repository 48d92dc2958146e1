// What the types must refuse: each line below such a comment, and with only one reason.

import { createPGliteImportHandler, instantiate, PGlite, serialize } from 'pgcell';
import { query } from 'pgcell/template';

export async function refused(db: PGlite, module: WebAssembly.Module): Promise<void> {
  // @ts-expect-error: a statement is a string
  await db.query(1);
  // @ts-expect-error: parameters are an array
  await db.query('select $1', 'a');
  // @ts-expect-error: no such mode
  await db.query('select 1', [], { rowMode: 'objects' });
  const { rows } = await db.query<{ n: number }>('select 1 as n');
  // @ts-expect-error: no such column
  rows[0]!.m;
  // @ts-expect-error: a number
  const text: string = rows[0]!.n;
  // @ts-expect-error: sql is for templates
  await db.sql('select 1');
  // @ts-expect-error: the callback returns a promise
  await db.transaction(() => 1);
  // @ts-expect-error: a transaction has no transactions
  await db.transaction(async (tx) => tx.transaction(async () => text));
  // @ts-expect-error: no such option
  await PGlite.create({ wasmModul: module });
  // @ts-expect-error: a name is a string
  await PGlite.create({ username: 1 });
  // @ts-expect-error: it can't be set
  db.debug = 1;
  // @ts-expect-error: the extension is not there
  db.live;
  // @ts-expect-error: template literals only
  query('select 1');
  const { handler } = await instantiate(module, createPGliteImportHandler());
  // @ts-expect-error: the protocol is bytes
  handler.exec('select 1');
  // @ts-expect-error: a statement is a string
  serialize.query(1);
}
