/** docs/metrics.md has every metric, and no others. `npx tsx test/support/write-metrics-page.ts` writes its tables. */
import { readdirSync, readFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { measureRows } from '../relay-task/common/measures.ts';
import { metricsPage, metricsTables, placeOf } from './support/metrics-page.ts';

const page = readFileSync(metricsPage, 'utf8');
const linesOf = (table: string) => table.trim().split('\n');
const shown = (name: string) => linesOf(placeOf(name).exec(page)?.[2] ?? '');

test.each(['relay', 'functions'])('the table %s is the one that the sources make', async (name) => {
  expect(shown(name)).toEqual(linesOf((await metricsTables())[name]!));
});

test('the table of the process has what prom-client measures, and no more on Linux', async () => {
  const measured = linesOf((await metricsTables()).node!);
  expect(measured.length).toBeGreaterThan(20);
  expect(measured.filter((line) => !shown('node').includes(line))).toEqual([]);
  if (process.platform === 'linux') expect(shown('node')).toEqual(measured);
});

test('every label is explained, and no others', () => {
  const above = page.slice(0, page.indexOf('\n## The relay\n'));
  const explained = [...above.matchAll(/^\| `(\w+)` \| [^|]+ \|$/gm)].map(([, label]) => label);
  expect(new Set(explained)).toEqual(new Set(Object.values(measureRows).flatMap(({ labels }) => labels)));
});

test('every new name of an old one is a metric', () => {
  const renamed = [...page.matchAll(/^\| `[\w{}]+` \| `PREFIX_(\w+)(?:\{\w+\})?` \|$/gm)].map(([, name]) => name!);
  expect(renamed.length).toBeGreaterThan(50);
  expect(renamed.filter((name) => !Object.hasOwn(measureRows, name))).toEqual([]);
});

test('every metric that another page names exists', () => {
  const docs = dirname(metricsPage);
  const pages = readdirSync(docs, { recursive: true, encoding: 'utf8' }).filter((path) => path.endsWith('.md'));
  const named = pages.flatMap((path) =>
    [...readFileSync(join(docs, path), 'utf8').matchAll(/\blaunchdarkly_relay_(\w+)/g)].map(([, name]) => name!),
  );
  expect(named.length).toBeGreaterThan(10);
  const unknown = named.filter((name) => !Object.hasOwn(measureRows, name.replace(/_(bucket|sum|count)$/, '')));
  expect(unknown).toEqual([]);
});
