/** Bodies that would hold the event loop, and what fails while they are read. */
import { createBudget } from '../../../relay-task/common/budget.ts';
import { metadataOf } from '../../../relay-task/events/metadata.ts';
import { createQueue } from '../../../relay-task/events/queue.ts';
import { createQueues } from '../../../relay-task/events/queues.ts';
import { createSenderMemory } from '../../../relay-task/events/sender-memory.ts';
import { createSummary } from '../../../relay-task/events/summary.ts';
import { createSuspects } from '../../../relay-task/events/suspects.ts';
import { takeIn } from '../../../relay-task/events/take-in.ts';
import { eventually } from '../../support/eventually.ts';
import { countSlicedTurns } from '../../support/sliced-turns.ts';
import {
  custom,
  type Event,
  FROM,
  NEVER_MS,
  send,
  startEnvironment,
  startForwarding,
  startLaunchDarkly,
  user,
} from './support.ts';

const keys = (events: readonly Event[]) => events.map(({ key }) => key);
const arrayOf = (element: string, count: number) => Buffer.from(`[${Array(count).fill(element).join(',')}]`);

async function turnsDuring(work: () => Promise<unknown>): Promise<number> {
  const counted = countSlicedTurns();
  await work();
  counted.stop();
  return counted.turns;
}

test('a body of a million empty objects is read in slices, and each counts as malformed @heavy', async () => {
  const launchDarkly = await startLaunchDarkly();
  const { intake, measured } = startEnvironment(launchDarkly.uri, { flushIntervalMs: NEVER_MS });
  const turns = await turnsDuring(() => send(intake, arrayOf('{}', 1_000_000)));
  expect(turns).toBeGreaterThan(20);
  expect(await measured('events_dropped_total', { reason: 'malformed' })).toBe(1_000_000);
  expect(await measured('events_received_total')).toBe(1_000_000);
  expect(launchDarkly.requests).toEqual([]);
});

test('a body of one string of 10 MiB is read in slices @heavy', async () => {
  const launchDarkly = await startLaunchDarkly();
  const { intake, measured } = startEnvironment(launchDarkly.uri);
  const turns = await turnsDuring(() => send(intake, `["${'x'.repeat(10 * 1024 * 1024)}"]`));
  expect(turns).toBeGreaterThan(50);
  expect(await measured('events_dropped_total', { reason: 'too-large' })).toBe(1);
});

test('5,000 events of an SDK that does not summarise are summarised in slices @heavy', async () => {
  const launchDarkly = await startLaunchDarkly();
  const { intake, measured, forwarding } = startEnvironment(launchDarkly.uri, { flushIntervalMs: NEVER_MS });
  const events = Array.from({ length: 5_000 }, (_, id) => ({
    kind: 'feature',
    creationDate: 1 + id,
    key: `flag-${id % 7}`,
    version: 1,
    variation: 0,
    value: true,
    user: { key: 'alice' },
  }));
  const turns = await turnsDuring(() => send(intake, events, { schema: 2 }));
  expect(turns).toBeGreaterThan(10);
  await forwarding.close(60_000);
  const [index, summary] = launchDarkly.taken() as [
    Event,
    { features: Record<string, { counters: { count: number }[] }> },
  ];
  expect(index.kind).toBe('index');
  const counts = Object.values(summary.features).map(({ counters }) => counters[0]?.count ?? 0);
  expect(counts.reduce((sum, count) => sum + count, 0)).toBe(5_000);
  expect(await measured('events_dropped_total')).toBe(0);
});

test('only an event above 1 MiB is lost, and one of almost 1 MiB is sent as it is @heavy', async () => {
  const launchDarkly = await startLaunchDarkly();
  const { intake, measured, lines } = startEnvironment(launchDarkly.uri);
  const large = custom('large', { data: 'ü'.repeat(500_000) });
  const tooLarge = custom('too-large', { data: 'x'.repeat(1024 * 1024) });
  await send(intake, [custom(1), tooLarge, large, custom(2)]);
  await eventually(() => expect(launchDarkly.taken()).toEqual([custom(1), large, custom(2)]));
  expect(await measured('events_dropped_total', { reason: 'too-large' })).toBe(1);
  expect(lines.filter((line) => line.startsWith('Events were dropped'))).toEqual([
    expect.stringContaining('"reason":"too-large"'),
  ]);
});

test('elements that are not events cost only themselves', async () => {
  const launchDarkly = await startLaunchDarkly();
  const { intake, measured } = startEnvironment(launchDarkly.uri);
  const filler = JSON.stringify(custom('filler', { data: 'x'.repeat(100_000) }));
  const wrong = [
    '{}',
    '{"kind":""}',
    '{"key":"no-kind"}',
    '{"kind":1,"key":"x"}',
    'null',
    '"kind"',
    '[1,2]',
    '{"kind":"x",}',
  ];
  await send(intake, `[${[filler, ...wrong, filler].join(',')}]`);
  await eventually(() => expect(keys(launchDarkly.taken())).toEqual(['event-filler', 'event-filler']));
  expect(await measured('events_dropped_total', { reason: 'malformed' })).toBe(wrong.length);
});

test('a large body that is cut short is malformed as a whole', async () => {
  const launchDarkly = await startLaunchDarkly();
  const { intake, measured } = startEnvironment(launchDarkly.uri);
  await send(intake, `${JSON.stringify(Array.from({ length: 3_000 }, (_, id) => custom(id))).slice(0, -1)} `);
  expect(await measured('events_dropped_total', { reason: 'malformed' })).toBe(1);
  expect(await measured('events_queue_bytes')).toBe(0);
});

test('a failure to read a body costs only that body, and is logged once and counted', async () => {
  const launchDarkly = await startLaunchDarkly();
  const { forwarding, lines, measured } = startForwarding(launchDarkly.uri);
  const intake = forwarding.environment({
    name: 'production',
    senderOf: (_, credential) => credential,
    flag() {
      throw new Error('no flags today');
    },
  });
  const feature = { kind: 'feature', creationDate: 1, key: 'f', version: 1, value: 1, context: user('a') };
  await send(intake, [feature], { schema: 1 });
  await send(intake, [feature], { schema: 1 });
  await send(intake, [custom(1)]);
  await eventually(() => expect(keys(launchDarkly.taken())).toContain('event-1'));
  expect(lines.filter((line) => line.includes('no flags today'))).toHaveLength(1);
  expect(await measured('events_dropped_total', { reason: 'malformed' })).toBe(2);
});

test('a body that waits for its next turn delays no other, and leaves when the turn comes', async () => {
  const launchDarkly = await startLaunchDarkly();
  const { intake, measured, forwarding } = startEnvironment(launchDarkly.uri, { flushIntervalMs: NEVER_MS });
  const other = forwarding.environment({ name: 'other', senderOf: () => 'sdk-other', flag: () => undefined });
  const body = Array.from({ length: 500 }, (_, id) => custom(id));
  const read: string[] = [];
  let proceed = () => {};
  const turn = new Promise<void>((resolve) => {
    proceed = resolve;
  });
  const counted = countSlicedTurns();
  const waiting = send(intake, body, { pause: () => turn }).then(() => read.push('waiting'));
  await send(other, body).then(() => read.push('other'));
  await send(intake, body, { address: '192.0.2.2' }).then(() => read.push('same environment'));
  proceed();
  await waiting;
  counted.stop();
  expect(read).toEqual(['other', 'same environment', 'waiting']);
  expect(await measured('events_received_total')).toBe(1_500);
});

test('closing does not wait longer than its time for a body', async () => {
  const launchDarkly = await startLaunchDarkly();
  const { intake, forwarding, measured } = startEnvironment(launchDarkly.uri, { flushIntervalMs: NEVER_MS });
  let proceed = () => {};
  const turn = new Promise<void>((resolve) => {
    proceed = resolve;
  });
  const counted = countSlicedTurns();
  const waiting = send(intake, arrayOf(JSON.stringify(custom(1)), 3_000), { pause: () => turn });
  counted.stop();
  await forwarding.close(20);
  proceed();
  await waiting;
  expect(await measured('events_dropped_total', { reason: 'closed' })).toBe(1);
});

test.each([
  ['before its brackets', (space: string) => `${space}[]`],
  ['between them', (space: string) => `[${space}]`],
  ['behind them', (space: string) => `[]${space}`],
])('10 MiB of white space %s are read in slices @heavy', async (_where, around) => {
  const launchDarkly = await startLaunchDarkly();
  const { intake, measured } = startEnvironment(launchDarkly.uri);
  const turns = await turnsDuring(() => send(intake, around(' '.repeat(10 * 1024 * 1024))));
  expect(turns).toBeGreaterThan(50);
  expect(await measured('events_dropped_total')).toBe(0);
});

test.each([
  ['small', ''],
  ['large', 'x'.repeat(200_000)],
])('a %s event that is nested more than 100 levels deep is malformed, and costs only itself', async (_size, data) => {
  const launchDarkly = await startLaunchDarkly();
  const { intake, measured } = startEnvironment(launchDarkly.uri);
  const nested = (key: string, depth: number) =>
    `{"kind":"custom","key":"${key}","data":"${data}","deep":${'['.repeat(depth)}${']'.repeat(depth)}}`;
  await send(intake, `[${nested('deep', 99)},${nested('too deep', 100)}]`);
  await eventually(() => expect(keys(launchDarkly.taken())).toEqual(['deep']));
  expect(await measured('events_dropped_total', { reason: 'malformed' })).toBe(1);
});

test('where the relay summarises, an event with more than 10,000 values is too large', async () => {
  const launchDarkly = await startLaunchDarkly();
  const { intake, measured } = startEnvironment(launchDarkly.uri);
  const kinds = Object.fromEntries(Array.from({ length: 6_000 }, (_, id) => [`k${id}`, { key: 'a' }]));
  await send(intake, [custom(1, { context: { kind: 'multi', ...kinds } }), custom(2)], { schema: 1 });
  await eventually(() => expect(keys(launchDarkly.taken('/bulk'))).toContain('event-2'));
  expect(await measured('events_dropped_total', { reason: 'too-large' })).toBe(1);
});

test.each([
  ['above 256 KiB', 'too-large', `{"kind":"diagnostic","x":"${'x'.repeat(256 * 1024)}"}`],
  ['nested too deep', 'malformed', `{"kind":"diagnostic","x":${'['.repeat(100)}${']'.repeat(100)}}`],
  ['with too many values', 'malformed', `{"kind":"diagnostic","x":[${'{},'.repeat(10_000)}1]}`],
])('a diagnostic event %s is dropped unread', async (_what, reason, text) => {
  const launchDarkly = await startLaunchDarkly();
  const { intake, measured } = startEnvironment(launchDarkly.uri);
  const parse = jest.spyOn(JSON, 'parse');
  intake.diagnostic({ ...FROM, kind: 'sdkKey', credential: '', headers: {}, body: Buffer.from(text) });
  expect(parse).not.toHaveBeenCalled();
  parse.mockRestore();
  expect(await measured('events_dropped_total', { reason })).toBe(1);
});

test('closing waits for a body that is still being read @heavy', async () => {
  const launchDarkly = await startLaunchDarkly();
  const { intake, forwarding, measured } = startEnvironment(launchDarkly.uri, {
    capacity: 50_000,
    flushIntervalMs: NEVER_MS,
  });
  const counted = countSlicedTurns();
  let read = false;
  void send(
    intake,
    Array.from({ length: 3_000 }, (_, id) => custom(id)),
  ).then(() => {
    read = true;
  });
  expect(read).toBe(false);
  await forwarding.close(60_000);
  counted.stop();
  expect(read).toBe(true);
  expect(launchDarkly.taken()).toHaveLength(3_000);
  expect(await measured('events_dropped_total')).toBe(0);
});

test('other work may run after each few events that are summarised', () => {
  const body = Buffer.from(JSON.stringify(Array.from({ length: 4_000 }, (_, id) => custom(id))));
  const summary = createSummary(10, createSenderMemory({ budget: createBudget(Infinity), drop: () => 0 }));
  let events = 0;
  let most = 0;
  let before = 0;
  for (const _pause of takeIn(body, {
    queue: () => ({ summary, seen: { add: () => true }, room: () => 10_000, add() {} }),
    sender: 'a',
    outgoing(some) {
      events += some.length;
      return [];
    },
    *prepare() {},
    received() {},
    dropped() {},
    diagnostic() {},
  })) {
    most = Math.max(most, events - before);
    before = events;
  }
  expect(events).toBe(4_000);
  // Each takes about 10 µs.
  expect(most).toBeLessThan(50);
});

test.each([
  ['forwards', '4'],
  ['summarises', '1'],
])('an event that the relay %s is kept if its queue was removed while it was read', (_what, schema) => {
  const budget = createBudget(Infinity);
  const memory = createSenderMemory({ budget, drop: () => 0 });
  const queues = createQueues(({ unsummarized }) =>
    createQueue({
      capacity: 10,
      maxPayloadBytes: Infinity,
      memory,
      suspects: createSuspects(NEVER_MS),
      deliver: () => Promise.resolve('delivered'),
      forwarded() {},
      dropped() {},
      summary: unsummarized ? createSummary(10, memory) : undefined,
    }),
  );
  const about = metadataOf({ 'x-launchdarkly-event-schema': schema });
  const body = Buffer.from(JSON.stringify([custom('large', { data: new Array(9_000).fill('x'.repeat(20)) })]));
  let pauses = 0;
  for (const _pause of takeIn(body, {
    queue: () => queues.find(about),
    sender: 'a',
    outgoing: (events) => events.map(({ text }) => text),
    *prepare() {},
    received() {},
    dropped() {},
    diagnostic() {},
  })) {
    pauses += 1;
    // As when many other kinds of SDK need a queue.
    queues.sweep(0);
  }
  expect(pauses).toBeGreaterThan(4);
  expect(Array.from(queues.all(), ({ room }) => room('a'))).toEqual([9]);
  expect(budget.usedBytes).toBeGreaterThan(body.length - 10);
});
