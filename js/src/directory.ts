import { fileURLToPath } from 'node:url';
import { DirectoryStorage } from './storage-directory.ts';

/** The storage of a `dataDir` in Node and Bun. */
export function openDirectory(dataDir: string): DirectoryStorage {
  if (/^[\w-]{2,}:/.test(dataDir) && !dataDir.startsWith('file:')) {
    throw new TypeError(`dataDir can be a directory or memory:// here, not ${dataDir}`); // a drive has one letter
  }
  // PGlite's form of it, file://relative/path, is no URL
  const isUrl = dataDir.startsWith('file:///');
  return new DirectoryStorage(isUrl ? fileURLToPath(dataDir) : dataDir.replace(/^file:\/\//, ''));
}
