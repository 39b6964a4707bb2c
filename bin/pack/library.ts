/** The JavaScript of the library, for `import` and for `require`. */
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { basename, join } from 'node:path';
import { build, buildSync, type Metafile, transformSync } from 'esbuild';
import { CONSTRUCTS, type Entry, root } from './entries.ts';

/** As in the functions' own bundles: our classes set every field in their constructors. */
const tsconfigRaw = { compilerOptions: { useDefineForClassFields: false } };

const shared = {
  absWorkingDir: root,
  bundle: true,
  platform: 'node',
  target: 'node20',
  packages: 'external',
  tsconfigRaw,
  charset: 'utf8',
  logLevel: 'warning',
  metafile: true,
} as const;

export interface Formats {
  readonly esm: string;
  readonly cjs: string;
}

/** Leaves `<name>.js` of every entry in both directories. Returns what it was built from. */
export async function buildLibrary(entries: readonly Entry[], formats: Formats): Promise<Metafile[]> {
  for (const [format, directory] of Object.entries(formats)) {
    mkdirSync(directory, { recursive: true });
    const type = format === 'esm' ? 'module' : 'commonjs';
    writeFileSync(join(directory, 'package.json'), `${JSON.stringify({ type, sideEffects: false })}\n`);
  }
  const code = await buildCode(
    entries.filter(({ name }) => name !== CONSTRUCTS),
    formats,
  );
  return [code, buildConstructs(formats)];
}

/** What runs in functions: the entries share their modules. */
async function buildCode(entries: readonly Entry[], { esm, cjs }: Formats): Promise<Metafile> {
  const { metafile } = await build({
    ...shared,
    entryPoints: Object.fromEntries(entries.map(({ name, source }) => [name, source])),
    outdir: esm,
    format: 'esm',
    splitting: true,
    chunkNames: 'shared-[hash]',
  });
  // esbuild shares modules between entries for `import` only, so the files for `require` are made from those.
  for (const file of Object.keys(metafile.outputs)) {
    // A shared file that is imported for nothing but its effects has none, of which bundlers would warn.
    const text = readFileSync(join(root, file), 'utf8').replaceAll(/^import "\.\/shared-\w+\.js";\n/gm, '');
    writeFileSync(join(root, file), text);
    const { code } = transformSync(text, { format: 'cjs', platform: 'node', target: 'node20', charset: 'utf8' });
    writeFileSync(join(cjs, basename(file)), code);
  }
  return metafile;
}

/**
 * The constructs once, as CommonJS like the CDK itself, so that an app that imports and requires them has the same classes.
 * A module that is imported cannot say what to install when a package is missing; one that is required can.
 */
function buildConstructs({ esm, cjs }: Formats): Metafile {
  const { metafile } = buildSync({
    ...shared,
    entryPoints: { [CONSTRUCTS]: join(import.meta.dirname, 'constructs.ts') },
    outdir: cjs,
    format: 'cjs',
    define: { 'import.meta.dirname': '__dirname', 'import.meta.filename': '__filename' },
  });
  const [output] = Object.values(metafile.outputs);
  const { metafile: named } = buildSync({
    ...shared,
    entryPoints: [join(import.meta.dirname, 'constructs.ts')],
    format: 'esm',
    write: false,
  });
  const names = Object.values(named.outputs)[0]?.exports ?? [];
  if (!output || names.length === 0) throw new Error('the constructs export nothing');
  writeFileSync(join(esm, `${CONSTRUCTS}.js`), `export { ${names.join(', ')} } from '../cjs/${CONSTRUCTS}.js';\n`);
  return metafile;
}
