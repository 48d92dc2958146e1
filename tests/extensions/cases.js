// What extensions must do in every engine of JavaScript: each used once, vectors with an index, errors that leave the session as it was.

/** @typedef {import('../../js/dist/index.js').PGlite} Database */

const VECTORS = 20_000;
const DIMENSIONS = 384;

/** For each extension a question and its answer. @type {Record<string, [string, string]>} */
const USED = {
  pg_trgm: ["select similarity('word', 'two words')", '0.36363637'],
  hstore: ["select ('a=>1, b=>2'::hstore -> 'b')", '2'],
  citext: ["select 'Abc'::citext = 'aBC'::citext", 'true'],
  ltree: ["select 'Top.Science.Astronomy'::ltree <@ 'Top.Science'", 'true'],
  'uuid-ossp': ["select uuid_generate_v5(uuid_ns_dns(), 'www.example.org')", '74738ff5-5367-5958-9aee-98fffdcd1876'],
  pgcrypto: ["select encode(digest('abc', 'sha256'), 'hex')", 'ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad'],
  btree_gin: ['create table g (i int, t text); insert into g select i, i % 10 from generate_series(1, 1000) i; create index on g using gin (i, t); '
    + 'set enable_seqscan = off; select count(*) from g where i < 100 and t = \'3\'', '10'],
  btree_gist: ['create table r (i int, d int4range, exclude using gist (i with =, d with &&)); insert into r values (1, \'[1,5)\'), (2, \'[1,5)\'), (1, \'[5,9)\'); '
    + 'select count(*) from r', '3'],
  tablefunc: ["select b from crosstab('values (1, ''x'', 10), (1, ''y'', 20)') as t (a int, b int, c int)", '10'],
  unaccent: ["select unaccent('Hôtel')", 'Hotel'],
  fuzzystrmatch: ["select levenshtein('GUMBO', 'GAMBOL')", '2'],
  intarray: ["select '{1,2,3}'::int[] @@ '1&3'::query_int", 'true'],
  cube: ["select cube_distance('(1,2)', '(4,6)')", '5'],
};

/** @param {unknown} actual @param {unknown} expected */
function equal(actual, expected) {
  if (actual !== expected) {
    throw new Error(`${JSON.stringify(actual)} instead of ${JSON.stringify(expected)}`);
  }
}

/** @param {Database} db @param {string} sql @returns {Promise<string>} the first value of the last statement */
async function valueOf(db, sql) {
  const { rows } = /** @type {{ rows: unknown[][] }} */ (/** @type {unknown} */ ((await db.exec(sql, { rowMode: 'array' })).at(-1)));
  return String(rows[0]?.[0]);
}

/** @param {Database} db @param {string} sql @returns {Promise<string>} the SQLSTATE */
async function stateOf(db, sql) {
  try {
    await db.exec(sql);
  } catch (error) {
    return /** @type {{ code: string }} */ (error).code;
  }
  return 'no error';
}

/** Cases by name; each gets an empty database. @type {Record<string, (db: Database) => Promise<string | void>>} */
export const cases = {
  async 'every extension that is offered can be created, and dropped'(db) {
    const names = /** @type {{ name: string }[]} */ ((await db.query('select name from pg_available_extensions order by 1')).rows).map(({ name }) => name);
    equal(Object.keys(USED).filter((name) => !names.includes(name)).join(' '), '');
    for (const name of names) {
      await db.exec(`create extension if not exists "${name}" cascade`);
      equal(await stateOf(db, 'select 1/0'), '22012');
      if (name !== 'plpgsql') {
        await db.exec(`drop extension "${name}" cascade`);
      }
    }
    return `${names.length} extensions`;
  },
  ...Object.fromEntries(Object.entries(USED).map(([name, [question, answer]]) => [name, async (/** @type {Database} */ db) => {
    await db.exec(`create extension "${name}" cascade`);
    equal(await valueOf(db, question), answer);
  }])),
  async 'an error inside an extension is caught, and the next statement works'(db) {
    await db.exec('create extension hstore; create extension vector');
    equal(await stateOf(db, "select 'a=>'::hstore"), '42601');
    equal(await stateOf(db, "select '[1,2]'::vector <-> '[1]'::vector"), '22000');
    await db.exec("do $$ begin perform '[1,2]'::vector <-> '[1]'::vector; exception when others then create table caught (); end $$");
    equal(await valueOf(db, "select 'a=>1'::hstore -> 'a'"), '1');
  },
  async 'distances are those of a native cell, to the bit'(db) {
    await db.exec('create extension vector');
    await db.exec('create table s as select i, (select array_agg(((i * j) % 97) / 97.0::real order by j) from generate_series(1, 101) j)::vector(101) e from generate_series(1, 50) i');
    // tests/e2e/test_extensions.py has the same sum
    equal(await valueOf(db, `select md5(string_agg((a.e <-> b.e)::text || (a.e <=> b.e)::text || (a.e <#> b.e)::text || (a.e <+> b.e)::text, ','
      order by a.i, b.i)) from s a, s b`), 'b503ee3db20b72e15369b7ca26739001');
  },
  async 'what is not there is refused as PostgreSQL does'(db) {
    equal(await stateOf(db, 'create extension nothing'), '0A000');
    equal(await stateOf(db, "create extension citext version '99'"), '22023');
    equal(await stateOf(db, "load '/nowhere/nothing.so'"), '58P01');
    equal(await stateOf(db, "create function f() returns int language c as '$libdir/nothing', 'f'"), '58P01');
  },
  async 'vectors: an HNSW index over 20,000 of 384 dimensions'(db) {
    await db.exec(`create extension vector; select setseed(0.5); create table items (id int primary key, e vector(${DIMENSIONS}));
      insert into items select i, (select array_agg(sin(j * a + b)::real) from generate_series(1, ${DIMENSIONS}) j)
        from (select i, random() a, random() * 6 b from generate_series(1, ${VECTORS}) i) s;
      set maintenance_work_mem = '128MB'; set hnsw.ef_search = 400`);
    const start = Date.now();
    await db.exec('create index on items using hnsw (e vector_l2_ops)');
    const built = Date.now();
    const nearest = (/** @type {number} */ id) => `select string_agg(id::text, ' ') from (select id from items order by e <-> (select e from items where id = ${id}) limit 5) s`;
    const plan = /** @type {Record<string, string>[]} */ ((await db.query(`explain ${nearest(1)}`)).rows).map((row) => Object.values(row)[0]).join('\n');
    equal(plan.includes('items_e_idx'), true);
    let found = 0;
    for (let id = 1; id <= 20; id++) {
      const answer = (await valueOf(db, nearest(id))).split(' ');
      equal(answer[0], String(id)); // nothing is nearer than itself
      const exact = (await valueOf(db, `set enable_indexscan = off; ${nearest(id)}`)).split(' ');
      await db.exec('reset enable_indexscan');
      found += exact.filter((one) => answer.includes(one)).length;
    }
    if (found < 80) {
      throw new Error(`of 100 nearest ones ${found} were found`);
    }
    return `built in ${((built - start) / 1000).toFixed(1)} s, ${found} of 100 nearest ones found`;
  },
};

/**
 * @param {() => Promise<Database>} open
 * @param {(line: string) => void} say
 */
export async function run(open, say) {
  let passed = 0;
  let failed = 0;
  for (const [name, test] of Object.entries(cases)) {
    const db = await open();
    try {
      const more = await test(db);
      passed++;
      if (more) {
        say(`${name}: ${more}`);
      }
    } catch (error) {
      failed++;
      say(`FAILED: ${name}: ${error}`);
    }
    await db.close();
  }
  say(`${passed} passed, ${failed} failed`);
}
