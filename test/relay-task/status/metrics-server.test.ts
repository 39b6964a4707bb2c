import { connect, type Socket } from 'node:net';
import { createMetrics } from '../../../relay-task/status/metrics.ts';
import {
  type MetricsServer,
  type MetricsServerOptions,
  startMetricsServer,
} from '../../../relay-task/status/metrics-server.ts';
import { eventually, roomy } from '../../support/eventually.ts';
import { startFakeUpstream } from '../../support/fake-upstream.ts';
import { flagData } from '../../support/items.ts';
import { closeAfterEach } from '../../support/opened.ts';
import { startTestRelay } from '../../support/start-relay.ts';

const { opened, behind } = closeAfterEach();
const metrics = createMetrics();
let server: MetricsServer;
beforeAll(async () => {
  server = await startMetricsServer({ port: 0, host: '127.0.0.1', text: metrics.text });
});
afterAll(async () => {
  await server.close();
  metrics.close();
});

test("GET /metrics returns Prometheus text with ld-relay's names", async () => {
  metrics.streams.opened('production', 'all', 'GoClient/7');
  const response = await fetch(`http://127.0.0.1:${server.port}/metrics`);
  expect(response.status).toBe(200);
  expect(response.headers.get('content-type')).toMatch(/^text\/plain; version=0\.0\.4/);
  expect(await response.text()).toContain(
    'launchdarkly_relay_connections{platformCategory="server",userAgent="GoClient_7",env="production"} 1',
  );
});

test.each([
  ['GET', '/', 404],
  ['GET', '/status', 404],
  ['POST', '/metrics', 405],
  ['GET', '/metrics?x=1', 200],
])('%s %s gets %i', async (method, path, status) => {
  expect((await fetch(`http://127.0.0.1:${server.port}${path}`, { method })).status).toBe(status);
});

test('a port in use is named in the error, with its setting', async () => {
  const again = startMetricsServer({ port: server.port, host: '127.0.0.1', text: metrics.text });
  await expect(again).rejects.toMatchObject({
    code: 'LISTEN_FAILED',
    message: `cannot listen for Prometheus metrics on port ${server.port} of 127.0.0.1: the port is in use; stop the other process or choose another PROMETHEUS_PORT`,
  });
});

const request = 'GET /metrics HTTP/1.1\r\nHost: a\r\n\r\n';

/** A connection that reads nothing until it is told to. */
function openSocket(port: number, bytes: string): Socket & { readonly received: string } {
  const socket = Object.assign(connect({ port, host: '127.0.0.1' }), { received: '' });
  behind(() => socket.destroy());
  socket.on('error', () => {});
  socket.pause();
  socket.on('data', (chunk: Buffer) => {
    socket.received += chunk;
  });
  socket.pause();
  socket.write(bytes);
  return socket;
}

/** Counts renderings; each is `bytes` long. */
async function startCounting({ bytes = 100, ...options }: Partial<MetricsServerOptions> & { bytes?: number } = {}) {
  let renderings = 0;
  const started = opened(
    await startMetricsServer({
      ...{ port: 0, host: '127.0.0.1', shareMs: 3_600_000, deadlineMs: 3_600_000 },
      text: async () => {
        renderings += 1;
        return { contentType: 'text/plain', body: 'x'.repeat(bytes) };
      },
      ...options,
    }),
  );
  return { port: started.port, renderings: () => renderings };
}

const closed = (socket: Socket) => eventually(() => expect(socket.destroyed).toBe(true));
const countAnswers = ({ received }: { readonly received: string }) => received.split('HTTP/1.1 200').length - 1;

test('of 1,900 requests in one packet one is answered, and twelve such connections share one rendering', async () => {
  const { port, renderings } = await startCounting({ bytes: 50_000 });
  const flooding = Array.from({ length: 12 }, () => openSocket(port, request.repeat(1_900)));
  const answer = await fetch(`http://127.0.0.1:${port}/metrics`);
  expect((await answer.text()).length).toBe(50_000);
  for (const socket of flooding) {
    socket.resume();
    await closed(socket);
    expect(countAnswers(socket)).toBe(1);
  }
  expect(renderings()).toBe(1);
});

test('metrics are read again once the shared text is too old', async () => {
  const { port, renderings } = await startCounting({ shareMs: 0 });
  for (let i = 0; i < 3; i++) await (await fetch(`http://127.0.0.1:${port}/metrics`)).text();
  expect(renderings()).toBe(3);
});

test('at most 16 connections are open: one more closes the oldest and is answered', async () => {
  const { port } = await startCounting();
  const silent: Socket[] = [];
  for (let i = 0; i < 17; i++) {
    const socket = openSocket(port, '');
    // A paused socket does not see that it was closed.
    socket.resume();
    silent.push(socket);
    await new Promise((resolve) => socket.once('connect', resolve));
  }
  await closed(silent[0]!);
  expect((await fetch(`http://127.0.0.1:${port}/metrics`)).status).toBe(200);
  await closed(silent[1]!);
  expect(silent.slice(2).filter(({ destroyed }) => destroyed)).toEqual([]);
});

test.each([
  ['nothing', ''],
  ['half a head', 'GET /metrics HTTP/1.1\r\n'],
])('a connection that sends %s is closed at its deadline', async (_, bytes) => {
  const { port, renderings } = await startCounting({ deadlineMs: 50 });
  const socket = openSocket(port, bytes);
  socket.resume();
  await closed(socket);
  expect([socket.received, renderings()]).toEqual(['', 0]);
});

test('a connection that asks again and again and reads nothing is closed at its deadline', async () => {
  // More than the system's buffers take.
  const { port, renderings } = await startCounting({ bytes: 16 * 1024 * 1024, deadlineMs: roomy(200) });
  const socket = openSocket(port, request);
  // Only who writes sees that the other side is gone without reading.
  const asking = setInterval(() => socket.write(request), 10);
  behind(() => clearInterval(asking));
  await closed(socket);
  expect([socket.received, renderings()]).toEqual(['', 1]);
});

test('HEAD gets the head alone, and what is not parsed does not keep the connection open', async () => {
  const { port } = await startCounting();
  const socket = openSocket(port, 'HEAD /metrics HTTP/1.1\r\nHost: a\r\n\r\nnonsense');
  socket.resume();
  await closed(socket);
  const [first, ...more] = socket.received.split('\r\n');
  expect(first).toBe('HTTP/1.1 200 OK');
  expect(more).toEqual(expect.arrayContaining(['Content-Length: 100', 'Connection: close']));
  expect(more.slice(-2)).toEqual(['', '']);
});

test('a rendering that fails gets 500, and the next is tried', async () => {
  let fails = true;
  const { port } = await startCounting({
    shareMs: 0,
    text: async () => {
      if (fails) throw new Error('no metrics');
      return { contentType: 'text/plain', body: 'x' };
    },
  });
  expect((await fetch(`http://127.0.0.1:${port}/metrics`)).status).toBe(500);
  fails = false;
  expect((await fetch(`http://127.0.0.1:${port}/metrics`)).status).toBe(200);
});

test("a relay's own port answers while its metrics port is flooded by clients that do not read @heavy", async () => {
  const upstream = opened(await startFakeUpstream({ flags: { f: flagData('f', 1) }, segments: {} }));
  const relay = opened(
    await startTestRelay({
      ...{ STREAM_URI: upstream.uri, LD_ENV_one: 'sdk-one' },
      ...{ USE_PROMETHEUS: 'true', PROMETHEUS_PORT: '0' },
    }),
  );
  const port = relay.metricsPort ?? 0;
  const flooding = Array.from({ length: 12 }, () => openSocket(port, request.repeat(1_900)));
  expect((await fetch(`${relay.uri}/livez`)).status).toBe(200);
  expect(await (await fetch(`http://127.0.0.1:${port}/metrics`)).text()).toContain('launchdarkly_relay_up 1');
  expect((await fetch(`${relay.uri}/livez`)).status).toBe(200);
  for (const socket of flooding) {
    socket.resume();
    await closed(socket);
    expect(countAnswers(socket)).toBe(1);
  }
});
