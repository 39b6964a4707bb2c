import { join } from 'node:path';
import { buildSync } from 'esbuild';

/** Bundles a function of ours, by its module, into `index.cjs`; the Lambda handler is `index.handler`. Returns the file's path. */
export function buildFunction(entryFile: string, outdir: string, external: readonly string[] = []): string {
  const outfile = join(outdir, 'index.cjs');
  buildSync({
    entryPoints: [entryFile],
    outfile,
    bundle: true,
    minify: true,
    format: 'cjs',
    platform: 'node',
    target: 'node22',
    external: [...external],
    legalComments: 'none',
    logLevel: 'warning',
  });
  return outfile;
}
