// A Worker's wrangler.jsonc as a configuration of workerd, in which `pgcell` is this repository's package.

import { execFileSync } from 'node:child_process';
import { closeSync, mkdirSync, openSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { moduleGraph, PACKAGE_ENTRY } from '../workers/workerd.js';
import { ROOT, scratch } from './scratch.js';

const WORKERD = new URL('../workers/node_modules/workerd/bin/workerd', import.meta.url).pathname;
const COMPILE_TIMEOUT_MS = 30_000;

/** @typedef {{ name: string, class_name: string }} Binding */
/**
 * @typedef {{
 *   main: string, compatibility_date: string, durable_objects?: { bindings: Binding[] }, migrations?: { new_sqlite_classes: string[] }[],
 * }} WranglerConfig
 */

const KNOWN = ['name', 'main', 'compatibility_date', 'durable_objects', 'migrations'];

/** @param {string} example @returns {WranglerConfig} */
function readConfig(example) {
  const text = readFileSync(`${ROOT}examples/${example}/wrangler.jsonc`, 'utf8');
  const config = JSON.parse(text.replaceAll(/^\s*\/\/.*$/gm, ''));
  const unknown = Object.keys(config).filter((name) => !KNOWN.includes(name));
  if (unknown.length > 0) {
    throw new Error(`examples/${example}/wrangler.jsonc has what is not understood here: ${unknown.join(', ')}`);
  }
  return config;
}

/** @param {unknown} value a string, as Cap'n Proto has it */
const quote = (value) => JSON.stringify(value);

/**
 * @param {string} example
 * @returns {string} a path for startWorker; starts with the same path share Durable Objects
 */
export function configure(example) {
  const { main, compatibility_date: date, durable_objects: objects, migrations = [] } = readConfig(example);
  const disk = join(scratch, `${example}-disk`);
  mkdirSync(disk, { recursive: true });
  const modules = [
    `(name = "main.js", esModule = embed ${quote(`${ROOT}examples/${example}/${main}`)})`,
    `(name = "pgcell", esModule = ${quote(`export * from "./${PACKAGE_ENTRY}";`)})`,
    ...[...moduleGraph(PACKAGE_ENTRY).keys()].map((path) => `(name = ${quote(path)}, esModule = embed ${quote(`${ROOT}${path}`)})`),
    `(name = "js/dist/pgcell.wasm", wasm = embed ${quote(`${ROOT}js/dist/pgcell.wasm`)})`,
  ];
  const classes = migrations.flatMap(({ new_sqlite_classes: names }) => names);
  const text = `using Workerd = import "/workerd/workerd.capnp";
const config :Workerd.Config = (
  services = [
    (name = "main", worker = .worker),
    (name = "disk", disk = (path = ${quote(disk)}, writable = true)),
  ],
  sockets = [(name = "http", address = "127.0.0.1:0", http = (), service = "main")],
);
const worker :Workerd.Worker = (
  modules = [
    ${modules.join(',\n    ')},
  ],
  compatibilityDate = ${quote(date)},
  bindings = [${(objects?.bindings ?? []).map((binding) => `(name = ${quote(binding.name)}, durableObjectNamespace = ${quote(binding.class_name)})`).join(', ')}],
  durableObjectNamespaces = [${classes.map((name) => `(className = ${quote(name)}, uniqueKey = ${quote(`${example}-${name}`)}, enableSql = true)`).join(', ')}],
  durableObjectStorage = ${classes.length > 0 ? '(localDisk = "disk")' : '(none = void)'},
);
`;
  const path = join(scratch, example);
  writeFileSync(`${path}.capnp`, text);
  const binary = openSync(`${path}.bin`, 'w');
  execFileSync(WORKERD, ['compile', '--config-only', '--import-path=/', `${path}.capnp`], {
    stdio: ['ignore', binary, 'inherit'],
    timeout: COMPILE_TIMEOUT_MS,
  });
  closeSync(binary);
  return `${path}.bin`;
}
