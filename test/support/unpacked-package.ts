/** The published package as it is when it is installed, unpacked once in a run of jest. */
import { execFileSync } from 'node:child_process';
import { join } from 'node:path';
import { oncePerRun } from './once-per-run.ts';
import { packedTarball } from './tarball.ts';

/** Its directory, which suites share: change nothing in it. */
export async function unpackedPackage(): Promise<string> {
  const folder = await oncePerRun('unpacked-package', async (into) => {
    execFileSync('tar', ['-xzf', await packedTarball(), '-C', into]);
  });
  return join(folder, 'package');
}
