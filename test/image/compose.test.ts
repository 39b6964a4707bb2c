/** `examples/docker-compose`. No engine runs here: its schema is checked, and its relay is started as a process. */
import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { parse } from 'yaml';
import { settings } from '../../relay-task/config/settings.ts';
import { eventually } from '../support/eventually.ts';
import { exampleEnvironment } from '../support/example-environment.ts';
import { freePort } from '../support/free-port.ts';
import { jsonSchemaIsInstalled, schemaErrorsOf } from '../support/json-schema.ts';
import { closeAfterEach } from '../support/opened.ts';
import { describeWithRedis, startRedis } from '../support/redis.ts';
import { bundleRelay, listeningPort, root, runRelay } from '../support/relay-process.ts';

const { opened, behind } = closeAfterEach();
const directory = join(root, 'examples/docker-compose');

/** The file as Compose reads it with these variables; of its interpolation what the file uses. */
function compose(variables: Record<string, string> = {}) {
  const interpolated = (text: string) =>
    text.replace(/\$\{(\w+)(:?)-([^}]*)\}/g, (_all, name: string, orEmpty: string, fallback: string) => {
      const value = variables[name];
      return value === undefined || (orEmpty && value === '') ? fallback : value;
    });
  return parse(readFileSync(join(directory, 'compose.yaml'), 'utf8'), (_key, value) =>
    typeof value === 'string' ? interpolated(value) : value,
  );
}
const { relay, redis } = compose().services;

test('builds the image of this repository, and mounts what is there', () => {
  expect(existsSync(join(directory, relay.build.context, relay.build.dockerfile))).toBe(true);
  const [source, target] = relay.volumes[0].split(':');
  const file = relay.environment.LD_FLAGS_FILE_production.replace(target, join(directory, source));
  expect(JSON.parse(readFileSync(file, 'utf8')).flags).toBeDefined();
  expect(Object.keys(compose().services)).toEqual(expect.arrayContaining([...relay.depends_on, 'redis']));
  expect(new URL(relay.environment.REDIS_URL).hostname).toBe('redis');
  expect(redis.image).toMatch(/^redis:\d/);
});

test('starts the relay without privileges or writable files, and gives it the time to shut down', () => {
  expect(relay).toMatchObject({ read_only: true, cap_drop: ['ALL'], security_opt: ['no-new-privileges:true'] });
  const { fallback } = settings.gracefulShutdownTimeoutMs;
  expect(fallback).toMatch(/^\d+s$/);
  expect(Number.parseInt(relay.stop_grace_period, 10)).toBeGreaterThan(Number.parseInt(String(fallback), 10));
});

(jsonSchemaIsInstalled ? test : test.skip)(
  `is valid by the schema of Compose files${jsonSchemaIsInstalled ? ' @heavy' : " (needs Python's jsonschema)"}`,
  () => {
    const schema = join(root, 'test/fixtures/compose/compose-spec.schema.json');
    const wrong = { ...compose(), services: { relay: { ...relay, readonly: true } } };
    expect(schemaErrorsOf(schema, { right: compose(), wrong })).toEqual({
      right: [],
      wrong: [expect.stringContaining('readonly')],
    });
  },
);

describeWithRedis('the relay of the Compose file', () => {
  bundleRelay();

  test('fills Redis from the example’s flags, and is healthy as soon as it has them @heavy', async () => {
    const server = opened(await startRedis());
    const port = await freePort();
    const variables = {
      ...relay.environment,
      // Here are neither its container's files and network, nor all of a machine's ports.
      LD_FLAGS_FILE_production: join(root, 'examples/flags.json'),
      REDIS_URL: `redis://127.0.0.1:${server.port}`,
      ...{ PORT: String(port), DRAIN_WINDOW: '0' },
    };
    const started = runRelay(variables, ['--from-env']);
    behind(() => started.child.kill('SIGKILL'));
    await eventually(() => expect(listeningPort(started.output().stdout)).toBe(port));
    const [kind, command, ...args] = relay.healthcheck.test;
    expect([kind, command]).toEqual(['CMD', 'ld-relay']);
    await eventually(async () => {
      const check = runRelay(variables, args, { command: (bundle) => [join(bundle, command)] });
      expect(await check.exited).toBe(0);
    });
    const flags = Object.keys(exampleEnvironment().flags).sort();
    await eventually(async () => expect((await server.client.hkeys('production:features')).sort()).toEqual(flags));
    started.child.kill('SIGTERM');
    expect(await started.exited).toBe(0);
  });

  test('connects to LaunchDarkly instead with a key and an empty FLAGS_FILE @heavy', async () => {
    const { environment } = compose({ LD_SDK_KEY: 'sdk-mine', FLAGS_FILE: '' }).services.relay;
    const check = runRelay({ ...environment, LOG_LEVEL: 'info' }, ['--from-env', '--check']);
    expect(await check.exited).toBe(0);
    const { stdout, stderr } = check.output();
    expect(stderr).toBe('');
    expect(stdout).toMatch(/^sdkKey = \S+ +# LD_ENV_production$/m);
    expect(stdout).not.toMatch(/^flagsFile/m);
  });
});
