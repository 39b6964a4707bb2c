/** `examples/prometheus`. No engine runs here: its files are checked against each other and by their own schemas and tools. */
import { execFileSync } from 'node:child_process';
import { existsSync, readFileSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { parse } from 'yaml';
import { settings } from '../../relay-task/config/settings.ts';
import { jsonSchemaIsInstalled, schemaErrorsOf } from '../support/json-schema.ts';

const root = join(import.meta.dirname, '../..');
const directory = join(root, 'examples/prometheus');
const read = (name: string) => parse(readFileSync(join(directory, name), 'utf8'));
const compose = read('compose.yaml');
const { relay, prometheus, grafana } = compose.services;

test('mounts what is there, each under the name that its reader expects', () => {
  const mounts = [prometheus, grafana].flatMap(({ volumes }) => volumes as string[]).map((one) => one.split(':'));
  expect(mounts.length).toBeGreaterThan(3);
  for (const [source] of mounts) expect([source, existsSync(join(directory, source!))]).toEqual([source, true]);
  const targets = new Map(mounts.map(([source, target]) => [source, target]));
  const [configFile] = prometheus.command;
  expect(configFile).toBe(`--config.file=${targets.get('./prometheus.yaml')}`);
  expect(read('prometheus.yaml').rule_files).toEqual([targets.get('./prometheus-rules.yaml')!.split('/').at(-1)]);
  const [provider] = read('grafana/dashboards/edge-flag-relay.yaml').providers;
  expect(targets.get('./grafana-dashboard.json')!.startsWith(`${provider.options.path}/`)).toBe(true);
  expect(existsSync(join(directory, relay.build.context, relay.build.dockerfile))).toBe(true);
  expect(statSync(join(directory, 'grafana/datasources/prometheus.yaml')).isFile()).toBe(true);
});

test('Prometheus asks the relay on the port of its metrics, and Grafana asks Prometheus as often', () => {
  expect(relay.environment.USE_PROMETHEUS).toBe('true');
  const { scrape_configs, global } = read('prometheus.yaml');
  expect(scrape_configs[0].static_configs[0].targets).toEqual([`relay:${settings.prometheus.port.fallback}`]);
  const [source] = read('grafana/datasources/prometheus.yaml').datasources;
  expect(new URL(source.url).hostname).toBe('prometheus');
  expect(source).toMatchObject({ type: 'prometheus', jsonData: { timeInterval: global.scrape_interval } });
});

(jsonSchemaIsInstalled ? test : test.skip)(
  `is valid by the schema of Compose files${jsonSchemaIsInstalled ? ' @heavy' : " (needs Python's jsonschema)"}`,
  () => {
    const schema = join(root, 'test/fixtures/compose/compose-spec.schema.json');
    const wrong = { ...compose, services: { grafana: { ...grafana, depends: ['prometheus'] } } };
    expect(schemaErrorsOf(schema, { right: compose, wrong })).toEqual({
      right: [],
      wrong: [expect.stringContaining('depends')],
    });
  },
);

const promtool = join(root, '.cache/interop/promtool');
(existsSync(promtool) ? test : test.skip)(
  `Prometheus finds its configuration valid${existsSync(promtool) ? ' @heavy' : ' (needs promtool)'}`,
  () => {
    const output = execFileSync(promtool, ['check', 'config', join(directory, 'prometheus.yaml')], {
      encoding: 'utf8',
    });
    expect(output).toContain('is valid prometheus config file syntax');
    expect(output).toMatch(/\d+ rules found/);
  },
);
