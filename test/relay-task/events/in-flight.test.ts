/** Requests that LaunchDarkly does not answer. */
import type { EventForwardingOptions } from '../../../relay-task/events/forwarding.ts';
import { createPlaces } from '../../../relay-task/events/places.ts';
import { eventually, turnsOfLoop } from '../../support/eventually.ts';
import {
  custom,
  type Event,
  FROM,
  NEVER_MS,
  type Reaction,
  type Received,
  send,
  startEnvironment,
  startLaunchDarkly,
} from './support.ts';

/** Requests never time out, but count as slow at once. */
const HANGING: Partial<EventForwardingOptions> = { timings: { requestTimeoutMs: NEVER_MS, slowAfterMs: 1 } };
const keys = (events: readonly Event[]) => events.map(({ key }) => key);

/** A LaunchDarkly that answers some requests only when it is told to. */
async function startHolding(
  holds: (request: Omit<Received, 'status'>) => boolean,
  reaction: (request: Omit<Received, 'status'>) => Reaction = () => 202,
) {
  const waiting: (() => void)[] = [];
  const launchDarkly = await startLaunchDarkly(async (request) => {
    if (holds(request)) await new Promise<void>((resolve) => waiting.push(resolve));
    return reaction(request);
  });
  const letGo = () => {
    for (const resolve of waiting.splice(0)) resolve();
  };
  return { ...launchDarkly, held: () => waiting.length, letGo };
}

test('while LaunchDarkly holds one payload, all later ones are delivered, and that one once when it lets go @heavy', async () => {
  const launchDarkly = await startHolding(({ text }) => text.includes('"event-0"'));
  const { intake, measured } = startEnvironment(launchDarkly.uri, HANGING);
  send(intake, [custom(0)]);
  await eventually(() => expect(launchDarkly.held()).toBe(1));
  for (let id = 1; id <= 30; id++) {
    send(intake, [custom(id)]);
    await eventually(() => expect(launchDarkly.taken()).toHaveLength(id));
  }
  launchDarkly.letGo();
  await eventually(async () => expect(await measured('events_forwarded_total')).toBe(31));
  expect(new Set(keys(launchDarkly.taken())).size).toBe(31);
  expect(launchDarkly.requests).toHaveLength(31);
  expect(await measured('events_queue_bytes')).toBe(0);
});

test('a payload that hangs and then fails does not hold back the others while it waits for its next attempt @heavy', async () => {
  const launchDarkly = await startHolding(
    ({ text }) => text.includes('"event-0"'),
    ({ text }) => (text.includes('"event-0"') ? 503 : 202),
  );
  const { intake } = startEnvironment(launchDarkly.uri, {
    timings: { ...HANGING.timings, firstRetryMs: NEVER_MS, longestRetryMs: NEVER_MS },
  });
  send(intake, [custom(0)]);
  await eventually(() => expect(launchDarkly.held()).toBe(1));
  send(intake, [custom(1)]);
  await eventually(() => expect(launchDarkly.taken()).toHaveLength(1));
  launchDarkly.letGo();
  await eventually(() => expect(launchDarkly.requests.map(({ status }) => status)).toEqual([202, 503]));
  for (let id = 2; id < 6; id++) {
    send(intake, [custom(id)]);
    await eventually(() => expect(launchDarkly.taken()).toHaveLength(id));
  }
});

test('while LaunchDarkly answers nothing at all, a queue has few requests, and nothing is lost', async () => {
  const launchDarkly = await startHolding(() => true);
  const { intake, measured } = startEnvironment(launchDarkly.uri, HANGING);
  const sent = Array.from({ length: 40 }, (_, id) => custom(id));
  for (const [index, event] of sent.entries()) {
    send(intake, [event]);
    await eventually(() => expect(launchDarkly.held()).toBe(Math.min(4, index + 1)));
  }
  await turnsOfLoop();
  expect(launchDarkly.mood.mostUnderWay).toBe(4);
  const opened = setInterval(launchDarkly.letGo, 5);
  await eventually(async () => expect(await measured('events_forwarded_total')).toBe(40));
  clearInterval(opened);
  expect(keys(launchDarkly.taken()).sort()).toEqual(keys(sent).sort());
});

test('requests that hang for one environment leave the others their own @heavy', async () => {
  const launchDarkly = await startHolding(({ headers }) => headers.authorization !== 'sdk-other');
  const { intake, forwarding } = startEnvironment(launchDarkly.uri, {
    ...HANGING,
    maxInFlight: 8,
    maxInFlightTogether: 8,
  });
  const other = forwarding.environment({ name: 'other', senderOf: () => 'sdk-other', flag: () => undefined });
  for (let app = 0; app < 20; app++) send(intake, [custom(app)], { headers: { 'x-launchdarkly-tags': `a/${app}` } });
  await eventually(() => expect(launchDarkly.held()).toBe(8));
  for (let id = 100; id < 110; id++) {
    send(other, [custom(id)]);
    await eventually(() => expect(launchDarkly.taken()).toHaveLength(id - 99));
  }
  launchDarkly.letGo();
});

test('while everything of two kinds of SDK hangs, those of others with the same key go on @heavy', async () => {
  const launchDarkly = await startHolding(({ text }) => text.includes('"hung"'));
  const { intake } = startEnvironment(launchDarkly.uri, HANGING);
  const of = (app: string) => ({ headers: { 'x-launchdarkly-tags': `a/${app}` } });
  for (const [index, app] of ['one', 'one', 'one', 'one', 'two', 'two'].entries()) {
    send(intake, [{ kind: 'hung' }], of(app));
    await eventually(() => expect(launchDarkly.held()).toBe(index + 1));
  }
  for (let more = 0; more < 2; more += 1) {
    await send(intake, [{ kind: 'hung' }], of('two'));
    intake.flush();
    await turnsOfLoop(100);
  }
  for (let id = 1; id <= 10; id += 1) {
    send(intake, [custom(id)], of('three'));
    await eventually(() => expect(launchDarkly.taken()).toHaveLength(id));
  }
  launchDarkly.letGo();
});

test('diagnostic events do not wait for one that hangs', async () => {
  const launchDarkly = await startHolding(({ text }) => text.includes('"a"'));
  const { intake } = startEnvironment(launchDarkly.uri, HANGING);
  for (const id of ['a', 'b', 'c']) {
    intake.diagnostic({
      ...FROM,
      kind: 'sdkKey',
      credential: '',
      headers: {},
      body: Buffer.from(JSON.stringify({ id })),
    });
  }
  const taken = () => launchDarkly.taken().map(({ id }) => id);
  await eventually(() => expect(taken().sort()).toEqual(['b', 'c']));
  launchDarkly.letGo();
});

test('closing sends what waits behind a payload that hangs, and sends that one again under the same ID', async () => {
  let first = true;
  const launchDarkly = await startLaunchDarkly(({ text }) => {
    const hangs = first && text.includes('"event-0"');
    if (hangs) first = false;
    return hangs ? 'hang' : 202;
  });
  const { intake, forwarding, measured } = startEnvironment(launchDarkly.uri, {
    ...HANGING,
    flushIntervalMs: NEVER_MS,
    capacity: 2,
  });
  send(intake, [custom(0)]);
  await eventually(() => expect(launchDarkly.requests).toHaveLength(1));
  send(intake, [custom(1)]);
  await forwarding.close(60_000);
  expect(keys(launchDarkly.taken()).sort()).toEqual(['event-0', 'event-1']);
  expect(await measured('events_dropped_total')).toBe(0);
  const ids = launchDarkly.requests
    .filter(({ text }) => text.includes('"event-0"'))
    .map(({ headers }) => headers['x-launchdarkly-payload-id']);
  expect(ids).toEqual([ids[0], ids[0]]);
});

test('places go to credentials in turn, each may have one, and one that gives up stops waiting', async () => {
  const places = createPlaces({ each: 3, together: 4 });
  const [a, b, c] = [places.open(), places.open(), places.open()];
  const order: string[] = [];
  const enter = async (name: string, group: typeof a, signal?: AbortSignal) => {
    const leave = await group.enter(signal);
    order.push(leave ? name : `${name} gave up`);
    return leave;
  };
  const inA = await Promise.all([enter('a', a), enter('a', a), enter('a', a)]);
  await enter('b', b);
  await enter('c', c);
  expect(order).toEqual(['a', 'a', 'a', 'b', 'c']);
  const waiting = [enter('a2', a), enter('a3', a), enter('b2', b)];
  const abort = new AbortController();
  const impatient = enter('c2', c, abort.signal);
  abort.abort();
  await impatient;
  for (const leave of inA) leave?.();
  await Promise.all([waiting[0], waiting[2]]);
  expect(order.slice(5)).toEqual(['c2 gave up', 'a2', 'b2']);
  (await waiting[2])?.();
  await waiting[1];
  expect(order.at(-1)).toBe('a3');
});

test("half of a credential's places are for further requests of the same queue, and other queues do not wait behind them", async () => {
  const places = createPlaces({ each: 6, together: 64 }).open();
  const inside: string[] = [];
  const enter = async (name: string, queue: object) => {
    const leave = await places.enter(undefined, queue);
    inside.push(name);
    return leave;
  };
  const [a, b, c] = [{}, {}, {}];
  const ofA = Array.from({ length: 5 }, (_, index) => enter(`a${index}`, a));
  const [first] = await Promise.all(ofA.slice(0, 4));
  const [, inB, inC] = [...[0, 1].map((index) => enter(`b${index}`, b)), enter('c0', c)];
  await inC;
  expect(inside).toEqual(['a0', 'a1', 'a2', 'a3', 'b0', 'c0']);
  first?.();
  await ofA[4];
  (await ofA[1])?.();
  await inB;
  expect(inside.slice(6)).toEqual(['a4', 'b1']);
});
