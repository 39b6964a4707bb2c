/** Upstream and memory together over real sockets: the changes that readers get after a reconnect. */
import { init, type LDClient } from '@launchdarkly/node-server-sdk';
import { createEnvironment } from '../../../relay-task/environments/environment.ts';
import type { Change } from '../../../relay-task/ports.ts';
import { startStreaming } from '../../../relay-task/upstream/streaming.ts';
import { until } from '../../support/eventually.ts';
import { startFakeUpstream } from '../../support/fake-upstream.ts';
import { createLogRecorder, silentLog } from '../../support/logs.ts';
import { closeAfterEach } from '../../support/opened.ts';
import { fdv1, flagData, segmentData } from './support.ts';

const { behind } = closeAfterEach();

async function start(flags: ReturnType<typeof flagData>[]) {
  const data = {
    flags: Object.fromEntries(flags.map((flag) => [flag.key, flag])),
    segments: { s: segmentData('s', 1) },
  };
  const upstream = await startFakeUpstream(data);
  behind(() => upstream.close());
  const changes: Change[] = [];
  const { log } = createLogRecorder();
  const environment = createEnvironment({ name: 'test', log, onChange: (change) => void changes.push(change) });
  const stream = startStreaming({
    ...fdv1,
    streamUri: upstream.uri,
    sdkKey: 'sdk-key',
    sink: environment,
    log,
    userAgent: 'EdgeFlagRelay/0.0.0',
    held: environment.get,
    backoff: { firstMs: 5, maxMs: 20 },
  });
  behind(() => stream.close());
  await until('the first put', () => stream.status().current);
  const heard = () =>
    changes
      .splice(0)
      .map(({ kind, items }) => [kind, ...items.map((i) => `${i.key}${i.version}${i.deleted ? 'x' : ''}`)].join(' '));
  const reconnect = async (next: ReturnType<typeof flagData>[]) => {
    upstream.data = { ...upstream.data, flags: Object.fromEntries(next.map((flag) => [flag.key, flag])) };
    const since = upstream.connections;
    upstream.cut();
    await upstream.connected(since + 1);
    await until('a put on the new connection', () => stream.status().current);
  };
  return { upstream, environment, stream, heard, reconnect };
}

test('a reconnect with equal data is silent, with newer data a patch, with older data a put', async () => {
  const { heard, reconnect } = await start([flagData('a', 2), flagData('b', 1)]);
  expect(heard()).toEqual(['put s1 a2 b1']);
  await reconnect([flagData('a', 2), flagData('b', 1)]);
  expect(heard()).toEqual([]);
  await reconnect([flagData('a', 3)]);
  expect(heard()).toEqual(['patch a3 b2x']);
  await reconnect([flagData('a', 1), flagData('b', 1)]);
  expect(heard()).toEqual(['put a1 b1']);
});

test('an outage removes nothing, and an outdated patch changes nothing', async () => {
  const { upstream, environment, heard, stream } = await start([flagData('a', 2)]);
  heard();
  upstream.answer = { status: 503 };
  upstream.cut();
  await until('two refused attempts', () => upstream.requests.length >= 3);
  expect(environment.get('features', 'a')).toMatchObject({ version: 2 });
  upstream.answer = 'stream';
  await until('recovery', () => stream.status().current);
  await upstream.event('patch', { path: '/flags/a', data: flagData('a', 1, { on: false }) });
  await upstream.patch('flags', flagData('a', 3));
  await until('the newer patch', () => environment.get('features', 'a')?.version === 3);
  expect(heard()).toEqual(['patch a3']);
});

test('an invalid flag after a reconnect keeps its previous version and is named', async () => {
  const { environment, heard, reconnect } = await start([flagData('a', 2), flagData('b', 1)]);
  heard();
  await reconnect([flagData('a', 3, { variations: 'broken' }), flagData('b', 2)]);
  expect(heard()).toEqual(['patch b2']);
  expect(environment.get('features', 'a')).toMatchObject({ version: 2 });
  expect(environment.unreadable()).toMatchObject([{ key: 'a', reason: expect.stringContaining('variations') }]);
});

test('an official SDK works with the fake upstream', async () => {
  const { upstream } = await start([flagData('a', 1)]);
  const client: LDClient = init('sdk-key', {
    streamUri: upstream.uri,
    sendEvents: false,
    diagnosticOptOut: true,
    logger: silentLog,
  });
  behind(async () => client.close());
  await client.waitForInitialization({ timeout: 60 });
  const ask = () => client.variation('a', { kind: 'user', key: 'u' }, 'fallback');
  expect(await ask()).toBe(true);
  const updated = new Promise((resolve) => client.once('update:a', resolve));
  await upstream.patch('flags', flagData('a', 2, { on: false }));
  await updated;
  expect(await ask()).toBe(false);
});
