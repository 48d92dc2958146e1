// Commits rows to the database in a directory, and says of each when it was told that it is committed: until it is killed.

import { writeSync } from 'node:fs';
import { PGlite } from '../../js/dist/node.js';

const db = await PGlite.create(process.argv[2]);
await db.exec('create table if not exists t (i int primary key, s text)');
const { rows } = await db.query('select coalesce(max(i), 0)::int as n from t');
for (let i = /** @type {any} */ (rows[0]).n + 1; i < 1_000_000; i++) {
  await db.query("insert into t values ($1, repeat('x', 300))", [i]);
  writeSync(1, `${i}\n`);
}
