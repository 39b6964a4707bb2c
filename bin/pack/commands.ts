/** The commands, with every package that they need. */
import { chmodSync } from 'node:fs';
import { join } from 'node:path';
import { build, type Metafile } from 'esbuild';
import { root } from './entries.ts';

/** They are the user's. */
const PEERS = ['aws-cdk-lib', 'constructs', 'esbuild', '@swc/core'];

const PROGRAMS = { 'edge-flag-relay': 'bin/cli.ts', 'ld-relay': 'bin/cli/ld-relay.ts' } as const;

/** Leaves `<name>.mjs` of every command in the directory. */
export async function buildCommands(outdir: string): Promise<Metafile> {
  const { metafile } = await build({
    absWorkingDir: root,
    entryPoints: PROGRAMS,
    outdir,
    outExtension: { '.js': '.mjs' },
    bundle: true,
    splitting: true,
    minifySyntax: true,
    minifyWhitespace: true,
    keepNames: true,
    format: 'esm',
    platform: 'node',
    target: 'node20',
    external: PEERS,
    banner: { js: `import{createRequire as makeRequire}from'node:module';const require=makeRequire(import.meta.url);` },
    legalComments: 'none',
    metafile: true,
    logLevel: 'warning',
  });
  for (const name of Object.keys(PROGRAMS)) chmodSync(join(outdir, `${name}.mjs`), 0o755);
  return metafile;
}
