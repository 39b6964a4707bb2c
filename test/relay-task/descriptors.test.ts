/** A relay whose clients take all the descriptors that the limit of open files leaves them. */
import { connect, type Socket } from 'node:net';
import { join } from 'node:path';
import { limitOf, maxConnectionsOf } from '../../relay-task/status/descriptors.ts';
import { eventually } from '../support/eventually.ts';
import { exampleFile } from '../support/example-environment.ts';
import { startFakeUpstream } from '../support/fake-upstream.ts';
import { freePort } from '../support/free-port.ts';
import { closeAfterEach } from '../support/opened.ts';
import { bundleRelay, listeningPort, runRelay } from '../support/relay-process.ts';

bundleRelay();

const { opened } = closeAfterEach();

const LIMIT = 200;
const sockets = new Set<Socket>();
afterEach(() => {
  for (const socket of sockets) socket.destroy();
  sockets.clear();
});

async function start(variables: Record<string, string> = {}) {
  const metricsPort = await freePort();
  const relay = runRelay(
    {
      ...{ PORT: '0', LISTEN_HOST: '127.0.0.1', DRAIN_WINDOW: '0', LOG_LEVEL: 'debug' },
      ...{ USE_PROMETHEUS: 'true', PROMETHEUS_PORT: String(metricsPort) },
      ...{ LD_ENV_local: 'sdk-descriptors', LD_FLAGS_FILE_local: exampleFile },
      ...variables,
    },
    [],
    {
      command: (bundle) => [
        ...(['sh', '-c', `ulimit -n ${LIMIT}; exec "$@"`, 'sh'] as const),
        ...[process.execPath, join(bundle, 'relay.mjs')],
      ],
    },
  );
  const port = await eventually(() => listeningPort(relay.output().stdout));
  const refusals = () =>
    relay
      .output()
      .stdout.split('\n')
      .filter((line) => line.includes('New connections are refused'));
  const endsInOrder = async () => {
    relay.child.kill('SIGTERM');
    expect(await relay.exited).toBe(0);
  };
  return { port, metricsPort, refusals, endsInOrder };
}

/** Resolves with whether it stays open: with the head of a stream, or of an answer. */
function knock(port: number, path: string): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect({ port, host: '127.0.0.1' });
    sockets.add(socket);
    socket.on('data', () => resolve(true));
    socket.on('error', () => resolve(false));
    socket.on('close', () => resolve(false));
    socket.write(`GET ${path} HTTP/1.1\r\nHost: a\r\nAuthorization: sdk-descriptors\r\n\r\n`);
  });
}

test('clients get all descriptors but a reserve; further ones are refused, counted and named in one line @heavy', async () => {
  const { port, metricsPort, refusals, endsInOrder } = await start();
  const most = maxConnectionsOf(LIMIT);
  for (let i = 0; i < most; i += 1) expect(await knock(port, '/all')).toBe(true);
  for (let i = 0; i < 10; i += 1) expect(await knock(port, '/all')).toBe(false);
  await eventually(() => expect(refusals()).toHaveLength(1));
  expect(JSON.parse(refusals()[0] ?? '')).toMatchObject({
    ...{ level: 'ERROR', limit: LIMIT, maxConnections: most, reason: expect.stringContaining('limit of open files') },
  });
  // The reserve serves metrics.
  const metrics = await (await fetch(`http://127.0.0.1:${metricsPort}/metrics`)).text();
  expect(metrics).toMatch(/^launchdarkly_relay_connections_refused_total\{reason="files"\} 10$/m);
  expect(metrics).toMatch(/^launchdarkly_relay_descriptors_exhausted 0$/m);
  await endsInOrder();
});

test('when no descriptor is left at all, one line says so @heavy', async () => {
  const upstream = opened(await startFakeUpstream({ flags: {}, segments: {} }));
  // Each has a connection to LaunchDarkly, and nothing limits those.
  const keys = Array.from({ length: LIMIT + 10 }, (_, i) => [`LD_ENV_e${i}`, `sdk-${i}`]);
  const { metricsPort, refusals, endsInOrder } = await start({
    ...{ STREAM_URI: upstream.uri, BASE_URI: upstream.uri },
    ...Object.fromEntries(keys),
  });
  await eventually(() => expect(refusals()).toHaveLength(1));
  expect(JSON.parse(refusals()[0] ?? '')).toMatchObject({ level: 'ERROR', reason: expect.stringContaining('EMFILE') });
  await upstream.close();
  await eventually(async () => {
    const metrics = await (await fetch(`http://127.0.0.1:${metricsPort}/metrics`)).text();
    expect(metrics).toMatch(/^launchdarkly_relay_descriptors_exhausted 0$/m);
  });
  expect(refusals()).toHaveLength(1);
  await endsInOrder();
});

test('the reserve is a sixteenth, at least 64 and at most half', () => {
  expect([100, 200, 1_024, 1_048_576].map(maxConnectionsOf)).toEqual([50, 136, 960, 983_040]);
  expect(limitOf('Max open files            1024                 4096                 files')).toBe(1_024);
  expect(limitOf('Max open files            unlimited            unlimited            files')).toBeUndefined();
  expect(limitOf('')).toBeUndefined();
});
