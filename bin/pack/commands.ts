/** The commands, with every package that they need. */
import { chmodSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { build, type Metafile, type Plugin } from 'esbuild';
import { PROGRAM_OPTIONS } from '../relay-bundle/options.ts';
import { root } from './entries.ts';

/** They are the user's. */
const PEERS = ['aws-cdk-lib', 'constructs', 'esbuild', '@swc/core'];

const PROGRAMS = { 'edge-flag-relay': 'bin/cli.ts', 'ld-relay': 'bin/cli/ld-relay.ts' } as const;

/** The embedded DynamoDB requires its parts by names without an extension, which esbuild cannot find in a bundle. */
const dynalite: Plugin = {
  name: 'dynalite',
  setup({ onLoad }) {
    onLoad({ filter: /[\\/]dynalite[\\/]index\.js$/ }, ({ path }) => {
      const text = readFileSync(path, 'utf8');
      const contents = text.replaceAll(/(?<=require\('\.\/\w+\/' \+ action)(?=\))/g, " + '.js'");
      if (contents === text) throw new Error(`${path} has another form than bin/pack/commands.ts expects`);
      return { contents, loader: 'js' };
    });
  },
};

/** Leaves `<name>.mjs` of every command in the directory. */
export async function buildCommands(outdir: string): Promise<Metafile> {
  const { metafile } = await build({
    absWorkingDir: root,
    entryPoints: PROGRAMS,
    outdir,
    outExtension: { '.js': '.mjs' },
    ...PROGRAM_OPTIONS,
    splitting: true,
    external: [...PEERS, ...PROGRAM_OPTIONS.external],
    plugins: [dynalite],
    // `level` keeps tables on disk by native code, which no bundle can contain. The embedded DynamoDB keeps them in memory.
    alias: { level: 'memory-level' },
  });
  for (const name of Object.keys(PROGRAMS)) chmodSync(join(outdir, `${name}.mjs`), 0o755);
  return metafile;
}
