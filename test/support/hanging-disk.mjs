/**
 * Preloaded into a relay: once the pipe HANGING_DISK exists, file operations in its directory block a thread, since nobody ever writes to
 * the pipe. A file server that is gone does the same.
 */
import { existsSync } from 'node:fs';
import fs from 'node:fs/promises';
import { syncBuiltinESMExports } from 'node:module';
import { dirname } from 'node:path';

const pipe = process.env.HANGING_DISK;
const { open } = fs;
for (const name of ['open', 'readdir', 'rename', 'rmdir', 'stat', 'unlink', 'writeFile']) {
  const original = fs[name];
  fs[name] = async (path, ...rest) => {
    if (String(path).startsWith(dirname(pipe)) && existsSync(pipe)) await open(pipe, 'r');
    return original(path, ...rest);
  };
}
syncBuiltinESMExports();
