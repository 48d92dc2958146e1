// The other entries: the core with a module of one's own, the templates, the files.

import { readFile } from 'node:fs/promises';
import { createRequire } from 'node:module';
import { fileURLToPath } from 'node:url';
import * as node from 'pgcell';
import { PGlite } from 'pgcell/core';
import { identifier, query } from 'pgcell/template';
import { ask } from './ask.js';

const file = fileURLToPath(import.meta.resolve('pgcell/pgcell.wasm'));
const wasmModule = await WebAssembly.compile(await readFile(file));
const answer = await ask(PGlite, { wasmModule });
const missing = await PGlite.create().then(() => 'none', (error) => error.constructor.name);
const text = query`select ${1} from ${identifier`Some table`}`.query;
const { name } = createRequire(import.meta.url)('pgcell/package.json');
const isSame = node.PGcell === node.PGlite && node.DatabaseError === (await import('pgcell/core')).DatabaseError;
const inner = await import(String('pgcell/dist/cell.js')).then(() => 'open', (error) => error.code.replace(/_.*/, ''));
console.log([answer, missing, text, name, isSame, inner].join(' | '));
