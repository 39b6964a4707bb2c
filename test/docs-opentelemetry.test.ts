/** docs/opentelemetry.md names every instrument and every span, and nothing else. */
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { registrySums } from '../relay-task/status/otlp/registry-producer.ts';
import { requestInstruments } from '../relay-task/status/otlp/request-watch.ts';
import { environmentGauges, relayGauges } from '../relay-task/status/otlp/status-gauges.ts';

const root = join(import.meta.dirname, '..');
const page = readFileSync(join(root, 'docs/opentelemetry.md'), 'utf8');

test('every instrument has a row with its unit and what it tells, in order', () => {
  const rows = [...page.matchAll(/^\| `((?:http|launchdarkly)\.[^`]+)` \| [^|]+ \| `([^`]+)` \| ([^|]+) \|$/gm)].map(
    ([, name, unit, help]) => ({ name, unit, help }),
  );
  const known = [...Object.values(requestInstruments), ...registrySums, ...relayGauges, ...environmentGauges];
  expect(known.length).toBeGreaterThan(25);
  expect(rows).toEqual(known.map(({ name, unit, help }) => ({ name, unit, help })));
});

test('every span has a row', () => {
  const sources = readdirSync(join(root, 'relay-task'), { recursive: true, encoding: 'utf8' })
    .filter((path) => /^(?:endpoints|status\/otlp)\/.*\.ts$/.test(path))
    .map((path) => readFileSync(join(root, 'relay-task', path), 'utf8'))
    .join('\n');
  const made = new Set([...sources.matchAll(/'(relay\.[a-z.]+)'/g)].map(([, name]) => name));
  expect(made.size).toBeGreaterThan(6);
  const rows = [...page.matchAll(/^\| `(relay\.[a-z.]+)` \|/gm)].map(([, name]) => name);
  expect(rows.sort()).toEqual([...made].sort());
});
