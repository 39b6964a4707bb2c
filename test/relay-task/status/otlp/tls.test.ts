/** How a collector is reached: TLS with its own files, headers, compression, a proxy; with the settings of each signal. */
import { writeFileSync } from 'node:fs';
import { type Authority, createAuthority } from '../../../support/authority.ts';
import { eventually, until } from '../../../support/eventually.ts';
import { exampleFile } from '../../../support/example-environment.ts';
import { startFakeProxy } from '../../../support/fake-proxy.ts';
import { closeAfterEach } from '../../../support/opened.ts';
import { type OtlpReceiver, startOtlpReceiver } from '../../../support/otlp-receiver.ts';
import { startTestRelay, type TestRelay } from '../../../support/start-relay.ts';

const sdkKey = 'sdk-00000000-1111-2222-3333-444455556666';
const { opened } = closeAfterEach();

let server: Authority;
let client: Authority & { readonly keyFile: string };

beforeAll(async () => {
  server = await createAuthority('collector.example', 'localhost');
  const made = await createAuthority('relay');
  const keyFile = made.file.replace('ca.pem', 'key.pem');
  writeFileSync(keyFile, made.key);
  client = { ...made, keyFile };
});
afterAll(() => {
  server.close();
  client.close();
});

/** `clients`: it takes only those with a certificate of this authority. */
const startTls = async (clients?: Authority) =>
  opened(
    await startOtlpReceiver({
      key: server.key,
      cert: server.cert,
      ...(clients && { ca: clients.cert, requestCert: true, rejectUnauthorized: true }),
    }),
  );

const start = async (variables: Record<string, string>, env: Record<string, string> = {}): Promise<TestRelay> =>
  opened(
    await startTestRelay(
      {
        LD_ENV_production: sdkKey,
        LD_FLAGS_FILE_production: exampleFile,
        USE_OTLP: 'true',
        OTEL_METRIC_EXPORT_INTERVAL: '50',
        ...variables,
      },
      { env },
    ),
  );

const arrives = ({ metrics }: OtlpReceiver) =>
  until('metrics', () => metrics.some(({ name }) => name === 'launchdarkly_relay_up'));
const failure = ({ lines }: TestRelay) =>
  eventually(() => {
    const line = lines.find(({ message }) => message.startsWith('Cannot send metrics to the OpenTelemetry collector'));
    expect(line).toBeDefined();
    return String(line!.fields.reason);
  });
const clientFiles = () => ({
  OTEL_EXPORTER_OTLP_CLIENT_CERTIFICATE: client.file,
  OTEL_EXPORTER_OTLP_CLIENT_KEY: client.keyFile,
});

test('a collector that wants a certificate gets it, with headers and gzip', async () => {
  const receiver = await startTls(client);
  await start({
    OTEL_EXPORTER_OTLP_ENDPOINT: receiver.uri,
    OTEL_EXPORTER_OTLP_CERTIFICATE: server.file,
    OTEL_EXPORTER_OTLP_HEADERS: 'api-key=a%20b,x-tenant=shop',
    OTEL_EXPORTER_OTLP_COMPRESSION: 'gzip',
    ...clientFiles(),
  });
  await arrives(receiver);
  expect(receiver.requests[0]!.headers).toMatchObject({
    'api-key': 'a b',
    'x-tenant': 'shop',
    'content-encoding': 'gzip',
  });
});

test.each([
  ['without a client certificate', () => ({}), /alert|ECONNRESET|EPIPE|socket hang up/],
  [
    'with the authority of another',
    () => ({ OTEL_EXPORTER_OTLP_CERTIFICATE: client.file, ...clientFiles() }),
    /certificate/,
  ],
])('%s nothing is sent, and the log says why', async (_, more, reason) => {
  const receiver = await startTls(client);
  const relay = await start({
    OTEL_EXPORTER_OTLP_ENDPOINT: receiver.uri,
    OTEL_EXPORTER_OTLP_CERTIFICATE: server.file,
    OTEL_TRACES_EXPORTER: 'none',
    ...more(),
  });
  expect(await failure(relay)).toMatch(reason);
  expect(receiver.requests).toEqual([]);
});

test('files that do not fit each other end the start, with the variables', async () => {
  await expect(
    start({
      OTEL_EXPORTER_OTLP_ENDPOINT: 'https://127.0.0.1:9',
      OTEL_EXPORTER_OTLP_CLIENT_CERTIFICATE: server.file,
      OTEL_EXPORTER_OTLP_CLIENT_KEY: client.keyFile,
    }),
  ).rejects.toMatchObject({ code: 'CONFIG_INVALID', message: expect.stringContaining('CLIENT_KEY') });
});

test("each signal may have its own collector, with its own files and headers, and the other's do not matter", async () => {
  const [metrics, traces] = [await startTls(client), opened(await startOtlpReceiver())];
  const relay = await start({
    OTEL_EXPORTER_OTLP_ENDPOINT: 'http://127.0.0.1:9',
    OTEL_EXPORTER_OTLP_HEADERS: 'x-of=both',
    OTEL_EXPORTER_OTLP_METRICS_ENDPOINT: `${metrics.uri}/ours?of=metrics`,
    OTEL_EXPORTER_OTLP_METRICS_HEADERS: 'x-of=metrics',
    OTEL_EXPORTER_OTLP_METRICS_CERTIFICATE: server.file,
    OTEL_EXPORTER_OTLP_METRICS_CLIENT_CERTIFICATE: client.file,
    OTEL_EXPORTER_OTLP_METRICS_CLIENT_KEY: client.keyFile,
    OTEL_EXPORTER_OTLP_TRACES_ENDPOINT: `${traces.uri}/v1/traces`,
    OTEL_EXPORTER_OTLP_TRACES_COMPRESSION: 'gzip',
  });
  await arrives(metrics);
  await fetch(`${relay.uri}/sdk/latest-all`, { headers: { Authorization: sdkKey } });
  await relay.close();
  expect(traces.spans.map(({ name }) => name)).toContain('GET /sdk/latest-all');
  expect(metrics.requests[0]).toMatchObject({ path: '/ours?of=metrics', headers: { 'x-of': 'metrics' } });
  expect(metrics.requests[0]!.headers).not.toHaveProperty('content-encoding');
  expect(traces.requests[0]!.headers).toMatchObject({ 'x-of': 'both', 'content-encoding': 'gzip' });
});

test.each([
  ['of the environment', 'HTTPS_PROXY'],
  ['of the configuration', 'PROXY_URL'],
])('a proxy %s is asked for a tunnel, through which the client certificate goes', async (_, name) => {
  const receiver = await startTls(client);
  const proxy = opened(await startFakeProxy(Number(new URL(receiver.uri).port)));
  await start(
    {
      OTEL_EXPORTER_OTLP_ENDPOINT: 'https://collector.example:4318',
      OTEL_EXPORTER_OTLP_CERTIFICATE: server.file,
      ...clientFiles(),
      ...(name === 'PROXY_URL' && { PROXY_URL: proxy.uri }),
    },
    name === 'HTTPS_PROXY' ? { HTTPS_PROXY: proxy.uri } : {},
  );
  await arrives(receiver);
  expect(new Set(proxy.asked.map(({ what }) => what))).toEqual(new Set(['CONNECT collector.example:4318']));
});

test.each([['http'], ['https']])(
  'a collector beside the relay, over %s, is not reached through a proxy',
  async (scheme) => {
    const receiver = scheme === 'https' ? await startTls() : opened(await startOtlpReceiver());
    const proxy = opened(await startFakeProxy(9));
    await start({
      OTEL_EXPORTER_OTLP_ENDPOINT: receiver.uri.replace('127.0.0.1', 'localhost'),
      OTEL_EXPORTER_OTLP_CERTIFICATE: server.file,
      PROXY_URL: proxy.uri,
    });
    await arrives(receiver);
    expect(proxy.asked.filter(({ what }) => what.includes('localhost'))).toEqual([]);
  },
);
