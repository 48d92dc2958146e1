import { PGlite } from 'pgcell';
import { ask } from './ask.js';

console.log(await ask(PGlite));
