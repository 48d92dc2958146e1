// The storages of browsers, in a page or a Worker: their own cases, and databases that are kept in them.

import * as pgcell from '../../js/dist/browser.js';
import { equal, ok } from '../js-api/assert.js';
import { opfsElsewhereCases, storageCases } from './storage-cases.js';

const isWorker = typeof document === 'undefined';

/** @param {string} dataDir what PGlite.create() is to find again */
const databaseCase = (dataDir) => ({
  name: `${dataDir.split(':')[0]}: a database is there when it is opened again`,
  async run() {
    let db = await pgcell.PGlite.create(dataDir);
    await db.exec("create table t (i int primary key, s text); insert into t select i, repeat('x', i) from generate_series(1, 2000) i");
    await db.close();
    db = await pgcell.PGlite.create(dataDir);
    equal((await db.query('select count(*)::int, sum(length(s))::int from t', [], { rowMode: 'array' })).rows, [[2000, 2001000]]);
    await db.transaction(async (tx) => {
      await tx.query('delete from t where i > 10');
    });
    await db.close();
    db = await pgcell.PGlite.create({ dataDir });
    equal((await db.query('select max(i) from t', [], { rowMode: 'array' })).rows, [[10]]);
    await db.close();
  },
});

let names = 0;
/** @param {string} kind @param {(name: string) => import('../../js/dist/index.js').Storage} make @param {typeof storageCases} cases */
const casesOf = (kind, make, cases) =>
  cases.map(({ name, run }) => ({
    name: `${kind}: ${name}`,
    run() {
      const place = `test/${kind}/${names++}`;
      return run({ make: () => make(place) });
    },
  }));

/** @type {readonly { name: string, run: (context: unknown) => Promise<void> }[]} */
export const cases = [
  { name: 'the browser has what is tested here', run: async () => ok(typeof indexedDB === 'object' && navigator.locks && navigator.storage, 'it has') },
  ...casesOf('idb', (name) => new pgcell.IndexedDBStorage(name), storageCases),
  databaseCase('idb://database'),
  ...casesOf('opfs', (name) => new pgcell.OPFSStorage(name), isWorker ? storageCases : opfsElsewhereCases),
  ...(isWorker ? [databaseCase('opfs://some/database')] : []),
];
