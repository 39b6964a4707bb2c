/** Metrics of a whole relay at Datadog's agent, from the sources and from the bundle of the image. */
import { spawnSync } from 'node:child_process';
import { copyFileSync, cpSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { startSocketServer, startUdpServer } from '../support/dogstatsd.ts';
import { eventually } from '../support/eventually.ts';
import { exampleFile } from '../support/example-environment.ts';
import { closeAfterEach } from '../support/opened.ts';
import { bundled, bundleRelay, listeningPort, root, runRelay } from '../support/relay-process.ts';
import { startTestRelay } from '../support/start-relay.ts';

const { opened, behind } = closeAfterEach();

const environment = { LD_ENV_shop: 'sdk-datadog-test', LD_FLAGS_FILE_shop: exampleFile };

test('without USE_DATADOG the client library is not loaded, with it once', async () => {
  let loaded = 0;
  jest.doMock('hot-shots', () => {
    loaded += 1;
    return jest.requireActual('hot-shots');
  });
  behind(() => jest.dontMock('hot-shots'));
  const off = await startTestRelay(environment);
  await off.close();
  expect(loaded).toBe(0);
  const server = opened(await startUdpServer());
  const on = await startTestRelay({ ...environment, USE_DATADOG: 'true', DATADOG_STATS_ADDR: server.address });
  await on.close();
  await eventually(() => expect(server.lines()).not.toEqual([]));
  expect(loaded).toBe(1);
});

test('a relay sends what its clients do, under the prefix and with the tags of its configuration', async () => {
  const server = opened(await startUdpServer());
  const relay = await startTestRelay({
    ...environment,
    ...{ USE_DATADOG: 'true', DATADOG_STATS_ADDR: server.address, DATADOG_PREFIX: 'my-relay' },
    ...{ DATADOG_TAG_team: 'shop', PROMETHEUS_PREFIX: 'other', USE_PROMETHEUS: 'true', PROMETHEUS_PORT: '0' },
  });
  const headers = { Authorization: 'sdk-datadog-test', 'User-Agent': 'PHPClient/6.0.0' };
  for (let i = 0; i < 3; i++) await fetch(`${relay.uri}/sdk/flags`, { headers });
  const stream = new AbortController();
  await fetch(`${relay.uri}/all`, { headers, signal: stream.signal });
  await relay.close();
  stream.abort();
  const client = 'platformCategory:server';
  const tags = `team:shop,env:shop,method:GET,${client},route:_sdk_flags,userAgent:PHPClient_6`;
  await eventually(() => expect(server.lines()).toContain(`my_relay.requests:3|c|#${tags}`));
  expect(server.lines()).toContain(`my_relay.newconnections:1|g|#team:shop,env:shop,${client},userAgent:PHPClient_6`);
  const names = new Set(server.metrics().map(({ name }) => name));
  expect([...names].filter((name) => !name.startsWith('my_relay.'))).toEqual([]);
  for (const name of ['my_relay.up', 'my_relay.streams_open', 'my_relay.data_age_seconds'])
    expect(names).toContain(name);
});

describe('the bundle of the image', () => {
  bundleRelay();

  const variables = { PORT: '0', LISTEN_HOST: '127.0.0.1', DRAIN_WINDOW: '0', ...environment };
  /** Says at the end whether the client library was evaluated: it makes its log for debugging then. */
  const tellLibrary = `--import=data:text/javascript,${encodeURIComponent(
    `import util from 'node:util';
    const { debuglog } = util;
    let loaded = false;
    util.debuglog = (name, ...more) => {
      loaded ||= name === 'hot-shots';
      return debuglog(name, ...more);
    };
    process.on('exit', () => process.stderr.write('hot-shots: ' + loaded));`,
  )}`;

  async function runToEnd(more: Record<string, string>, folder = bundled()) {
    const command = () => [process.execPath, join(folder, 'relay.mjs')] as const;
    const { child, output, exited } = runRelay({ ...variables, ...more, NODE_OPTIONS: tellLibrary }, [], { command });
    behind(() => child.kill('SIGKILL'));
    const port = await eventually(() => listeningPort(output().stdout));
    const headers = { Authorization: 'sdk-datadog-test' };
    expect((await fetch(`http://127.0.0.1:${port}/sdk/flags`, { headers })).status).toBe(200);
    child.kill('SIGTERM');
    expect(await exited).toBe(0);
    return output();
  }

  test('without USE_DATADOG loads nothing for it; with it, sends by UDP @heavy', async () => {
    expect((await runToEnd({})).stderr).toBe('hot-shots: false');
    const server = opened(await startUdpServer());
    const { stderr } = await runToEnd({ USE_DATADOG: 'true', DATADOG_STATS_ADDR: server.address });
    expect(stderr).toBe('hot-shots: true');
    await eventually(() => expect(server.metrics().map(({ name }) => name)).toContain('launchdarkly_relay.up'));
  });

  test('serves although Unix sockets need a package that it does not have, and one line says which @heavy', async () => {
    const { stdout, stderr } = await runToEnd({
      USE_DATADOG: 'true',
      DATADOG_STATS_ADDR: 'unix:///var/run/dsd.socket',
    });
    const lines = stdout.split('\n').filter((line) => line.includes('DATADOG_STATS_ADDR'));
    expect(lines).toEqual([
      expect.stringMatching(
        /"ERROR".*DATADOG_STATS_ADDR=unix:\/\/\/var\/run\/dsd\.socket cannot be used: .*unix-dgram.*DATADOG_STATS_ADDR=host:8125.*Cannot find package/,
      ),
    ]);
    expect(stderr).toBe('hot-shots: false');
  });

  const missing = [
    ...(spawnSync('python3', ['-c', '']).status === 0 ? [] : ['python3']),
    ...(spawnSync(process.execPath, ['-e', "require('unix-dgram')"], { cwd: root }).status === 0 ? [] : ['unix-dgram']),
  ];
  const describeIf = missing.length === 0 ? describe : describe.skip;
  describeIf(`a Unix socket (needs ${missing.join(', ') || 'what is installed'})`, () => {
    test("gets the metrics once the package is beside the bundle, and one that is not there is named by the system's word @heavy", async () => {
      const folder = mkdtempSync(join(tmpdir(), 'relay-'));
      behind(() => rmSync(folder, { recursive: true }));
      copyFileSync(join(bundled(), 'relay.mjs'), join(folder, 'relay.mjs'));
      for (const name of ['unix-dgram', 'bindings', 'file-uri-to-path']) {
        cpSync(join(root, 'node_modules', name), join(folder, 'node_modules', name), { recursive: true });
      }
      const server = opened(await startSocketServer(join(folder, 'dsd.socket')));
      await runToEnd({ USE_DATADOG: 'true', DATADOG_STATS_ADDR: server.address }, folder);
      await eventually(() => expect(server.metrics().map(({ name }) => name)).toContain('launchdarkly_relay.up'));

      const none = `unix://${join(folder, 'none.socket')}`;
      const { stdout } = await runToEnd({ USE_DATADOG: 'true', DATADOG_STATS_ADDR: none }, folder);
      const line = stdout.split('\n').find((text) => text.includes('Cannot send metrics'));
      expect(JSON.parse(line ?? '{}')).toMatchObject({
        message: expect.stringContaining(`DATADOG_STATS_ADDR=${none}`),
        reason: 'connect ENOENT',
      });
    });
  });
});
