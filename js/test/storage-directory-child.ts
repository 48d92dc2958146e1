/**
 * Another process, or thread, of storage-directory.test.ts: storage-directory-child.ts FOLDER [commit]
 *
 * Says "open", or how that failed; then it either commits 1, 2, 3, … without end, three blocks each, and says each number when it is durable, or
 * waits for the end of its input.
 */
import { writeSync } from 'node:fs';
import { isMainThread, parentPort, workerData } from 'node:worker_threads';
import { DirectoryStorage } from '../src/storage-directory.ts';

const [folder, mode] = isMainThread ? process.argv.slice(2) : (workerData as string[]);
// at once, not when the event loop gets to it
const say = (text: string | number) => (isMainThread ? writeSync(1, `${text}\n`) : parentPort!.postMessage(text));

const storage = new DirectoryStorage(folder!);
try {
  for await (const [number] of await storage.open()) {
    void number;
  }
  say('open');
  if (mode === 'commit') {
    for (let i = 1; ; i++) {
      const block = () => new Uint8Array(new Uint32Array(2048).fill(i).buffer);
      await storage.commit(new Map([[0, block()], [2560, block()], [10_000 + (i % 50), block()], [10_000 + ((i + 25) % 50), undefined]]));
      say(i);
    }
  }
  if (isMainThread) {
    for await (const chunk of process.stdin) {
      void chunk;
    }
  }
  await storage.close();
} catch (error) {
  say(`${(error as Error).name}: ${(error as Error).message}`);
}
