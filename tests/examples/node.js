// examples/node with each Node that tests/conformance has.

import { spawn } from 'node:child_process';
import { statSync } from 'node:fs';
import { join } from 'node:path';
import { install, ROOT } from './scratch.js';

const VERSIONS = ['22', '24', '26'];
const TIMEOUT_MS = 60_000;

/** What main.mjs prints, but for the frames of its tables, and in this order. */
const OUTPUT = `
customers.csv: 4 rows
orders.csv: 8 rows
Who has bought for how much?
0 'Nordlys Kaffe' 3 '517.35' '2026-03-05'
1 'Casa da Ribeira' 2 '302.00' '2026-03-17'
2 'Bakkerij De Molen' 3 '194.15' '2026-03-30'
3 'Smith, Jones & Co.' 0 '0' null
How has the business grown, and which orders are above the average of their month?
0 '2026-01-14' '120.00' '120.00' true
1 '2026-01-20' '75.50' '195.50' false
2 '2026-02-03' '310.25' '505.75' true
3 '2026-02-11' '42.00' '547.75' false
4 '2026-02-28' '99.90' '647.65' false
5 '2026-03-05' '87.10' '734.75' false
6 '2026-03-17' '260.00' '994.75' true
7 '2026-03-30' '18.75' '1013.50' false
Rolled back: 23503: insert or update on table "orders" violates foreign key constraint "orders_customer_id_fkey"
Key (customer_id)=(5) is not present in table "customers".
There are 8 orders, as before
Notification: {"id" : 9, "amount" : 12.00}
The copy from kept.tar.gz has 9 orders for 1025.50
`.trim();

/** @param {import('./check.js').Check} check */
export async function test(check) {
  const folder = install('node');
  for (const version of VERSIONS) {
    const program = `${ROOT}tests/conformance/node_modules/node-${version}/bin/node`;
    const { status, output, errors } = await run(program, ['main.mjs', 'kept.tar.gz'], folder);
    check.that(`Node ${version}: exit status 0, no warnings`, status === 0 && errors === '', `${status}: ${errors}`);
    const lines = output
      .split('\n')
      .map((line) => line.replaceAll(/[│┌┬┐├┼┤└┴┘─]+/g, ' ').replaceAll(/\s+/g, ' ').trim())
      .filter((line) => line !== '' && !line.startsWith('(index)'));
    check.equal(`Node ${version}: every answer`, lines.join('\n'), OUTPUT);
    const size = statSync(join(folder, 'kept.tar.gz'), { throwIfNoEntry: false })?.size ?? 0;
    check.that(`Node ${version}: the file of the data directory`, size > 1e6 && size < 1e7, `${size} bytes`);
  }
}

/** @param {string} program @param {string[]} args @param {string} cwd @returns {Promise<{ status: number | string, output: string, errors: string }>} */
function run(program, args, cwd) {
  return new Promise((resolve) => {
    const child = spawn(program, args, { cwd, stdio: ['ignore', 'pipe', 'pipe'], timeout: TIMEOUT_MS, killSignal: 'SIGKILL' });
    let output = '';
    let errors = '';
    child.stdout.setEncoding('utf8').on('data', (text) => (output += text));
    child.stderr.setEncoding('utf8').on('data', (text) => (errors += text));
    child.once('error', (error) => resolve({ status: String(error), output, errors }));
    child.once('close', (code, signal) => resolve({ status: code ?? signal ?? '', output, errors }));
  });
}
