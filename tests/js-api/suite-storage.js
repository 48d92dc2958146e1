// A database that is kept in a storage: what is there after a restart, and what when the storage fails.

import { equal, ok, rejected } from './assert.js';

/** @typedef {import('../../js/dist/index.js').BlockChanges} BlockChanges */

/** A storage in this process's memory, which outlives an instance. */
class TestStorage {
  /** @type {Map<number, Uint8Array>} */
  blocks = new Map();
  commits = 0;
  isOpen = false;
  /** The commit, from now, that fails. @type {number | undefined} */
  failAt;
  /** For storages that take their time: called before changes are there. @type {undefined | (() => Promise<void>)} */
  wait;

  open() {
    ok(!this.isOpen, 'opened once');
    this.isOpen = true;
    return [...this.blocks];
  }

  /** @param {BlockChanges} changes @returns {void | Promise<void>} */
  commit(changes) {
    ok(this.isOpen, 'open');
    const copy = new Map([...changes].map(([number, contents]) => [number, contents?.slice()]));
    const store = () => {
      this.commits++;
      if (this.failAt !== undefined && this.failAt-- <= 0) {
        throw new Error('the disk is on fire');
      }
      // others may have the map as it was
      const blocks = new Map(this.blocks);
      copy.forEach((contents, number) => (contents === undefined ? blocks.delete(number) : blocks.set(number, contents)));
      this.blocks = blocks;
    };
    return this.wait === undefined ? store() : this.wait().then(store);
  }

  close() {
    this.isOpen = false;
  }

  /** What a machine that loses its power now has afterwards. */
  afterPowerCut() {
    const storage = new TestStorage();
    storage.blocks = this.blocks;
    return storage;
  }
}

const later = () => new Promise((resolve) => setTimeout(resolve, 2)).then(() => {});
/** @param {any} db @param {string} query */
const rowsOf = async (db, query) => (await db.query(query, [], { rowMode: 'array' })).rows;

/** @type {import('./suite.js').Case[]} */
const cases = [
  {
    name: 'storage: what was committed is there after a power cut, and nothing else',
    async run({ open }) {
      const storage = new TestStorage();
      const db = await open({ storage });
      await db.exec('create table t (i int primary key, s text); create index on t (s)');
      await db.query("insert into t select i, 'x' || i from generate_series(1, 1000) i");
      await db.transaction(async (/** @type {any} */ tx) => {
        await tx.query('delete from t where i <= 100');
        await tx.query("update t set s = 'new' where i > 900");
      });
      await rejected(db.query('insert into t values (500)'), { code: '23505' });
      await db.exec("begin; insert into t values (5000, 'not committed')");
      const again = await open({ storage: storage.afterPowerCut() });
      equal(await rowsOf(again, "select count(*)::int, max(i), count(*) filter (where s = 'new')::int from t"), [[900, 1000, 100]]);
      equal(await rowsOf(again, "select i from t where s = 'x500'"), [[500]]);
      await again.query("insert into t values (5000, 'now')");
      equal(await rowsOf(again, 'select s from t where i = 5000'), [['now']]);
    },
  },
  {
    name: 'storage: every commit that was reported, over many restarts',
    async run({ open }) {
      let storage = new TestStorage();
      let db = await open({ storage });
      await db.exec('create table t (i int, s text); create sequence q');
      for (let i = 1; i <= 24; i++) {
        await db.query('insert into t values ($1, $2)', [i, 'y'.repeat(i * 500)]);
        if (i % 5 === 0) {
          await db.exec(`create table t${i} as select * from t; drop table if exists t${i - 5}; checkpoint`);
        }
        if (i % 3 === 0) {
          storage = storage.afterPowerCut();
          db = await open({ storage });
        }
        equal(await rowsOf(db, 'select count(*)::int, sum(length(s))::int from t'), [[i, (500 * i * (i + 1)) / 2]]);
      }
      equal(await rowsOf(db, "select relname from pg_class where relname ~ '^t[0-9]*$' order by 1"), [['t'], ['t20']]);
    },
  },
  {
    name: 'storage: who only reads writes nothing, nor does a transaction that goes on',
    async run({ open }) {
      const storage = new TestStorage();
      const db = await open({ storage });
      await db.exec('create table t (i int)');
      await db.query('select * from t');
      const { commits } = storage;
      await db.query('select * from t');
      await db.exec('begin; insert into t values (1)');
      equal(storage.commits, commits);
      await db.exec('commit');
      ok(storage.commits > commits, 'stored with the commit');
    },
  },
  {
    name: 'storage: a promise is resolved when the commit is stored',
    async run({ open }) {
      const storage = new TestStorage();
      storage.wait = later;
      const db = await open({ storage });
      await db.exec('create table t (i int)');
      const calls = [
        () => db.query('insert into t values (1)'),
        () => db.exec('insert into t values (1)'),
        () => db.sql`insert into t values (${1})`,
        () => db.transaction((/** @type {any} */ tx) => tx.query('insert into t values (1)')),
        () => rejected(db.exec('insert into t values (1); commit; select 1 / 0'), { code: '22012' }),
        () => db.execProtocol(message('insert into t values (1)')),
        () => db.execProtocolRaw(message('insert into t values (1)')),
        () => db.execProtocolStream(message('insert into t values (1)')),
        () => db.execProtocolRawStream(message('insert into t values (1)'), { onRawData() {} }),
      ];
      for (const [i, call] of calls.entries()) {
        const { commits } = storage;
        await call();
        ok(storage.commits > commits, `stored by call ${i}`);
      }
      await Promise.all(Array.from({ length: 20 }, () => db.query('insert into t values (2)')));
      const again = await open({ storage: storage.afterPowerCut() });
      equal(await rowsOf(again, 'select count(*)::int from t where i = 2'), [[20]]);
    },
  },
  {
    name: 'storage: relaxedDurability does not wait; syncToFs does',
    async run({ open }) {
      const storage = new TestStorage();
      const db = await open({ storage, relaxedDurability: true });
      await db.exec('create table t (i int)');
      storage.wait = () => later().then(later);
      const { commits } = storage;
      await db.query('insert into t values (1)');
      equal(storage.commits, commits);
      await db.syncToFs();
      equal(storage.commits, commits + 1);
    },
  },
  {
    name: 'storage: closing leaves nothing to recover',
    async run({ open, pgcell }) {
      const storage = new TestStorage();
      const db = await pgcell.PGlite.create({ storage });
      await db.exec('create table t (i int); insert into t values (1)');
      await db.close();
      equal(storage.isOpen, false);
      /** @type {string[]} */
      const log = [];
      const again = await open({ storage, onStderr: (/** @type {string} */ line) => log.push(line) });
      equal(await rowsOf(again, 'select i from t'), [[1]]);
      ok(log.some((line) => line.includes('was shut down at')) && !log.some((line) => line.includes('recovery')), log.join('\n'));
    },
  },
  {
    name: 'storage: what is dropped takes no room',
    async run({ open }) {
      const storage = new TestStorage();
      const db = await open({ storage });
      const before = storage.blocks.size;
      await db.exec("create table t as select repeat('x', 1000) from generate_series(1, 8000); checkpoint");
      const full = storage.blocks.size;
      ok(full > before + 1000, `${full} blocks with a table, ${before} before`);
      await db.exec('drop table t; checkpoint');
      ok(storage.blocks.size < full - 900, `${storage.blocks.size} blocks after it was dropped, ${full} before`);
    },
  },
  ...[false, true].map((takesTime) => ({
    name: `storage: one that fails ${takesTime ? 'later' : 'at once'} leaves a dead instance, and what it had`,
    async run(/** @type {import('./suite.js').Context} */ { open }) {
      const storage = new TestStorage();
      storage.wait = takesTime ? later : undefined;
      const db = await open({ storage });
      await db.exec('create table t (i int); insert into t values (1)');
      storage.failAt = 0;
      const fields = { name: 'StorageError', code: 'ERR_STORAGE', message: /could not be stored.*the disk is on fire/ };
      await rejected(db.query('insert into t values (2)'), fields);
      storage.failAt = undefined;
      await rejected(db.query('select 1'), fields);
      await rejected(db.exec('select 1'), fields);
      await rejected(
        db.transaction(async () => {}),
        fields,
      );
      await rejected(() => db.execProtocolRawSync(message('select 1')), fields);
      await db.close();
      await rejected(db.query('select 1'), { name: 'ClosedError' });
      const again = await open({ storage });
      equal(await rowsOf(again, 'select i from t'), [[1]]);
    },
  })),
  {
    name: 'storage: one that fails in the middle of a transaction’s commit',
    async run({ open }) {
      const storage = new TestStorage();
      const db = await open({ storage });
      await db.exec('create table t (i int)');
      storage.failAt = 0;
      await rejected(
        db.transaction((/** @type {any} */ tx) => tx.query('insert into t values (1)')),
        { name: 'StorageError' },
      );
      storage.failAt = undefined;
      equal(await rowsOf(await open({ storage: storage.afterPowerCut() }), 'select count(*)::int from t'), [[0]]);
    },
  },
  {
    name: 'storage: one that fails at the first commit or at opening',
    async run({ open }) {
      const storage = new TestStorage();
      storage.failAt = 0;
      await rejected(open({ storage }), { name: 'StorageError', message: /on fire/ });
      equal([storage.isOpen, storage.blocks.size], [false, 0]);
      storage.open = () => {
        throw new TypeError('no');
      };
      await rejected(open({ storage }), { name: 'TypeError', message: 'no' });
    },
  },
  {
    name: 'storage: something else in it, another version, damage',
    async run({ open, pgcell: { BLOCK_BYTES } }) {
      const storage = new TestStorage();
      await (await open({ storage })).close();
      const header = (/** @type {string} */ text) => {
        const block = new Uint8Array(BLOCK_BYTES);
        block.set(new TextEncoder().encode(text));
        return block;
      };
      /** @param {(blocks: Map<number, Uint8Array>) => void} change */
      const changed = (change) => {
        const other = new TestStorage();
        other.blocks = new Map(storage.blocks);
        change(other.blocks);
        return other;
      };
      /** @type {[(blocks: Map<number, Uint8Array>) => void, Record<string, unknown>][]} */
      const table = [
        [(blocks) => blocks.set(0, header('hello')), { name: 'StorageError', message: /no database of pgcell/ }],
        [(blocks) => blocks.set(0, header('{"pgcell": 99}')), { name: 'StorageError', message: /version 99/ }],
        [(blocks) => blocks.delete(0), { name: 'StorageError', message: /none that says/ }],
        [(blocks) => blocks.set(4096, new Uint8Array(BLOCK_BYTES)), { name: 'DataDirError', message: /does not start/ }],
        [(blocks) => blocks.set(4100, new Uint8Array(1)), { name: 'StorageError', message: /1 bytes/ }],
      ];
      for (const [change, error] of table) {
        const other = changed(change);
        await rejected(open({ storage: other }), error);
        equal(other.isOpen, false);
      }
      equal(await rowsOf(await open({ storage }), 'select 1'), [[1]]);
    },
  },
  {
    name: 'storage: what another build has stored is loaded, and stored anew',
    async run({ open, pgcell: { BLOCK_BYTES } }) {
      const storage = new TestStorage();
      const db = await open({ storage });
      await db.exec("create table t (i int primary key, s text); insert into t select i, repeat('z', i) from generate_series(1, 3000) i");
      await db.exec("create table gone (i int); drop table gone; begin; insert into t values (5000, 'not committed')");
      const other = storage.afterPowerCut();
      const header = new Uint8Array(BLOCK_BYTES);
      header.set(new TextEncoder().encode('{"pgcell":1,"image":"another"}'));
      other.blocks = new Map([...other.blocks, [0, header]]);
      const again = await open({ storage: other });
      const query = 'select count(*)::int, max(i), sum(length(s))::int from t';
      equal(await rowsOf(again, query), [[3000, 3000, 4501500]]);
      equal(await rowsOf(again, 'select length(s) from t where i = 2900'), [[2900]]);
      await again.query("insert into t values (5000, 'now')");
      const third = await open({ storage: other.afterPowerCut() });
      equal(await rowsOf(third, 'select s from t where i = 5000'), [['now']]);
      equal(await rowsOf(third, 'select count(*)::int from t'), [[3001]]);
      other.blocks.set(0, header);
      other.blocks.delete(458752);
      await rejected(open({ storage: other.afterPowerCut() }), { name: 'StorageError', message: /damaged: block 458752/ });
    },
  },
  {
    name: 'storage: with loadDataDir',
    async run({ open }) {
      const source = await open();
      await source.exec('create table t (i int); insert into t values (7)');
      const loadDataDir = await source.dumpDataDir('none');
      const storage = new TestStorage();
      const db = await open({ storage, loadDataDir });
      await db.query('insert into t values (8)');
      const again = await open({ storage: storage.afterPowerCut() });
      equal(await rowsOf(again, 'select i from t order by i'), [[7], [8]]);
      const other = storage.afterPowerCut();
      await rejected(open({ storage: other, loadDataDir }), { name: 'DataDirError', message: /already/ });
      equal(other.isOpen, false);
    },
  },
  {
    name: 'storage: a clone is in memory',
    async run({ open }) {
      const storage = new TestStorage();
      const db = await open({ storage });
      await db.exec('create table t (i int)');
      const clone = await db.clone();
      const { commits } = storage;
      await clone.exec('insert into t values (1)');
      equal([storage.commits, await rowsOf(clone, 'select i from t'), await rowsOf(db, 'select i from t')], [commits, [[1]], []]);
      await clone.close();
      equal(storage.isOpen, true);
    },
  },
  {
    name: 'storage: a session that PostgreSQL ends, and the next one',
    async run({ open }) {
      const storage = new TestStorage();
      const db = await open({ storage });
      await db.exec('create table t (i int); insert into t values (1)');
      await rejected(db.query('select pg_terminate_backend(pg_backend_pid())'), { code: '57P01' });
      await db.query('insert into t values (2)');
      equal(await rowsOf(await open({ storage: storage.afterPowerCut() }), 'select i from t order by i'), [[1], [2]]);
    },
  },
  {
    name: 'storage: a role or database that is not there gives it up again',
    async run({ open }) {
      const storage = new TestStorage();
      await rejected(open({ storage, username: 'nobody' }), { code: '28000' });
      equal(storage.isOpen, false);
      equal(await rowsOf(await open({ storage }), 'select 1'), [[1]]);
    },
  },
  {
    name: 'storage: dataDir and storage',
    async run({ open }) {
      await rejected(open({ storage: new TestStorage(), dataDir: 'some/where' }), { name: 'TypeError', message: /one of them/ });
      await rejected(open({ dataDir: 'nothing://where' }), { name: 'TypeError', message: /dataDir can be .*nothing:\/\/where/ });
    },
  },
];

/** A query of the simple protocol. @param {string} text */
function message(text) {
  const bytes = new TextEncoder().encode(`Q....${text}\0`);
  new DataView(bytes.buffer).setInt32(1, bytes.length - 1);
  return bytes;
}

export const storageCases = cases.map((test) => ({ ...test, isOwn: true }));
