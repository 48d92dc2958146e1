// The package as a user gets it: packed, and installed into an empty project from which nothing else can be reached.

import { cpSync, mkdirSync, readdirSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { SCRATCH, succeed } from './scratch.js';

/** The folder that is packed; $PGCELL_JS is another one. */
export const PACKAGE = process.env.PGCELL_JS ?? new URL('../../js', import.meta.url).pathname;
export const PROJECT = join(SCRATCH, 'project');
export const INSTALLED = join(PROJECT, 'node_modules/pgcell');

/** Packs the package and installs it into a copy of project/. @returns {Promise<number>} bytes of the tarball */
export async function install() {
  // a cache of its own: whatever had to be fetched would be missing
  const npm = (/** @type {string[]} */ ...args) => ['npm', ...args, '--no-audit', '--no-fund', '--offline', '--ignore-scripts', `--cache=${SCRATCH}/cache`];
  const folder = join(SCRATCH, 'tarball');
  mkdirSync(folder);
  await succeed(npm('pack', '--pack-destination', folder), { cwd: PACKAGE });
  const [tarball, ...others] = readdirSync(folder).map((name) => join(folder, name));
  if (tarball === undefined || others.length > 0) {
    throw new Error('npm pack did not make one file');
  }
  cpSync(new URL('project', import.meta.url).pathname, PROJECT, { recursive: true });
  await succeed(npm('install', tarball), { cwd: PROJECT });
  const installed = readdirSync(join(PROJECT, 'node_modules')).filter((name) => !name.startsWith('.'));
  if (installed.join(' ') !== 'pgcell') {
    throw new Error(`installed: ${installed.join(' ')}`);
  }
  return statSync(tarball).size;
}
