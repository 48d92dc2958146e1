// A folder for the files of a run.

import { cpSync, mkdirSync, mkdtempSync, rmSync, symlinkSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

export const ROOT = new URL('../../', import.meta.url).pathname;
export const PACKAGE = `${ROOT}js`;

export const scratch = mkdtempSync(join(tmpdir(), 'pgcell-examples-'));
/** To be registered after what ends the processes that write there. */
export const removeScratch = () => rmSync(scratch, { recursive: true, force: true, maxRetries: 5, retryDelay: 100 });

/**
 * A copy of an example with the package installed, the way npm installs a folder.
 *
 * @param {string} name
 * @returns {string} its path
 */
export function install(name) {
  const folder = join(scratch, name);
  cpSync(`${ROOT}examples/${name}`, folder, { recursive: true, filter: (path) => !path.endsWith('node_modules') });
  mkdirSync(join(folder, 'node_modules'));
  symlinkSync(PACKAGE, join(folder, 'node_modules/pgcell'));
  return folder;
}
