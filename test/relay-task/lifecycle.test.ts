/** A relay from start to exit: documented exit codes, signals, certificates and proxies. */
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { connect as connectTcp, createServer, type Server } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { connect as connectTls, createServer as createTlsServer } from 'node:tls';
import { GetItemCommand } from '@aws-sdk/client-dynamodb';
import { generate } from 'selfsigned';
import { sleep } from '../../relay-task/common/pause.ts';
import { startTable, type TestTable } from '../support/dynalite.ts';
import { eventually } from '../support/eventually.ts';
import { exampleFile } from '../support/example-environment.ts';
import { startFakeProxy } from '../support/fake-proxy.ts';
import { type FakeUpstream, startFakeUpstream } from '../support/fake-upstream.ts';
import { closeAfterEach } from '../support/opened.ts';
import { readStream } from '../support/read-stream.ts';
import { bundleRelay, listeningPort, type RelayProcess, runRelay } from '../support/relay-process.ts';
import { hastyTimings } from '../support/rotating-sources.ts';
import { startTestRelay } from '../support/start-relay.ts';

const sdkKey = 'sdk-00000000-1111-2222-3333-444455556666';
const authorized = { Authorization: sdkKey };
const flag = (version: number) => ({ key: 'a', version, on: false, variations: [1], salt: '' });

bundleRelay();

const { opened, behind } = closeAfterEach();

function temporaryDirectory(): string {
  const directory = mkdtempSync(join(tmpdir(), 'lifecycle-'));
  behind(() => rmSync(directory, { recursive: true }));
  return directory;
}

/** Killed after the test, whether it passes or not. */
function run(variables: Record<string, string>, options: Parameters<typeof runRelay>[2] = {}): RelayProcess {
  const all = {
    ...{ LISTEN_HOST: '127.0.0.1', PORT: '0', LD_ENV_shop: sdkKey, DRAIN_WINDOW: '0' },
    ...{ AWS_ACCESS_KEY_ID: 'local', AWS_SECRET_ACCESS_KEY: 'local' },
    ...variables,
  };
  const relay = runRelay(all, [], options);
  behind(async () => {
    relay.child.kill('SIGKILL');
    await relay.exited;
    expect(JSON.stringify(relay.output())).not.toContain(sdkKey);
  });
  return relay;
}

function linesOf({ output }: RelayProcess): { level: string; message: string }[] {
  return output()
    .stdout.split('\n')
    .filter((line) => line.startsWith('{'))
    .map((line) => JSON.parse(line));
}

const storeVariables = (table: TestTable, endpoint = table.endpoint) => ({
  ...{ USE_DYNAMODB: 'true', DYNAMODB_TABLE: table.tableName, DYNAMODB_URL: endpoint, LD_PREFIX_shop: 'shop' },
});

/** Whose lease it is; '' when it was released. */
async function leaseOwner(table: TestTable): Promise<string | undefined> {
  const Key = { namespace: { S: 'shop:$snapshot' }, key: { S: 'head' } };
  const { Item } = await table.client.send(new GetItemCommand({ TableName: table.tableName, Key }));
  return Item?.owner?.S;
}

async function storedVersion(table: TestTable): Promise<number | undefined> {
  const Key = { namespace: { S: 'shop:features' }, key: { S: 'a' } };
  const { Item } = await table.client.send(new GetItemCommand({ TableName: table.tableName, Key }));
  return Item && Number(Item.version?.N);
}

describe('the relay process', () => {
  let upstream: FakeUpstream;
  let table: TestTable;
  beforeEach(async () => {
    upstream = opened(await startFakeUpstream({ flags: { a: flag(1) } }));
    table = opened(await startTable());
  });

  test('with EXIT_ALWAYS fills the store without listening and exits with 0, or with 1 if there is no data or no store @heavy', async () => {
    const blocker = opened(closable(createServer()));
    const taken = String(await listen(blocker.server));
    const down = opened(await startFakeUpstream());
    down.answer = { status: 503 };
    const base = { EXIT_ALWAYS: 'true', STREAM_URI: upstream.uri, PORT: taken };
    const filling = run({ ...base, ...storeVariables(table), USE_PROMETHEUS: 'true', PROMETHEUS_PORT: taken });
    const dataless = run({ ...base, STREAM_URI: down.uri, INIT_TIMEOUT: '300ms' });
    const patient = run({ ...base, STREAM_URI: down.uri, INIT_TIMEOUT: '300ms', IGNORE_CONNECTION_ERRORS: 'true' });
    const storeless = run({
      ...{ ...base, ...storeVariables(table, 'http://127.0.0.1:9'), GRACEFUL_SHUTDOWN_TIMEOUT: '1s' },
    });

    expect(await filling.exited).toBe(0);
    expect(await storedVersion(table)).toBe(1);
    expect(await dataless.exited).toBe(1);
    expect(linesOf(dataless).at(-1)).toMatchObject({ level: 'ERROR', message: 'No data yet' });
    expect(await patient.exited).toBe(0);
    expect(linesOf(patient).at(-1)).toMatchObject({ level: 'WARN', message: 'No data yet' });
    expect(await storeless.exited).toBe(1);
    expect(linesOf(storeless)).toContainEqual(
      expect.objectContaining({ level: 'ERROR', message: 'Could not fill a store', environments: ['shop'] }),
    );
  });

  test('with EXIT_ON_ERROR exits if it gets no data in time, unless connection errors are ignored @heavy', async () => {
    upstream.answer = { status: 503 };
    const base = { STREAM_URI: upstream.uri, INIT_TIMEOUT: '300ms', EXIT_ON_ERROR: 'true' };
    const strict = run(base);
    const lenient = run({ ...base, IGNORE_CONNECTION_ERRORS: 'true' });
    expect(await strict.exited).toBe(1);
    expect(linesOf(strict)).toContainEqual(
      expect.objectContaining({ level: 'ERROR', message: 'Exiting, because EXIT_ON_ERROR is set' }),
    );
    expect(linesOf(strict).map(({ message }) => message)).not.toContainEqual(expect.stringContaining('keeps trying'));
    await eventually(() =>
      expect(linesOf(lenient)).toContainEqual(
        expect.objectContaining({ level: 'WARN', message: expect.stringMatching(/^No data yet; .*keeps trying/) }),
      ),
    );
    const port = listeningPort(lenient.output().stdout);
    expect((await fetch(`http://127.0.0.1:${port}/livez`)).status).toBe(200);
    upstream.answer = 'stream';
    await eventually(async () =>
      expect((await fetch(`http://127.0.0.1:${port}/sdk/flags/a`, { headers: authorized })).status).toBe(200),
    );
    lenient.child.kill('SIGTERM');
    expect(await lenient.exited).toBe(0);
  });

  test('waits for its data by a clock that no step moves @heavy', async () => {
    upstream.answer = 'silent';
    const relay = run({ STREAM_URI: upstream.uri, INIT_TIMEOUT: '1h', EXIT_ON_ERROR: 'true' }, { steppedClock: true });
    await upstream.connected(1);
    relay.child.send({ stepMs: 2 * 3_600_000 });
    const port = await eventually(() => listeningPort(relay.output().stdout));
    // It looks every few ms whether the time is over.
    await sleep(300);
    await upstream.event('put', { path: '/', data: { flags: { a: flag(1) }, segments: {} } });
    await eventually(async () => expect((await fetch(`http://127.0.0.1:${port}/readyz`)).status).toBe(200));
    relay.child.kill('SIGTERM');
    expect(await relay.exited).toBe(0);
  });

  test('on SIGTERM turns unready, rejects new streams, ends open ones over the drain window, flushes stores and frees the lease @heavy', async () => {
    const relay = run({
      ...{ STREAM_URI: upstream.uri, ...storeVariables(table), DRAIN_WINDOW: process.env.LONG ? '5s' : '2s' },
      ...{ METRICS_EMF: 'true', METRICS_EMF_INTERVAL: '1s', USE_PROMETHEUS: 'true', PROMETHEUS_PORT: '0' },
      ...{ USE_DATADOG: 'true', DATADOG_STATS_ADDR: '127.0.0.1:9', USE_OTLP: 'true', OTEL_TRACES_EXPORTER: 'none' },
      OTEL_EXPORTER_OTLP_ENDPOINT: 'http://user:pass@127.0.0.1:9',
    });
    const port = await eventually(() => listeningPort(relay.output().stdout));
    const uri = `http://127.0.0.1:${port}`;
    const isWriter = async (address: string) => {
      const { environments } = (await (await fetch(`${address}/status`)).json()) as {
        environments: { shop: { stores: { writer: boolean }[] } };
      };
      return environments.shop.stores[0]?.writer;
    };
    await eventually(async () => expect(await isWriter(uri)).toBe(true));
    expect(linesOf(relay)).toContainEqual(
      expect.objectContaining({
        message: expect.stringMatching(/^Relay listening on /),
        environments: ['shop'],
        stores: ['dynamoDB'],
        metrics: [
          expect.stringMatching(/^Prometheus on port [1-9]\d*$/),
          'Datadog at 127.0.0.1:9',
          expect.stringMatching(/^OTLP at http:\/\/(?!user:pass).*127\.0\.0\.1:9\/v1\/metrics$/),
          'CloudWatch in this log',
        ],
      }),
    );
    const other = opened(
      await startTestRelay({ LD_ENV_shop: sdkKey, STREAM_URI: upstream.uri, ...storeVariables(table) }),
    );
    expect(await isWriter(other.uri)).toBe(false);
    const count = 10;
    const streams = await Promise.all(
      Array.from({ length: count }, () => readStream({ port, path: '/all', headers: authorized })),
    );
    for (const stream of streams) await stream.next();
    const ends: number[] = [];
    const ended = streams.map(async (stream) => {
      const how = await stream.ended;
      ends.push(performance.now());
      return how;
    });
    await eventually(() => expect(relay.output().stdout).toContain(`"StreamsOpen":${count}`));
    await upstream.patch('flags', flag(2));
    await Promise.all(streams.map((stream) => stream.next()));

    const owner = await leaseOwner(table);
    relay.child.kill('SIGTERM');
    await eventually(async () => expect((await fetch(`${uri}/readyz`)).status).toBe(503));
    expect((await fetch(`${uri}/livez`)).status).toBe(200);
    const late = await readStream({ port, path: '/all', headers: authorized });
    expect(late).toMatchObject({ status: 503, headers: { 'retry-after': expect.stringMatching(/^\d+$/) } });
    expect(await Promise.all(ended)).toEqual(Array.from({ length: count }, () => 'clean'));
    // A busy machine may end them in fewer steps; test/relay-task/streams/hub.test.ts shows the spread with a clock of its own.
    if (process.env.LONG) expect(ends.at(-1)! - ends[0]!).toBeGreaterThan(2_250);
    expect(await relay.exited).toBe(0);
    expect(await storedVersion(table)).toBe(2);
    // Without being released a lease is free after 15 s only.
    expect(await leaseOwner(table)).not.toBe(owner);
    await eventually(async () => expect(await isWriter(other.uri)).toBe(true));

    const told = relay
      .output()
      .stdout.split('\n')
      .filter((line) => line.includes('"_aws"'))
      .map((line) => JSON.parse(line));
    expect(told[0]._aws.CloudWatchMetrics[0].Namespace).toBe('EdgeFlagRelay');
    expect(told.some((line) => line.StreamsOpen === count)).toBe(true);
  });

  test('exits cleanly on a signal during startup @heavy', async () => {
    upstream.answer = 'hang';
    const hanging = opened(closable(createServer()));
    const endpoint = `http://127.0.0.1:${await listen(hanging.server)}`;
    const relay = run({ STREAM_URI: upstream.uri, ...storeVariables(table, endpoint), LOG_LEVEL: 'debug' });
    // It is waiting for the store.
    await new Promise<void>((resolve) => hanging.server.once('connection', () => resolve()));
    relay.child.kill('SIGTERM');
    expect(await relay.exited).toBe(0);
  });
});

describe('with TLS,', () => {
  const certificate = async (name: string, ca?: { key: string; cert: string }) => {
    const { cert, private: key } = await generate([{ name: 'commonName', value: name }], {
      keyType: 'ec',
      ...(ca && { ca }),
      extensions: [{ name: 'subjectAltName', altNames: [{ type: 2, value: name }] }],
    });
    return { cert, key };
  };

  test('the listener rejects older TLS versions and takes a new certificate without a restart @heavy', async () => {
    const [first, second] = await Promise.all([certificate('first.example'), certificate('second.example')]);
    const directory = temporaryDirectory();
    const [certFile, keyFile] = [join(directory, 'cert.pem'), join(directory, 'key.pem')];
    const write = ({ cert, key }: { cert: string; key: string }) => {
      writeFileSync(certFile, cert);
      writeFileSync(keyFile, key);
    };
    write(first);
    const relay = opened(
      await startTestRelay(
        {
          ...{ LD_ENV_shop: sdkKey, LD_FLAGS_FILE_shop: exampleFile },
          ...{ TLS_ENABLED: 'true', TLS_CERT: certFile, TLS_KEY: keyFile, TLS_MIN_VERSION: '1.3' },
        },
        { timings: { certificateMs: 50 }, secrets: [first.key, second.key] },
      ),
    );
    const meet = (maxVersion: 'TLSv1.2' | 'TLSv1.3') =>
      new Promise<string>((resolve, reject) => {
        const options = { port: relay.port, host: '127.0.0.1', rejectUnauthorized: false, maxVersion };
        const socket = connectTls(options, () => {
          resolve(String(socket.getPeerCertificate().subject.CN));
          socket.destroy();
        });
        socket.on('error', reject);
      });
    await expect(meet('TLSv1.2')).rejects.toThrow(/protocol version|handshake/i);
    expect(await meet('TLSv1.3')).toBe('first.example');
    // Only half of the pair is new, so the current one stays.
    writeFileSync(certFile, second.cert);
    await eventually(() =>
      expect(relay.lines).toContainEqual(
        expect.objectContaining({ message: 'Cannot use the new TLS certificate; keeping the present one' }),
      ),
    );
    expect(await meet('TLSv1.3')).toBe('first.example');
    write(second);
    await eventually(async () => expect(await meet('TLSv1.3')).toBe('second.example'));
  });

  test('an invalid certificate fails the start with its name and leaves nothing open', async () => {
    const [first, second] = await Promise.all([certificate('first.example'), certificate('second.example')]);
    const directory = temporaryDirectory();
    const [certFile, keyFile] = [join(directory, 'cert.pem'), join(directory, 'key.pem')];
    writeFileSync(certFile, first.cert);
    writeFileSync(keyFile, second.key);
    const variables = { LD_ENV_shop: sdkKey, LD_FLAGS_FILE_shop: exampleFile, TLS_ENABLED: 'true', TLS_CERT: certFile };
    const options = { secrets: [first.key, second.key] };
    await expect(startTestRelay({ ...variables, TLS_KEY: keyFile }, options)).rejects.toMatchObject({
      code: 'CERTIFICATE_INVALID',
      message: expect.stringContaining('match each other'),
    });
    await expect(startTestRelay({ ...variables, TLS_KEY: '/nowhere/key.pem' }, options)).rejects.toMatchObject({
      code: 'CERTIFICATE_INVALID',
      message: expect.stringContaining('TLS_KEY=/nowhere/key.pem'),
    });
  });

  test('LaunchDarkly is reached through a CONNECT proxy and trusted only with PROXY_CA_CERTS @heavy', async () => {
    const upstream = opened(await startFakeUpstream({ flags: { a: flag(1) } }));
    const pair = await certificate('launchdarkly.example');
    const terminator = opened(
      closable(
        createTlsServer(pair, (socket) => {
          const inner = connectTcp(Number(new URL(upstream.uri).port));
          socket.pipe(inner).pipe(socket);
          for (const one of [socket, inner]) one.on('error', () => one.destroy());
        }),
      ),
    );
    const proxy = opened(await startFakeProxy(await listen(terminator.server)));
    const caFile = join(temporaryDirectory(), 'ca.pem');
    writeFileSync(caFile, pair.cert);
    const base = { LD_ENV_shop: sdkKey, STREAM_URI: 'https://launchdarkly.example' };
    const withAuth = { PROXY_AUTH_USER: 'relay', PROXY_AUTH_PASSWORD: 'p4ss-w0rd' };
    const relays = [
      // Configured by the relay's setting, then by the conventional variable.
      opened(await startTestRelay({ ...base, ...withAuth, PROXY_URL: proxy.uri, PROXY_CA_CERTS: caFile })),
      opened(
        await startTestRelay({ ...base, PROXY_CA_CERTS: caFile }, { env: { HTTPS_PROXY: proxy.uri }, secrets: [] }),
      ),
    ];
    for (const relay of relays) {
      await eventually(async () =>
        expect((await fetch(`${relay.uri}/sdk/flags/a`, { headers: authorized })).status).toBe(200),
      );
    }
    expect(proxy.asked).toEqual([
      {
        what: 'CONNECT launchdarkly.example:443',
        authorization: `Basic ${Buffer.from('relay:p4ss-w0rd').toString('base64')}`,
      },
      { what: 'CONNECT launchdarkly.example:443', authorization: undefined },
    ]);
    const doubting = opened(
      await startTestRelay({ ...base, PROXY_URL: proxy.uri }, { timings: hastyTimings, secrets: [pair.key] }),
    );
    await eventually(() =>
      expect(doubting.lines).toContainEqual(
        expect.objectContaining({
          fields: expect.objectContaining({ reason: expect.stringContaining('self-signed') }),
        }),
      ),
    );
    expect((await fetch(`${doubting.uri}/sdk/flags/a`, { headers: authorized })).status).toBe(503);
  });
});

test('Prometheus has its own port, which closes with the relay', async () => {
  const upstream = opened(await startFakeUpstream({ flags: { a: flag(1) } }));
  const relay = await startTestRelay({
    ...{ LD_ENV_shop: sdkKey, STREAM_URI: upstream.uri },
    ...{ USE_PROMETHEUS: 'true', PROMETHEUS_PORT: '0', PROMETHEUS_PREFIX: 'shop_relay' },
  });
  const uri = `http://127.0.0.1:${relay.metricsPort}/metrics`;
  try {
    expect((await fetch(`${relay.uri}/metrics`)).status).toBe(404);
    await eventually(async () => {
      await fetch(`${relay.uri}/sdk/flags/a`, { headers: authorized });
      expect(await (await fetch(uri)).text()).toContain('shop_relay_requests{');
    });
  } finally {
    await relay.close();
  }
  await expect(fetch(uri)).rejects.toThrow();
});

test('a broken flags file fails the start with its name and leaves nothing open, even if other environments are fine @heavy', async () => {
  const upstream = opened(await startFakeUpstream({ flags: { a: flag(1) } }));
  const table = opened(await startTable());
  const file = join(temporaryDirectory(), 'flags.json');
  writeFileSync(file, '{"flags": ');
  const variables = {
    ...{ LD_ENV_shop: sdkKey, STREAM_URI: upstream.uri, ...storeVariables(table) },
    ...{ LD_ENV_broken: 'sdk-broken-file', LD_FLAGS_FILE_broken: file, LD_PREFIX_broken: 'broken' },
  };
  await expect(startTestRelay(variables)).rejects.toMatchObject({
    code: 'FLAGS_FILE_INVALID',
    message: expect.stringContaining(file),
  });
  await eventually(() => expect(upstream.openStreams).toBe(0));
  const asked = upstream.requests.length;
  // The next relay gets the lease at once.
  writeFileSync(file, '{"flags": {}}');
  const next = opened(await startTestRelay(variables));
  await next.initialized();
  await next.stored();
  expect(await storedVersion(table)).toBe(1);
  expect(upstream.requests.length).toBe(asked + 1);
});

const closable = <T extends Server>(server: T) => ({
  server,
  close: () =>
    new Promise<void>((resolve) => {
      server.close(() => resolve());
      for (const socket of sockets.splice(0)) socket.destroy();
    }),
});
const sockets: { destroy(): void }[] = [];

async function listen(server: Server): Promise<number> {
  server.on('connection', (socket) => void sockets.push(socket));
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  return (server.address() as { port: number }).port;
}
