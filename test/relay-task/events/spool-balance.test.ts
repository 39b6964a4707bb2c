/** What relays with a spool receive is what they forward, drop and leave, whatever happens to LaunchDarkly and to the disk. */
import { execFileSync } from 'node:child_process';
import { appendFileSync, readFileSync, rmSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { eventually } from '../../support/eventually.ts';
import { asKilled, filesIn, logsIn, newDirectory, startSpooling } from './spool-support.ts';
import { closeLater, custom, type Event, NEVER_MS, send, startLaunchDarkly, user } from './support.ts';

const keys = (events: readonly Event[]) => events.map(({ key }) => String(key)).sort();
const HANGING = { requestTimeoutMs: NEVER_MS, slowAfterMs: 1 };

test('while LaunchDarkly answers nothing, memory and spool are bounded, and what was not dropped survives', async () => {
  const away = await startLaunchDarkly(() => 'hang');
  const directory = newDirectory();
  const maxBytes = 400_000;
  const relay = startSpooling(away.uri, directory, {
    capacity: 60,
    maxBytes: 100_000,
    spool: { maxBytes },
    timings: HANGING,
  });
  let received = 0;
  for (let round = 0; round < 300; round++) {
    // The first one fills the queue, and then makes room for the others.
    const address = `198.51.100.${round < 60 ? 1 : round % 20}`;
    await send(relay.intake, [custom(round, { data: 'x'.repeat(1_000) }), custom(`${round}-b`)], { address });
    received += 2;
    expect(await relay.measured('events_queue_bytes')).toBeLessThanOrEqual(100_000);
  }
  const dropped = await relay.measured('events_dropped_total');
  expect(dropped).toBeGreaterThan(100);
  expect(await relay.measured('events_unspooled_total')).toBe(0);
  expect(filesIn(directory).reduce((sum, path) => sum + readFileSync(path).length, 0)).toBeLessThan(maxBytes);
  const launchDarkly = await startLaunchDarkly();
  const next = startSpooling(launchDarkly.uri, asKilled(directory));
  await eventually(async () => expect(await next.measured('events_forwarded_total')).toBe(received - dropped));
  await next.forwarding.close(60_000);
  expect(launchDarkly.taken()).toHaveLength(received - dropped);
});

test('payloads that LaunchDarkly rejects or finds too large are divided, and after a kill only the rest is sent', async () => {
  const directory = newDirectory();
  // Good events are accepted in small payloads, and the bad ones never; one good one is never answered.
  const launchDarkly = await startLaunchDarkly(({ events, text }) => {
    if (text.includes('"hung"')) return events.length === 1 ? 'hang' : 413;
    return text.includes('"bad"') ? 400 : events.length > 4 ? 413 : 202;
  });
  const relay = startSpooling(launchDarkly.uri, directory, { flushIntervalMs: NEVER_MS });
  const events: Event[] = Array.from({ length: 20 }, (_, id) => custom(id));
  await send(relay.intake, [...events.slice(0, 10), { kind: 'bad' }, { kind: 'hung' }, ...events.slice(10)]);
  relay.intake.flush();
  await eventually(() => expect(launchDarkly.requests.some(({ text }) => text === '[{"kind":"hung"}]')).toBe(true));
  const before = launchDarkly.taken();
  launchDarkly.mood.react = () => 202;
  const next = startSpooling(launchDarkly.uri, asKilled(directory));
  const hung = { kind: 'hung' };
  const all = [...events, hung].map((event) => JSON.stringify(event)).sort();
  await eventually(() =>
    expect(
      launchDarkly
        .taken()
        .filter(({ kind }) => kind !== 'bad')
        .map((event) => JSON.stringify(event))
        .sort(),
    ).toEqual(all),
  );
  expect(before.length).toBeLessThan(events.length);
  await next.forwarding.close(60_000);
});

describe('evaluations that the relay counts', () => {
  const evaluated = (count: number, key: string) =>
    Array.from({ length: count }, (_, index) => ({
      kind: 'feature',
      key,
      version: 3,
      variation: index % 2,
      value: index % 2 === 0,
      creationDate: 1_760_000_000_000 + index,
      context: user(`user-${index % 5}`),
    }));
  const countsOf = (events: readonly Event[]) => {
    const counts: Record<string, number> = {};
    for (const { features = {} } of events.filter(({ kind }) => kind === 'summary')) {
      for (const [key, { counters }] of Object.entries(
        features as Record<string, { counters: { variation: number; count: number }[] }>,
      ))
        for (const { variation, count } of counters)
          counts[`${key} ${variation}`] = (counts[`${key} ${variation}`] ?? 0) + count;
    }
    return counts;
  };

  test('survive a kill, before and after they were sent', async () => {
    const launchDarkly = await startLaunchDarkly(() => 'lost');
    const directory = newDirectory();
    const relay = startSpooling(launchDarkly.uri, directory, {
      flushIntervalMs: NEVER_MS,
      timings: { firstRetryMs: NEVER_MS, longestRetryMs: NEVER_MS },
    });
    for (let body = 0; body < 3; body++) await send(relay.intake, evaluated(10, 'sent'), { schema: 2 });
    relay.intake.flush();
    await eventually(() => expect(launchDarkly.requests).toHaveLength(1));
    for (let body = 0; body < 3; body++) await send(relay.intake, evaluated(7, 'waiting'), { schema: 2 });
    const copy = asKilled(directory);
    launchDarkly.mood.react = () => 202;
    const next = startSpooling(launchDarkly.uri, copy);
    await eventually(() =>
      expect(countsOf(launchDarkly.taken())).toEqual({ 'sent 0': 15, 'sent 1': 15, 'waiting 0': 12, 'waiting 1': 9 }),
    );
    await next.forwarding.close(60_000);
    expect(countsOf(launchDarkly.taken())).toEqual({ 'sent 0': 15, 'sent 1': 15, 'waiting 0': 12, 'waiting 1': 9 });
    expect(filesIn(copy)).toEqual([]);
  });

  test('take little room while they wait, however many there are @heavy', async () => {
    const away = await startLaunchDarkly(() => 503);
    const directory = newDirectory();
    const relay = startSpooling(away.uri, directory, { flushIntervalMs: NEVER_MS, spool: { maxBytes: 1024 * 1024 } });
    const flags = Array.from({ length: 20 }, (_, index) => `flag-${index}-${'x'.repeat(100)}`);
    const bodies = 150;
    const body = flags.flatMap((key) => evaluated(1, key));
    for (let sent = 0; sent < bodies; sent++) await send(relay.intake, body, { schema: 2 });
    expect(await relay.measured('events_unspooled_total')).toBe(0);
    expect(await relay.measured('events_spool_bytes')).toBeLessThan(400_000);
    const launchDarkly = await startLaunchDarkly();
    const next = startSpooling(launchDarkly.uri, asKilled(directory));
    const counts = Object.fromEntries(flags.map((key) => [`${key} 0`, bodies]));
    await eventually(() => expect(countsOf(launchDarkly.taken())).toEqual(counts));
    await next.forwarding.close(60_000);
  });

  test('are counted once where they take several events, of which one is delivered before a kill', async () => {
    let requests = 0;
    const launchDarkly = await startLaunchDarkly(() => (requests++ === 0 ? 202 : 503));
    const directory = newDirectory();
    const relay = startSpooling(launchDarkly.uri, directory, {
      flushIntervalMs: NEVER_MS,
      maxPayloadBytes: 300_000,
      timings: { firstRetryMs: NEVER_MS, longestRetryMs: NEVER_MS },
    });
    const flags = ['a', 'b', 'c'].map((name) => name.repeat(200_000));
    const body = flags.flatMap((key) => evaluated(1, key));
    await send(relay.intake, body, { schema: 2 });
    await send(relay.intake, body, { schema: 2 });
    relay.intake.flush();
    const summaries = () => launchDarkly.taken().filter(({ kind }) => kind === 'summary');
    await eventually(() => expect(summaries()).toHaveLength(1));
    await eventually(() => expect(requests).toBeGreaterThan(1));
    launchDarkly.mood.react = () => 202;
    const next = startSpooling(launchDarkly.uri, asKilled(directory));
    const counts = Object.fromEntries(flags.map((key) => [`${key} 0`, 2]));
    await eventually(() => expect(countsOf(launchDarkly.taken())).toEqual(counts));
    await next.forwarding.close(60_000);
    expect(countsOf(launchDarkly.taken())).toEqual(counts);
  });

  test('stay as they are where the spool has no room to write them together', async () => {
    const away = await startLaunchDarkly(() => 503);
    const directory = newDirectory();
    const relay = startSpooling(away.uri, directory, { flushIntervalMs: NEVER_MS, spool: { maxBytes: 256 * 1024 } });
    const keys = Array.from({ length: 36 }, (_, index) => `flag-${index}-${'x'.repeat(2_000)}`);
    for (const key of keys) await send(relay.intake, evaluated(1, key), { schema: 2 });
    // What was tried, and the reason why it is still there.
    expect(await relay.measured('events_unspooled_total', { reason: 'full' })).toBe(1);
    const launchDarkly = await startLaunchDarkly();
    const next = startSpooling(launchDarkly.uri, asKilled(directory));
    const counts = Object.fromEntries(keys.map((key) => [`${key} 0`, 1]));
    await eventually(() => expect(countsOf(launchDarkly.taken())).toEqual(counts));
    await next.forwarding.close(60_000);
  });
});

test('a body that an SDK sends again to the next relay is known there', async () => {
  const launchDarkly = await startLaunchDarkly(() => 503);
  const directory = newDirectory();
  const relay = startSpooling(launchDarkly.uri, directory, { flushIntervalMs: NEVER_MS });
  const again = { headers: { 'x-launchdarkly-payload-id': 'of-the-sdk' } };
  await send(relay.intake, [custom(1)], again);
  launchDarkly.mood.react = () => 202;
  const next = startSpooling(launchDarkly.uri, asKilled(directory), {
    names: [],
    credentials: { sdkKey: 'sdk-of-the-client' },
  });
  await eventually(() => expect(next.lines.join()).toContain('Took over events'));
  const intake = next.open('production');
  await eventually(() => expect(launchDarkly.taken()).toEqual([custom(1)]));
  await send(intake, [custom(1)], again);
  await next.forwarding.close(60_000);
  expect(launchDarkly.taken()).toEqual([custom(1)]);
  expect(await next.measured('event_payloads_repeated_total')).toBe(1);
});

/** A file system of 64 KB, where this process may mount one. */
function smallDisk(): string | undefined {
  const directory = newDirectory();
  try {
    execFileSync('mount', ['-t', 'tmpfs', '-o', 'size=64k,mode=0700', 'spool-test', directory], { stdio: 'ignore' });
  } catch {
    return undefined;
  }
  closeLater(() => execFileSync('umount', [directory]));
  return directory;
}

const isRoot = process.getuid?.() === 0;
(isRoot ? test : test.skip)(
  'a full disk costs no request and no event, and is written again once there is room (needs root)',
  async () => {
    const launchDarkly = await startLaunchDarkly(() => 503);
    const directory = smallDisk();
    if (directory === undefined) throw new Error('mount -t tmpfs does not work here, though this is root');
    const relay = startSpooling(launchDarkly.uri, directory, { capacity: 10_000, flushIntervalMs: 5 });
    const events = Array.from({ length: 60 }, (_, id) => custom(id, { data: 'x'.repeat(2_000) }));
    for (const event of events) await send(relay.intake, [event]);
    expect(await relay.measured('events_unspooled_total', { reason: 'failed' })).toBeGreaterThan(10);
    expect(relay.lines.filter((line) => line.startsWith('Cannot write events to the spool'))).toEqual([
      expect.stringContaining('ENOSPC'),
    ]);
    launchDarkly.mood.react = () => 202;
    await eventually(async () => expect(await relay.measured('events_forwarded_total')).toBe(60));
    expect(keys(launchDarkly.taken())).toEqual(keys(events));
    const lost = await relay.measured('events_unspooled_total');
    launchDarkly.mood.react = () => 503;
    await eventually(async () => {
      await send(relay.intake, [custom('later')]);
      expect(relay.lines.filter((line) => line.startsWith('Events are written to the spool again'))).toHaveLength(1);
    });
    expect(lost).toBeLessThan(61);
    await relay.forwarding.close(0);
    expect(await relay.measured('events_spooled_total')).toBeGreaterThan(0);
  },
);

const PAGE_BYTES = 4096;

/** What the spool keeps of a body. */
const bytesOf = (events: readonly object[]) => Buffer.byteLength(JSON.stringify(events)) - '[]'.length;

/** Takes all that is left of a disk. Returns the file. */
function fillUp(directory: string): string {
  const path = join(directory, '..filler');
  try {
    for (;;) appendFileSync(path, Buffer.alloc(PAGE_BYTES));
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ENOSPC') throw error;
  }
  return path;
}

(isRoot ? test : test.skip)(
  'what is delivered while the disk is full comes once, even if it is full until the relay ends (needs root)',
  async () => {
    const launchDarkly = await startLaunchDarkly(({ events, text }) => {
      if (text.includes('event-stays')) return events.length === 1 ? 'hang' : 413;
      return 202;
    });
    const directory = smallDisk();
    if (directory === undefined) throw new Error('mount -t tmpfs does not work here, though this is root');
    const relay = startSpooling(launchDarkly.uri, directory, { flushIntervalMs: NEVER_MS });
    const [one, other] = [custom('stays ü'), custom('stays "2",')];
    const divided = [custom('part 1'), custom('part 2'), one, other];
    // The log ends with a page, so that not even a short record has room.
    const size = () => statSync(logsIn(directory)[0] ?? '').size;
    await send(relay.intake, [custom('whole')]);
    const first = size();
    await send(relay.intake, [custom('x', { data: '' })]);
    const besides = size() - first - bytesOf([custom('x', { data: '' })]);
    const gap = -(size() + besides + bytesOf([custom('x', { data: '' })]) + besides + bytesOf(divided)) % PAGE_BYTES;
    await send(relay.intake, [custom('x', { data: 'x'.repeat(gap + PAGE_BYTES) })]);
    await send(relay.intake, divided);
    expect(size() % PAGE_BYTES).toBe(0);
    const filler = fillUp(directory);

    relay.intake.flush();
    const requested = (text: string) => launchDarkly.requests.some((request) => request.text.includes(text));
    await eventually(async () => expect(await relay.measured('events_forwarded_total')).toBe(5));
    await eventually(() => expect(requested('event-stays')).toBe(true));
    await relay.forwarding.close(0);
    expect(await relay.measured('events_spooled_total')).toBe(2);
    expect(relay.lines.filter((line) => line.startsWith('Cannot write events to the spool'))).toHaveLength(1);
    expect(launchDarkly.taken()).toHaveLength(5);

    rmSync(filler);
    launchDarkly.mood.react = () => 202;
    const successor = startSpooling(launchDarkly.uri, directory);
    await eventually(async () => expect(await successor.measured('events_forwarded_total')).toBe(2));
    await successor.forwarding.close(60_000);
    expect(await successor.measured('events_replayed_total')).toBe(2);
    expect(launchDarkly.taken().slice(5)).toEqual([one, other]);
  },
);
