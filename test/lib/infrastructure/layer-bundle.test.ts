/** The reader's layer, as functions find it: plain Node.js looks for layers by NODE_PATH, for `require` only. */
import { execFileSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { readEntries } from '../../../bin/pack/entries.ts';
import { buildLayer, PUBLISHED_ENTRIES, READER_ENTRIES } from '../../../lib/infrastructure/layer-bundle.ts';

let layer: string;
beforeAll(() => {
  layer = mkdtempSync(join(tmpdir(), 'layer-'));
  buildLayer(layer);
});
afterAll(() => rmSync(layer, { recursive: true, force: true }));

const modules = () => join(layer, 'nodejs/node_modules');

test('every entry of the reader has its name in the published package, for the same source', () => {
  const sources = Object.fromEntries(readEntries().map(({ name, source }) => [name, source]));
  const inLayer = Object.entries(PUBLISHED_ENTRIES).map(([name, entry]) => [
    name,
    `lambda/edge-reader/${READER_ENTRIES[entry]}.ts`,
  ]);
  expect(Object.values(PUBLISHED_ENTRIES).sort()).toEqual(Object.keys(READER_ENTRIES).sort());
  expect(inLayer).toEqual(inLayer.map(([name]) => [name, sources[name!]]));
  const { exports } = JSON.parse(readFileSync(join(modules(), 'edge-flag-relay/package.json'), 'utf8'));
  expect(Object.keys(exports)).toEqual(Object.keys(PUBLISHED_ENTRIES).map((name) => `./${name}`));
});

test('both names are the same functions, for require and for import @heavy', () => {
  const names = Object.entries(PUBLISHED_ENTRIES).map(([name, entry]) => [
    `edge-flag-relay/${name}`,
    join('edge-flag-reader', entry),
  ]);
  const required = `for (const [one, other] of ${JSON.stringify(names)}) console.log(Object.keys(require(one)).length > 0, require(one) === require(other));`;
  const env = { PATH: process.env.PATH, NODE_PATH: modules() };
  const options = { cwd: tmpdir(), env, encoding: 'utf8' } as const;
  const all = names.map(() => 'true true\n').join('');
  expect(execFileSync(process.execPath, ['-e', required], options)).toBe(all);
  // A module in the layer's own directory, from where imports find it.
  const file = join(layer, 'nodejs/imports.mjs');
  const imported = `for (const [one, other] of ${JSON.stringify(names)}) {
    const [a, b] = [await import(one), await import(other)];
    console.log(Object.keys(a).length > 0, Object.keys(a).every((name) => a[name] === b[name]) && Object.keys(a).length === Object.keys(b).length);
  }`;
  writeFileSync(file, imported);
  expect(execFileSync(process.execPath, [file], options)).toBe(all);
});
