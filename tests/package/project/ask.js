// What every program of the project does: SELECT 1, a parameter, close.

/**
 * @param {typeof import('pgcell').PGlite} PGlite
 * @param {import('pgcell').PGliteOptions} [options]
 */
export async function ask(PGlite, options) {
  const db = await PGlite.create(options);
  const one = await db.query('SELECT 1 AS one');
  const parameter = await db.query('SELECT $1::int + 1 AS n', [41]);
  await db.close();
  return `${one.rows[0]?.one} ${parameter.rows[0]?.n} ${db.closed ? 'closed' : 'open'}`;
}
