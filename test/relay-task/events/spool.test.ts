import { readFileSync } from 'node:fs';
import { eventually } from '../../support/eventually.ts';
import { asKilled, filesIn, logsIn, newDirectory, startSpooling } from './spool-support.ts';
import { custom, MOBILE_KEY, NEVER_MS, SDK_KEY, send, startLaunchDarkly } from './support.ts';

const numbered = (count: number, from = 0) => Array.from({ length: count }, (_, index) => custom(from + index));
const idsOf = (requests: readonly { readonly headers: Record<string, unknown> }[]) =>
  requests.map(({ headers }) => headers['x-launchdarkly-payload-id']);
const linesOfLeft = (lines: readonly string[]) => lines.filter((line) => line.startsWith('Events stay in the spool'));

test('what was accepted survives a kill, with its metadata and its credential', async () => {
  const away = await startLaunchDarkly(() => 'hang');
  const directory = newDirectory();
  const { intake } = startSpooling(away.uri, directory, { flushIntervalMs: NEVER_MS });
  await send(intake, numbered(3), { headers: { 'x-launchdarkly-tags': 'application-id/shop' } });
  await send(intake, numbered(2, 3), { kind: 'mobileKey' });
  await send(intake, numbered(1, 5), { kind: 'environmentId', address: '198.51.100.7' });
  const launchDarkly = await startLaunchDarkly();
  const copy = asKilled(directory);
  const next = startSpooling(launchDarkly.uri, copy);
  await eventually(async () => expect(await next.measured('events_forwarded_total')).toBe(6));
  expect(launchDarkly.taken('/bulk')).toEqual(numbered(3));
  expect(launchDarkly.taken('/mobile')).toEqual(numbered(2, 3));
  expect(launchDarkly.taken().length).toBe(6);
  const [bulk] = launchDarkly.requests.filter(({ path }) => path === '/bulk');
  expect(bulk?.headers).toMatchObject({ authorization: SDK_KEY, 'x-launchdarkly-tags': 'application-id/shop' });
  expect(await next.measured('events_replayed_total')).toBe(6);
  await next.forwarding.close(60_000);
  expect(filesIn(copy)).toEqual([]);
});

test('what is not delivered at the end stays for the next relay, and is not dropped', async () => {
  const launchDarkly = await startLaunchDarkly(() => 503);
  const directory = newDirectory();
  const first = startSpooling(launchDarkly.uri, directory);
  for (let from = 0; from < 40; from += 10) await send(first.intake, numbered(10, from));
  await first.forwarding.close(20);
  expect(await first.measured('events_spooled_total')).toBe(40);
  expect(await first.measured('events_dropped_total')).toBe(0);
  expect(linesOfLeft(first.lines)).toEqual([expect.stringContaining('"events":40,"unreadDirectories":0,"bytes":')]);
  launchDarkly.mood.react = () => 202;
  const second = startSpooling(launchDarkly.uri, directory);
  await eventually(() => expect(launchDarkly.taken()).toEqual(numbered(40)));
  await second.forwarding.close(60_000);
  expect(launchDarkly.taken()).toEqual(numbered(40));
  expect(filesIn(directory)).toEqual([]);
  expect(linesOfLeft(second.lines)).toEqual([]);
});

test('a relay that ends tells of what others had left, too', async () => {
  const away = await startLaunchDarkly(() => 503);
  const directory = newDirectory();
  const first = startSpooling(away.uri, directory);
  await send(first.intake, numbered(3));
  await first.forwarding.close(20);
  const second = startSpooling(away.uri, directory);
  await eventually(() => expect(second.lines.join()).toContain('Took over events'));
  await send(second.intake, numbered(2, 3));
  await second.forwarding.close(20);
  expect(linesOfLeft(second.lines)).toEqual([expect.stringContaining('"events":5,')]);
});

test('a payload that may have been received is sent again under its ID', async () => {
  const launchDarkly = await startLaunchDarkly(() => 'lost');
  const directory = newDirectory();
  const first = startSpooling(launchDarkly.uri, directory, {
    timings: { firstRetryMs: NEVER_MS, longestRetryMs: NEVER_MS },
  });
  await send(first.intake, numbered(5));
  await eventually(() => expect(launchDarkly.requests).toHaveLength(1));
  const copy = asKilled(directory);
  launchDarkly.mood.react = () => 202;
  const next = startSpooling(launchDarkly.uri, copy);
  await eventually(() => expect(launchDarkly.requests).toHaveLength(2));
  const [before, after] = idsOf(launchDarkly.requests);
  expect(after).toBe(before);
  expect(launchDarkly.requests[1]?.events).toEqual(numbered(5));
  expect(launchDarkly.taken()).toEqual(numbered(5));
  await next.forwarding.close(60_000);
});

test('nothing in the directory is a key', async () => {
  const away = await startLaunchDarkly(() => 503);
  const directory = newDirectory();
  const { intake } = startSpooling(away.uri, directory);
  await send(intake, numbered(3));
  await send(intake, numbered(3), { kind: 'mobileKey' });
  expect(logsIn(directory)).toHaveLength(1);
  for (const path of filesIn(directory)) {
    for (const key of [SDK_KEY, MOBILE_KEY, 'sdk-of-the-client']) expect(readFileSync(path).includes(key)).toBe(false);
  }
});
