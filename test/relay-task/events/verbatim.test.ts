import { Agent } from 'node:http';
import { init } from '@launchdarkly/node-server-sdk';
import { eventually } from '../../support/eventually.ts';
import { type FlagData, startFakeUpstream } from '../../support/fake-upstream.ts';
import { silentLog } from '../../support/logs.ts';
import { flagData } from '../upstream/support.ts';
import {
  closeLater,
  custom,
  ENVIRONMENT_ID,
  FROM,
  MOBILE_KEY,
  NEVER_MS,
  SDK_KEY,
  send,
  startEnvironment,
  startInbound,
  startLaunchDarkly,
  user,
} from './support.ts';

const UUID = /^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$/;

describe('summarised events', () => {
  test('of the official Node SDK reach LaunchDarkly exactly as sent, diagnostics included', async () => {
    const data: FlagData = { flags: { a: flagData('a', 3, { trackEvents: true }), b: flagData('b', 4) }, segments: {} };
    const upstream = await startFakeUpstream(data);
    closeLater(() => upstream.close());
    const launchDarkly = await startLaunchDarkly();
    const { intake, measured } = startEnvironment(launchDarkly.uri);
    const sent: string[] = [];
    const diagnosed: string[] = [];
    const inbound = await startInbound({
      closed: false,
      analytics(events) {
        sent.push(events.body.toString());
        return intake.analytics(events);
      },
      diagnostic(events) {
        diagnosed.push(events.body.toString());
        intake.diagnostic(events);
      },
    });
    const client = init('sdk-of-the-client', {
      streamUri: upstream.uri,
      baseUri: upstream.uri,
      eventsUri: inbound.uri,
      logger: silentLog,
      application: { id: 'shop', version: '7' },
      wrapperName: 'wrapped',
    });
    await client.waitForInitialization({ timeout: 60 });
    for (const key of ['alice', 'bob', 'alice']) {
      await client.variation('a', user(key, { name: 'ü\u{1F600}' }), false);
      await client.variation('b', user(key), false);
    }
    await client.variation('no such flag', user('alice'), 5);
    client.track('bought', user('alice'), { price: 1.5 }, 2);
    client.identify(user('carol'));
    await client.flush();
    client.close();

    await eventually(() => expect(diagnosed.length).toBeGreaterThan(0));
    const expected = sent.flatMap((body) => JSON.parse(body) as unknown[]);
    expect(expected.length).toBeGreaterThan(7);
    await eventually(() => expect(launchDarkly.taken('/bulk')).toEqual(expected));
    const payload = launchDarkly.requests.find(({ path }) => path === '/bulk');
    expect(payload?.headers).toMatchObject({
      authorization: SDK_KEY,
      'content-type': 'application/json',
      'content-encoding': 'gzip',
      'user-agent': 'EdgeFlagRelay/1.2.3',
      'x-launchdarkly-event-schema': '4',
      'x-launchdarkly-tags': 'application-id/shop application-version/7',
      'x-launchdarkly-wrapper': 'wrapped',
      'x-launchdarkly-user-agent': 'NodeJSClient/9.13.7',
      'x-launchdarkly-payload-id': expect.stringMatching(UUID),
    });
    await eventually(() =>
      expect(launchDarkly.requests.filter(({ path }) => path === '/diagnostic').map(({ text }) => text)).toEqual(
        diagnosed,
      ),
    );
    expect(await measured('events_received_total')).toBe(expected.length);
    await eventually(async () => expect(await measured('events_forwarded_total')).toBe(expected.length));
  });

  test('keep their bytes: numbers, order, inner spaces, unknown fields', async () => {
    const launchDarkly = await startLaunchDarkly();
    const { intake } = startEnvironment(launchDarkly.uri);
    const first = String.raw`{ "kind":"new", "n":12345678901234567890, "z":1e400,"a":[1.0,{"]":"}\\"}],"u":"\u00e9é\"" }`;
    const second = '{"kind":"x","kind":"y"}';
    send(intake, ` [\n${first} ,\t${second}\r\n] `);
    send(intake, '[{"kind":"third"}]');
    await eventually(() => expect(launchDarkly.requests).toHaveLength(1));
    expect(launchDarkly.requests[0]?.text).toBe(`[${first},${second},{"kind":"third"}]`);
  });

  test.each([
    ['sdkKey', '/base/bulk', SDK_KEY],
    ['mobileKey', '/base/mobile', MOBILE_KEY],
    ['environmentId', `/base/events/bulk/${ENVIRONMENT_ID}`, undefined],
  ] as const)("sent with %s go to %s under the environment's key", async (kind, path, key) => {
    const launchDarkly = await startLaunchDarkly();
    const { intake } = startEnvironment(`${launchDarkly.uri}/base/`);
    send(intake, [custom(1)], { kind, schema: 3 });
    await eventually(() => expect(launchDarkly.requests).toHaveLength(1));
    expect(launchDarkly.requests[0]).toMatchObject({ path, events: [custom(1)] });
    expect(launchDarkly.requests[0]?.headers.authorization).toBe(key);
    expect(launchDarkly.requests[0]?.headers['x-launchdarkly-event-schema']).toBe('3');
  });

  test('go out under a new key as soon as the environment has one', async () => {
    const launchDarkly = await startLaunchDarkly();
    const { intake, credentials } = startEnvironment(launchDarkly.uri);
    credentials.sdkKey = 'sdk-new';
    send(intake, [custom(1)]);
    await eventually(() => expect(launchDarkly.requests).toHaveLength(1));
    expect(launchDarkly.requests[0]?.headers.authorization).toBe('sdk-new');
  });

  test('are never mixed with those of another schema, other tags or another SDK', async () => {
    const launchDarkly = await startLaunchDarkly();
    const { intake } = startEnvironment(launchDarkly.uri, { flushIntervalMs: NEVER_MS });
    const headers = [
      {},
      { 'x-launchdarkly-tags': 'application-id/a' },
      { 'x-launchdarkly-tags': 'application-id/b' },
      { 'x-launchdarkly-wrapper': 'w/1' },
      { 'user-agent': 'Mozilla/5.0 (X)', 'x-launchdarkly-user-agent': 'JSClient/4.1.0' },
      { 'user-agent': 'NodeJSClient/9.13.7' },
    ];
    for (const round of ['a', 'b']) {
      for (const [index, of] of headers.entries()) await send(intake, [custom(`${index}${round}`)], { headers: of });
      await send(intake, [custom(`3${round}-schema`)], { schema: 3 });
    }
    intake.flush();
    await eventually(() => expect(launchDarkly.requests).toHaveLength(7));
    const keysOf = launchDarkly.requests.map(({ events }) => events.map(({ key }) => key).join(' '));
    expect(keysOf.sort()).toEqual([
      'event-0a event-0b',
      'event-1a event-1b',
      'event-2a event-2b',
      'event-3a event-3b',
      'event-3a-schema event-3b-schema',
      'event-4a event-4b',
      'event-5a event-5b',
    ]);
  });

  test('that an SDK resends because the response was lost are forwarded once', async () => {
    const launchDarkly = await startLaunchDarkly();
    const { intake, measured } = startEnvironment(launchDarkly.uri);
    const headers = { 'x-launchdarkly-payload-id': '11111111-2222-3333-4444-555555555555' };
    send(intake, [custom(1)], { headers });
    await eventually(() => expect(launchDarkly.taken()).toHaveLength(1));
    send(intake, [custom(1)], { headers });
    send(intake, [custom(2)], { headers: { 'x-launchdarkly-payload-id': 'another' } });
    await eventually(() => expect(launchDarkly.taken()).toEqual([custom(1), custom(2)]));
    expect(await measured('event_payloads_repeated_total')).toBe(1);
  });

  test.each([
    ['not JSON', '[{"kind":"custom"'],
    ['not an array', '{"kind":"custom"}'],
    ['null', 'null'],
    ['not UTF-8', Buffer.from('[{"kind":"\u00ff"}]', 'latin1')],
    ['an array of other things', '[1,null,"x",[{}],true]'],
  ])('that are %s do not affect other events', async (_what, body) => {
    const launchDarkly = await startLaunchDarkly();
    const { intake, measured, lines } = startEnvironment(launchDarkly.uri, { flushIntervalMs: 50 });
    send(intake, [custom(1)]);
    send(intake, body);
    send(intake, [custom(2)]);
    await eventually(() => expect(launchDarkly.taken()).toEqual([custom(1), custom(2)]));
    expect(await measured('events_dropped_total', { reason: 'malformed' })).toBe(
      body === '[1,null,"x",[{}],true]' ? 5 : 1,
    );
    expect(lines).toHaveLength(1);
  });
});

describe('diagnostic events', () => {
  test('keep the headers that identify the sender, and no others', async () => {
    const launchDarkly = await startLaunchDarkly();
    const { intake } = startEnvironment(launchDarkly.uri);
    intake.diagnostic({
      ...FROM,
      kind: 'mobileKey',
      credential: 'mob-old',
      headers: {
        host: 'relay.internal',
        cookie: 'secret=1',
        authorization: 'mob-old',
        'x-forwarded-for': '10.0.0.1',
        'user-agent': 'AndroidClient/5.1.0',
        'x-launchdarkly-wrapper': 'flutter/1',
        'x-launchdarkly-instance-id': 'abc',
      },
      body: Buffer.from('{"kind":"diagnostic-init", "n":1.0}'),
    });
    await eventually(() => expect(launchDarkly.requests).toHaveLength(1));
    const [request] = launchDarkly.requests;
    expect(request).toMatchObject({ path: '/mobile/events/diagnostic', text: '{"kind":"diagnostic-init", "n":1.0}' });
    const { host, connection, 'content-length': length, ...headers } = request!.headers;
    expect([host, connection, length]).not.toContain(undefined);
    expect(host).not.toBe('relay.internal');
    expect(headers).toEqual({
      authorization: MOBILE_KEY,
      'content-type': 'application/json',
      'content-encoding': 'gzip',
      'user-agent': 'AndroidClient/5.1.0',
      'x-launchdarkly-wrapper': 'flutter/1',
      'x-launchdarkly-instance-id': 'abc',
    });
  });

  test('that js-core posts to the analytics endpoint are sent to the diagnostic endpoint', async () => {
    const launchDarkly = await startLaunchDarkly();
    const { intake } = startEnvironment(launchDarkly.uri);
    send(intake, { kind: 'diagnostic', id: 1 }, { kind: 'environmentId' });
    await eventually(() => expect(launchDarkly.requests).toHaveLength(1));
    expect(launchDarkly.requests[0]?.path).toBe(`/events/diagnostic/${ENVIRONMENT_ID}`);
  });

  test('that are not JSON objects are dropped', async () => {
    const launchDarkly = await startLaunchDarkly();
    const { intake, measured } = startEnvironment(launchDarkly.uri);
    for (const body of ['', '[]', '{"id":', '{"id":1}'])
      intake.diagnostic({ ...FROM, kind: 'sdkKey', credential: '', headers: {}, body: Buffer.from(body) });
    await eventually(() => expect(launchDarkly.taken()).toEqual([{ id: 1 }]));
    expect(await measured('events_dropped_total', { reason: 'malformed' })).toBe(3);
  });

  test('are dropped after a few attempts, and do not hold back the next one', async () => {
    const launchDarkly = await startLaunchDarkly(({ text }) => (text.includes('first') ? 503 : 202));
    const { intake, measured } = startEnvironment(launchDarkly.uri);
    for (const name of ['first', 'second'])
      intake.diagnostic({
        ...FROM,
        kind: 'sdkKey',
        credential: '',
        headers: {},
        body: Buffer.from(`{"id":"${name}"}`),
      });
    await eventually(() => expect(launchDarkly.taken()).toEqual([{ id: 'second' }]));
    await eventually(async () => expect(await measured('events_dropped_total', { reason: 'expired' })).toBe(1));
    const firsts = launchDarkly.requests.filter(({ text }) => text === '{"id":"first"}');
    expect(firsts.length).toBeGreaterThanOrEqual(2);
    expect(firsts.length).toBeLessThan(10);
  });
});

test('offline, events are accepted and discarded', async () => {
  const launchDarkly = await startLaunchDarkly();
  const { intake, forwarding, measured } = startEnvironment(launchDarkly.uri, { discard: true });
  send(intake, [custom(1)]);
  intake.diagnostic({ ...FROM, kind: 'sdkKey', credential: '', headers: {}, body: Buffer.from('{}') });
  await forwarding.close(1_000);
  expect(launchDarkly.requests).toEqual([]);
  expect(await measured('events_dropped_total', { reason: 'offline' })).toBe(2);
});

test('requests use the outbound agent', async () => {
  const launchDarkly = await startLaunchDarkly();
  const asked: string[] = [];
  let connections = 0;
  class CountingAgent extends Agent {
    override createConnection(...args: Parameters<Agent['createConnection']>) {
      connections += 1;
      return super.createConnection(...args);
    }
  }
  const agent = new CountingAgent();
  const { intake } = startEnvironment(launchDarkly.uri, {
    outbound: {
      agentFor(url) {
        asked.push(url.href);
        return agent;
      },
      awsAgents: () => undefined,
    },
  });
  send(intake, [custom(1)]);
  await eventually(() => expect(launchDarkly.taken()).toEqual([custom(1)]));
  expect(asked).toEqual([`${launchDarkly.uri}/bulk`]);
  expect(connections).toBe(1);
});

test('headers that cannot be forwarded are dropped', async () => {
  const launchDarkly = await startLaunchDarkly();
  const { intake } = startEnvironment(launchDarkly.uri);
  const headers = {
    'x-launchdarkly-tags': 'a/\u0001',
    'x-launchdarkly-wrapper': 'w'.repeat(10_000),
    'user-agent': 'é/1',
  };
  send(intake, [custom(1)], { headers });
  await eventually(() => expect(launchDarkly.taken()).toEqual([custom(1)]));
  expect(
    Object.keys(launchDarkly.requests[0]!.headers)
      .filter((name) => name.startsWith('x-'))
      .sort(),
  ).toEqual(['x-launchdarkly-event-schema', 'x-launchdarkly-payload-id']);
});

test.each(['events.launchdarkly.com', 'ftp://x', ''])('the events URI %j is rejected', (uri) => {
  expect(() => startEnvironment(uri)).toThrow(expect.objectContaining({ code: 'CONFIG_INVALID' }));
});
