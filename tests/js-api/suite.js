// What the database class must do, in every engine. Knows neither the engine nor where the module comes from:
//
//     for (const { name, run } of cases) await run({ pgcell, open });
//
// Cases without `isOwn` say how PGlite behaves: run.js --peer proves it with PGlite itself.

import { dataCases } from './suite-data.js';
import { errorCases } from './suite-errors.js';
import { protocolCases } from './suite-protocol.js';
import { queryCases } from './suite-query.js';
import { sessionCases } from './suite-session.js';
import { storageCases } from './suite-storage.js';
import { streamCases } from './suite-stream.js';
import { transactionCases } from './suite-transaction.js';
import { typeCases } from './suite-types.js';

/**
 * @typedef {import('../../js/dist/index.js').PGlite} Database
 * @typedef {typeof import('../../js/dist/index.js') & typeof import('../../js/dist/template.js')} Package
 * @typedef {object} Context
 * @property {Package} pgcell the package, and what its entry `template` exports
 * @property {(options?: Record<string, any>) => Promise<any>} open A new instance, closed after the case. `any`, because cases misuse it.
 * @typedef {object} Case
 * @property {string} name
 * @property {boolean} [isOwn] not PGlite's behaviour: better, or another
 * @property {(context: Context) => Promise<void>} run
 */

/** @type {readonly Case[]} */
export const cases = [...queryCases, ...typeCases, ...transactionCases, ...sessionCases, ...protocolCases, ...dataCases, ...storageCases, ...streamCases, ...errorCases];
