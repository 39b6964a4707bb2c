import { createServer } from 'node:http';
import { setTimeout as sleep } from 'node:timers/promises';
import { eventually, PATIENCE_MS, roomy, turnsOfLoop } from '../../support/eventually.ts';
import { freePort } from '../../support/free-port.ts';
import { randomFrom } from '../../support/random.ts';
import {
  closeLater,
  custom,
  FROM,
  NEVER_MS,
  type Reaction,
  SDK_KEY,
  send,
  startEnvironment,
  startLaunchDarkly,
} from './support.ts';

const SEED = process.env.SEED ?? 'events';
const keys = (events: readonly { readonly key?: unknown }[]) => events.map(({ key }) => key);
const numbered = (count: number, from = 0) => Array.from({ length: count }, (_, index) => custom(from + index));

describe('events during a LaunchDarkly outage', () => {
  test.each<Reaction>([500, 503, 408, 429, 'cut', 'hang', 'lost'])(
    'survive three failures (%s) under one payload ID, and later events wait',
    async (reaction) => {
      let failures = 3;
      const launchDarkly = await startLaunchDarkly(() => (failures-- > 0 ? reaction : 202));
      const { intake, measured, lines } = startEnvironment(launchDarkly.uri, {
        timings: { requestTimeoutMs: reaction === 'hang' ? 400 : 60_000 },
      });
      send(intake, numbered(2));
      await eventually(() => expect(launchDarkly.requests.length).toBeGreaterThan(0));
      send(intake, numbered(2, 2));
      await eventually(async () => expect(await measured('events_forwarded_total')).toBe(4));
      expect(launchDarkly.taken()).toEqual(numbered(4));
      expect(launchDarkly.requests).toHaveLength(5);
      const ids = launchDarkly.requests.map(({ headers }) => headers['x-launchdarkly-payload-id']);
      expect(new Set(ids.slice(0, 4)).size).toBe(1);
      expect(ids[4]).not.toBe(ids[0]);
      expect(await measured('event_retries_total')).toBe(3);
      expect(lines.map((line) => line.split(' {')[0])).toEqual([
        'Cannot deliver events; keeping them while there is room, and retrying',
        'Event delivery recovered',
      ]);
    },
  );

  test('survive a refused connection', async () => {
    const port = await freePort();
    const { intake, measured } = startEnvironment(`http://127.0.0.1:${port}`);
    send(intake, numbered(3));
    await eventually(async () => expect(await measured('event_retries_total')).toBeGreaterThan(3));
    const bodies: string[] = [];
    const returned = createServer((request, response) => {
      request.resume();
      bodies.push(request.url ?? '');
      response.writeHead(202).end();
    });
    await new Promise<void>((resolve) => returned.listen(port, '127.0.0.1', resolve));
    closeLater(async () => {
      returned.closeAllConnections();
      await new Promise((resolve) => returned.close(resolve));
    });
    await eventually(async () => expect(await measured('events_forwarded_total')).toBe(3));
    expect(bodies).toEqual(['/bulk']);
  });

  test('are retried no earlier than Retry-After says @heavy', async () => {
    const at: number[] = [];
    const launchDarkly = await startLaunchDarkly(() => {
      at.push(performance.now());
      return at.length === 1 ? { status: 429, headers: { 'Retry-After': '1' } } : 202;
    });
    const { intake } = startEnvironment(launchDarkly.uri);
    send(intake, numbered(1));
    await eventually(() => expect(launchDarkly.taken()).toHaveLength(1));
    // Without Retry-After, these tests retry within 5 ms.
    expect(at[1]! - at[0]!).toBeGreaterThan(900);
  });

  test('are dropped if they cannot be delivered in time, and later ones are sent', async () => {
    const launchDarkly = await startLaunchDarkly(({ text }) => (text.includes('event-0') ? 500 : 202));
    const { intake, measured } = startEnvironment(launchDarkly.uri, { timings: { keepForMs: 50 } });
    send(intake, numbered(1));
    await eventually(() => expect(launchDarkly.requests.length).toBeGreaterThan(0));
    send(intake, numbered(1, 1));
    await eventually(() => expect(launchDarkly.taken()).toEqual(numbered(1, 1)));
    expect(await measured('events_dropped_total', { reason: 'expired' })).toBe(1);
  });

  test('are sent with a limited number of concurrent requests, however many queues wait', async () => {
    const launchDarkly = await startLaunchDarkly(async () => {
      // Each waits for one beside it, and then for one too many.
      await eventually(() => expect(launchDarkly.mood.mostUnderWay).toBeGreaterThan(1));
      await turnsOfLoop();
      return 202;
    });
    const { intake } = startEnvironment(launchDarkly.uri, { maxInFlight: 2 });
    for (const round of [1, 2]) {
      for (let app = 0; app < 8; app++) send(intake, [custom(app)], { headers: { 'x-launchdarkly-tags': `a/${app}` } });
      await eventually(() => expect(launchDarkly.taken()).toHaveLength(8 * round));
    }
    expect(launchDarkly.mood.mostUnderWay).toBe(2);
  });
});

describe('a payload that LaunchDarkly rejects', () => {
  test('as too large is sent in halves, in order, and only an event that is too large itself is lost', async () => {
    const launchDarkly = await startLaunchDarkly(({ events }) =>
      events.length > 3 || events.some(({ key }) => key === 'event-6') ? 413 : 202,
    );
    const { intake, measured } = startEnvironment(launchDarkly.uri);
    send(intake, numbered(11));
    await eventually(() => expect(launchDarkly.taken()).toHaveLength(10));
    expect(keys(launchDarkly.taken())).toEqual(keys(numbered(11)).filter((key) => key !== 'event-6'));
    await eventually(async () => expect(await measured('events_queue_bytes')).toBe(0));
    expect(await measured('events_dropped_total', { reason: 'too-large' })).toBe(1);
    const ids = launchDarkly.requests.map(({ headers }) => headers['x-launchdarkly-payload-id']);
    expect(new Set(ids).size).toBe(ids.length);
  });

  test('as invalid is split, so that few other events are lost', async () => {
    const launchDarkly = await startLaunchDarkly(({ text }) => (text.includes('"event-3"') ? 400 : 202));
    const { intake, measured } = startEnvironment(launchDarkly.uri);
    send(intake, numbered(8));
    await eventually(() =>
      expect(keys(launchDarkly.taken())).toEqual(keys(numbered(8)).filter((key) => key !== 'event-3')),
    );
    await eventually(async () => expect(await measured('events_dropped_total', { reason: 'rejected' })).toBe(1));
  });

  test('once, and accepts then, is delivered under one payload ID', async () => {
    let rejections = 1;
    const launchDarkly = await startLaunchDarkly(() => (rejections-- > 0 ? 400 : 202));
    const { intake, measured } = startEnvironment(launchDarkly.uri);
    send(intake, numbered(2));
    await eventually(async () => expect(await measured('events_forwarded_total')).toBe(2));
    expect(launchDarkly.taken()).toEqual(numbered(2));
    expect(new Set(launchDarkly.requests.map(({ headers }) => headers['x-launchdarkly-payload-id'])).size).toBe(1);
  });

  test('as invalid holds back no later one', async () => {
    const launchDarkly = await startLaunchDarkly(({ text }) => (text.includes('"event-0"') ? 400 : 202));
    const { intake } = startEnvironment(launchDarkly.uri, {
      timings: { firstRetryMs: NEVER_MS, longestRetryMs: NEVER_MS },
    });
    send(intake, numbered(1));
    await eventually(() => expect(launchDarkly.requests).toHaveLength(1));
    for (let id = 1; id < 6; id++) {
      send(intake, [custom(id)]);
      await eventually(() => expect(keys(launchDarkly.taken())).toEqual(keys(numbered(id, 1))));
    }
  });

  test('because of one event among hundreds costs only that one @heavy', async () => {
    const launchDarkly = await startLaunchDarkly(({ text }) => (text.includes('"event-123"') ? 400 : 202));
    const { intake, measured } = startEnvironment(launchDarkly.uri);
    await send(intake, numbered(500));
    await eventually(async () => expect(await measured('events_queue_bytes')).toBe(0));
    expect(keys(launchDarkly.taken())).toEqual(keys(numbered(500)).filter((key) => key !== 'event-123'));
    expect(await measured('events_dropped_total')).toBe(1);
  });

  const rejectsBad: Parameters<typeof startLaunchDarkly>[0] = ({ text }) => (text.includes('"event-bad') ? 400 : 202);
  const good = (events: Parameters<typeof keys>[0]) =>
    keys(events).filter((key) => !String(key).startsWith('event-bad'));

  test.each([
    ['its sender', '203.0.113.1'],
    ['the bodies in which it came', '198.51.100.0'],
  ])('because of many events costs nobody but %s @heavy', async (_what, from) => {
    const launchDarkly = await startLaunchDarkly(rejectsBad);
    const { intake, measured } = startEnvironment(launchDarkly.uri, { flushIntervalMs: NEVER_MS });
    for (let id = 0; id < 20; id++) {
      await send(intake, numbered(10, 10 * id), { address: `198.51.100.${from.endsWith('.0') ? 0 : id % 10}` });
      await send(intake, [custom('bad')], { address: from });
    }
    intake.flush();
    await eventually(async () => expect(await measured('events_queue_bytes')).toBe(0));
    expect(new Set(good(launchDarkly.taken()))).toEqual(new Set(keys(numbered(200))));
    expect(await measured('events_dropped_total', { reason: 'rejected' })).toBe(20);
    expect(launchDarkly.requests.length).toBeLessThan(130);
  });

  test('has the events of its sender sent separately for a while', async () => {
    const launchDarkly = await startLaunchDarkly(rejectsBad);
    const { intake, measured } = startEnvironment(launchDarkly.uri, { timings: { suspectMs: NEVER_MS } });
    const both = () => {
      send(intake, numbered(1), { address: '198.51.100.1' });
      send(intake, [custom('bad'), custom('of the suspect')], { address: '203.0.113.1' });
    };
    both();
    await eventually(async () => expect(await measured('events_queue_bytes')).toBe(0));
    const before = launchDarkly.requests.length;
    both();
    await eventually(async () => expect(await measured('events_queue_bytes')).toBe(0));
    const later = launchDarkly.requests.slice(before).map(({ events }) => keys(events).join());
    expect(later.sort()).toEqual(['event-0', 'event-bad', 'event-bad,event-of the suspect', 'event-of the suspect']);
  });

  test('because of many senders costs none of the good ones anything, and few requests @heavy', async () => {
    const launchDarkly = await startLaunchDarkly(rejectsBad);
    const { intake, measured } = startEnvironment(launchDarkly.uri, { flushIntervalMs: NEVER_MS });
    for (let id = 0; id < 80; id++) {
      await send(intake, [custom(id)], { address: `198.51.100.${id}` });
      await send(intake, [custom('bad')], { address: `203.0.113.${id}` });
    }
    intake.flush();
    await eventually(async () => expect(await measured('events_queue_bytes')).toBe(0));
    expect(new Set(good(launchDarkly.taken()))).toEqual(new Set(keys(numbered(80))));
    expect(launchDarkly.requests.length).toBeLessThan(330);
    // The good ones are not suspected any more: together they travel in one payload.
    const before = launchDarkly.requests.length;
    for (let id = 0; id < 80; id++) await send(intake, [custom(id)], { address: `198.51.100.${id}` });
    intake.flush();
    await eventually(async () => expect(await measured('events_queue_bytes')).toBe(0));
    expect(launchDarkly.requests).toHaveLength(before + 1);
  });

  test('in all its parts costs few requests @heavy', async () => {
    const launchDarkly = await startLaunchDarkly(() => 400);
    const { intake, measured } = startEnvironment(launchDarkly.uri);
    await send(intake, numbered(500));
    await eventually(async () => expect(await measured('events_queue_bytes')).toBe(0));
    expect(launchDarkly.requests.length).toBeLessThan(40);
    expect(await measured('events_dropped_total', { reason: 'rejected' })).toBe(500);
  });
});

test('nobody fills the log with events that are rejected, dropped and delivered in turn @heavy', async () => {
  const launchDarkly = await startLaunchDarkly(({ text }) => (text.includes('"event-bad"') ? 400 : 202));
  const { intake, lines, measured } = startEnvironment(launchDarkly.uri, { flushIntervalMs: 5 });
  for (let round = 1; round <= 30; round++) {
    send(intake, [custom('bad'), 1]);
    await eventually(async () => expect(await measured('events_dropped_total', { reason: 'rejected' })).toBe(round));
    send(intake, [custom('good')]);
    await eventually(() => expect(launchDarkly.taken()).toHaveLength(round));
  }
  expect(lines.map((line) => line.replace(/"status":400,?/, '')).sort()).toEqual([
    'Event delivery recovered {"environment":"production","events":"analytics, sdkKey"}',
    'Events were dropped {"environment":"production","reason":"malformed","events":1}',
    'Events were dropped {"environment":"production","reason":"rejected","events":1}',
    expect.stringContaining('LaunchDarkly rejected a payload of events; retrying, then sending it in parts'),
  ]);
});

test('after a while the log repeats that events cannot be delivered, and that delivery has recovered', async () => {
  let failures = 2;
  const launchDarkly = await startLaunchDarkly(() => (failures-- > 0 ? 503 : 202));
  const { intake, lines } = startEnvironment(launchDarkly.uri, { timings: { sameLineMs: 0 } });
  for (let round = 1; round <= 3; round++) {
    failures = 2;
    send(intake, [custom(round)]);
    await eventually(() => expect(lines).toHaveLength(2 * round));
  }
});

describe.each([401, 403, 404])('events while LaunchDarkly answers %d', (status) => {
  test('are kept and sent at once when the environment gets another key', async () => {
    const launchDarkly = await startLaunchDarkly(({ headers }) => (headers.authorization === SDK_KEY ? status : 202));
    const { intake, credentials, lines } = startEnvironment(launchDarkly.uri);
    send(intake, numbered(1));
    await eventually(() => expect(launchDarkly.requests).toHaveLength(1));
    for (let round = 1; round < 4; round++) {
      send(intake, numbered(1, round));
      await sleep(15);
    }
    expect(launchDarkly.requests).toHaveLength(1);
    credentials.sdkKey = 'sdk-correct';
    await eventually(() => expect(launchDarkly.taken()).toEqual(numbered(4)));
    expect(lines).toHaveLength(2);
    const reason = `${new URL(launchDarkly.uri).host} answered ${status}`;
    expect(JSON.parse(lines[0]?.slice(lines[0].indexOf(' {')) ?? '')).toEqual({
      ...{ environment: 'production', events: 'analytics, sdkKey', status, reason },
    });
    expect(lines.join()).not.toMatch(/never-show|sdk-/);
  });

  test('are retried and delivered once LaunchDarkly accepts them', async () => {
    let refusals = 3;
    const launchDarkly = await startLaunchDarkly(() => (refusals-- > 0 ? status : 202));
    const { intake } = startEnvironment(launchDarkly.uri, { timings: { firstRefusedMs: 5, longestRefusedMs: 5 } });
    send(intake, numbered(2));
    await eventually(() => expect(launchDarkly.taken()).toEqual(numbered(2)));
    send(intake, numbered(2, 2));
    await eventually(() => expect(launchDarkly.taken()).toEqual(numbered(4)));
  });
});

describe('closing the event forwarding', () => {
  test('delivers queued events despite failures', async () => {
    let failures = 2;
    const launchDarkly = await startLaunchDarkly(() => (failures-- > 0 ? 503 : 202));
    const { intake, forwarding, measured } = startEnvironment(launchDarkly.uri, {
      flushIntervalMs: NEVER_MS,
      timings: { firstRetryMs: NEVER_MS, longestRetryMs: NEVER_MS },
    });
    send(intake, numbered(3));
    intake.diagnostic({
      ...FROM,
      kind: 'sdkKey',
      credential: '',
      headers: {},
      body: Buffer.from('{"diagnostic":true}'),
    });
    await forwarding.close(PATIENCE_MS);
    expect(launchDarkly.taken('/bulk')).toEqual(numbered(3));
    expect(launchDarkly.taken('/diagnostic')).toEqual([{ diagnostic: true }]);
    send(intake, numbered(1));
    expect(await measured('events_dropped_total', { reason: 'closed' })).toBe(1);
  });

  test('delivers all events, even in several payloads', async () => {
    const launchDarkly = await startLaunchDarkly();
    const { intake, forwarding } = startEnvironment(launchDarkly.uri, {
      flushIntervalMs: NEVER_MS,
      maxPayloadBytes: 300,
    });
    send(intake, numbered(1));
    for (let id = 1; id < 20; id++) send(intake, [custom(id)]);
    await forwarding.close(PATIENCE_MS);
    expect(launchDarkly.requests.length).toBeGreaterThan(5);
    expect(launchDarkly.taken()).toEqual(numbered(20));
  });

  test('stops at its deadline and counts the lost events', async () => {
    const launchDarkly = await startLaunchDarkly(() => 'hang');
    const { intake, forwarding, measured } = startEnvironment(launchDarkly.uri);
    send(intake, numbered(3));
    await eventually(() => expect(launchDarkly.requests).toHaveLength(1));
    send(intake, numbered(2, 3));
    await forwarding.close(50);
    expect(await measured('events_dropped_total', { reason: 'closed' })).toBe(5);
    expect(await measured('events_queue_bytes')).toBe(0);
  });

  test('does not wait for a LaunchDarkly that rejects the key', async () => {
    const launchDarkly = await startLaunchDarkly(() => 401);
    const { intake, forwarding, measured } = startEnvironment(launchDarkly.uri);
    send(intake, numbered(3));
    await forwarding.close(NEVER_MS);
    expect(await measured('events_dropped_total', { reason: 'refused' })).toBe(3);
  });

  test('for one environment does not affect the others', async () => {
    const launchDarkly = await startLaunchDarkly();
    const { intake, forwarding } = startEnvironment(launchDarkly.uri);
    const other = forwarding.environment({
      name: 'other',
      senderOf: () => 'sdk-other',
      flag: () => undefined,
    });
    send(other, numbered(1));
    await other.close(PATIENCE_MS);
    send(intake, numbered(1, 1));
    await eventually(() => expect(launchDarkly.taken()).toEqual(numbered(2)));
  });
});

test(`every event arrives once and in order whatever fails (SEED=${SEED}) @heavy`, async () => {
  const rounds = process.env.LONG ? 40 : 4;
  for (let round = 0; round < rounds; round++) {
    const random = randomFrom(`${SEED} ${round}`);
    const pick = <T>(choices: readonly T[]) => choices[Math.floor(random() * choices.length)] as T;
    const launchDarkly = await startLaunchDarkly(({ events }) => {
      if (events.length > 9) return 413;
      const troubles: Reaction[] = [500, 502, 408, 429, 'cut', 'lost', 'hang'];
      return random() < 0.5 ? pick(troubles) : 202;
    });
    const { intake, forwarding, measured } = startEnvironment(launchDarkly.uri, {
      capacity: 10_000,
      maxInFlight: 3,
      random,
      timings: { requestTimeoutMs: roomy(40), firstRefusedMs: 5, longestRefusedMs: 5 },
    });
    const expected = new Map<string, unknown[]>();
    for (let batch = 0; batch < 40; batch++) {
      const app = pick(['a', 'b', 'c']);
      const sent = expected.get(app) ?? [];
      const events = numbered(1 + Math.floor(random() * 8), sent.length).map((event) => ({ ...event, app }));
      expected.set(app, [...sent, ...events]);
      send(intake, events, { headers: { 'x-launchdarkly-tags': app } });
      if (random() < 0.3) await sleep(2);
    }
    await forwarding.close(PATIENCE_MS);
    for (const [app, events] of expected)
      expect(launchDarkly.taken().filter((event) => event.app === app)).toEqual(events);
    expect(await measured('events_queue_bytes')).toBe(0);
  }
});
