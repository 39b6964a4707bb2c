/** The program that runs an edge function in a process of its own, as one file. */
import { copyFileSync, mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { esbuild } from '../../lib/infrastructure/bundlers.ts';
import { prebuilt } from '../../lib/infrastructure/prebuilt.ts';

const HOST = 'edge-child.cjs';
const EXAMPLES = ['flags.json', 'rules.json'] as const;
const root = join(import.meta.dirname, '../..');

/** The path of the program: that of the published package, else built into the directory. */
export function edgeHost(directory: string): string {
  return prebuilt(join('start', HOST)) ?? buildHost(directory);
}

/** The path of an example: as it is written in a clone, where it can be edited, or of the published package. */
export function example(name: (typeof EXAMPLES)[number]): string {
  return prebuilt(join('start', name)) ?? `examples/${name}`;
}

/** Builds and copies what `start` needs in the published package. */
export function prebuildStart(outdir: string): void {
  mkdirSync(outdir, { recursive: true });
  buildHost(outdir);
  for (const name of EXAMPLES) copyFileSync(join(root, 'examples', name), join(outdir, name));
}

function buildHost(directory: string): string {
  const outfile = join(directory, HOST);
  esbuild().buildSync({
    // The same bytes wherever it is built: esbuild names the sources in comments.
    absWorkingDir: root,
    entryPoints: [join(root, 'bin/dev/edge-child.ts')],
    outfile,
    bundle: true,
    format: 'cjs',
    platform: 'node',
    target: 'node20',
    logLevel: 'warning',
  });
  return outfile;
}
