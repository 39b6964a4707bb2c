import { createBudget } from '../../../relay-task/common/budget.ts';
import { createRecent, ENTRY_BYTES } from '../../../relay-task/events/recent.ts';
import { eventually, turnsOfLoop } from '../../support/eventually.ts';
import { custom, FROM, NEVER_MS, send, startEnvironment, startLaunchDarkly } from './support.ts';

const numbered = (count: number, from = 0) => Array.from({ length: count }, (_, index) => custom(from + index));

test('a queue that is half full is sent at once, without the others', async () => {
  const launchDarkly = await startLaunchDarkly();
  const { intake } = startEnvironment(launchDarkly.uri, { flushIntervalMs: NEVER_MS, capacity: 10 });
  send(intake, numbered(4), { schema: 3 });
  send(intake, numbered(5));
  await eventually(() => expect(launchDarkly.requests).toHaveLength(1));
  expect(launchDarkly.taken()).toEqual(numbered(5));
  send(intake, numbered(1, 4), { schema: 3 });
  await eventually(() => expect(launchDarkly.requests).toHaveLength(2));
  expect(launchDarkly.requests[1]?.events).toEqual(numbered(5));
});

test('a full queue drops the newest events, counts them and logs it once', async () => {
  const launchDarkly = await startLaunchDarkly(() => 503);
  const { intake, measured, lines } = startEnvironment(launchDarkly.uri, { capacity: 10 });
  send(intake, numbered(10));
  await eventually(() => expect(launchDarkly.requests.length).toBeGreaterThan(0));
  send(intake, numbered(7, 10));
  send(intake, numbered(7, 17));
  send(intake, numbered(7, 24));
  expect(await measured('events_dropped_total', { reason: 'capacity' })).toBe(11);
  expect(lines.filter((line) => line.startsWith('Events were dropped'))).toEqual([
    'Events were dropped because too many are waiting to be sent; raise EVENTS_CAPACITY, or find out who sends so many ' +
      '{"environment":"production","reason":"capacity","events":4,"capacity":10}',
  ]);
  launchDarkly.mood.react = () => 202;
  await eventually(() => expect(launchDarkly.taken()).toEqual(numbered(20)));
});

test('a line about dropped events counts those since the last one, and names the limit', async () => {
  const launchDarkly = await startLaunchDarkly(() => 503);
  // Whole, since a sum of fractions may be less than its parts.
  let now = Math.ceil(performance.now());
  const clock = jest.spyOn(performance, 'now').mockImplementation(() => now);
  const { intake, lines } = startEnvironment(launchDarkly.uri, {
    flushIntervalMs: NEVER_MS,
    maxBytes: 10_000,
    timings: { sameLineMs: 60_000 },
  });
  const large = () => send(intake, [custom(1, { data: 'x'.repeat(9_000) }), custom(2)]);
  // The first one fits.
  for (let count = 0; count < 4; count++) large();
  await eventually(() => expect(lines).toHaveLength(1));
  now += 60_000;
  large();
  try {
    await eventually(() => expect(lines).toHaveLength(2));
  } finally {
    clock.mockRestore();
  }
  expect(lines.map((line) => line.replace(/^.*; /, ''))).toEqual([
    'raise MEMORY_BUDGET, or find out who sends so many {"environment":"production","reason":"memory","events":2,"budgetBytes":10000}',
    'raise MEMORY_BUDGET, or find out who sends so many {"environment":"production","reason":"memory","events":6,"budgetBytes":10000,"suppressed":2}',
  ]);
});

test('a sender of large events leaves memory for the others with its key', async () => {
  const launchDarkly = await startLaunchDarkly(() => 503);
  const { intake, measured } = startEnvironment(launchDarkly.uri, { maxBytes: 200_000 });
  for (let id = 100; id < 300; id++) {
    send(intake, [custom(id, { data: 'x'.repeat(1_000) })], { address: '203.0.113.1' });
  }
  expect(await measured('events_dropped_total', { reason: 'memory' })).toBeGreaterThan(50);
  for (let id = 0; id < 8; id++) send(intake, numbered(1, id), { address: `198.51.100.${id}` });
  launchDarkly.mood.react = () => 202;
  await eventually(() => expect(launchDarkly.taken()).toEqual(expect.arrayContaining(numbered(8))));
});

test('bodies of which one event is malformed leave one line in the log, however many come and are delivered', async () => {
  const launchDarkly = await startLaunchDarkly();
  const { intake, measured, lines } = startEnvironment(launchDarkly.uri, { flushIntervalMs: 5 });
  for (let count = 1; count <= 3; count += 1) {
    send(intake, [{ kind: 5 }, custom(count)]);
    await eventually(() => expect(launchDarkly.taken()).toHaveLength(count));
  }
  expect(await measured('events_dropped_total', { reason: 'malformed' })).toBe(3);
  expect(lines).toEqual(['Events were dropped {"environment":"production","reason":"malformed","events":1}']);
});

test('closing logs the losses that were not logged yet', async () => {
  const launchDarkly = await startLaunchDarkly(() => 'hang');
  const { intake, forwarding, lines } = startEnvironment(launchDarkly.uri, { capacity: 10 });
  for (let count = 0; count < 3; count++) await send(intake, [{ kind: 5 }]);
  for (let count = 0; count < 40; count++) await send(intake, numbered(1));
  await forwarding.close(0);
  const told = new Map<string, number>();
  for (const line of lines) {
    const { reason, events } = JSON.parse(line.slice(line.indexOf('{'))) as { reason: string; events: number };
    told.set(reason, (told.get(reason) ?? 0) + events);
  }
  expect(told.get('malformed')).toBe(3);
  expect((told.get('capacity') ?? 0) + (told.get('closed') ?? 0)).toBe(40);
});

test('all queues together stay within their memory limit and release memory after delivery @heavy', async () => {
  const launchDarkly = await startLaunchDarkly(() => 503);
  const maxBytes = 50_000;
  const { intake, measured } = startEnvironment(launchDarkly.uri, { maxBytes });
  for (let round = 0; round < 100; round++) {
    const headers = { 'x-launchdarkly-tags': `application-id/${round % 5}` };
    const unsummarized = {
      kind: 'feature',
      key: `f${round}`,
      value: 'v'.repeat(400),
      default: 1,
      context: { kind: 'user', key: 'a' },
    };
    send(intake, [custom(round, { data: 'x'.repeat(500) })], { headers });
    send(intake, [{ ...unsummarized, creationDate: 1 }], { schema: 1 });
    intake.diagnostic({ ...FROM, kind: 'sdkKey', credential: '', headers: {}, body: Buffer.from('{}'.padEnd(500)) });
    expect(await measured('events_queue_bytes')).toBeLessThanOrEqual(maxBytes);
  }
  expect(await measured('events_dropped_total', { reason: 'memory' })).toBeGreaterThan(30);
  expect(await measured('events_queue_bytes')).toBeGreaterThan(maxBytes / 2);
  launchDarkly.mood.react = () => 202;
  await eventually(async () => expect(await measured('events_queue_bytes')).toBe(0));
  expect(launchDarkly.taken().length).toBeGreaterThan(20);
});

test.each([
  ['their own limit', { maxBytes: 50_000 }],
  ['that of the process', { parentBudget: createBudget(50_000) }],
])('a flood of events with one credential leaves memory for the events of the others: %s', async (_what, limit) => {
  const launchDarkly = await startLaunchDarkly(({ path }) => (path === '/bulk' ? 202 : 503));
  const { intake, measured } = startEnvironment(launchDarkly.uri, limit);
  const large = (id: number) => [custom(id, { data: 'x'.repeat(1_000) })];
  for (let id = 0; id < 100; id++) send(intake, large(id), { kind: 'environmentId' });
  const lost = await measured('events_dropped_total', { reason: 'memory' });
  expect(lost).toBeGreaterThan(50);
  for (let id = 0; id < 5; id++) send(intake, large(id));
  await eventually(() =>
    expect(launchDarkly.taken('/bulk')).toEqual(Array.from({ length: 5 }, (_, id) => large(id)[0])),
  );
  expect(await measured('events_dropped_total', { reason: 'memory' })).toBe(lost);
});

test('a thousand different tags create no more queues than allowed, and lose no event @heavy', async () => {
  const launchDarkly = await startLaunchDarkly(() => 503);
  const { intake } = startEnvironment(launchDarkly.uri, { flushIntervalMs: 20 });
  for (let app = 0; app < 1_000; app++) {
    send(intake, [custom(app)], { headers: { 'x-launchdarkly-tags': `application-id/${app}` } });
  }
  launchDarkly.mood.react = () => 202;
  await eventually(() => expect(launchDarkly.taken()).toHaveLength(1_000));
  expect(new Set(launchDarkly.taken().map(({ key }) => key)).size).toBe(1_000);
  const tags = launchDarkly.requests.map(({ headers }) => headers['x-launchdarkly-tags']);
  expect(new Set(tags.filter((of) => of !== undefined)).size).toBe(64);
});

test('idle queues make room for those of other SDKs @heavy', async () => {
  const launchDarkly = await startLaunchDarkly();
  const { intake, measured } = startEnvironment(launchDarkly.uri, { flushIntervalMs: 5 });
  for (let app = 0; app < 130; app++) {
    send(intake, [custom(app)], { headers: { 'x-launchdarkly-tags': `application-id/${app}` } });
    if (app % 30 === 29) {
      await eventually(async () => expect(await measured('events_forwarded_total')).toBe(app + 1));
      await turnsOfLoop();
    }
  }
  await eventually(() => expect(launchDarkly.taken()).toHaveLength(130));
  for (const { headers, events } of launchDarkly.requests) {
    expect([headers['x-launchdarkly-tags'], events.length]).toEqual([
      `application-id/${String(events[0]?.key).slice('event-'.length)}`,
      1,
    ]);
  }
});

test('a body with more events than a queue holds is sent in parts', async () => {
  const launchDarkly = await startLaunchDarkly();
  const { intake, measured } = startEnvironment(launchDarkly.uri, { capacity: 10 });
  send(intake, numbered(25));
  await eventually(() => expect(launchDarkly.taken()).toEqual(numbered(20)));
  expect(await measured('events_dropped_total', { reason: 'capacity' })).toBe(5);
});

test('payloads are split at the size limit', async () => {
  const launchDarkly = await startLaunchDarkly();
  const { intake } = startEnvironment(launchDarkly.uri, { flushIntervalMs: 50, maxPayloadBytes: 2_000 });
  const events = Array.from({ length: 20 }, (_, index) => custom(index, { data: 'x'.repeat(300) }));
  for (const event of events) send(intake, [event]);
  await eventually(() => expect(launchDarkly.taken()).toEqual(events));
  expect(Math.max(...launchDarkly.requests.map(({ text }) => text.length))).toBeLessThan(2_100);
});

test('createRecent forgets the least recently used key, and long keys cost no more than short ones', () => {
  const budget = createBudget(1_000_000);
  const recent = createRecent(2, budget);
  const long = 'x'.repeat(100_000);
  expect(['a', long, 'a', 'b', long, 'b', long].map((key) => recent.add(key))).toEqual([
    true,
    true,
    false,
    true,
    true,
    false,
    false,
  ]);
  expect(budget.usedBytes).toBe(2 * ENTRY_BYTES);
  recent.clear();
  expect(budget.usedBytes).toBe(0);
  expect(recent.add('b')).toBe(true);
});

test('createRecent forgets the oldest keys while its budget is full, and remembers none without room', () => {
  const budget = createBudget(3 * ENTRY_BYTES);
  const recent = createRecent(100, budget);
  expect(['a', 'b', 'c', 'd', 'b', 'a'].map((key) => recent.add(key))).toEqual([true, true, true, true, false, true]);
  budget.hold(3 * ENTRY_BYTES);
  expect([recent.add('e'), recent.add('e'), recent.add('b')]).toEqual([true, true, true]);
  expect(budget.usedBytes).toBe(3 * ENTRY_BYTES);
});

describe('what is remembered of contexts and payloads', () => {
  const describing = (from: number, count: number) =>
    Array.from({ length: count }, (_, index) => ({
      kind: 'identify',
      key: 'x',
      creationDate: 1,
      context: { kind: 'user', key: `${from + index}`.padEnd(126, '→') },
    }));

  async function remembering(more: Parameters<typeof startEnvironment>[1] = {}) {
    const parentBudget = createBudget(16 * 1_024 ** 2);
    const launchDarkly = await startLaunchDarkly();
    const environment = startEnvironment(launchDarkly.uri, { ...more, parentBudget });
    for (let kind = 0; kind < 64; kind++) {
      await send(environment.intake, describing(kind * 100, 100), {
        schema: 2,
        headers: { 'x-launchdarkly-tags': `application-id/${kind}`, 'x-launchdarkly-payload-id': `payload-${kind}` },
      });
    }
    await eventually(async () => expect(await environment.measured('events_queue_bytes')).toBe(0));
    return { ...environment, parentBudget };
  }

  test('counts against the memory of events, and is bounded for all kinds of SDK together @heavy', async () => {
    const { parentBudget, forwarding } = await remembering();
    // 6,400 contexts were described.
    expect(parentBudget.usedBytes).toBe((4_000 + 64) * ENTRY_BYTES);
    await forwarding.close(10_000);
    expect(parentBudget.usedBytes).toBe(0);
  });

  test('takes no more than its share of a small memory @heavy', async () => {
    const maxBytes = 800_000;
    const { parentBudget } = await remembering({ maxBytes });
    expect(parentBudget.usedBytes).toBe(maxBytes / 8 / 2);
  });

  test('is given back when its credential was not used for long @heavy', async () => {
    const { parentBudget } = await remembering({ timings: { idleQueueMs: 1 } });
    await eventually(() => expect(parentBudget.usedBytes).toBe(0));
  });
});
