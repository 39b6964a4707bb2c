/**
 * Who may import whom: the tables of docs/architecture.md, held against every import in the sources. A path that ends in
 * `/` admits the folder, any other path one file or package. `node:` admits Node's own modules.
 */
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { dirname, join, normalize, relative } from 'node:path';

const root = join(import.meta.dirname, '..');

/** The tables of the page: what each module may import. The longest name that fits a file counts. */
const rooms = readModules(readFileSync(join(root, 'docs/architecture.md'), 'utf8'));

function readModules(page: string): Record<string, readonly string[]> {
  const rows = [...page.matchAll(/^\| (?:`([^`]+)`|\*([^*]+)\*) \| [^|]+ \| ([^|]+) \|$/gm)].map(
    ([, path, group, cell]) => ({ name: path ?? group ?? '', group: group !== undefined, cell: cell ?? '' }),
  );
  const groups = new Map(rows.filter(({ group }) => group).map(({ name, cell }) => [name, pathsIn(cell)]));
  const allowedBy = (name: string, cell: string): string[] => {
    const named = [...cell.matchAll(/\*([^*]+)\*/g)].map(([, group]) => groups.get(group ?? ''));
    if (named.includes(undefined)) throw new Error(`the row of ${name} names an unknown group: ${cell}`);
    const paths = [...pathsIn(cell), ...named.flatMap((paths) => paths ?? [])];
    if (paths.length === 0 && cell !== 'nothing')
      throw new Error(`the row of ${name} allows nothing readable: ${cell}`);
    return name.endsWith('/') ? [name, ...paths] : paths;
  };
  return Object.fromEntries(rows.filter(({ group }) => !group).map(({ name, cell }) => [name, allowedBy(name, cell)]));
}

function pathsIn(cell: string): string[] {
  return [...cell.matchAll(/`([^`]+)`/g)].map(([, path]) => path ?? '');
}

const doors = ['bin', 'lib', 'lambda', 'relay-task'];
const sources = doors.flatMap((door) =>
  readdirSync(join(root, door), { recursive: true, encoding: 'utf8' })
    .map((path) => join(door, path))
    .filter((path) => /\.[cm]?tsx?$/.test(path)),
);

/** Every `import`, `import type`, `export … from`, dynamic `import()` and `require()` of a source text. */
function importsOf(text: string): string[] {
  const withoutComments = text.replace(/\/\*[\s\S]*?\*\//g, '').replace(/^\s*\/\/.*$/gm, '');
  const patterns = [
    /^\s*(?:import|export)\b[^'";]*?\bfrom\s*['"]([^'"]+)['"]/gm,
    /^\s*import\s*['"]([^'"]+)['"]/gm,
    /\b(?:import|require)\s*\(\s*['"]([^'"]+)['"]/g,
  ];
  return patterns.flatMap((pattern) => [...withoutComments.matchAll(pattern)].map(([, path]) => path ?? ''));
}

function roomOf(file: string): string | undefined {
  return Object.keys(rooms)
    .filter((room) => (room.endsWith('/') ? file.startsWith(room) : file === room))
    .sort((a, b) => b.length - a.length)[0];
}

function admits(allowed: string, imported: string): boolean {
  if (allowed === 'node:') return imported.startsWith('node:');
  if (allowed.endsWith('/')) return imported.startsWith(allowed);
  return imported === allowed || (!allowed.endsWith('.ts') && imported.startsWith(`${allowed}/`));
}

/** What stands wrongly in one file, in words. */
function violations(file: string, text: string): string[] {
  const room = roomOf(file);
  if (room === undefined) return [`${file} stands in no room`];
  return importsOf(text)
    .map((path) => (path.startsWith('.') ? normalize(join(dirname(file), path)) : path))
    .filter((path) => !(rooms[room] ?? []).some((allowed) => admits(allowed, path)))
    .map((path) => `${file} may not import ${path}`);
}

test('there are sources to read', () => {
  expect(sources.length).toBeGreaterThan(20);
});

test('every module in the tables of docs/architecture.md exists', () => {
  const names = Object.keys(rooms);
  expect(names.length).toBeGreaterThan(20);
  expect(names.filter((name) => !existsSync(join(root, name)))).toEqual([]);
});

test('no row of the tables allows a package that its module does not import', () => {
  const idle = Object.entries(rooms).flatMap(([name, allowed]) => {
    const imported = sources
      .filter((file) => roomOf(file) === name)
      .flatMap((file) => importsOf(readFileSync(join(root, file), 'utf8')));
    return allowed
      .filter((one) => !one.endsWith('/') && !one.endsWith('.ts') && !['node:', 'package.json'].includes(one))
      .filter((one) => !imported.some((path) => admits(one, path)))
      .map((one) => `${name} does not import ${one}`);
  });
  expect(idle).toEqual([]);
});

test('every source stands in a room and imports only what its room admits', () => {
  const found = sources.flatMap((file) => violations(file, readFileSync(join(root, file), 'utf8')));
  expect(found).toEqual([]);
});

test.each([
  ['lib/evaluation/evaluate.ts', `import { createHash } from 'node:crypto';`],
  ['lib/evaluation/evaluate.ts', `export type { Stack } from 'aws-cdk-lib';`],
  ['lib/index.ts', ''],
  ['lambda/edge-reader/reader.ts', `import { x } from '../../lib/evaluation/operators.ts';`],
  ['lambda/edge-reader/reader.ts', `import {\n  DynamoDB,\n} from '@aws-sdk/client-dynamodb';`],
  ['relay-task/store/lease.ts', `import type { Environment } from '../environments/environment.ts';`],
  ['relay-task/endpoints/routes.ts', `const hub = await import('../streams/hub.ts');`],
  ['relay-task/streams/hub.ts', `import { createTenants } from '../wiring/tenants.ts';`],
  ['relay-task/common/backoff.ts', `import type { Timings } from '../store/timings.ts';`],
  ['relay-task/common/backoff.ts', `import { Counter } from 'prom-client';`],
  ['relay-task/config/load.ts', `import { operators } from '../../lib/evaluation/operators.ts';`],
  ['lib/flag-table/decode.ts', `import { evaluate } from '../evaluation/index.ts';`],
])('a stray import is noticed: %s with %s', (file, text) => {
  expect(violations(file, text)).toHaveLength(1);
});

test('evaluation is fenced off by its own compiler settings, too', () => {
  const fence = JSON.parse(readFileSync(join(root, 'lib/evaluation/tsconfig.json'), 'utf8'));
  expect(fence.compilerOptions.types).toEqual([]);
});

test('there is no index of the whole library, which would pull the CDK into the edge', () => {
  expect(sources.map((file) => relative('lib', file))).not.toContain('index.ts');
});
