import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { buildSync } from 'esbuild';

/** The package that a Lambda function imports from the layer. */
export const LAYER_PACKAGE = 'edge-flag-reader';

const entry = join(import.meta.dirname, '../../lambda/edge-reader/index.ts');

/**
 * Builds the reader as a package for a Lambda layer: `nodejs/node_modules/edge-flag-reader`. AWS: "Working with layers for Node.js Lambda
 * functions".
 */
export function buildLayer(outdir: string): void {
  const directory = join(outdir, 'nodejs/node_modules', LAYER_PACKAGE);
  mkdirSync(directory, { recursive: true });
  buildReader(directory);
}

export interface PackageDetails {
  readonly version: string;
  /** The versions of Node.js that can run it. */
  readonly engines: Readonly<Record<string, string>>;
  /** The path of the types in the package. */
  readonly types: string;
}

/**
 * Writes the package into the directory, for `require` and for `import`: plain Node.js finds layers by NODE_PATH for `require` only, hence
 * both.
 */
export function buildReader(directory: string, details?: PackageDetails): void {
  for (const [format, file] of [
    ['cjs', 'index.cjs'],
    ['esm', 'index.mjs'],
  ] as const) {
    buildSync({
      entryPoints: [entry],
      outfile: join(directory, file),
      bundle: true,
      minify: true,
      format,
      platform: 'node',
      target: 'node20',
      mainFields: ['module', 'main'],
      tsconfigRaw: { compilerOptions: { useDefineForClassFields: false } },
      legalComments: 'none',
      logLevel: 'warning',
    });
  }
  const { types, ...about } = details ?? {};
  const manifest = {
    name: LAYER_PACKAGE,
    ...about,
    main: './index.cjs',
    module: './index.mjs',
    ...(types && { types }),
    exports: { '.': { ...(types && { types }), import: './index.mjs', require: './index.cjs' } },
  };
  writeFileSync(join(directory, 'package.json'), `${JSON.stringify(manifest, null, 2)}\n`);
}
