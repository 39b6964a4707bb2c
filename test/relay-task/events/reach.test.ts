/** Whether an environment's events reach LaunchDarkly, as `/status` says it. */
import { mkdirSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { EventIntake } from '../../../relay-task/ports.ts';
import { eventually } from '../../support/eventually.ts';
import { newDirectory, startSpooling } from './spool-support.ts';
import {
  CLIENT_KEY,
  custom,
  FROM,
  NEVER_MS,
  type Reaction,
  send,
  startEnvironment,
  startLaunchDarkly,
  user,
} from './support.ts';

const often = { firstRefusedMs: 5, longestRefusedMs: 5 };

async function start(reaction: Reaction = 202) {
  const launchDarkly = await startLaunchDarkly(() => reaction);
  const environment = startEnvironment(launchDarkly.uri, { flushIntervalMs: NEVER_MS, timings: often });
  const { host } = new URL(launchDarkly.uri);
  const deliver = (...args: Parameters<typeof send>) => {
    void send(...args);
    environment.intake.flush();
  };
  const state = () => environment.intake.status()?.state;
  return { ...environment, launchDarkly, host, deliver, state };
}

function diagnose(intake: EventIntake): void {
  const body = Buffer.from(JSON.stringify({ kind: 'diagnostic', id: { diagnosticId: 'd' }, creationDate: 1 }));
  intake.diagnostic({ ...FROM, kind: 'sdkKey', credential: CLIENT_KEY, headers: {}, body });
}

test('nothing is known until something was sent', async () => {
  const { intake, deliver, state } = await start();
  const before = Date.now();
  expect(intake.status()).toEqual({ state: 'INITIALIZING', stateSince: expect.any(Number), pending: 0 });
  deliver(intake, [custom(1)]);
  await eventually(() => expect(state()).toBe('VALID'));
  expect(intake.status()?.stateSince).toBeGreaterThanOrEqual(before);
  expect(intake.status()?.lastError).toBeUndefined();
});

test('a refused key interrupts it at once, with the answer and how many wait, and the next delivery ends that', async () => {
  const { intake, deliver, state, launchDarkly, host } = await start(401);
  deliver(intake, [custom(1), custom(2)]);
  await eventually(() => expect(state()).toBe('INTERRUPTED'));
  const lastError = {
    kind: 'ERROR_RESPONSE',
    time: expect.any(Number),
    message: `${host} answered 401`,
    statusCode: 401,
  };
  const { stateSince } = intake.status() ?? {};
  expect(intake.status()).toEqual({ state: 'INTERRUPTED', stateSince, lastError, pending: 2 });
  const attempts = launchDarkly.requests.length;
  await eventually(() => expect(launchDarkly.requests.length).toBeGreaterThan(attempts));
  expect(intake.status()?.stateSince).toBe(stateSince);
  launchDarkly.mood.react = () => 202;
  await eventually(() => expect(state()).toBe('VALID'));
  await eventually(() => expect(intake.status()).toMatchObject({ lastError, pending: 0 }));
});

test('index events that the relay adds wait, too, and are not received', async () => {
  const { intake, deliver, measured } = await start(503);
  // In the schema of an SDK that leaves summarising to the relay.
  deliver(intake, [custom(1), custom(2), { ...custom(3), context: user('bob') }], { schema: 1 });
  await eventually(() => expect(intake.status()?.pending).toBe(5));
  expect(await measured('events_pending')).toBe(5);
  expect(await measured('events_received_total')).toBe(3);
});

test.each([
  ['an answer of 503', 503, { kind: 'ERROR_RESPONSE', statusCode: 503 }],
  ['no answer', 'cut', { kind: 'NETWORK_ERROR', message: expect.stringMatching(/127\.0\.0\.1|socket|hang up/) }],
] as const)('%s interrupts it if the next attempt fails, too', async (_name, reaction, lastError) => {
  const { intake, deliver, state, launchDarkly } = await start();
  let failures = 1;
  launchDarkly.mood.react = () => (failures-- > 0 ? reaction : 202);
  deliver(intake, [custom(1)]);
  await eventually(() => expect(state()).toBe('VALID'));
  // It may have been a dead connection.
  expect(intake.status()?.lastError).toBeUndefined();
  failures = Number.POSITIVE_INFINITY;
  deliver(intake, [custom(2)]);
  await eventually(() => expect(intake.status()).toMatchObject({ state: 'INTERRUPTED', pending: 1, lastError }));
});

test('a payload that LaunchDarkly does not want, and diagnostic events, say nothing about it', async () => {
  const { intake, deliver, state, launchDarkly, measured } = await start();
  launchDarkly.mood.react = ({ path, events }) => {
    if (path.endsWith('diagnostic')) return 401;
    return events.some(({ key }) => key === 'event-bad') ? 400 : 202;
  };
  deliver(intake, [custom(1)]);
  await eventually(() => expect(state()).toBe('VALID'));
  diagnose(intake);
  deliver(intake, [custom('bad')]);
  await eventually(async () => expect(await measured('events_dropped_total', { reason: 'rejected' })).toBe(1));
  await eventually(() => expect(launchDarkly.requests.some(({ status }) => status === 401)).toBe(true));
  await eventually(async () => expect(await measured('events_dropped_total', { reason: 'refused' })).toBe(1));
  expect(intake.status()).toMatchObject({ state: 'VALID' });
  expect(intake.status()?.lastError).toBeUndefined();
});

test('diagnostic events that are accepted do not end it', async () => {
  const { intake, deliver, state, launchDarkly } = await start();
  launchDarkly.mood.react = ({ path }) => (path === '/bulk' ? 401 : 202);
  deliver(intake, [custom(1)]);
  await eventually(() => expect(state()).toBe('INTERRUPTED'));
  const { stateSince } = intake.status() ?? {};
  diagnose(intake);
  const accepted = () => launchDarkly.requests.some(({ status }) => status === 202);
  await eventually(() => expect(accepted()).toBe(true));
  // The attempts after it go on.
  const attempts = launchDarkly.requests.length;
  await eventually(() => expect(launchDarkly.requests.length).toBeGreaterThan(attempts));
  expect(intake.status()).toMatchObject({ state: 'INTERRUPTED', stateSince });
});

describe('one refused credential of several', () => {
  async function startRefused(timings: object) {
    const launchDarkly = await startLaunchDarkly(({ path }) => (path === '/mobile' ? 401 : 202));
    const { intake, measured } = startEnvironment(launchDarkly.uri, { timings: { ...often, ...timings } });
    void send(intake, [custom(1)], { kind: 'mobileKey' });
    await eventually(() => expect(intake.status()?.lastError).toMatchObject({ statusCode: 401 }));
    void send(intake, [custom(2)]);
    await eventually(async () => expect(await measured('events_forwarded_total')).toBe(1));
    return { intake, measured };
  }

  test('interrupts it, whatever the others deliver', async () => {
    const { intake } = await startRefused({});
    expect(intake.status()).toMatchObject({ state: 'INTERRUPTED', pending: 1 });
  });

  test('does so no longer when nothing comes with it any more', async () => {
    const { intake, measured } = await startRefused({ keepForMs: 100, idleQueueMs: 1 });
    await eventually(async () => expect(await measured('events_dropped_total', { reason: 'refused' })).toBe(1));
    await eventually(() => expect(intake.status()).toMatchObject({ state: 'VALID', pending: 0 }));
  });
});

test('where events are discarded, there is nothing to say', async () => {
  const { intake, forwarding } = startEnvironment('http://127.0.0.1:9', { discard: true });
  await send(intake, [custom(1)]);
  expect([intake.status(), forwarding.spool()]).toEqual([undefined, undefined]);
});

test('a spool is interrupted while its directory cannot be used', async () => {
  const launchDarkly = await startLaunchDarkly(() => 503);
  const file = join(newDirectory(), 'taken');
  writeFileSync(file, '');
  const { forwarding } = startSpooling(launchDarkly.uri, join(file, 'spool'), { spool: { maxBytes: 1_000_000 } });
  await eventually(() =>
    expect(forwarding.spool()).toEqual({
      ...{ state: 'INTERRUPTED', stateSince: expect.any(Number), bytes: expect.any(Number), maxBytes: 1_000_000 },
      lastError: {
        time: expect.any(Number),
        message: expect.stringMatching(/^the directory cannot be used: .*ENOTDIR/),
      },
    }),
  );
  const { stateSince = 0 } = forwarding.spool() ?? {};
  rmSync(file);
  mkdirSync(file);
  await eventually(() => expect(forwarding.spool()).toMatchObject({ state: 'VALID' }));
  expect(forwarding.spool()?.stateSince).toBeGreaterThanOrEqual(stateSince);
});

test('a spool that was full says so when it has room again', async () => {
  const launchDarkly = await startLaunchDarkly(() => 503);
  const spool = { maxBytes: 200_000 };
  const { intake, lines, measured } = startSpooling(launchDarkly.uri, newDirectory(), { spool });
  const fill = async () => {
    for (let id = 0; id < 100; id++) await send(intake, [custom(id, { data: 'x'.repeat(2_000) })]);
  };
  await fill();
  expect(await measured('events_unspooled_total', { reason: 'full' })).toBeGreaterThan(20);
  const said = (what: string) => lines.filter((line) => line.startsWith(`The spool has ${what}`)).length;
  expect([said('no room for more events'), said('room for more events again')]).toEqual([1, 0]);
  launchDarkly.mood.react = () => 202;
  await eventually(async () => expect(await measured('events_forwarded_total')).toBe(100));
  await eventually(async () => {
    await send(intake, [custom('one more')]);
    expect(said('room for more events again')).toBe(1);
  });
  await send(intake, [custom('another')]);
  expect(said('room for more events again')).toBe(1);
});
