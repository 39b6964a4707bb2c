import type { CredentialKind } from '../../../relay-task/ports.ts';
import { eventually } from '../../support/eventually.ts';
import { custom, FROM, NEVER_MS, type Reaction, startForwarding, startLaunchDarkly } from './support.ts';

type Options = NonNullable<Parameters<typeof startForwarding>[1]>;

/** An environment whose events are sent with the credential that they came with, unless `senders` names another one. */
async function start(more: Options = {}) {
  const launchDarkly = await startLaunchDarkly();
  const started = startForwarding(launchDarkly.uri, more);
  const senders = new Map<string, string>();
  const intake = started.forwarding.environment({
    name: 'production',
    senderOf: (_kind, credential) => senders.get(credential) ?? credential,
    flag: () => undefined,
  });
  const deliver =
    (what: 'analytics' | 'diagnostic') =>
    (kind: CredentialKind, credential: string, event: object, headers: Record<string, string> = {}) =>
      intake[what]({
        ...{ ...FROM, kind, credential },
        headers: { 'x-launchdarkly-event-schema': '4', ...headers },
        body: Buffer.from(JSON.stringify(what === 'analytics' ? [event] : event)),
      });
  /** The address and key of every accepted request, and its events' names. */
  const taken = () =>
    launchDarkly.requests
      .filter(({ status }) => status === 202)
      .map(({ path, headers, events }) => [
        path,
        headers.authorization,
        [events].flat().map(({ key, id, kind }) => key ?? id ?? kind),
      ]);
  const refuse = (reaction: Reaction, key: string) => {
    launchDarkly.mood.react = ({ headers, path }) =>
      headers.authorization === key || path.endsWith(key) ? reaction : 202;
  };
  return {
    ...started,
    launchDarkly,
    senders,
    intake,
    taken,
    refuse,
    add: deliver('analytics'),
    diagnose: deliver('diagnostic'),
  };
}

test.each([
  ['sdkKey', '/bulk', '/bulk'],
  ['mobileKey', '/mobile', '/mobile'],
  ['environmentId', '/events/bulk/a', '/events/bulk/b'],
] as const)('events that came with two credentials of the kind %s are never in one payload', async (kind, ofA, ofB) => {
  const { add, intake, taken } = await start({ flushIntervalMs: NEVER_MS });
  for (const round of [1, 2])
    for (const credential of ['a', 'b']) await add(kind, credential, custom(`${credential}${round}`));
  intake.flush();
  const isKey = kind !== 'environmentId';
  await eventually(() =>
    expect(taken().sort()).toEqual([
      [ofA, isKey ? 'a' : undefined, ['event-a1', 'event-a2']],
      [ofB, isKey ? 'b' : undefined, ['event-b1', 'event-b2']],
    ]),
  );
});

test('evaluations under two keys are counted apart, and a context is described under each', async () => {
  const { add, launchDarkly } = await start();
  const event = { ...custom('x'), kind: 'feature', key: 'x', version: 1, variation: 0, value: 1 };
  for (const key of ['a', 'b', 'a']) add('sdkKey', key, event, { 'x-launchdarkly-event-schema': '1' });
  const kindsOf = (key: string) =>
    launchDarkly.requests.filter(({ headers }) => headers.authorization === key).flatMap(({ events }) => events);
  await eventually(() => expect(kindsOf('b')).toHaveLength(2));
  await eventually(() => expect(kindsOf('a').length).toBeGreaterThan(1));
  for (const key of ['a', 'b']) expect(kindsOf(key).filter(({ kind }) => kind === 'index')).toHaveLength(1);
  expect(kindsOf('a').at(-1)).toMatchObject({ features: { x: { counters: [{ count: 2 }] } } });
  expect(kindsOf('b').at(-1)).toMatchObject({ features: { x: { counters: [{ count: 1 }] } } });
});

test.each(['analytics', 'diagnostic'] as const)(
  'a key that LaunchDarkly refuses does not hold back what came with another key: %s',
  async (what) => {
    const { add, diagnose, refuse, launchDarkly, taken } = await start();
    refuse(401, 'a');
    const send = what === 'analytics' ? add : diagnose;
    send('sdkKey', 'a', custom(1));
    await eventually(() => expect(launchDarkly.requests).toHaveLength(1));
    send('sdkKey', 'b', custom(2));
    await eventually(() => expect(taken()).toEqual([[expect.any(String), 'b', ['event-2']]]));
  },
);

test('events with a refused key are dropped after their time, counted and logged once, while another key delivers', async () => {
  const { add, refuse, measured, lines, taken } = await start({
    timings: { firstRefusedMs: 5, longestRefusedMs: 5, keepForMs: 30 },
  });
  refuse(401, 'a');
  let sent = 0;
  for (let round = 0; round < 3; round++) {
    add('sdkKey', 'a', custom(`a${round}`));
    await eventually(async () => {
      add('sdkKey', 'b', custom(`b${sent++}`));
      expect(await measured('events_dropped_total', { reason: 'refused' })).toBe(round + 1);
    });
  }
  await eventually(() => expect(taken().flatMap(([, , keys]) => keys)).toHaveLength(sent));
  expect(lines.map((line) => line.split(' {')[0])).toEqual([
    'LaunchDarkly rejected events; keeping them while there is room, and retrying slowly or when the key changes',
    'Events were dropped',
  ]);
  expect(lines[0]).toContain('"status":401');
  expect(lines[1]).toContain('"reason":"refused"');
});

test('events with a refused key are sent at once with the key that is its successor from now on', async () => {
  const { add, refuse, launchDarkly, senders, taken } = await start();
  refuse(401, 'a');
  add('sdkKey', 'a', custom(1));
  await eventually(() => expect(launchDarkly.requests).toHaveLength(1));
  senders.set('a', 'b');
  await eventually(() => expect(taken()).toEqual([['/bulk', 'b', ['event-1']]]));
  const ids = launchDarkly.requests.map(({ headers }) => headers['x-launchdarkly-payload-id']);
  expect(ids[1]).toBe(ids[0]);
});

test('a payload ID is remembered for the key that it came with, until that was not used for long', async () => {
  const { add, intake, taken, measured } = await start({
    flushIntervalMs: NEVER_MS,
    timings: { idleQueueMs: 600_000 },
  });
  const headers = { 'x-launchdarkly-payload-id': '11111111-2222-3333-4444-555555555555' };
  const { now } = performance;
  let aheadMs = 0;
  const clock = jest.spyOn(performance, 'now').mockImplementation(() => now.call(performance) + aheadMs);
  const later = (ms: number) => {
    aheadMs += ms;
    intake.flush();
  };
  const repeated = () => measured('event_payloads_repeated_total');
  try {
    for (const key of ['a', 'b', 'a', 'b']) await add('sdkKey', key, custom(1), headers);
    intake.flush();
    await eventually(async () => expect([taken().length, await measured('events_queue_bytes')]).toEqual([2, 0]));
    expect(
      taken()
        .map(([, key]) => key)
        .sort(),
    ).toEqual(['a', 'b']);
    expect(await repeated()).toBe(2);
    later(500_000);
    await add('sdkKey', 'a', custom(1), headers);
    // Each attempt is a use.
    later(500_000);
    await add('sdkKey', 'a', custom(1), headers);
    expect(await repeated()).toBe(4);
    later(600_000);
    await add('sdkKey', 'a', custom(1), headers);
    intake.flush();
    await eventually(() => expect(taken()).toHaveLength(3));
    expect(await repeated()).toBe(4);
  } finally {
    clock.mockRestore();
  }
});

test('closing waits for the events of every key', async () => {
  const { add, diagnose, forwarding, taken, measured, lines } = await start({ flushIntervalMs: NEVER_MS });
  add('sdkKey', 'a', custom(1));
  add('sdkKey', 'b', custom(2));
  diagnose('environmentId', 'c', { id: 'x' });
  await forwarding.close(20_000);
  expect(taken()).toHaveLength(3);
  for (const key of ['a', 'new']) add('sdkKey', key, custom(3));
  expect(await measured('events_dropped_total', { reason: 'closed' })).toBe(2);
  expect(lines).toEqual(['Events were dropped {"environment":"production","reason":"closed","events":1}']);
  expect(taken()).toHaveLength(3);
});
