/** Declarations (`.d.ts`) of entries and of everything that these import, with the docstrings of the sources. */
import { execFileSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { root } from './entries.ts';

/** The declaration of a source. */
export const declarationOf = (source: string): string => source.replace(/\.ts$/, '.d.ts');

/** Writes the declarations of the sources, which are relative to the root, into each directory. */
export function writeTypes(sources: readonly string[], directories: readonly string[]): void {
  const all = mkdtempSync(join(tmpdir(), 'edge-flag-relay-types-'));
  try {
    declare(sources, all);
    const texts = new Map<string, string>();
    for (const source of sources) reach(all, declarationOf(source), texts);
    for (const directory of directories) {
      for (const [file, text] of texts) {
        mkdirSync(dirname(join(directory, file)), { recursive: true });
        writeFileSync(join(directory, file), text);
      }
    }
  } finally {
    rmSync(all, { recursive: true });
  }
}

/** The declarations of the sources and of everything that these import. */
function declare(sources: readonly string[], outdir: string): void {
  const project = join(outdir, 'tsconfig.json');
  const compilerOptions = {
    noEmit: false,
    declaration: true,
    emitDeclarationOnly: true,
    rewriteRelativeImportExtensions: true,
    // They come from one source, which is checked by `npm run typecheck`.
    noCheck: true,
    rootDir: root,
    outDir: outdir,
    types: ['node'],
    typeRoots: [join(root, 'node_modules/@types')],
  };
  const files = sources.map((source) => join(root, source));
  writeFileSync(project, JSON.stringify({ extends: join(root, 'tsconfig.json'), compilerOptions, include: [], files }));
  const manifest = createRequire(import.meta.url).resolve('typescript/package.json');
  const { bin } = JSON.parse(readFileSync(manifest, 'utf8'));
  execFileSync(process.execPath, [join(dirname(manifest), bin.tsc), '-p', project], { stdio: ['ignore', 2, 2] });
}

const RELATIVE = /(\bfrom |\bimport\()(['"])(\.[^'"]+)\.ts\2/g;

/** Leaves out what only the code needs. TypeScript leaves `.ts` in the paths of declarations, which editors and other tools do not find. */
function reach(from: string, file: string, texts: Map<string, string>): void {
  if (texts.has(file)) return;
  const text = readFileSync(join(from, file), 'utf8');
  texts.set(file, text.replaceAll(RELATIVE, '$1$2$3.js$2'));
  for (const [, , , path = ''] of text.matchAll(RELATIVE)) reach(from, join(dirname(file), `${path}.d.ts`), texts);
}
