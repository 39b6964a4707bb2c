/** Events reach the environment of LaunchDarkly whose client sent them, whatever happens to the relay's keys meanwhile. */
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { eventually } from '../support/eventually.ts';
import { type FakeUpstream, startFakeUpstream } from '../support/fake-upstream.ts';
import { closeAfterEach } from '../support/opened.ts';
import { hastyTimings } from '../support/rotating-sources.ts';
import { type SsmServer, startSsmServer } from '../support/ssm-server.ts';
import { startTestRelay, type TestRelay } from '../support/start-relay.ts';
import { custom, type Reaction, type Received, startLaunchDarkly } from './events/support.ts';

const [first, second] = ['sdk-00000000-0000-0000-0000-00000000000a', 'sdk-00000000-0000-0000-0000-00000000000b'];
const [mobile, newMobile] = ['mob-00000000-0000-0000-0000-00000000000a', 'mob-00000000-0000-0000-0000-00000000000b'];
const [id, newId] = ['aaaaaaaaaaaaaaaaaaaaaaaa', 'bbbbbbbbbbbbbbbbbbbbbbbb'];
const { opened, behind } = closeAfterEach();

type Credential = string;
type Recorder = Awaited<ReturnType<typeof startLaunchDarkly>>;

let ssm: SsmServer;
let upstream: FakeUpstream;
let recorder: Recorder;
beforeEach(async () => {
  ssm = opened(await startSsmServer());
  upstream = opened(await startFakeUpstream());
  recorder = await startLaunchDarkly();
  put('sdk-key', first);
  put('mobile-key', mobile);
  put('client-side-id', id);
});

const put = (name: string, value: string) => ssm.put(`/relay/shop/${name}`, value);

/** A key that another value has replaced is admitted until the relay closes. */
const patientTimings = {
  ...hastyTimings,
  ssm: { ...hastyTimings.ssm, timings: { ...hastyTimings.ssm?.timings, confirmMs: 3_600_000 } },
};

async function start(more: Record<string, string> = {}): Promise<TestRelay> {
  const relay = opened(
    await startTestRelay(
      {
        ...{ KEYS_FROM_SSM: '/relay', SSM_URL: ssm.endpoint, STREAM_URI: upstream.uri },
        ...{ USE_EVENTS: 'true', EVENTS_HOST: recorder.uri, EVENTS_FLUSH_INTERVAL: '20ms' },
        // Only those of SDKs are of interest here.
        DISABLE_INTERNAL_USAGE_METRICS: 'true',
        ...more,
      },
      { timings: patientTimings, secrets: [first, second, mobile, newMobile] },
    ),
  );
  // The last events are not waited for where they are refused or fail on purpose.
  behind(() => {
    recorder.mood.react = () => 202;
  });
  return relay;
}

/** Corrects or rotates the SDK key; the one before it has a grace time. */
async function rotate(relay: TestRelay): Promise<void> {
  put('previous-sdk-key', first);
  put('previous-sdk-key-until', new Date(Date.now() + 3_600_000).toISOString());
  put('sdk-key', second);
  await eventually(async () => expect(await post(relay, second, [custom('probe')])).toBe(202));
}

interface How {
  readonly headers?: Record<string, string>;
  readonly diagnostic?: boolean;
}

async function post(relay: TestRelay, credential: Credential, body: unknown, how: How = {}): Promise<number> {
  const { diagnostic = false } = how;
  const path = credential.startsWith('sdk')
    ? ['/bulk', '/diagnostic']
    : credential.startsWith('mob')
      ? ['/mobile', '/mobile/events/diagnostic']
      : [`/events/bulk/${credential}`, `/events/diagnostic/${credential}`];
  const response = await fetch(`${relay.uri}${path[Number(diagnostic)]}`, {
    method: 'POST',
    headers: {
      'Content-Type': 'application/json',
      'X-LaunchDarkly-Event-Schema': '4',
      ...(/^(sdk|mob)/.test(credential) && { Authorization: credential }),
      ...how.headers,
    },
    body: JSON.stringify(body),
  });
  await response.text();
  return response.status;
}

const admitted = (relay: TestRelay, ...credentials: Credential[]) =>
  eventually(async () => {
    for (const one of credentials) expect(await post(relay, one, [custom('probe')])).toBe(202);
  });

/** The credential that LaunchDarkly saw, in the header or in the path. */
const senderOf = ({ headers, path }: Pick<Received, 'headers' | 'path'>) =>
  headers.authorization ?? path.split('/').at(-1);

/** Which credentials brought this event to LaunchDarkly. */
const sendersOf = (key: string) =>
  recorder.requests
    .filter(({ status, events }) => status === 202 && JSON.stringify(events).includes(`"${key}"`))
    .map(senderOf);

/** LaunchDarkly accepts nothing with these credentials. */
const reactTo = (reaction: Reaction, ...credentials: Credential[]) => {
  recorder.mood.react = (request) => (credentials.includes(String(senderOf(request))) ? reaction : 202);
};

const saysEnvironments = (of: (sdkKey: string) => string) => {
  upstream.headersFor = ({ headers }) => ({ 'X-LD-EnvID': of(String(headers.authorization)) });
};

const feature = (key: string) => ({
  ...{ kind: 'feature', creationDate: 1_760_000_000_000, key: 'flag', version: 1, variation: 0, value: 1 },
  context: { kind: 'user', key },
});

test.each([
  ['says that they are of two environments', true],
  ['does not say whose they are', false],
])(
  'if an SDK key is corrected and LaunchDarkly %s, each event and diagnostic goes out under the key that it came with @heavy',
  async (_what, says) => {
    if (says) saysEnvironments((key) => (key === first ? 'another' : id));
    else put('client-side-id', id);
    const relay = await start();
    await admitted(relay, first);
    reactTo(503, first);
    expect(await post(relay, first, [custom('before')])).toBe(202);
    expect(await post(relay, first, { kind: 'diagnostic', id: 'diagnostic-before' }, { diagnostic: true })).toBe(202);
    await rotate(relay);
    expect(await post(relay, second, [custom('after')])).toBe(202);
    expect(await post(relay, second, { kind: 'diagnostic', id: 'diagnostic-after' }, { diagnostic: true })).toBe(202);
    // Clients of the earlier key have their grace time unless its data is known to be gone.
    expect(await post(relay, first, [custom('grace')])).toBe(says ? 503 : 202);
    await eventually(() =>
      expect([sendersOf('event-after'), sendersOf('diagnostic-after')]).toEqual([[second], [second]]),
    );
    expect(sendersOf('event-before')).toEqual([]);
    reactTo(202);
    await eventually(() =>
      expect([sendersOf('event-before'), sendersOf('diagnostic-before')]).toEqual([[first], [first]]),
    );
    if (!says) await eventually(() => expect(sendersOf('event-grace')).toEqual([first]));
  },
);

test('events of a key that LaunchDarkly no longer accepts go out under the new one if LaunchDarkly says that both are of one environment @heavy', async () => {
  saysEnvironments(() => id);
  const relay = await start();
  await admitted(relay, first);
  reactTo(401, first);
  expect(await post(relay, first, [custom('before')])).toBe(202);
  await eventually(() => expect(recorder.requests.filter(({ status }) => status === 401)).not.toEqual([]));
  await rotate(relay);
  expect(await post(relay, first, [custom('grace')])).toBe(202);
  await eventually(() => expect([sendersOf('event-before'), sendersOf('event-grace')]).toEqual([[second], [second]]));
});

test('events of a mobile key and of a client-side ID that were replaced go to the environment of those @heavy', async () => {
  const relay = await start();
  await admitted(relay, mobile, id);
  reactTo(503, mobile, id, newMobile, newId);
  for (const one of [mobile, id]) expect(await post(relay, one, [custom(`before-${one}`)])).toBe(202);
  put('mobile-key', newMobile);
  put('client-side-id', newId);
  await admitted(relay, newMobile, newId);
  for (const one of [mobile, id]) {
    expect(await post(relay, one, [custom(`after-${one}`)])).toBe(202);
    expect(await post(relay, one, { kind: 'diagnostic', id: `diagnostic-${one}` }, { diagnostic: true })).toBe(202);
  }
  reactTo(202);
  for (const one of [mobile, id]) {
    for (const key of [`event-before-${one}`, `event-after-${one}`, `diagnostic-${one}`])
      await eventually(() => expect(sendersOf(key)).toEqual([one]));
  }
});

test('each of two keys gets its own summary and every context described', async () => {
  const relay = await start();
  await admitted(relay, first);
  await rotate(relay);
  const headers = { 'X-LaunchDarkly-Event-Schema': '1' };
  for (const key of [first, second]) expect(await post(relay, key, [feature('alice')], { headers })).toBe(202);
  const taken = (kind: string) =>
    recorder.requests.flatMap((request) =>
      request.events.filter((event) => event.kind === kind).map((event) => [senderOf(request), event] as const),
    );
  await eventually(() =>
    expect(
      taken('summary')
        .map(([sender]) => sender)
        .sort(),
    ).toEqual([first, second]),
  );
  expect(
    taken('index')
      .map(([sender, { context }]) => [sender, context])
      .sort(),
  ).toEqual([
    [first, { kind: 'user', key: 'alice' }],
    [second, { kind: 'user', key: 'alice' }],
  ]);
  for (const [, { features }] of taken('summary'))
    expect(features).toMatchObject({ flag: { counters: [{ version: 1, count: 1 }] } });
});

test('events of mobile SDKs are sent although their environment has been removed @heavy', async () => {
  put('prefix', 'shop');
  const relay = await start();
  await admitted(relay, mobile);
  reactTo(503, mobile);
  expect(await post(relay, mobile, [custom('last')])).toBe(202);
  await eventually(() => expect(recorder.requests.filter(({ status }) => status === 503)).not.toEqual([]));
  // The same environment under another name.
  for (const name of ['sdk-key', 'mobile-key', 'client-side-id', 'prefix']) ssm.delete(`/relay/shop/${name}`);
  ssm.put('/relay/store/sdk-key', first);
  ssm.put('/relay/store/mobile-key', mobile);
  ssm.put('/relay/store/client-side-id', id);
  await eventually(async () => {
    const { environments } = (await (await fetch(`${relay.uri}/status`)).json()) as { environments: object };
    expect(Object.keys(environments)).toEqual(['store']);
  });
  reactTo(202);
  await eventually(() => expect(sendersOf('event-last')).toEqual([mobile]));
});

test('a client-side ID that was replaced gets its own goals', async () => {
  const asked: string[] = [];
  const goals = createServer(({ url }, response) => {
    asked.push(url ?? '');
    response.writeHead(200, { 'Content-Type': 'application/json' }).end(`[{"of":"${url}"}]`);
  });
  await new Promise<void>((resolve) => goals.listen(0, '127.0.0.1', resolve));
  behind(() => {
    goals.closeAllConnections();
    return new Promise((resolve) => goals.close(resolve));
  });
  const relay = await start({ CLIENT_SIDE_BASE_URI: `http://127.0.0.1:${(goals.address() as AddressInfo).port}` });
  await admitted(relay, id);
  put('client-side-id', newId);
  await admitted(relay, newId);
  for (const one of [id, newId]) {
    const response = await fetch(`${relay.uri}/sdk/goals/${one}`);
    expect([response.status, await response.json()]).toEqual([200, [{ of: `/sdk/goals/${one}` }]]);
  }
  expect(asked).toEqual([`/sdk/goals/${id}`, `/sdk/goals/${newId}`]);
});
