/**
 * Preloaded into a relay: from when the pipe HANGING_DISK exists, file operations in its directory wait in a thread for somebody who writes
 * to it, so for ever, as on a file server that is gone.
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
