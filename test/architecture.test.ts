/**
 * Who may import whom, read from the sources. A path that ends in `/` admits the folder, any other path one file or
 * package. `node:` admits Node's own modules.
 */
import { readdirSync, readFileSync } from 'node:fs';
import { dirname, join, normalize, relative } from 'node:path';

const root = join(import.meta.dirname, '..');
const evaluation = 'lib/evaluation/index.ts';
const flagTable = 'lib/flag-table/index.ts';
const relayWords = ['relay-task/ports.ts', 'relay-task/errors.ts'];
const shared = [...relayWords, 'relay-task/common/'];

/** Longest prefix wins: `relay-task/relay.ts` is a room of its own. */
const rooms: Record<string, readonly string[]> = {
  'bin/': [
    'bin/',
    'lib/',
    'lambda/',
    'relay-task/',
    'node:',
    'aws-cdk-lib',
    '@aws-sdk/client-dynamodb',
    'dynalite',
    'esbuild',
    'aws-lambda',
    '@aws-sdk/client-ssm',
    'ioredis',
    'package.json',
  ],
  'lib/evaluation/': ['lib/evaluation/'],
  'lib/flag-table/': ['lib/flag-table/', 'node:'],
  'lib/infrastructure/': [
    'lib/infrastructure/',
    flagTable,
    'relay-task/config/settings.ts',
    'lambda/edge-reader/config.ts',
    'lambda/edge-router/config.ts',
    'aws-cdk-lib',
    'constructs',
    '@swc/core',
    'esbuild',
    'yazl',
    'node:',
  ],
  'lambda/edge-reader/': ['lambda/edge-reader/', evaluation, flagTable, 'node:'],
  'lambda/edge-router/': ['lambda/edge-router/', 'lambda/edge-reader/index.ts', evaluation, 'node:', 'aws-lambda'],
  'lambda/canary/': ['lambda/canary/', 'lambda/edge-reader/index.ts', evaluation, 'node:', 'aws-lambda'],
  'relay-task/ports.ts': [evaluation, flagTable, 'node:'],
  'relay-task/errors.ts': [],
  'relay-task/config/': ['relay-task/config/', ...shared, 'node:'],
  'relay-task/environments/': [
    'relay-task/environments/',
    ...shared,
    evaluation,
    flagTable,
    'node:',
    '@aws-sdk/client-ssm',
    'prom-client',
    'tar-stream',
  ],
  'relay-task/events/': ['relay-task/events/', ...shared, evaluation, flagTable, 'node:', 'prom-client'],
  'relay-task/upstream/': [
    'relay-task/upstream/',
    ...shared,
    evaluation,
    flagTable,
    'node:',
    'eventsource-parser',
    'yaml',
  ],
  'relay-task/store/': [
    'relay-task/store/',
    ...shared,
    evaluation,
    flagTable,
    'node:',
    '@aws-sdk/client-dynamodb',
    'ioredis',
    'prom-client',
  ],
  'relay-task/streams/': ['relay-task/streams/', ...shared, evaluation, flagTable, 'node:', 'prom-client'],
  'relay-task/endpoints/': ['relay-task/endpoints/', ...shared, evaluation, flagTable, 'node:', 'prom-client'],
  'relay-task/status/': [
    'relay-task/status/',
    ...shared,
    flagTable,
    'node:',
    'prom-client',
    '@aws-lambda-powertools/logger',
  ],
  // Stateless code that several modules need: it knows no module.
  'relay-task/common/': ['relay-task/common/', ...relayWords, evaluation, flagTable, 'node:'],
  // These connect the modules.
  'relay-task/relay.ts': ['relay-task/', flagTable, 'node:', 'prom-client'],
  'relay-task/wiring/': ['relay-task/', flagTable, 'node:', 'prom-client'],
  'relay-task/main.ts': [
    'package.json',
    'relay-task/relay.ts',
    'relay-task/config/',
    'relay-task/status/',
    ...shared,
    'node:',
  ],
};

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
