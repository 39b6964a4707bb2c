import { createMetrics } from '../../../relay-task/status/metrics.ts';
import { type MetricsServer, startMetricsServer } from '../../../relay-task/status/metrics-server.ts';

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

test('a port in use is named in the error', async () => {
  const again = startMetricsServer({ port: server.port, host: '127.0.0.1', text: metrics.text });
  await expect(again).rejects.toMatchObject({
    code: 'LISTEN_FAILED',
    message: expect.stringContaining(`${server.port}`),
  });
});
