// A program for Node, with no types but the language's and Node's.

import { PGlite } from 'pgcell';

export async function names(): Promise<string[]> {
  const db: PGlite = await PGlite.create({ onStderr: console.error });
  const { rows } = await db.query<{ name: string }>('select name from people where born > $1', [new Date(0)]);
  // @ts-expect-error: no such column
  rows[0]?.born;
  await db[Symbol.asyncDispose]();
  return rows.map(({ name }) => name);
}
