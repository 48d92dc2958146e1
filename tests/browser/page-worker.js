// The same in a dedicated worker.

import { report } from './suite-here.js';

addEventListener('message', ({ data: { suite, parts } }) => report(suite, parts, (text) => postMessage(text)));
