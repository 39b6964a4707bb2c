import { join } from 'node:path';
import { esbuild } from './bundlers.ts';

/** esbuild's options for all functions. */
export const FUNCTION_OPTIONS = {
  bundle: true,
  minify: true,
  format: 'cjs',
  platform: 'node',
  target: 'node22',
  legalComments: 'none',
  logLevel: 'warning',
} as const;

/** Bundles a function of ours, by its module, into `index.cjs`; the Lambda handler is `index.handler`. Returns the file's path. */
export function buildFunction(entryFile: string, outdir: string, external: readonly string[] = []): string {
  const outfile = join(outdir, 'index.cjs');
  esbuild().buildSync({
    entryPoints: [entryFile],
    outfile,
    external: [...external],
    ...FUNCTION_OPTIONS,
  });
  return outfile;
}
