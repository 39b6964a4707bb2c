/**
 * What ld-relay 9 counts of events and of first payloads, under its names, as a collector gets it.
 * https://github.com/launchdarkly/ld-relay/blob/v9/docs/metrics.md
 */
import { connect } from 'node:net';
import { createMetrics } from '../../../../relay-task/status/metrics.ts';
import { startOtlp } from '../../../../relay-task/status/otlp/start.ts';
import { eventually, until } from '../../../support/eventually.ts';
import { startFakeUpstream } from '../../../support/fake-upstream.ts';
import { flag } from '../../../support/items.ts';
import { silentLog } from '../../../support/logs.ts';
import { createMemory } from '../../../support/memory.ts';
import { closeAfterEach } from '../../../support/opened.ts';
import { type OtlpReceiver, startOtlpReceiver } from '../../../support/otlp-receiver.ts';
import { startTestRelay, type TestRelay } from '../../../support/start-relay.ts';
import { type Reaction, startLaunchDarkly } from '../../events/support.ts';
import { startHub } from '../../streams/start-hub.ts';

const sdkKey = 'sdk-00000000-1111-2222-3333-444455556666';
const { opened, behind } = closeAfterEach();

const lastOf = ({ metrics }: OtlpReceiver, name: string) => metrics.findLast((metric) => metric.name === name);
const pointsOf = (receiver: OtlpReceiver, name: string) =>
  (lastOf(receiver, name)?.points ?? []).map(({ attributes, value }) => ({ ...attributes, value }));

async function startSending(react: () => Reaction | Promise<Reaction>) {
  const receiver = opened(await startOtlpReceiver());
  const upstream = opened(await startFakeUpstream({ flags: {} }));
  const recorder = await startLaunchDarkly(react);
  const relay = opened(
    await startTestRelay({
      LD_ENV_production: sdkKey,
      STREAM_URI: upstream.uri,
      EVENTS_HOST: recorder.uri,
      USE_EVENTS: 'true',
      EVENTS_FLUSH_INTERVAL: '10ms',
      USE_OTLP: 'true',
      OTEL_TRACES_EXPORTER: 'none',
      OTEL_EXPORTER_OTLP_ENDPOINT: receiver.uri,
      OTEL_METRIC_EXPORT_INTERVAL: '50',
    }),
  );
  return { receiver, recorder, relay };
}

async function post({ uri }: TestRelay, path: string, body: unknown): Promise<void> {
  const headers = {
    Authorization: sdkKey,
    'Content-Type': 'application/json',
    'X-LaunchDarkly-Event-Schema': '4',
  };
  const response = await fetch(`${uri}${path}`, { method: 'POST', headers, body: JSON.stringify(body) });
  expect(response.status).toBe(202);
}

const events = (count: number) =>
  Array.from({ length: count }, (_, index) => ({
    kind: 'custom',
    key: `k${index}`,
    creationDate: 1,
    context: { kind: 'user', key: 'ü' },
  }));
const named = { 'launchdarkly.environment.name': 'production' };

test('events that LaunchDarkly has accepted, with the bytes of their payloads before compression', async () => {
  const { receiver, recorder, relay } = await startSending(() => 202);
  await post(relay, '/bulk', events(3));
  await eventually(() =>
    expect(pointsOf(receiver, 'launchdarkly.relay.events.sent')).toEqual([{ ...named, value: 3 }]),
  );
  // The relay tells LaunchDarkly about itself, too.
  const payloads = recorder.requests.filter(({ text }) => text.includes('"k0"'));
  expect(payloads).toHaveLength(1);
  const bytes = Buffer.byteLength(payloads[0]!.text);
  expect(lastOf(receiver, 'launchdarkly.relay.events.sent.size')).toMatchObject({
    unit: 'By',
    kind: 'sum',
    isMonotonic: true,
    points: [{ attributes: named, value: bytes }],
  });
  expect(lastOf(receiver, 'launchdarkly.relay.events.failed')).toBeUndefined();
});

test('events are pending while they wait and while LaunchDarkly does not answer, and no longer', async () => {
  let release: (status: number) => void = () => {};
  const answer = new Promise<number>((resolve) => {
    release = resolve;
  });
  const { receiver, relay } = await startSending(() => answer);
  await post(relay, '/bulk', events(2));
  await post(relay, '/bulk', events(5));
  await eventually(() =>
    expect(pointsOf(receiver, 'launchdarkly.relay.events.pending')).toEqual([{ ...named, value: 7 }]),
  );
  expect(lastOf(receiver, 'launchdarkly.relay.events.pending')).toMatchObject({ unit: '{event}', kind: 'gauge' });
  release(202);
  await eventually(() =>
    expect(pointsOf(receiver, 'launchdarkly.relay.events.pending')).toEqual([{ ...named, value: 0 }]),
  );
});

test.each([
  ['400', 400, { 'error.type': '400', 'http.response.status_code': 400 }],
  ['401 until it stops', 401, { 'error.type': '401', 'http.response.status_code': 401 }],
  ['no response', 'cut' as const, { 'error.type': '_OTHER' }],
])('%s: events have failed with their last status, and were not dropped besides', async (_, reaction, attributes) => {
  const { receiver, recorder, relay } = await startSending(() => reaction);
  await post(relay, '/bulk', events(2));
  await until('an attempt', () => recorder.requests.length > 0);
  // It is dropped at once.
  await post(relay, '/bulk', ['no event']);
  if (reaction === 400) await until('the last attempt', () => pointsOf(receiver, failed).length > 0);
  await relay.close();
  expect(pointsOf(receiver, failed)).toEqual([{ ...named, ...attributes, value: 2 }]);
  expect(lastOf(receiver, failed)).toMatchObject({ unit: '{event}', kind: 'sum', isMonotonic: true });
  expect(pointsOf(receiver, 'launchdarkly.relay.events.dropped')).toEqual([{ ...named, value: 1 }]);
});
const failed = 'launchdarkly.relay.events.failed';

test('streams that wait for their first payload, that are turned away and that give up @heavy', async () => {
  const receiver = opened(await startOtlpReceiver());
  const metrics = createMetrics();
  const exporter = { url: `${receiver.uri}/v1/metrics`, headers: undefined, timeoutMs: 5_000, compression: 'none' };
  const otlp = startOtlp({
    config: {
      serviceName: undefined,
      resourceAttributes: undefined,
      metrics: {
        exporter: { ...exporter, compression: 'none', caFile: undefined, certFile: undefined, keyFile: undefined },
        intervalMs: 50,
        timeoutMs: 50,
        temporality: 'cumulative',
        cardinalityLimit: 0,
        environmentStatus: false,
      },
      traces: undefined,
    },
    version: '1',
    measures: metrics.measures,
    outbound: { collectorAgent: () => undefined },
    log: silentLog,
    standing: () => undefined,
  });
  behind(() => otlp.close(1_000));
  // Linux buffers up to 4 MB at the sender and 6 MB at the receiver.
  const view = createMemory(flag('a', 1, { filler: 'x'.repeat(12 * 1024 * 1024) }));
  const { read, hub, port } = opened(
    await startHub(view, { maxInitialInFlight: 1, maxInitialWaiting: 1, placeMs: 3_600_000, meter: metrics.streams }),
  );
  metrics.watchPlaces(() => hub);
  const first = await read();
  first.pause();
  await until('it holds the place', () => hub.starting === 1);
  const impatient = connect(port, '127.0.0.1');
  impatient.write('GET /all HTTP/1.1\r\n\r\n');
  await until('the second waits', () => hub.waiting === 1);
  expect((await read()).status).toBe(503);
  const told = (name: string) => pointsOf(receiver, `launchdarkly.relay.init.${name}`);
  await eventually(() => {
    expect(told('slots.held')).toEqual([{ value: 1 }]);
    expect(told('queue.waiting')).toEqual([{ value: 1 }]);
    expect(told('admitted')).toEqual([{ value: 1 }]);
    expect(told('rejected')).toEqual([{ 'launchdarkly.relay.init.reason': 'budget_full', value: 1 }]);
    expect(told('sheds')).toEqual([{ 'launchdarkly.relay.init.transport': 'stream', value: 1 }]);
  });
  expect(
    ['slots.held', 'queue.waiting', 'admitted', 'rejected', 'sheds'].map((name) => {
      const { unit, kind } = lastOf(receiver, `launchdarkly.relay.init.${name}`)!;
      return [name, unit, kind];
    }),
  ).toEqual([
    ['slots.held', '{slot}', 'gauge'],
    ['queue.waiting', '{request}', 'gauge'],
    ['admitted', '{request}', 'sum'],
    ['rejected', '{request}', 'sum'],
    ['sheds', '{request}', 'sum'],
  ]);
  impatient.destroy();
  await until('it has given up', () => hub.waiting === 0);
  await hub.closeAll(0);
  await eventually(() => {
    expect(told('slots.held')).toEqual([{ value: 0 }]);
    // The other one has begun.
    expect(told('rejected')).toEqual([
      { 'launchdarkly.relay.init.reason': 'budget_full', value: 1 },
      { 'launchdarkly.relay.init.reason': 'client_gone', value: 1 },
    ]);
  });
  expect(told('admitted')).toEqual([{ value: 1 }]);
});

test('the last error of a connection has its kind and the status of the answer', async () => {
  const receiver = opened(await startOtlpReceiver());
  const upstream = opened(await startFakeUpstream({ flags: {} }));
  upstream.answer = { status: 401 };
  opened(
    await startTestRelay({
      LD_ENV_production: sdkKey,
      STREAM_URI: upstream.uri,
      USE_OTLP: 'true',
      OTEL_TRACES_EXPORTER: 'none',
      OTEL_ENVIRONMENT_STATUS_METRICS: 'true',
      OTEL_EXPORTER_OTLP_ENDPOINT: receiver.uri,
      OTEL_METRIC_EXPORT_INTERVAL: '50',
    }),
  );
  await eventually(() =>
    expect(pointsOf(receiver, 'launchdarkly.relay.environment.connection.last_error')).toMatchObject([
      { ...named, 'launchdarkly.relay.error.kind': 'ERROR_RESPONSE', 'http.response.status_code': 401 },
    ]),
  );
});
