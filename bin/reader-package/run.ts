/** The edge reader as an npm package with its types, the same code as in the layer. */
import { execFileSync } from 'node:child_process';
import { cpSync, existsSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { tmpdir } from 'node:os';
import { dirname, join, resolve } from 'node:path';
import { buildReader, LAYER_PACKAGE, READER_ENTRIES } from '../../lib/infrastructure/layer-bundle.ts';

const usage = `Builds the package ${LAYER_PACKAGE}: the code of the reader layer, with its types.

  npm run reader-package -- <directory>

  directory   is created; must not exist, be empty, or hold this package
`;
const root = join(import.meta.dirname, '../..');
const SOURCES = 'lambda/edge-reader';
const entries = Object.values(READER_ENTRIES);

/** Returns what to print. Throws an Error with what to do. */
export function runReaderPackage(args: readonly string[]): string {
  const [directory, ...more] = args;
  if (directory === '--help' || directory === '-h') return usage;
  if (directory === undefined || more.length > 0 || directory.startsWith('-')) throw new Error(usage);
  const path = resolve(directory);
  if (isTaken(path)) throw new Error(`${path} holds something else; name another directory\n`);
  build(path);
  return `${path}\n\nIn the project that uses it: npm install ${path}\n`;
}

function isTaken(path: string): boolean {
  if (!existsSync(path)) return false;
  const manifest = join(path, 'package.json');
  if (existsSync(manifest)) return JSON.parse(readFileSync(manifest, 'utf8')).name !== LAYER_PACKAGE;
  return readdirSync(path).length > 0;
}

function build(path: string): void {
  const { version, engines } = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8'));
  mkdirSync(path, { recursive: true });
  buildReader(path, { version, engines, types: (source) => `./types/${SOURCES}/${source}.d.ts` });
  rmSync(join(path, 'types'), { recursive: true, force: true });
  const all = mkdtempSync(join(tmpdir(), 'reader-types-'));
  try {
    declare(all);
    for (const source of entries) copyReachable(all, join(path, 'types'), `${SOURCES}/${source}.d.ts`);
  } finally {
    rmSync(all, { recursive: true });
  }
}

/** The declarations of the entries and of everything that they import. */
function declare(outdir: string): void {
  const project = join(outdir, 'tsconfig.json');
  const compilerOptions = {
    noEmit: false,
    declaration: true,
    emitDeclarationOnly: true,
    rewriteRelativeImportExtensions: true,
    rootDir: root,
    outDir: outdir,
    types: ['node'],
    typeRoots: [join(root, 'node_modules/@types')],
  };
  const config = {
    extends: join(root, 'tsconfig.json'),
    compilerOptions,
    include: [],
    files: entries.map((source) => join(root, SOURCES, `${source}.ts`)),
  };
  writeFileSync(project, JSON.stringify(config));
  const manifest = createRequire(import.meta.url).resolve('typescript/package.json');
  const { bin } = JSON.parse(readFileSync(manifest, 'utf8'));
  execFileSync(process.execPath, [join(dirname(manifest), bin.tsc), '-p', project], { stdio: ['ignore', 2, 2] });
}

/** Leaves out what only the code needs. */
function copyReachable(from: string, to: string, entry: string, seen = new Set<string>()): void {
  if (seen.has(entry)) return;
  seen.add(entry);
  cpSync(join(from, entry), join(to, entry));
  const text = readFileSync(join(from, entry), 'utf8');
  for (const [, imported = ''] of text.matchAll(/from '(\.[^']+)\.ts'/g)) {
    copyReachable(from, to, join(dirname(entry), `${imported}.d.ts`), seen);
  }
}
