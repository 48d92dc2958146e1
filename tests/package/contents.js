// What is in the package: nothing but what belongs there, and everything that it refers to.

import { readdirSync, readFileSync } from 'node:fs';
import { isBuiltin } from 'node:module';
import { dirname, join, normalize } from 'node:path';
import { promisify } from 'node:util';
import { brotliCompress, constants, gzip } from 'node:zlib';

/** @typedef {Map<string, Buffer>} Files by path in the package */

const BELONGS = /^(?:dist\/[\w-]+\.(?:js|d\.ts|d\.wasm\.ts|js\.map|d\.ts\.map|wasm)|dist\/COPYRIGHT\.\w+|package\.json|(?:README|LICENSE|LICENCE|NOTICE|COPYRIGHT)(?:\.\w+)?)$/;
/** What several entries need: nobody imports it but they. */
const SHARED = /^dist\/shared-/;
const IS_TEST = /(?:^|[/.-])(?:test|spec|fixture|suite)s?(?:[/.-]|$)/;
const IMPORTS = /^\s*(?:import\s+|(?:import|export)\s[^'";=()]*?\sfrom\s+)['"]([^'"]+)['"]|\bimport\(\s*['"]([^'"]+)['"]/gm;
/** The entries from which nothing of Node's may be reached. */
const ANYWHERE = ['dist/worker.js', 'dist/browser.js', 'dist/worker-full.js', 'dist/browser-full.js', 'dist/index.js', 'dist/template.js'];
const INSTALL_SCRIPTS = ['preinstall', 'install', 'postinstall'];

/** @param {string} folder @returns {Files} */
export function readFiles(folder) {
  const files = readdirSync(folder, { recursive: true, withFileTypes: true }).filter((entry) => !entry.isDirectory());
  return new Map(files.map((entry) => join(entry.parentPath, entry.name)).map((path) => [path.slice(folder.length + 1), readFileSync(path)]));
}

/** @param {string} text @returns {string[]} what a module or a declaration file refers to */
const importsOf = (text) => [...text.matchAll(IMPORTS)].map(([, from, called]) => from ?? called ?? '');

/** @param {string} path @param {string} specifier a relative one @returns {string} what it means for TypeScript, or for an engine */
function resolve(path, specifier) {
  const target = normalize(join(dirname(path), specifier));
  return path.endsWith('.d.ts') ? target.replace(/(?:\.([jt]s|wasm))$/, (_, suffix) => (suffix === 'wasm' ? '.d.wasm.ts' : '.d.ts')) : target;
}

/** @param {unknown} exported @returns {Generator<string>} */
function* targetsOf(exported) {
  if (typeof exported === 'string') {
    yield exported;
  } else if (typeof exported === 'object' && exported !== null) {
    for (const target of Object.values(exported)) {
      yield* targetsOf(target);
    }
  }
}

/** @param {Record<string, any>} manifest @param {Files} files @returns {Generator<string>} */
function* inManifest(manifest, files) {
  for (const name of ['dependencies', 'peerDependencies', 'optionalDependencies', 'bundleDependencies']) {
    if (manifest[name] !== undefined) {
      yield `package.json: it has ${name}`;
    }
  }
  for (const name of INSTALL_SCRIPTS.filter((script) => manifest['scripts']?.[script] !== undefined)) {
    yield `package.json: it has a script ${name}`;
  }
  for (const target of targetsOf(manifest['exports'])) {
    if (!files.has(normalize(target))) {
      yield `package.json: no ${target}`;
    }
  }
  const conditions = Object.values(/** @type {Record<string, any>} */ (manifest['exports'] ?? {})).flatMap((entry) =>
    typeof entry === 'object' && !('types' in entry) ? Object.values(entry) : [entry]);
  for (const entry of conditions.filter((entry) => typeof entry === 'object')) {
    if (Object.keys(entry)[0] !== 'types') {
      yield `package.json: no types before ${entry.default}`;
    }
  }
}

/**
 * @param {Files} files
 * @param {string} root where the package was built: nobody else's files may know
 * @returns {Generator<string>} what is wrong
 */
export function* findFaults(files, root) {
  for (const required of ['package.json', 'README.md', 'dist/pgcell.wasm', 'dist/pgcell-full.wasm', 'dist/worker.js', 'dist/node.js', 'dist/browser.js', 'dist/index.js']) {
    if (!files.has(required)) {
      yield `no ${required}`;
    }
  }
  yield* inManifest(JSON.parse(String(files.get('package.json') ?? '{}')), files);
  const anywhere = new Set(ANYWHERE.flatMap((entry) => moduleGraph(files, entry)));
  for (const [path, bytes] of files) {
    if (!BELONGS.test(path) || IS_TEST.test(path)) {
      yield `${path} does not belong there`;
    }
    if (path.endsWith('.wasm')) {
      if (!WebAssembly.validate(new Uint8Array(bytes))) {
        yield `${path} is no module`;
      }
      continue;
    }
    const text = String(bytes);
    if (text.includes(root)) {
      yield `${path} has the name of the folder that it was built in`;
    }
    if (path.endsWith('.map')) {
      const { sources = [], sourcesContent = [] } = JSON.parse(text);
      yield* sources.filter((/** @type {string} */ source, /** @type {number} */ i) => !sourcesContent[i] && !files.has(normalize(join(dirname(path), source))))
        .map((/** @type {string} */ source) => `${path}: no ${source}`);
    }
    if (!/\.[jt]s$/.test(path)) {
      continue;
    }
    for (const specifier of importsOf(text)) {
      if (specifier.startsWith('.') ? !files.has(resolve(path, specifier)) : path.endsWith('.d.ts') || anywhere.has(path) || !isBuiltin(specifier)) {
        yield `${path}: no ${specifier}`;
      }
    }
    if (path.endsWith('.js') && !SHARED.test(path) && !files.has(path.replace(/\.js$/, '.d.ts'))) {
      yield `${path} has no types`;
    }
    for (const [, map = ''] of text.matchAll(/^\/\/[#@] sourceMappingURL=(\S+)/gm)) {
      if (!map.startsWith('data:') && !files.has(normalize(join(dirname(path), map)))) {
        yield `${path}: no ${map}`;
      }
    }
    for (const [, reference = ''] of text.matchAll(/^\/\/\/\s*<reference\s+(?:path|types)="([^"]+)"/gm)) {
      if (!files.has(normalize(join(dirname(path), reference)))) {
        yield `${path}: no ${reference}`;
      }
    }
  }
}

/** Faults that `findFaults` must see. @type {Record<string, (files: Files) => unknown>} */
const SPOILT = {
  'a test': (files) => files.set('dist/cell.test.js', Buffer.from('')),
  'a folder': (files) => files.set('src/cell.ts', Buffer.from('')),
  'a declaration without its file': (files) => files.delete('dist/errors.d.ts'),
  'an import without its file': (files) => files.delete([...files.keys()].find((path) => SHARED.test(path)) ?? ''),
  'an entry without types': (files) => files.delete('dist/template.d.ts'),
  'a package that is not there': (files) => append(files, 'dist/template.js', "import 'typescript';"),
  'a module of Node where there is none': (files) => append(files, 'dist/template.js', "import 'node:fs';"),
  'the module': (files) => files.delete('dist/pgcell.wasm'),
  'a bad module': (files) => files.set('dist/pgcell.wasm', Buffer.from('asm')),
  'a source map that is not there': (files) => append(files, 'dist/lock.js', '//# sourceMappingURL=lock.js.map'),
  'sources that are not there': (files) => files.set('dist/lock.js.map', Buffer.from('{"sources":["../src/lock.ts"]}')),
  'a reference': (files) => append(files, 'dist/lock.d.ts', '/// <reference path="ambient.d.ts" />'),
  'the folder of the build': (files) => append(files, 'dist/lock.js', '// /a/folder/of/a/build/lock.ts'),
  'a dependency': (files) => files.set('package.json', Buffer.from('{"dependencies":{"a":"1"}}')),
  'an export': (files) => files.set('package.json', Buffer.from('{"exports":"./dist/none.js"}')),
  'an install script': (files) => files.set('package.json', Buffer.from('{"scripts":{"postinstall":"true"}}')),
};

/** @param {Files} files @param {string} path @param {string} line */
const append = (files, path, line) => files.set(path, Buffer.from(`${files.get(path)}\n${line}\n`));

/** @param {Files} files @returns {string[]} the faults that `findFaults` does not see when they are made */
export function findUnseen(files) {
  const root = '/a/folder/of/a/build';
  const small = new Map(files).set('dist/pgcell.wasm', Buffer.from('\0asm\x01\0\0\0', 'latin1')); // its size is of no matter here
  const before = [...findFaults(small, root)];
  return Object.entries(SPOILT).filter(([, spoil]) => {
    const copy = new Map(small);
    spoil(copy);
    return [...findFaults(copy, root)].every((fault) => before.includes(fault));
  }).map(([name]) => name);
}

/** @param {Files} files @param {string} entry @returns {string[]} the modules that it needs, itself first */
export function moduleGraph(files, entry) {
  const graph = new Set([entry]);
  for (const path of graph) { // also those that are added meanwhile
    if (path.endsWith('.js')) {
      importsOf(String(files.get(path))).filter((specifier) => specifier.startsWith('.')).forEach((specifier) => graph.add(resolve(path, specifier)));
    }
  }
  return [...graph];
}

/** @param {Buffer[]} parts @returns {Promise<string>} their sizes raw and compressed, each for itself */
export async function sizesOf(parts) {
  const sum = (/** @type {Buffer[]} */ buffers) => buffers.reduce((total, { length }) => total + length, 0);
  const zipped = await Promise.all(parts.map((part) => promisify(gzip)(part, { level: 9 })));
  const brotli = await Promise.all(parts.map((part) => promisify(brotliCompress)(part, {
    params: { [constants.BROTLI_PARAM_QUALITY]: 9, [constants.BROTLI_PARAM_LGWIN]: 24, [constants.BROTLI_PARAM_SIZE_HINT]: part.length },
  })));
  return `${sum(parts)} bytes, ${sum(zipped)} with gzip -9, ${sum(brotli)} with brotli -q 9`;
}
