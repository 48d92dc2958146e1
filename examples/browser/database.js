// The database, in a Web Worker: it may compute as long as it likes, the page stays responsive.
//
// Takes { id, sql } and answers { id, results, notices, ms } or { id, error, notices, ms }; first of all says { version } or { failure }.

// An import map is the page's, workers have none: hence the path
import { PGlite } from './node_modules/pgcell/dist/browser.js';

/** @typedef {import('pgcell').DatabaseError} DatabaseError */
/** @typedef {Pick<DatabaseError, 'severity' | 'code' | 'message' | 'detail' | 'hint' | 'where' | 'position'>} Notice */
/** @typedef {{ command: string, rowCount?: number | undefined, fields: { name: string, dataTypeID: number }[], rows: (string | null)[][] }} Result */
/** @typedef {{ id: number, notices: Notice[], ms: number, results?: Result[], error?: Notice }} Answer */

/** For every type: values as PostgreSQL writes them, instead of JavaScript's. */
const parsers = new Proxy({}, { get: () => String });

/** What can be sent to the page. @param {Notice} notice @returns {Notice} */
const plain = ({ severity, code, message, detail, hint, where, position }) => ({ severity, code, message, detail, hint, where, position });

const opening = PGlite.create();
opening
  .then((db) => db.query('show server_version'))
  .then(({ rows }) => postMessage({ version: rows[0]?.server_version }))
  .catch((error) => postMessage({ failure: String(error) }));

addEventListener('message', async ({ data: { id, sql } }) => {
  const db = await opening;
  /** @type {Notice[]} */
  const notices = [];
  const started = performance.now();
  /** @param {Partial<Answer>} answer */
  const answer = (answer) => postMessage({ id, notices, ms: performance.now() - started, ...answer });
  try {
    const options = { rowMode: /** @type {const} */ ('array'), parsers, onNotice: (/** @type {any} */ notice) => notices.push(plain(notice)) };
    const results = await db.exec(sql, options);
    answer({
      results: results.map(({ command = '', rowCount, fields, rows }) => ({ command, rowCount, fields, rows: /** @type {any} */ (rows) })),
    });
  } catch (error) {
    answer({ error: plain(/** @type {DatabaseError} */ (error)) });
  }
});
