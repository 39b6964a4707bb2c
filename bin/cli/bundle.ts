/** Bundles the commands for the package: each in files of its own, with every package that it needs. */
import { chmodSync } from 'node:fs';
import { join } from 'node:path';
import { build, type Metafile } from 'esbuild';

const root = join(import.meta.dirname, '../..');

/** They are the user's: peers of the package. */
const PEERS = ['aws-cdk-lib', 'constructs', 'esbuild', '@swc/core'];

/** The programs of the package, by the names of their files. */
const PROGRAMS = {
  'edge-flag-relay': join(root, 'bin/cli.ts'),
  'ld-relay': join(root, 'bin/cli/ld-relay.ts'),
} as const;

/** Leaves `edge-flag-relay.mjs`, `ld-relay.mjs` and what they load in `outdir`. */
export async function bundleCommands(outdir: string): Promise<Metafile> {
  const { metafile } = await build({
    absWorkingDir: root,
    entryPoints: PROGRAMS,
    outdir,
    outExtension: { '.js': '.mjs' },
    chunkNames: 'parts/[name]-[hash]',
    bundle: true,
    // A command loads its own code only.
    splitting: true,
    minifySyntax: true,
    minifyWhitespace: true,
    // Keeps function names in logged stack traces.
    keepNames: true,
    format: 'esm',
    platform: 'node',
    target: 'node20',
    external: PEERS,
    // Some dependencies are CommonJS and load Node's own modules with `require`.
    banner: { js: `import{createRequire as makeRequire}from'node:module';const require=makeRequire(import.meta.url);` },
    // They are in the notices beside the bundle.
    legalComments: 'none',
    metafile: true,
    logLevel: 'warning',
  });
  for (const name of Object.keys(PROGRAMS)) chmodSync(join(outdir, `${name}.mjs`), 0o755);
  return metafile;
}
