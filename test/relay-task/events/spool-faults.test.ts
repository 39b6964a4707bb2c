/** Damaged files, disks without room, and relays that share a directory or stand still. */
import {
  appendFileSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  truncateSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import { sleep } from '../../../relay-task/common/pause.ts';
import { eventually, turnsOfLoop, until } from '../../support/eventually.ts';
import { everyNth } from '../../support/long.ts';
import { asKilled, filesIn, logsIn, newDirectory, SPOOL_BYTES, startSpooling } from './spool-support.ts';
import { custom, type Event, MOBILE_KEY, NEVER_MS, SDK_KEY, send, startLaunchDarkly } from './support.ts';

const numbered = (count: number, from = 0) => Array.from({ length: count }, (_, index) => custom(from + index));
const keys = (events: readonly Event[]) => events.map(({ key }) => key).sort();

/** A log with three bodies of two events, and where each of its records ends. */
async function threeBodies(more: Pick<NonNullable<Parameters<typeof startSpooling>[2]>, 'environmentOf'> = {}) {
  const away = await startLaunchDarkly(() => 503);
  const directory = newDirectory();
  const { intake } = startSpooling(away.uri, directory, { flushIntervalMs: NEVER_MS, ...more });
  const ends: number[] = [];
  for (const from of [0, 2, 4]) {
    await send(intake, numbered(2, from));
    ends.push(readFileSync(logsIn(directory)[0]!).length);
  }
  return { directory, ends };
}

/** What another relay makes of it. */
async function replayOf(directory: string, expected: number) {
  const launchDarkly = await startLaunchDarkly();
  const next = startSpooling(launchDarkly.uri, directory);
  await eventually(() => expect(launchDarkly.taken().length).toBeGreaterThanOrEqual(expected));
  await eventually(() => expect(logsIn(directory)).toEqual([]));
  // Too many do not become fewer: who tries this again needs to know at once.
  expect(launchDarkly.taken()).toHaveLength(expected);
  await next.forwarding.close(60_000);
  return { taken: launchDarkly.taken(), ...next };
}

test('a log that was cut within its last record loses that one, and says so', async () => {
  const { directory, ends } = await threeBodies();
  const [, second = 0, third = 0] = ends;
  const cuts = everyNth(
    61,
    Array.from({ length: third - second - 1 }, (_, index) => second + 1 + index),
  );
  for (const bytes of cuts) {
    const copy = asKilled(directory);
    const [log = ''] = logsIn(copy);
    truncateSync(log, bytes);
    const { taken, lines } = await replayOf(copy, 4);
    expect(taken).toEqual(numbered(4));
    const told = lines.filter((line) => line.startsWith('A file of the spool is damaged'));
    expect(told).toHaveLength(1);
    expect(told[0]).toContain(`"lostBytes":${bytes - second},"isLastRecord":true,"records":2`);
  }
});

test('an altered bit costs the record that it is in, wherever it is', async () => {
  const { directory, ends } = await threeBodies();
  const [first = 0, second = 0] = ends;
  for (const at of everyNth(
    61,
    Array.from({ length: second - first }, (_, index) => first + index),
  )) {
    const copy = asKilled(directory);
    const [log = ''] = logsIn(copy);
    const bytes = readFileSync(log);
    bytes[at] = bytes[at]! ^ 1;
    writeFileSync(log, bytes);
    const { taken, lines } = await replayOf(copy, 4);
    expect(keys(taken)).toEqual(keys([...numbered(2), ...numbered(2, 4)]));
    expect(lines.join()).toContain(`"lostBytes":${second - first},"isLastRecord":false,"records":2`);
  }
});

test('what looks like a record within an event is part of that event', async () => {
  const { directory } = await threeBodies();
  const copy = asKilled(directory);
  const [log = ''] = logsIn(copy);
  const whole = readFileSync(log);
  // An event can have any text but not the marker, which is in the name of another file.
  const away = await startLaunchDarkly(() => 503);
  const other = newDirectory();
  const { intake } = startSpooling(away.uri, other, { flushIntervalMs: NEVER_MS });
  await send(intake, [custom(7, { data: whole.toString('latin1') })]);
  const otherCopy = asKilled(other);
  truncateSync(logsIn(otherCopy)[0]!, readFileSync(logsIn(otherCopy)[0]!).length - 1);
  const { measured } = await replayOf(otherCopy, 0);
  expect(await measured('events_replayed_total')).toBe(0);
});

test('what another version wrote, and files that are not the spool’s, stay, and are named once', async () => {
  const { directory } = await threeBodies();
  const copy = asKilled(directory);
  const later = join(copy, 'v2-0b7e6f0c-7a1e-4f0e-9d55-5f1f6b1f7f11');
  mkdirSync(later);
  writeFileSync(join(later, '00000001-0000000000000000.log'), 'of a later version');
  writeFileSync(join(copy, 'notes.txt'), 'not ours');
  const [own = ''] = readdirSync(copy).filter((name) => name.startsWith('v1-'));
  writeFileSync(join(copy, own, 'core.1'), 'not ours either');
  const { lines } = await replayOf(copy, 6);
  expect(
    filesIn(copy)
      .map((path) => path.split('/').at(-1))
      .sort(),
  ).toEqual(['00000001-0000000000000000.log', 'core.1', 'notes.txt']);
  expect(lines.filter((line) => line.includes('not a spool of this version')).sort()).toEqual([
    expect.stringContaining('"name":"notes.txt"'),
    expect.stringContaining('"name":"v2-0b7e6f0c'),
  ]);
  expect(lines.filter((line) => line.includes('core.1'))).toHaveLength(1);
});

test('two relays that share a directory send what a third has left once between them', async () => {
  const { directory } = await threeBodies();
  const copy = asKilled(directory);
  const launchDarkly = await startLaunchDarkly();
  const relays = [startSpooling(launchDarkly.uri, copy), startSpooling(launchDarkly.uri, copy)];
  await eventually(() => expect(launchDarkly.taken()).toHaveLength(6));
  await Promise.all(relays.map(({ forwarding }) => forwarding.close(60_000)));
  expect(launchDarkly.requests.flatMap(({ events }) => keys(events)).sort()).toEqual(keys(numbered(6)));
  expect(filesIn(copy)).toEqual([]);
});

test('a relay that lives keeps its directory, and one whose counter stands still loses it to one other', async () => {
  const launchDarkly = await startLaunchDarkly(() => 503);
  const directory = newDirectory();
  const standing = startSpooling(launchDarkly.uri, directory, {
    flushIntervalMs: NEVER_MS,
    spool: { timings: { beatMs: NEVER_MS } },
  });
  await send(standing.intake, numbered(3));
  const [own = ''] = readdirSync(directory);
  const living = startSpooling(launchDarkly.uri, directory, { flushIntervalMs: NEVER_MS });
  await send(living.intake, numbered(3, 3));
  launchDarkly.mood.react = () => 202;
  const other = startSpooling(launchDarkly.uri, directory, { spool: { timings: { silenceMs: 1_000 } } });
  await eventually(() => expect(launchDarkly.taken()).toEqual(numbered(3)));
  expect(readdirSync(directory)).not.toContain(own);
  expect(await living.measured('events_queue_bytes')).toBeGreaterThan(0);
  await living.forwarding.close(60_000);
  expect(launchDarkly.taken()).toEqual(numbered(6));
  await other.forwarding.close(60_000);
});

/** A relay that stands still from now on, and whose directory is taken over meanwhile. Restore the clock. */
function standStill(directory: string) {
  const [own = ''] = readdirSync(directory);
  const elsewhere = newDirectory();
  renameSync(join(directory, own), join(elsewhere, own));
  // Long after its last beat.
  const clock = jest.spyOn(performance, 'now').mockImplementation(() => NEVER_MS * 2 + (Date.now() % NEVER_MS));
  return { elsewhere, clock };
}

test('a relay that stood still and lost its directory leaves what the other has to it, and begins another one', async () => {
  const launchDarkly = await startLaunchDarkly();
  const directory = newDirectory();
  const relay = startSpooling(launchDarkly.uri, directory, {
    flushIntervalMs: NEVER_MS,
    spool: { timings: { unsureMs: NEVER_MS } },
  });
  await send(relay.intake, numbered(3));
  const counter = () =>
    filesIn(directory).flatMap((path) => (path.endsWith('/owner') ? readFileSync(path, 'utf8') : []));
  for (let beat = 0; beat < 2; beat++) {
    const before = counter();
    await until('a beat', () => counter()[0] !== before[0]);
  }
  const { elsewhere, clock } = standStill(directory);
  try {
    relay.intake.flush();
    await eventually(async () => expect(await relay.measured('events_spooled_total')).toBe(3));
  } finally {
    clock.mockRestore();
  }
  expect(launchDarkly.requests).toEqual([]);
  expect(relay.lines.filter((line) => line.startsWith('Another relay has taken over'))).toHaveLength(1);
  const { taken } = await replayOf(asKilled(elsewhere), 3);
  expect(taken).toEqual(numbered(3));
});

// On a file server the new owner may not see what was written after the last beat.
test('a relay that stood still sends itself what it wrote after its last beat', async () => {
  const launchDarkly = await startLaunchDarkly();
  const directory = newDirectory();
  const relay = startSpooling(launchDarkly.uri, directory, {
    flushIntervalMs: NEVER_MS,
    spool: { timings: { beatMs: NEVER_MS, unsureMs: NEVER_MS } },
  });
  await send(relay.intake, numbered(3));
  const { clock } = standStill(directory);
  try {
    relay.intake.flush();
    await eventually(() => expect(launchDarkly.taken()).toEqual(numbered(3)));
  } finally {
    clock.mockRestore();
  }
  expect(await relay.measured('events_spooled_total')).toBe(0);
  expect(relay.lines.filter((line) => line.startsWith('Another relay has taken over'))).toHaveLength(1);
});

test('a spool without room keeps no more, and the events are forwarded from memory', async () => {
  const launchDarkly = await startLaunchDarkly(() => 503);
  const directory = newDirectory();
  const relay = startSpooling(launchDarkly.uri, directory, {
    capacity: 100_000,
    spool: { maxBytes: 40_000 },
  });
  const large = Array.from({ length: 30 }, (_, id) => custom(id, { data: 'x'.repeat(2_000) }));
  for (const event of large) await send(relay.intake, [event]);
  expect(await relay.measured('events_unspooled_total', { reason: 'full' })).toBeGreaterThan(5);
  expect(filesIn(directory).reduce((sum, path) => sum + readFileSync(path).length, 0)).toBeLessThan(40_000 + 5_000);
  expect(relay.lines.filter((line) => line.startsWith('The spool has no room'))).toHaveLength(1);
  launchDarkly.mood.react = () => 202;
  await eventually(() => expect(keys(launchDarkly.taken())).toEqual(keys(large)));
  await relay.forwarding.close(60_000);
  expect(filesIn(directory)).toEqual([]);
});

test('an environment that floods the spool leaves room to the others', async () => {
  const launchDarkly = await startLaunchDarkly(() => 503);
  const relay = startSpooling(launchDarkly.uri, newDirectory(), {
    names: ['flooded', 'quiet'],
    capacity: 100_000,
    spool: { maxBytes: 200_000 },
  });
  for (let id = 0; id < 150; id++) await send(relay.intake, [custom(id, { data: 'x'.repeat(2_000) })]);
  const lost = await relay.measured('events_unspooled_total');
  expect(lost).toBeGreaterThan(50);
  for (let id = 0; id < 10; id++) await send(relay.others[0]!, [custom(id, { data: 'x'.repeat(2_000) })]);
  expect(await relay.measured('events_unspooled_total')).toBe(lost);
});

test('a directory that cannot be made costs no request, and is used once it can be', async () => {
  const launchDarkly = await startLaunchDarkly(() => 503);
  const file = join(newDirectory(), 'taken');
  writeFileSync(file, '');
  const directory = join(file, 'spool');
  const relay = startSpooling(launchDarkly.uri, directory, {
    flushIntervalMs: NEVER_MS,
    spool: { timings: { lateMs: 1 } },
  });
  await eventually(() =>
    expect(relay.lines.filter((line) => line.startsWith('Cannot use EVENTS_SPOOL_DIR'))).toEqual([
      expect.stringContaining('ENOTDIR'),
    ]),
  );
  await send(relay.intake, numbered(2));
  expect(await relay.measured('events_unspooled_total')).toBe(2);
  expect(await relay.measured('events_unspooled_total', { reason: 'failed' })).toBe(2);
  // Nothing waits in it, however old what is in memory is.
  await sleep(2);
  expect(await relay.measured('events_spool_oldest_seconds')).toBe(0);
  rmSync(file);
  mkdirSync(file);
  await eventually(async () => {
    expect(logsIn(directory)).toHaveLength(1);
    // The file is there a moment before what is in it.
    expect(await relay.measured('events_spool_bytes')).toBeGreaterThan(0);
    expect(await relay.measured('events_spool_oldest_seconds')).toBeGreaterThan(0);
  });
  expect(relay.lines.filter((line) => line.startsWith('EVENTS_SPOOL_DIR can be used again'))).toHaveLength(1);
  const { taken } = await replayOf(asKilled(directory), 2);
  expect(taken).toEqual(numbered(2));
});

test('events of an environment that is not served are dropped after a while, and counted', async () => {
  const { directory } = await threeBodies();
  const launchDarkly = await startLaunchDarkly();
  const copy = asKilled(directory);
  const next = startSpooling(launchDarkly.uri, copy, {
    names: ['staging'],
    credentials: { sdkKey: 'sdk-of-staging' },
    spool: { timings: { goneMs: 1 } },
  });
  await eventually(async () => expect(await next.measured('events_dropped_total', { reason: 'gone' })).toBe(6));
  await eventually(() => expect(logsIn(copy)).toEqual([]));
  expect(launchDarkly.requests).toEqual([]);
});

test('events whose key was replaced by one of the same environment are sent with that, and wait for it', async () => {
  const environmentOf = () => 'environment of both';
  const { directory } = await threeBodies({ environmentOf });
  const launchDarkly = await startLaunchDarkly();
  const next = startSpooling(launchDarkly.uri, asKilled(directory), {
    names: [],
    credentials: { sdkKey: 'sdk-present', mobileKey: MOBILE_KEY },
    environmentOf,
  });
  await eventually(() => expect(next.lines.join()).toContain('Took over events'));
  await turnsOfLoop();
  expect(launchDarkly.requests).toEqual([]);
  next.open('production');
  await eventually(() => expect(launchDarkly.taken()).toEqual(numbered(6)));
  expect(launchDarkly.requests[0]?.headers.authorization).toBe('sdk-present');
  expect(SDK_KEY).not.toBe('sdk-present');
});

test.each([
  ['of another environment', () => 'environment before', () => 'environment today'],
  ['that nothing is known of', () => 'environment before', () => undefined],
  ['after one that nothing was known of', () => undefined, () => 'environment today'],
  ['both unknown', () => undefined, () => undefined],
])('events never go out with a key %s, although its environment has the same name', async (_, before, today) => {
  const { directory } = await threeBodies({ environmentOf: before });
  const launchDarkly = await startLaunchDarkly();
  const next = startSpooling(launchDarkly.uri, asKilled(directory), {
    credentials: { sdkKey: 'sdk-of-today', mobileKey: 'mob-of-today', environmentId: 'id-of-today' },
    environmentOf: today,
    spool: { timings: { goneMs: 50 } },
  });
  await eventually(async () => expect(await next.measured('events_dropped_total', { reason: 'gone' })).toBe(6));
  expect(launchDarkly.requests).toEqual([]);
});

test('events find their key under another name of its environment', async () => {
  const { directory } = await threeBodies();
  const launchDarkly = await startLaunchDarkly();
  const next = startSpooling(launchDarkly.uri, asKilled(directory), { names: ['renamed'] });
  await eventually(() => expect(launchDarkly.taken()).toEqual(numbered(6)));
  expect(launchDarkly.requests[0]?.headers.authorization).toBe(SDK_KEY);
  await next.forwarding.close(60_000);
});

test('replay leaves memory to new events', async () => {
  const away = await startLaunchDarkly(() => 503);
  const directory = newDirectory();
  const first = startSpooling(away.uri, directory, { capacity: 100_000, flushIntervalMs: NEVER_MS });
  const large = (id: number) => custom(id, { data: 'x'.repeat(10_000) });
  for (let id = 0; id < 60; id++) await send(first.intake, [large(id)]);
  const next = startSpooling(away.uri, asKilled(directory), { capacity: 100_000, maxBytes: 1_200_000 });
  await eventually(() => expect(next.lines.join()).toContain('Took over events'));
  for (let id = 100; id < 104; id++) await send(next.intake, [large(id)]);
  await turnsOfLoop();
  expect(await next.measured('events_dropped_total')).toBe(0);
  expect(await next.measured('events_queue_bytes')).toBeLessThan(1_200_000);
});

test('the directory stays small while events come and go, even with one payload that hangs @heavy', async () => {
  const launchDarkly = await startLaunchDarkly(({ text }) => (text.includes('"hung"') ? 'hang' : 202));
  const directory = newDirectory();
  const maxBytes = 1024 * 1024;
  const relay = startSpooling(launchDarkly.uri, directory, {
    spool: { maxBytes },
    timings: { requestTimeoutMs: NEVER_MS, slowAfterMs: 1 },
  });
  await send(relay.intake, [{ kind: 'hung' }]);
  await eventually(() => expect(launchDarkly.mood.underWay + launchDarkly.requests.length).toBeGreaterThan(0));
  for (let id = 0; id < 600; id++) {
    await send(relay.intake, [custom(id, { data: 'x'.repeat(8_000) })]);
    if (id % 20 === 19)
      await eventually(async () => expect(await relay.measured('events_forwarded_total')).toBe(id + 1));
  }
  expect(await relay.measured('events_unspooled_total')).toBe(0);
  expect(await relay.measured('events_spool_bytes')).toBeLessThan(maxBytes / 2);
  // What was delivered is written down a moment after it is counted.
  await eventually(async () => {
    const { taken } = await replayOf(asKilled(directory), 1);
    expect(taken).toEqual([{ kind: 'hung' }]);
  });
});

test('bytes behind the last record cost nothing, and the spool goes on after what could not be written', async () => {
  const { directory } = await threeBodies();
  const copy = asKilled(directory);
  appendFileSync(logsIn(copy)[0]!, Buffer.alloc(100));
  const { taken } = await replayOf(copy, 6);
  expect(taken).toEqual(numbered(6));
  expect(SPOOL_BYTES).toBeGreaterThan(0);
});
