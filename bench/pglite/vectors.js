// Runs the statements of ../vectors.py, from the standard input, in one contestant: vectors.js pgcell|pglite

import { readFileSync } from 'node:fs';

/** @type {[string | null, string][]} */
const todo = JSON.parse(readFileSync(0, 'utf8'));

async function open() {
  if (process.argv[2] === 'pgcell') {
    const { PGlite } = await import('../../js/dist/node-full.js');
    return PGlite.create();
  }
  const folder = process.env.PGLITE ?? new URL('.', import.meta.url).pathname;
  const { PGlite } = await import(`${folder}/node_modules/@electric-sql/pglite/dist/index.js`);
  const { vector } = await import(`${folder}/node_modules/@electric-sql/pglite-pgvector/dist/index.js`);
  return PGlite.create({ extensions: { vector } });
}

/** @type {Record<string, unknown>} */
const result = {};
const db = await open();
for (const [name, sql] of todo) {
  const cpu = process.cpuUsage();
  const begin = performance.now();
  const [{ rows }] = await db.exec(sql, { rowMode: 'array' });
  const { user, system } = process.cpuUsage(cpu);
  if (name !== null) {
    result[name] = { ms: performance.now() - begin, cpu_ms: (user + system) / 1000 };
  }
  if (name === 'exact') {
    result.answer = String(rows[0][0]);
  }
}
await db.close();
console.log(JSON.stringify(result));
