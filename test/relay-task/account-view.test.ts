/**
 * What LaunchDarkly is told about the relay itself. Expected values: what ld-relay 8.10.1 sent to a receiver of events, in the fixture,
 * which names the sources of each shape.
 */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { parseConfig } from '../../relay-task/config/config.ts';
import type { EnvironmentEvents } from '../../relay-task/events/forwarding.ts';
import { createUsage } from '../../relay-task/events/usage.ts';
import type { CredentialKind } from '../../relay-task/ports.ts';
import { createAccountView } from '../../relay-task/wiring/account-view.ts';
import type { Tenant } from '../../relay-task/wiring/tenant.ts';
import { eventually, turnsOfLoop } from '../support/eventually.ts';
import { type FakeUpstream, startFakeUpstream } from '../support/fake-upstream.ts';
import { closeAfterEach } from '../support/opened.ts';
import { startTestRelay, type TestRelay } from '../support/start-relay.ts';
import { startLaunchDarkly } from './events/support.ts';

const { opened, behind } = closeAfterEach();

interface Sent {
  readonly path: string;
  readonly headers: Readonly<Record<string, string>>;
  readonly body: unknown;
}

const ofLdRelay = JSON.parse(
  readFileSync(join(import.meta.dirname, '../fixtures/relay-usage/ld-relay-8.10.1.json'), 'utf8'),
) as { readonly requests: readonly Sent[] };
const sentTo = (path: string) => ofLdRelay.requests.filter((request) => request.path === path);
const [firstUsage, secondUsage] = sentTo('/bulk').map(({ body }) => (body as UsageEvent[])[0]!);

type Counts = readonly { readonly userAgent: string; readonly platformCategory: string }[];
interface UsageEvent {
  readonly kind: string;
  readonly relayId: string;
  readonly startDate: number;
  readonly endDate: number;
  readonly connections?: Counts;
  readonly newConnections?: Counts;
  readonly pollingCounts?: Counts;
}

const byName = (counts: Counts = []) => [...counts].sort((a, b) => a.userAgent.localeCompare(b.userAgent));
const sorted = ({ connections, newConnections, pollingCounts, ...rest }: UsageEvent) => ({
  ...rest,
  connections: byName(connections),
  newConnections: byName(newConnections),
  pollingCounts: byName(pollingCounts),
});

describe('the usage of one environment', () => {
  const answered = { environment: 'production', method: 'GET', status: 200, durationMs: 1 };
  const php = { ...answered, credential: 'sdkKey' as CredentialKind, family: 'PHPClient/6.0.0' };

  test("is told in ld-relay's fields, with its values and in their order", () => {
    const times = [firstUsage!.startDate, firstUsage!.endDate, secondUsage!.endDate];
    const usage = createUsage(firstUsage!.relayId, () => times.shift()!);
    usage.begin('production');
    for (let i = 0; i < 2; i++) usage.opened('production', 'NodeJSClient/9.4.0', 'sdkKey');
    usage.opened('production', 'AndroidClient/5.0.0', 'mobileKey');
    usage.answered({ ...php, route: '/sdk/flags' });
    usage.answered({ ...php, route: '/sdk/flags/{key}' });
    const first = usage.take('production');
    usage.answered({ ...php, route: '/sdk/flags' });
    const second = usage.take('production');
    expect([first, second].map((event) => sorted(event as UsageEvent))).toEqual([
      sorted(firstUsage!),
      sorted(secondUsage!),
    ]);
    expect(Object.keys(first ?? {})).toEqual(Object.keys(firstUsage!));
  });

  test('is told only if something happened or a stream is open, and covers the time since the last look', () => {
    let time = 1_000;
    const usage = createUsage('id', () => time);
    usage.begin('production');
    time = 2_000;
    expect(usage.take('production')).toBeUndefined();
    usage.opened('production', 'other', 'sdkKey');
    usage.closed('production', 'other', 'sdkKey');
    time = 3_000;
    const client = { userAgent: 'other', platformCategory: 'server' };
    expect(usage.take('production')).toEqual({
      ...{ kind: 'relayMetrics', relayId: 'id', startDate: 2_000, endDate: 3_000 },
      newConnections: [{ ...client, count: 1 }],
    });
    expect(usage.take('production')).toBeUndefined();
    usage.opened('production', 'other', 'sdkKey');
    usage.take('production');
    expect(usage.take('production')?.connections).toEqual([{ ...client, current: 1 }]);
  });

  test('has no polls of browsers, failed ones or requests that are none, and nothing of other environments', () => {
    const usage = createUsage('id');
    usage.begin('production');
    usage.answered({ ...php, route: '/sdk/flags', status: 401 });
    usage.answered({ ...php, route: '/bulk' });
    usage.answered({ ...php, route: '/sdk/flags', credential: 'environmentId' });
    usage.answered({ ...php, route: '/sdk/flags', environment: 'staging' });
    usage.opened('staging', 'other', 'sdkKey');
    expect(usage.take('production')).toBeUndefined();
    expect(usage.take('staging')).toBeUndefined();
  });
});

const SDK_KEY = 'sdk-00000000-1111-2222-3333-444455556666';
/** They never come by themselves. */
const NEVER_MS = 2 ** 30;

let upstream: FakeUpstream;
let launchDarkly: Awaited<ReturnType<typeof startLaunchDarkly>>;

async function start(
  variables: Record<string, string> = {},
  timings: { usageMs?: number; diagnosticsMs?: number } = {},
) {
  launchDarkly = await startLaunchDarkly();
  upstream = opened(await startFakeUpstream());
  return opened(
    await startTestRelay(
      {
        ...{ LD_ENV_production: SDK_KEY, STREAM_URI: upstream.uri, EVENTS_HOST: launchDarkly.uri },
        ...{ USE_EVENTS: 'true', EVENTS_FLUSH_INTERVAL: '20ms', ...variables },
      },
      { timings: { usageMs: 20, diagnosticsMs: NEVER_MS, ...timings } },
    ),
  );
}

/** Resolves when the stream is open; it is closed after the test. */
async function openStream(relay: TestRelay): Promise<void> {
  const controller = new AbortController();
  behind(() => controller.abort());
  const headers = { Authorization: SDK_KEY, 'User-Agent': 'NodeJSClient/9.4.0' };
  const response = await fetch(`${relay.uri}/all`, { headers, signal: controller.signal });
  expect(response.status).toBe(200);
}

test('a relay sends its usage as ld-relay does: path, key, headers, schema, one event in an array; SDKs by name and major version', async () => {
  const relay = await start();
  await relay.initialized();
  await openStream(relay);
  const [event, request] = await eventually(() => {
    const found = launchDarkly.requests.find(({ path }) => path === '/bulk');
    if (!found) throw new Error('nothing was sent');
    return [(found.events as unknown as UsageEvent[])[0]!, found] as const;
  });
  const [expected] = sentTo('/bulk');
  const { authorization, ...names } = expected!.headers;
  expect(request.headers.authorization).toBe(authorization);
  for (const name of ['content-encoding', 'content-type', 'x-launchdarkly-event-schema']) {
    expect([name, request.headers[name]]).toEqual([name, names[name]]);
  }
  expect(request.headers['x-launchdarkly-payload-id']).toMatch(/^[\da-f-]{36}$/);
  expect(request.events).toHaveLength(1);
  const client = { userAgent: 'NodeJSClient_9', platformCategory: 'server' };
  expect(event).toEqual({
    kind: 'relayMetrics',
    relayId: expect.stringMatching(/^[\da-f]{8}(-[\da-f]{4}){3}-[\da-f]{12}$/),
    startDate: expect.any(Number),
    endDate: expect.any(Number),
    connections: [{ ...client, current: 1 }],
    newConnections: [{ ...client, count: 1 }],
  });
  expect(event.endDate).toBeGreaterThanOrEqual(event.startDate);
  // What the relay itself says counts as nobody's events.
  const { body } = await relay.metrics.text();
  expect(body).not.toMatch(/events_(received|forwarded)_total\{/);
});

test('usage that cannot be delivered is told by the next event, and never twice', async () => {
  const relay = await start({}, { usageMs: 20 });
  let answered = 0;
  launchDarkly.mood.react = ({ path }) => (path === '/bulk' && answered++ < 1 ? 500 : 202);
  await relay.initialized();
  for (let i = 0; i < 3; i++) await fetch(`${relay.uri}/sdk/flags`, { headers: { Authorization: SDK_KEY } });
  const polled = () =>
    launchDarkly
      .taken('/bulk')
      .flatMap(({ pollingCounts = [] }) => pollingCounts as readonly { readonly count: number }[])
      .reduce((sum, { count }) => sum + count, 0);
  await eventually(() => expect(polled()).toBe(3));
  await turnsOfLoop();
  expect(polled()).toBe(3);
});

test("the first diagnostic event has the fields of ld-relay's, and the relay's own values", async () => {
  const relay = await start({ EVENTS_CAPACITY: '77', INIT_TIMEOUT: '9s' }, { usageMs: NEVER_MS });
  await relay.initialized();
  const request = await eventually(() => {
    const found = launchDarkly.requests.find(({ path }) => path === '/diagnostic');
    if (!found) throw new Error('nothing was sent');
    return found;
  });
  const [expected] = sentTo('/diagnostic');
  const event = request.events as unknown as Record<string, Record<string, unknown>>;
  const ofLdRelays = expected!.body as Record<string, Record<string, unknown>>;
  expect(request.headers).toMatchObject({ authorization: SDK_KEY, 'content-encoding': 'gzip' });
  expect(Object.keys(event).sort()).toEqual(Object.keys(ofLdRelays).sort());
  expect(event).toMatchObject({
    kind: 'diagnostic-init',
    id: { diagnosticId: expect.stringMatching(/^[\da-f-]{36}$/), sdkKeySuffix: ofLdRelays.id!.sdkKeySuffix },
    sdk: { name: 'edge-flag-relay', version: '0.0.0-test' },
    platform: { name: 'Node', nodeVersion: process.versions.node },
  });
  const types = (fields: Record<string, unknown> = {}) =>
    Object.entries(fields).map(([name, value]) => [name, typeof value]);
  // The relay may also poll, so it says whether that address is its own.
  const { customBaseURI, ...configuration } = event.configuration!;
  expect(types(configuration).sort()).toEqual(types(ofLdRelays.configuration).sort());
  expect({ customBaseURI, ...configuration }).toMatchObject({
    ...{ customBaseURI: false, customStreamURI: true, customEventsURI: true, dataStoreType: 'memory' },
    ...{ eventsCapacity: 77, startWaitMillis: 9_000, streamingDisabled: false, usingProxy: false },
  });
  expect(JSON.stringify(request.events)).not.toContain(SDK_KEY);
});

test('later diagnostic events tell how the stream did since the one before', async () => {
  const relay = await start({}, { usageMs: 10, diagnosticsMs: 30 });
  await relay.initialized();
  interface Periodic {
    readonly kind: string;
    readonly id: unknown;
    readonly creationDate: number;
    readonly dataSinceDate: number;
    readonly streamInits: readonly { timestamp: number; failed: boolean; durationMillis: number }[];
  }
  const sent = () => launchDarkly.taken('/diagnostic') as unknown as Periodic[];
  const initsIn = (events: readonly Periodic[]) => events.flatMap(({ streamInits = [] }) => streamInits);
  await eventually(() => {
    expect(sent().length).toBeGreaterThan(2);
    expect(initsIn(sent())).not.toEqual([]);
  });
  const [init, ...periodic] = sent();
  expect(init!.kind).toBe('diagnostic-init');
  // go-sdk-events 3.4, `CreateStatsEventAndReset`
  expect(periodic[0]).toEqual({
    kind: 'diagnostic',
    id: init!.id,
    creationDate: expect.any(Number),
    dataSinceDate: init!.creationDate,
    ...{ droppedEvents: 0, deduplicatedUsers: 0, eventsInLastBatch: 0 },
    streamInits: expect.any(Array),
  });
  const [, ofLdRelays] = sentTo('/diagnostic').map(({ body }) => body as Periodic);
  expect(Object.keys(periodic[0]!).sort()).toEqual(Object.keys(ofLdRelays!).sort());
  expect(periodic[1]!.dataSinceDate).toBe(periodic[0]!.creationDate);
  const inits = initsIn(periodic);
  expect(inits).toEqual([{ timestamp: expect.any(Number), failed: false, durationMillis: expect.any(Number) }]);
  expect(Object.keys(inits[0]!).sort()).toEqual(Object.keys(ofLdRelays!.streamInits[0]!).sort());
  expect(inits[0]!.durationMillis).toBeGreaterThanOrEqual(0);
});

test.each([
  ['it is switched off', { DISABLE_INTERNAL_USAGE_METRICS: 'true' }],
  ['events are not forwarded', { USE_EVENTS: 'false' }],
])('LaunchDarkly is told nothing if %s', async (_, variables) => {
  const hasty = { usageMs: 5, diagnosticsMs: 5 };
  const silent = await start(variables, hasty);
  const untold = launchDarkly;
  await silent.initialized();
  await openStream(silent);
  // Another relay with the same timings, started later, has told much by then.
  const telling = await start({}, hasty);
  await openStream(telling);
  await eventually(() => expect(launchDarkly.taken('/bulk').length).toBeGreaterThan(3));
  await silent.close();
  expect(untold.requests).toEqual([]);
});

test('an offline relay tells nothing, whatever else is set', () => {
  const viewOf = (variables: Record<string, string>) =>
    createAccountView({ config: parseConfig(variables).config, version: '1', env: {} });
  expect(viewOf({ FILE_DATA_SOURCE: '/archive.tar.gz', USE_EVENTS: 'true' })).toBeUndefined();
  expect(opened(viewOf({ LD_ENV_a: 'sdk-a', USE_EVENTS: 'true' })!)).toBeDefined();
});

test('another SDK key is told with its own first diagnostic event, and an environment with a flags file tells nothing', async () => {
  const { config } = parseConfig({ LD_ENV_a: 'sdk-a', USE_EVENTS: 'true' });
  const sent: unknown[] = [];
  const events = {
    async own(sdkKey: string, { what, json }: { readonly what: string; readonly json: string }) {
      const { kind, id } = JSON.parse(json) as {
        readonly kind: string;
        readonly id: { readonly sdkKeySuffix: string };
      };
      sent.push([sdkKey, what, kind, id.sdkKeySuffix]);
    },
  } as unknown as EnvironmentEvents;
  const tenantOf = (name: string, description: object) => ({ name, description }) as unknown as Tenant;
  const view = opened(createAccountView({ config, version: '1', env: {}, timings: { usageMs: 5 } })!);
  const description = { sdkKey: 'sdk-of-before-111111' };
  view.add(tenantOf('file', { sdkKey: 'sdk-file', flagsFile: 'flags.json' }), events);
  view.add(tenantOf('a', description), events);
  const first = ['sdk-of-before-111111', 'diagnostics', 'diagnostic-init', '111111'];
  expect(sent).toEqual([first]);
  description.sdkKey = 'sdk-of-now-222222';
  await eventually(() =>
    expect(sent).toEqual([first, ['sdk-of-now-222222', 'diagnostics', 'diagnostic-init', '222222']]),
  );
});
