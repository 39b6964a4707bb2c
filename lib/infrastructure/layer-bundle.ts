import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { esbuild } from './bundlers.ts';

/** The package that a Lambda function imports from the layer. */
export const LAYER_PACKAGE = 'edge-flag-reader';

const sources = join(import.meta.dirname, '../../lambda/edge-reader');

/** The package's entries: the name of each, and of its source. */
export const READER_ENTRIES = { '.': 'index', './open-feature': 'open-feature', './chain': 'chain' } as const;

/** The same entries by their names in the published package, which has their types: a project can use one name with and without the layer. */
export const PUBLISHED_ENTRIES = { 'edge-reader': '.', openfeature: './open-feature', chain: './chain' } as const;

/**
 * Builds the reader as a package for a Lambda layer: `nodejs/node_modules/edge-flag-reader`. AWS: "Working with layers for Node.js Lambda
 * functions".
 */
export function buildLayer(outdir: string): void {
  const modules = join(outdir, 'nodejs/node_modules');
  const directory = join(modules, LAYER_PACKAGE);
  mkdirSync(directory, { recursive: true });
  buildReader(directory);
  writePublishedNames(join(modules, 'edge-flag-relay'));
}

/** A package whose entries hand on those of the reader. */
function writePublishedNames(directory: string): void {
  mkdirSync(directory, { recursive: true });
  const entries = Object.entries(PUBLISHED_ENTRIES);
  for (const [name, entry] of entries) {
    const reader = JSON.stringify(join(LAYER_PACKAGE, entry));
    writeFileSync(join(directory, `${name}.cjs`), `module.exports = require(${reader});\n`);
    writeFileSync(join(directory, `${name}.mjs`), `export * from ${reader};\n`);
  }
  const filesOf = (name: string) => ({ import: `./${name}.mjs`, require: `./${name}.cjs` });
  const exports = Object.fromEntries(entries.map(([name]) => [`./${name}`, filesOf(name)]));
  writeFileSync(join(directory, 'package.json'), `${JSON.stringify({ name: 'edge-flag-relay', exports }, null, 2)}\n`);
}

export interface PackageDetails {
  readonly version: string;
  /** The versions of Node.js that can run it. */
  readonly engines: Readonly<Record<string, string>>;
  /** The path of an entry's types in the package. */
  types(source: string): string;
}

/**
 * Writes the package into the directory, for `require` and for `import`: plain Node.js finds layers by NODE_PATH for `require` only, hence
 * both.
 */
export function buildReader(directory: string, details?: PackageDetails): void {
  const entries = Object.entries(READER_ENTRIES);
  for (const [format, extension] of [
    ['cjs', '.cjs'],
    ['esm', '.mjs'],
  ] as const) {
    esbuild().buildSync({
      entryPoints: entries.map(([, source]) => join(sources, `${source}.ts`)),
      outdir: directory,
      outExtension: { '.js': extension },
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
  const filesOf = (source: string) => ({
    ...(types && { types: types(source) }),
    import: `./${source}.mjs`,
    require: `./${source}.cjs`,
  });
  const manifest = {
    name: LAYER_PACKAGE,
    ...about,
    // So that bundlers leave out what is not imported.
    sideEffects: false,
    main: './index.cjs',
    module: './index.mjs',
    ...(types && { types: types(READER_ENTRIES['.']) }),
    exports: Object.fromEntries(entries.map(([name, source]) => [name, filesOf(source)])),
  };
  writeFileSync(join(directory, 'package.json'), `${JSON.stringify(manifest, null, 2)}\n`);
}
