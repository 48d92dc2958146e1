import { parentPort, workerData } from 'node:worker_threads';
import { PGlite } from '../../js/dist/node.js';

const { i, module, path } = workerData;
const db = path === undefined ? await PGlite.create({ wasmModule: module }) : await PGlite.create(path);
await db.exec(`create table t as select ${i} * x as n from generate_series(1, 4) x`);
const { rows } = await db.query('select sum(n)::int as n from t');
await db.close();
parentPort?.postMessage(/** @type {any} */ (rows[0]).n);
