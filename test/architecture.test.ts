/**
 * Checks every import in the sources against the tables of docs/architecture.md. A path that ends in `/` allows the folder,
 * any other path one file or package. `node:` allows Node's own modules.
 */
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { dirname, join, normalize, relative } from 'node:path';

const root = join(import.meta.dirname, '..');

/** What each module may import, from the page's tables. The longest name that matches a file counts. */
const modules = readModules(readFileSync(join(root, 'docs/architecture.md'), 'utf8'));

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

const entryPoints = ['bin', 'lib', 'lambda', 'relay-task'];
const sources = entryPoints.flatMap((entryPoint) =>
  readdirSync(join(root, entryPoint), { recursive: true, encoding: 'utf8' })
    .map((path) => join(entryPoint, path))
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

function moduleOf(file: string): string | undefined {
  return Object.keys(modules)
    .filter((module) => (module.endsWith('/') ? file.startsWith(module) : file === module))
    .sort((a, b) => b.length - a.length)[0];
}

function admits(allowed: string, imported: string): boolean {
  if (allowed === 'node:') return imported.startsWith('node:');
  if (allowed.endsWith('/')) return imported.startsWith(allowed);
  return imported === allowed || (!allowed.endsWith('.ts') && imported.startsWith(`${allowed}/`));
}

/** Relative paths are resolved to paths from the repository's root; package names stay as they are. */
function resolvedImports(file: string, text: string): string[] {
  return importsOf(text).map((path) => (path.startsWith('.') ? normalize(join(dirname(file), path)) : path));
}

/** Describes every import that a file may not have. */
function violations(file: string, text: string): string[] {
  const module = moduleOf(file);
  if (module === undefined) return [`${file} belongs to no module`];
  return resolvedImports(file, text)
    .filter((path) => !(modules[module] ?? []).some((allowed) => admits(allowed, path)))
    .map((path) => `${file} may not import ${path}`);
}

test('the sources are found', () => {
  expect(sources.length).toBeGreaterThan(20);
});

test('every module in the tables of docs/architecture.md exists', () => {
  const names = Object.keys(modules);
  expect(names.length).toBeGreaterThan(20);
  expect(names.filter((name) => !existsSync(join(root, name)))).toEqual([]);
});

test('no row of the tables allows a package that its module does not import @heavy', () => {
  const idle = Object.entries(modules).flatMap(([name, allowed]) => {
    const imported = sources
      .filter((file) => moduleOf(file) === name)
      .flatMap((file) => importsOf(readFileSync(join(root, file), 'utf8')));
    return allowed
      .filter((one) => !one.endsWith('/') && !one.endsWith('.ts') && !['node:', 'package.json'].includes(one))
      .filter((one) => !imported.some((path) => admits(one, path)))
      .map((one) => `${name} does not import ${one}`);
  });
  expect(idle).toEqual([]);
});

test('every source belongs to a module and imports only what its module may import', () => {
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
])('reports a forbidden import: %s with %s', (file, text) => {
  expect(violations(file, text)).toHaveLength(1);
});

/** The groups of files that import each other in a circle, each as the first shortest path found. */
function circlesIn(graph: ReadonlyMap<string, readonly string[]>): string[] {
  const found = new Map<string, string>();
  for (const start of graph.keys()) {
    const cameFrom = new Map<string, string>();
    const queue = [start];
    for (const file of queue) {
      for (const next of graph.get(file) ?? []) {
        if (cameFrom.has(next)) continue;
        cameFrom.set(next, file);
        queue.push(next);
      }
    }
    if (!cameFrom.has(start)) continue;
    const way = [start];
    for (let file = cameFrom.get(start); file !== undefined && file !== start; file = cameFrom.get(file))
      way.push(file);
    const members = [...way].sort().join();
    if (!found.has(members)) found.set(members, [start, ...way.slice(1).reverse(), start].join(' → '));
  }
  return [...found.values()];
}

test('no source files import each other in a circle, types included @heavy', () => {
  const graph = new Map(
    sources.map((file) => [
      file,
      resolvedImports(file, readFileSync(join(root, file), 'utf8')).filter((path) => sources.includes(path)),
    ]),
  );
  expect([...graph.values()].flat().length).toBeGreaterThan(sources.length);
  expect(circlesIn(graph)).toEqual([]);
});

test.each([
  ['of two files', { a: ['b'], b: ['a'] }, ['a → b → a']],
  [
    'of three files, without the files around it',
    { x: ['a'], a: ['b'], b: ['c', 'y'], c: ['a'], y: [] },
    ['a → b → c → a'],
  ],
  ['of a file with itself', { a: ['a'] }, ['a → a']],
])('finds an import circle %s', (_, graph, circles) => {
  expect(circlesIn(new Map(Object.entries<readonly string[]>(graph)))).toEqual(circles);
});

test('relay-task/common imports no module of the relay', () => {
  const shared = ['relay-task/ports.ts', 'relay-task/errors.ts', 'relay-task/common/'];
  const found = sources
    .filter((file) => file.startsWith('relay-task/common/'))
    .flatMap((file) =>
      resolvedImports(file, readFileSync(join(root, file), 'utf8'))
        .filter((path) => path.startsWith('relay-task/') && !shared.some((one) => admits(one, path)))
        .map((path) => `${file} may not import ${path}`),
    );
  expect(found).toEqual([]);
});

/** The names that a source exports, by declaring them or in a list, which may hand on those of another file. */
function exportsOf(text: string): string[] {
  const declared =
    /^export (?:declare )?(?:async )?(?:abstract )?(?:function\*?|const|let|class|interface|type) (\w+)/gm;
  const lists = [...text.matchAll(/^export (?:type )?\{([^}]*)\}/gm)].flatMap(([, list = '']) => list.split(','));
  const listed = lists.map((one) => /(\w+)\s*$/.exec(one)?.[1] ?? '').filter((name) => name !== '');
  return [...[...text.matchAll(declared)].map(([, name]) => name ?? ''), ...listed];
}

test.each([
  ['export const a = 1;\nexport async function b() {}', ['a', 'b']],
  ["export type { A, B } from './a.ts';", ['A', 'B']],
  ["export { type A, b as c } from './a.ts';", ['A', 'c']],
  ['export {\n  a,\n  b,\n};', ['a', 'b']],
])('finds what is exported: %s', (text, names) => {
  expect(exportsOf(text)).toEqual(names);
});

/** What a file imports or hands on by name, as `path#name`; `path#*` for everything. */
function namesImported(file: string, text: string): string[] {
  const lists = [...text.matchAll(/^(?:import|export)\b([^'";]*?)\bfrom\s*['"](\.[^'"]+)['"]/gm)];
  const dynamic = [...text.matchAll(/\bimport\s*\(\s*['"](\.[^'"]+)['"]\s*\)/g)].map(([, path]) => ['*', path]);
  return [...lists.map(([, list, path]) => [list, path]), ...dynamic].flatMap(([list = '', path = '']) => {
    const target = normalize(join(dirname(file), path));
    const braces = /\{([^}]*)\}/.exec(list)?.[1];
    if (braces === undefined) return [`${target}#*`];
    return braces.split(',').map((one) => `${target}#${/^\s*(?:type\s+)?(\w+)/.exec(one)?.[1]}`);
  });
}

test('everything that the relay exports is imported by another file @heavy', () => {
  const tests = readdirSync(join(root, 'test'), { recursive: true, encoding: 'utf8' })
    .map((path) => join('test', path))
    .filter((path) => path.endsWith('.ts'));
  const texts = [...sources, ...tests].map((file) => [file, readFileSync(join(root, file), 'utf8')] as const);
  const imported = new Set(texts.flatMap(([file, text]) => namesImported(file, text)));
  expect(imported.size).toBeGreaterThan(sources.length);
  const idle = texts
    .filter(([file]) => file.startsWith('relay-task/') && !imported.has(`${file}#*`))
    .flatMap(([file, text]) => exportsOf(text).map((name) => `${file}#${name}`))
    .filter((name) => !imported.has(name));
  expect(idle).toEqual([]);
});

test('no object in the relay spreads a literal into itself', () => {
  const packed = sources
    .filter((file) => file.startsWith('relay-task/'))
    .filter((file) => /\.\.\.\{/.test(readFileSync(join(root, file), 'utf8')));
  expect(packed).toEqual([]);
});

test('lib/evaluation is compiled without the types of Node.js', () => {
  const fence = JSON.parse(readFileSync(join(root, 'lib/evaluation/tsconfig.json'), 'utf8'));
  expect(fence.compilerOptions.types).toEqual([]);
});

test('lib has no index, which would pull the CDK into edge bundles', () => {
  expect(sources.map((file) => relative('lib', file))).not.toContain('index.ts');
});
