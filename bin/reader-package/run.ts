/** The edge reader as an npm package with its types, the same code as in the layer. */
import { existsSync, mkdirSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { buildReader, LAYER_PACKAGE, READER_ENTRIES } from '../../lib/infrastructure/layer-bundle.ts';
import { root } from '../pack/entries.ts';
import { writeTypes } from '../pack/types.ts';

const usage = `Builds the package ${LAYER_PACKAGE}: the code of the reader layer, with its types.

  npm run reader-package -- <directory>

  directory   is created; must not exist, be empty, or hold this package
`;
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
  writeTypes(
    entries.map((source) => `${SOURCES}/${source}.ts`),
    [join(path, 'types')],
  );
}
