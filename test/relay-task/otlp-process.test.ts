/** OpenTelemetry in the bundle of the image: what is loaded only when it is switched on is in it. */
import { eventually, until } from '../support/eventually.ts';
import { exampleFile } from '../support/example-environment.ts';
import { closeAfterEach } from '../support/opened.ts';
import { startOtlpReceiver } from '../support/otlp-receiver.ts';
import { bundleRelay, listeningPort, runRelay } from '../support/relay-process.ts';

bundleRelay();

const { opened, behind } = closeAfterEach();
const sdkKey = 'sdk-00000000-1111-2222-3333-444455556666';

test('the bundle as a process sends metrics and spans, and on SIGTERM what is left', async () => {
  const receiver = opened(await startOtlpReceiver());
  const relay = runRelay({
    PORT: '0',
    LISTEN_HOST: '127.0.0.1',
    DRAIN_WINDOW: '0',
    LD_ENV_local: sdkKey,
    LD_FLAGS_FILE_local: exampleFile,
    USE_OTLP: 'true',
    OTEL_EXPORTER_OTLP_ENDPOINT: receiver.uri,
    OTEL_EXPORTER_OTLP_COMPRESSION: 'gzip',
    OTEL_METRIC_EXPORT_INTERVAL: '100',
    OTEL_SERVICE_NAME: 'bundled',
  });
  behind(async () => {
    relay.child.kill('SIGKILL');
    await relay.exited;
  });
  await until('metrics', () => receiver.metrics.some(({ name }) => name === 'launchdarkly_relay_up'));
  const port = await eventually(() => listeningPort(relay.output().stdout));
  const response = await fetch(`http://127.0.0.1:${port}/sdk/latest-all`, { headers: { Authorization: sdkKey } });
  expect(response.status).toBe(200);
  relay.child.kill('SIGTERM');
  expect(await relay.exited).toBe(0);
  expect(receiver.spans.map(({ name }) => name)).toContain('GET /sdk/latest-all');
  const requests = receiver.metrics.findLast(({ name }) => name === 'launchdarkly.relay.requests');
  expect(requests?.points).toMatchObject([{ attributes: { 'http.route': '/sdk/latest-all' }, value: 1 }]);
  expect(requests?.resource['service.name']).toBe('bundled');
});
