import { init, type LDContext } from '@launchdarkly/node-server-sdk';
import { eventually } from '../../support/eventually.ts';
import { startFakeUpstream } from '../../support/fake-upstream.ts';
import { silentLog } from '../../support/logs.ts';
import { randomFrom } from '../../support/random.ts';
import { flagData } from '../upstream/support.ts';
import {
  closeLater,
  custom,
  type Event,
  NEVER_MS,
  send,
  startEnvironment,
  startInbound,
  startLaunchDarkly,
  user,
} from './support.ts';

const SEED = process.env.SEED ?? 'summaries';
const FUTURE = 4_000_000_000_000;
const AT = 1_760_000_000_000;

const flags: Record<string, ReturnType<typeof flagData>> = {
  plain: flagData('plain', 3, { variations: ['red', { deep: [1, null] }, 3] }),
  off: flagData('off', 4, { on: false, variations: [false, true] }),
  tracked: flagData('tracked', 5, { trackEvents: true }),
  debugged: flagData('debugged', 6, { debugEventsUntilDate: FUTURE }),
  'no longer debugged': flagData('no longer debugged', 6, { debugEventsUntilDate: 1_000 }),
  experiment: flagData('experiment', 7, { trackEventsFallthrough: true }),
  'experiment by rule': flagData('experiment by rule', 8, {
    rules: [rule('untracked', 'bob', false), rule('tracked', 'alice', true)],
  }),
  'not counted': flagData('not counted', 9, { excludeFromSummaries: true, trackEvents: true }),
  'never sampled': flagData('never sampled', 10, { samplingRatio: 0, trackEvents: true }),
};

function rule(id: string, key: string, trackEvents: boolean) {
  const clause = { attribute: 'key', op: 'in', values: [key], negate: false };
  return { id, variation: 1, clauses: [clause], trackEvents };
}

const contexts: LDContext[] = [
  user('alice', { name: 'Alice', _meta: { redactedAttributes: ['email'] } }),
  user('bob'),
  { kind: 'organization', key: 'acme', n: 1.5 },
  { kind: 'multi', user: { key: 'carol' }, device: { key: 'd:1%' } },
  { key: 'dave', custom: { old: true } } as LDContext,
];

/** Evaluations by an official SDK, and the same evaluations as events of an SDK that leaves summaries to the relay. */
async function evaluate(random: () => number, withHints: (flag: string) => boolean) {
  const upstream = await startFakeUpstream({ flags });
  closeLater(() => upstream.close());
  const official: Event[] = [];
  const collector = await startInbound({
    closed: false,
    analytics: async ({ body }) => void official.push(...(JSON.parse(body.toString()) as Event[])),
    diagnostic() {},
  });
  const client = init('sdk-of-the-client', {
    streamUri: upstream.uri,
    baseUri: upstream.uri,
    eventsUri: collector.uri,
    logger: silentLog,
  });
  closeLater(async () => client.close());
  await client.waitForInitialization({ timeout: 60 });
  const unsummarized: Event[] = [];
  const keys = [...Object.keys(flags), 'no such flag'];
  for (let count = 0; count < 60; count++) {
    const key = keys[Math.floor(random() * keys.length)] as string;
    const context = contexts[Math.floor(random() * contexts.length)] as LDContext;
    const fallback = random() < 0.5 ? null : 'fallback';
    const value = await client.variation(key, context, fallback);
    const detail = evaluated(key, context, value);
    const flag = flags[key] as Record<string, unknown> | undefined;
    const hints = withHints(key) && flag ? hintsOf(flag, detail.reason) : {};
    unsummarized.push({
      kind: 'feature',
      creationDate: AT + count,
      key,
      [(context as { kind?: string }).kind === undefined ? 'user' : 'context']: context,
      value,
      default: fallback,
      ...(flag && { version: flag.version, variation: detail.variation }),
      ...(isExperiment(flag, detail.reason) && { reason: detail.reason }),
      ...hints,
    });
  }
  client.track('bought', contexts[0] as LDContext, { price: 2 }, 3);
  client.identify({ kind: 'user', key: 'erin' });
  client.track('sold', { kind: 'user', key: 'erin' });
  await client.flush();
  unsummarized.push(
    { kind: 'custom', creationDate: AT, key: 'bought', context: contexts[0], data: { price: 2 }, metricValue: 3 },
    { kind: 'identify', creationDate: AT, key: 'erin', context: { kind: 'user', key: 'erin' } },
    { kind: 'custom', creationDate: AT, key: 'sold', context: { kind: 'user', key: 'erin' } },
  );
  await eventually(() => expect(official.length).toBeGreaterThan(0));
  return { official, unsummarized };
}

interface Expected {
  readonly variation: number | undefined;
  readonly reason: Event;
}

/** The results of the flags above. */
function evaluated(key: string, context: LDContext, value: unknown): Expected {
  const flag = flags[key] as { variations: unknown[]; on: boolean } | undefined;
  if (!flag) return { variation: undefined, reason: { kind: 'ERROR', errorKind: 'FLAG_NOT_FOUND' } };
  const variation = flag.variations.findIndex((of) => JSON.stringify(of) === JSON.stringify(value));
  if (!flag.on) return { variation, reason: { kind: 'OFF' } };
  const who = (context as { key?: string }).key;
  const isUser = ['user', undefined].includes((context as { kind?: string }).kind);
  if (key === 'experiment by rule' && isUser && (who === 'alice' || who === 'bob'))
    return {
      variation,
      reason: {
        kind: 'RULE_MATCH',
        ruleIndex: who === 'bob' ? 0 : 1,
        ruleId: who === 'bob' ? 'untracked' : 'tracked',
      },
    };
  return { variation, reason: { kind: 'FALLTHROUGH' } };
}

function isExperiment(flag: Record<string, unknown> | undefined, reason: Event): boolean {
  if (reason.kind === 'RULE_MATCH') return reason.ruleIndex === 1;
  return reason.kind === 'FALLTHROUGH' && flag?.trackEventsFallthrough === true;
}

/** The settings of a flag that a PHP SDK sends. */
function hintsOf(flag: Record<string, unknown>, reason: Event): Event {
  return {
    trackEvents: flag.trackEvents === true || isExperiment(flag, reason),
    ...(flag.debugEventsUntilDate !== null && { debugEventsUntilDate: flag.debugEventsUntilDate }),
    ...(flag.samplingRatio !== undefined && { samplingRatio: flag.samplingRatio }),
    ...(flag.excludeFromSummaries !== undefined && { excludeFromSummaries: flag.excludeFromSummaries }),
  };
}

/** Removes what differs between two SDKs: times, and the format of a legacy user. */
function comparable(events: readonly Event[]): Event[] {
  return events.map(({ creationDate, startDate, endDate, ...event }) => {
    expect(typeof (creationDate ?? startDate)).toBe('number');
    const context = event.context as Event | undefined;
    if (context?.key === 'dave') return { ...event, context: 'dave' };
    return event;
  });
}

describe.each([
  ['have the settings of their flag', () => true],
  ['rely on the relay for the settings of their flag', () => false],
  ['sometimes have the settings of their flag', (flag: string) => flag.length % 2 === 0],
])('unsummarised events that %s', (_what, withHints) => {
  test(`become exactly the events of the official Node SDK for the same evaluations (SEED=${SEED})`, async () => {
    const { official, unsummarized } = await evaluate(randomFrom(SEED), withHints);
    const launchDarkly = await startLaunchDarkly();
    const { intake, forwarding } = startEnvironment(launchDarkly.uri, { flushIntervalMs: NEVER_MS }, flags);
    await send(intake, unsummarized.slice(0, 20), { schema: 4, headers: { 'x-launchdarkly-unsummarized': '' } });
    await send(intake, unsummarized.slice(20), { schema: 2 });
    await forwarding.close(60_000);
    expect(launchDarkly.requests).toHaveLength(1);
    const [request] = launchDarkly.requests;
    expect(new Set(official.map(({ kind }) => kind))).toEqual(
      new Set(['index', 'feature', 'debug', 'custom', 'identify', 'summary']),
    );
    expect(comparable(request!.events)).toEqual(comparable(official));
    expect(request!.headers['x-launchdarkly-event-schema']).toBe('4');
    expect(request!.events.at(-1)).toMatchObject({ kind: 'summary', startDate: AT, endDate: AT + 59 });
  });
});

async function summarised(
  events: readonly (Event | string)[],
  schema = 1,
  more: Parameters<typeof startEnvironment>[1] = {},
) {
  const launchDarkly = await startLaunchDarkly();
  const environment = startEnvironment(launchDarkly.uri, { flushIntervalMs: NEVER_MS, ...more }, flags);
  const texts = events.map((event) => (typeof event === 'string' ? event : JSON.stringify(event)));
  // A body is read in several turns, and what a flush in between finds is sent alone.
  await send(environment.intake, `[${texts.join(',')}]`, { schema });
  environment.intake.flush();
  await eventually(() => expect(launchDarkly.requests).toHaveLength(1));
  return { ...environment, launchDarkly, request: launchDarkly.requests[0]! };
}

const feature = (key: string, more: object = {}) => ({
  kind: 'feature',
  creationDate: AT,
  key,
  context: user('alice'),
  value: true,
  default: false,
  ...more,
});

test('contexts, values and data are forwarded byte for byte', async () => {
  const context = String.raw`{ "kind":"user","key":"al\u0069ce", "n":1.0e0,"x":12345678901234567890 }`;
  const parts = `"creationDate":1,"context":${context},"key":"tracked"`;
  const { request } = await summarised([
    `{"kind":"feature",${parts},"value":[1.0,1e300],"default":{ "a":1e5 },"version":5,"trackEvents":true,"reason":{ "kind":"OFF" }}`,
    `{"kind":"custom",${parts},"data":[ 1.50 ],"metricValue":2.50,"unknown":1}`,
    `{"kind":"identify",${parts}}`,
    `{ "kind":"migration_op", "z":1.0 }`,
  ]);
  expect(request.text).toBe(
    `[${[
      `{"kind":"index","creationDate":1,"context":${context}}`,
      `{"kind":"feature",${parts},"value":[1.0,1e300],"default":{ "a":1e5 },"version":5,"reason":{ "kind":"OFF" }}`,
      `{"kind":"custom","creationDate":1,"key":"tracked","context":${context},"data":[ 1.50 ],"metricValue":2.50}`,
      `{"kind":"identify","creationDate":1,"context":${context}}`,
      `{ "kind":"migration_op", "z":1.0 }`,
      `{"kind":"summary","startDate":1,"endDate":1,"features":{"tracked":{"default":{ "a":1e5 },"contextKinds":["user"],"counters":[{"version":5,"value":[1.0,1e300],"count":1}]}}}`,
    ].join(',')}]`,
  );
});

test('for SDKs of schema 1, which send no variation, the variation is found by its value', async () => {
  const events = [
    feature('plain', { version: 3, value: { deep: [1, null] } }),
    feature('plain', { version: 3, value: 3 }),
    feature('plain', { version: 3, value: 'no such value' }),
    feature('plain', { version: 3, value: { deep: [1] } }),
    feature('tracked', { version: 5, value: false }),
  ];
  const counters = async (schema: number) => {
    const { request } = await summarised(events, schema);
    const { features } = request.events.at(-1) as { features: Record<string, { counters: Event[] }> };
    return features.plain?.counters.map(({ variation, count }) => ({ variation, count }));
  };
  expect(await counters(1)).toEqual([
    { variation: 1, count: 1 },
    { variation: 2, count: 1 },
    { variation: undefined, count: 2 },
  ]);
  expect(await counters(2)).toEqual([{ variation: undefined, count: 4 }]);
});

test('only the rule of an experiment causes full feature events', async () => {
  const matched = (ruleIndex: number) =>
    feature('experiment by rule', { version: 8, reason: { kind: 'RULE_MATCH', ruleIndex } });
  const { request } = await summarised([matched(0), matched(1), matched(2)], 2);
  expect(request.events.map(({ kind }) => kind)).toEqual(['index', 'feature', 'summary']);
  expect(request.events[1]).toMatchObject({ reason: { ruleIndex: 1 } });
});

test("debugging of a flag ends by the later of LaunchDarkly's and the relay's clock", async () => {
  const launchDarkly = await startLaunchDarkly(() => ({
    status: 202,
    headers: { Date: new Date(FUTURE - 10_000).toUTCString() },
  }));
  const { intake, measured } = startEnvironment(launchDarkly.uri, {}, flags);
  const until = (debugEventsUntilDate: number) => feature('x', { version: 1, debugEventsUntilDate });
  send(intake, [until(Date.now() - 1), until(FUTURE - 20_000)], { schema: 2 });
  await eventually(() => expect(launchDarkly.taken()).toHaveLength(3));
  expect(launchDarkly.taken().map(({ kind }) => kind)).toEqual(['index', 'debug', 'summary']);
  // Events count as forwarded once the response, with its Date, has arrived.
  await eventually(async () => expect(await measured('events_forwarded_total')).toBe(3));
  send(intake, [until(FUTURE - 20_000), until(FUTURE)], { schema: 2 });
  await eventually(() => expect(launchDarkly.taken()).toHaveLength(5));
  expect(launchDarkly.requests[1]?.events.map(({ kind }) => kind)).toEqual(['debug', 'summary']);
});

test('one in as many events as the sampling ratio says is sent, with the ratio, and all are counted', async () => {
  let draw = 0;
  const events = Array.from({ length: 40 }, () => feature('x', { version: 1, trackEvents: true, samplingRatio: 10 }));
  const { request } = await summarised(events, 2, { random: () => (draw++ % 10) / 10 });
  const kinds = request.events.map(({ kind }) => kind);
  expect(kinds).toEqual(['index', 'feature', 'feature', 'feature', 'feature', 'summary']);
  expect(request.events[1]).toMatchObject({ samplingRatio: 10 });
  expect(request.events.at(-1)).toMatchObject({ features: { x: { counters: [{ count: 40 }] } } });
});

test('a context is indexed once, and again after it was forgotten', async () => {
  const { intake, launchDarkly } = await summarised([feature('x'), feature('x')]);
  await send(intake, [feature('x')], { schema: 1 });
  await send(intake, [feature('x', { context: user('bob') })], { schema: 1 });
  intake.flush();
  await eventually(() => expect(launchDarkly.requests).toHaveLength(2));
  const described = (events: readonly Event[]) =>
    events.filter(({ kind }) => kind === 'index').map(({ context }) => (context as Event).key);
  expect(described(launchDarkly.taken())).toEqual(['alice', 'bob']);

  const forgetful = await summarised([feature('x')], 1, { timings: { forgetContextsMs: 20 } });
  await eventually(async () => {
    await send(forgetful.intake, [feature('x')], { schema: 1 });
    forgetful.intake.flush();
    expect(described(forgetful.launchDarkly.taken()).length).toBeGreaterThan(1);
  });
});

test('flags may be named like properties of Object.prototype', async () => {
  const names = ['constructor', '__proto__', 'toString', '"'];
  const { request } = await summarised(names.map((key) => feature(key, { version: 1 })));
  const { features } = request.events.at(-1) as { features: object };
  expect(Object.keys(features)).toEqual(names);
});

test('counters that LaunchDarkly has not accepted yet are added up', async () => {
  const launchDarkly = await startLaunchDarkly(() => 503);
  const { intake } = startEnvironment(launchDarkly.uri, {}, flags);
  send(intake, [feature('x', { version: 1 })], { schema: 1 });
  await eventually(() => expect(launchDarkly.requests.length).toBeGreaterThan(0));
  for (let count = 0; count < 50; count++) {
    send(intake, [feature('x', { version: 1, creationDate: AT - count })], { schema: 1 });
    await new Promise((resolve) => setImmediate(resolve));
  }
  launchDarkly.mood.react = () => 202;
  await eventually(() => expect(launchDarkly.taken()).toHaveLength(3));
  expect(launchDarkly.taken()[2]).toMatchObject({
    startDate: AT - 49,
    endDate: AT,
    features: { x: { counters: [{ count: 50 }] } },
  });
});

test.each<[string, Event | string]>([
  ['no kind', { context: user('a'), key: 'x' }],
  ['a kind that is not a string', { kind: 5, context: user('a'), key: 'x' }],
  ['no context', { kind: 'feature', key: 'x', value: 1 }],
  ['an invalid context', { kind: 'custom', key: 'x', context: { kind: 'user' } }],
  ['only a user key', { kind: 'custom', key: 'x', userKey: 'a' }],
  ['no key', { kind: 'feature', context: user('a') }],
])('an event with %s is dropped, and the others are not', async (_what, event) => {
  const { request, measured } = await summarised([event, custom(1)]);
  expect(request.events).toEqual([{ kind: 'index', creationDate: AT, context: user('alice') }, custom(1)]);
  expect(await measured('events_dropped_total', { reason: 'malformed' })).toBe(1);
});

const counting = (name: string, value: string) =>
  `{"kind":"feature","key":"plain","context":{"kind":"user","key":"a"},"creationDate":1,"value":1,"default":null,"${name}":${value}}`;

test.each([
  ['creationDate', '-1e300'],
  ['creationDate', '8.65e15'],
  ['creationDate', '1e999'],
  ['version', '1.5'],
  ['version', '-1'],
  ['version', '"1"'],
  ['variation', '0.25'],
  ['variation', '1e300'],
  ['variation', '[1]'],
  ['value', '{"deep":[1,-1e400]}'],
  ['default', '1e400'],
  ['reason', '{"kind":"RULE_MATCH","ruleIndex":1e400}'],
  ['samplingRatio', '1e999'],
])('an event whose %s is %s is malformed, and the summary of the others is sent', async (name, value) => {
  const { request, measured } = await summarised([
    counting(name, value),
    feature('good', { version: 1, variation: 0 }),
  ]);
  expect(request.events.at(-1)).toMatchObject({
    kind: 'summary',
    startDate: AT,
    endDate: AT,
    features: { good: { counters: [{ version: 1, variation: 0, value: true, count: 1 }] } },
  });
  expect(request.events.at(-1)!.features).not.toHaveProperty('plain');
  expect(await measured('events_dropped_total', { reason: 'malformed' })).toBe(1);
});

test('a fraction of a millisecond is cut off', async () => {
  const { request } = await summarised([feature('x', { version: 1, creationDate: AT + 0.75 })]);
  expect(request.events).toMatchObject([
    { kind: 'index', creationDate: AT },
    { startDate: AT, endDate: AT },
  ]);
});

test('a summary of large values is sent in events of moderate size @heavy', async () => {
  const launchDarkly = await startLaunchDarkly();
  const { intake, forwarding } = startEnvironment(launchDarkly.uri, { flushIntervalMs: NEVER_MS });
  const events = [
    ...Array.from({ length: 6 }, (_, variation) =>
      feature('large', { version: 1, variation, value: `${variation}`.padEnd(200_000) }),
    ),
    feature('x', { version: 1, variation: 0 }),
  ];
  await send(intake, events, { schema: 1 });
  await forwarding.close(20_000);
  const summaries = launchDarkly.taken().filter(({ kind }) => kind === 'summary') as unknown as {
    features: Record<string, { default: unknown; contextKinds: string[]; counters: { variation: number }[] }>;
  }[];
  expect(Math.max(...summaries.map((event) => JSON.stringify(event).length))).toBeLessThan(257 * 1024);
  const counters = summaries.flatMap(({ features }) => features.large?.counters ?? []);
  expect(counters.map(({ variation }) => variation)).toEqual([0, 1, 2, 3, 4, 5]);
  for (const { features } of summaries)
    if (features.large) expect(features.large).toMatchObject({ default: false, contextKinds: ['user'] });
  expect(summaries.at(-1)!.features.x?.counters).toHaveLength(1);
});

test('only a limited number of invented kinds of contexts is listed', async () => {
  const kinds = Array.from({ length: 150 }, (_, id) => [`kind-${id}`, { key: 'a' }] as const);
  const context = { kind: 'multi', ...Object.fromEntries([['k'.repeat(300), { key: 'a' }], ...kinds]) };
  const { request } = await summarised([feature('x', { version: 1, context })]);
  const { features } = request.events.at(-1) as unknown as { features: { x: { contextKinds: string[] } } };
  expect(features.x.contextKinds).toHaveLength(100);
});

test('a sender that invents flags leaves room for those of the others @heavy', async () => {
  const launchDarkly = await startLaunchDarkly(() => 503);
  const { intake } = startEnvironment(launchDarkly.uri, { capacity: 40 });
  const flood = (round: number) =>
    send(
      intake,
      Array.from({ length: 60 }, (_, id) => feature(`invented-${round}-${id}`, { version: 1 })),
      { schema: 1, address: '203.0.113.1' },
    );
  for (let round = 0; round < 5; round++) await flood(round);
  await eventually(() => expect(launchDarkly.requests.length).toBeGreaterThan(0));
  for (let round = 5; round < 9; round++) await flood(round);
  await send(intake, [feature('good', { version: 1 })], { schema: 1, address: '198.51.100.1' });
  launchDarkly.mood.react = () => 202;
  await eventually(() => expect(JSON.stringify(launchDarkly.taken())).toContain('"good":'));
});

test.each([
  ['trackEvents', '"yes"'],
  ['debugEventsUntilDate', '{}'],
  ['reason', '5'],
])('an event whose %s is %s does not produce invalid JSON', async (name, value) => {
  const { request } = await summarised([
    `{"kind":"feature","key":"plain","context":{"kind":"user","key":"a"},"value":1,"default":null,"${name}":${value}}`,
  ]);
  expect(request.events.at(-1)).toMatchObject({ kind: 'summary', features: { plain: { default: null } } });
});
