import { createHash } from 'node:crypto';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

const made = new Map<string, string>();
let root: string | undefined;

/**
 * The directory that `make` fills, once per process for equal `what`. Constructs copy their assets when they are created, so
 * the directories are deleted when the process exits.
 */
export function bundledOnce(what: unknown, make: (outdir: string) => void): string {
  const key = createHash('sha256').update(JSON.stringify(what)).digest('hex').slice(0, 16);
  const known = made.get(key);
  if (known) return known;
  if (!root) {
    const directory = mkdtempSync(join(tmpdir(), 'edge-flag-relay-bundles-'));
    process.once('exit', () => rmSync(directory, { recursive: true, force: true }));
    root = directory;
  }
  const outdir = join(root, key);
  make(outdir);
  made.set(key, outdir);
  return outdir;
}
