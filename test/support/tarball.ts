/** The package as `npm pack` makes it, packed once in a run of jest. */
import { execFile } from 'node:child_process';
import { readdirSync } from 'node:fs';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { oncePerRun } from './once-per-run.ts';
import { root } from './relay-process.ts';

/** Its path. `EDGE_FLAG_RELAY_TARBALL` names another one, such as the one that is about to be published. */
export async function packedTarball(): Promise<string> {
  const given = process.env.EDGE_FLAG_RELAY_TARBALL;
  if (given) return given;
  const folder = await oncePerRun('tarball', (into) =>
    promisify(execFile)('npm', ['pack', '--silent', '--pack-destination', into], { cwd: root }),
  );
  return join(folder, readdirSync(folder).find((name) => name.endsWith('.tgz'))!);
}
