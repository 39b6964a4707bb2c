import { createEnvironment } from '../../../relay-task/environments/environment.ts';
import type { Change, UpstreamStatus } from '../../../relay-task/ports.ts';
import { startFixed } from '../../../relay-task/upstream/fixed.ts';
import { startRotating } from '../../../relay-task/upstream/rotating.ts';
import { startStreaming } from '../../../relay-task/upstream/streaming.ts';
import { eventually } from '../../support/eventually.ts';
import { type Answer, type RecordedRequest, startFakeUpstream } from '../../support/fake-upstream.ts';
import { createLogRecorder } from '../../support/logs.ts';
import { closeAfterEach } from '../../support/opened.ts';
import { createSinkRecorder, fdv1, flagData } from './support.ts';

const { behind } = closeAfterEach();

const of = (key: string) => (request: RecordedRequest) => request.headers.authorization === key;

/** A real environment and connection with the key `old`; LaunchDarkly rejects keys in `bad`. */
async function start() {
  const upstream = await startFakeUpstream({ flags: { a: flagData('a', 1), b: flagData('b', 1) } });
  behind(() => upstream.close());
  const answers = new Map<string, Answer>();
  upstream.answer = ({ headers }) => answers.get(headers.authorization ?? '') ?? 'stream';
  const changes: Change[] = [];
  const statuses: UpstreamStatus[] = [];
  const { log, lines } = createLogRecorder();
  const environment = createEnvironment({ name: 'test', log, onChange: (change) => void changes.push(change) });
  const rotating = startRotating({
    sdkKey: 'old',
    sinkOf: () => environment,
    log,
    onStatus: (status) => void statuses.push(status),
    start: (sdkKey, sink, onStatus) =>
      startStreaming({
        ...fdv1,
        ...{ sdkKey, sink, onStatus, log, streamUri: upstream.uri, userAgent: 'EdgeFlagRelay/1.2.3' },
        held: environment.get,
        backoff: { firstMs: 5, maxMs: 20 },
        refusedBackoff: { firstMs: 20, maxMs: 40 },
      }),
  });
  behind(() => rotating.close());
  await eventually(() => expect(rotating.status().current).toBe(true));
  const asked = (key: string) => upstream.requests.filter(of(key)).length;
  return { upstream, answers, changes, statuses, lines, environment, rotating, asked };
}

test('a new key takes over without a change of data or status', async () => {
  const { upstream, rotating, changes, statuses, asked } = await start();
  const { stateSince } = rotating.status();
  changes.splice(0);
  statuses.splice(0);
  rotating.setKey('new');
  await eventually(() => {
    expect(asked('new')).toBe(1);
    expect(upstream.openStreams).toBe(1);
  });
  expect(changes).toEqual([]);
  expect(rotating.status()).toMatchObject({ state: 'VALID', stateSince, current: true, refused: false });
  expect(statuses.every(({ state, current }) => state === 'VALID' && current)).toBe(true);
  await upstream.patch('flags', flagData('a', 2));
  await eventually(() => expect(changes).toHaveLength(1));
});

test('the old key feeds the environment until the new one has delivered everything', async () => {
  const { upstream, answers, environment, rotating, asked } = await start();
  answers.set('new', 'silent');
  rotating.setKey('new');
  await eventually(() => expect(asked('new')).toBe(1));
  await upstream.event('patch', { path: '/flags/b', data: flagData('b', 9) }, { to: of('new') });
  await upstream.event('patch', { path: '/flags/a', data: flagData('a', 2) }, { to: of('old') });
  await eventually(() => expect(environment.get('features', 'a')?.version).toBe(2));
  expect(environment.get('features', 'b')?.version).toBe(1);
  expect(upstream.openStreams).toBe(2);
  const data = { flags: { a: flagData('a', 2), b: flagData('b', 2) } };
  await upstream.event('put', { path: '/', data }, { to: of('new') });
  await eventually(() => expect(upstream.openStreams).toBe(1));
  expect(environment.get('features', 'b')?.version).toBe(2);
});

test('a bad new key leaves the old one in use, is shown in the status, and is used once it is accepted', async () => {
  const { upstream, answers, environment, rotating, asked, lines } = await start();
  answers.set('new', { status: 401 });
  rotating.setKey('new');
  await eventually(() => expect(asked('new')).toBeGreaterThan(1));
  expect(rotating.status()).toMatchObject({
    ...{ state: 'VALID', current: true, refused: false },
    lastError: {
      kind: 'ERROR_RESPONSE',
      statusCode: 401,
      message: expect.stringMatching(/^with the new SDK key: .* 401$/),
    },
  });
  await upstream.patch('flags', flagData('a', 2));
  await eventually(() => expect(environment.get('features', 'a')?.version).toBe(2));
  answers.delete('new');
  await eventually(() => expect(lines.join('\n')).toContain('LaunchDarkly stream now uses the new SDK key'));
  await eventually(() => expect(upstream.openStreams).toBe(1));
  expect(rotating.status()).toMatchObject({ state: 'VALID', current: true, lastError: { statusCode: 401 } });
});

test('revoking the old key before the new one is connected loses no data, and both are retried', async () => {
  const { upstream, answers, environment, rotating, asked } = await start();
  answers.set('new', { status: 503 }).set('old', { status: 401 });
  rotating.setKey('new');
  upstream.cut();
  await eventually(() => {
    expect(asked('new')).toBeGreaterThan(2);
    expect(asked('old')).toBeGreaterThan(2);
  });
  expect(rotating.status()).toMatchObject({ state: 'INTERRUPTED', current: false, refused: false });
  expect(environment.get('features', 'a')).toMatchObject({ version: 1, deleted: false });
  answers.set('new', { status: 401 });
  await eventually(() => expect(rotating.status().refused).toBe(true));
  answers.delete('new');
  await eventually(() => expect(rotating.status()).toMatchObject({ state: 'VALID', current: true, refused: false }));
  const { length } = upstream.requests.filter(of('old'));
  await upstream.patch('flags', flagData('a', 3));
  await eventually(() => expect(environment.get('features', 'a')?.version).toBe(3));
  expect(asked('old')).toBe(length);
});

test('a second new key during a takeover replaces the first', async () => {
  const { upstream, answers, rotating, asked } = await start();
  answers.set('first', 'hang');
  rotating.setKey('first');
  await eventually(() => expect(asked('first')).toBe(1));
  rotating.setKey('second');
  await eventually(() => {
    expect(asked('second')).toBe(1);
    expect(upstream.openStreams).toBe(1);
  });
  expect([asked('old'), asked('first'), asked('second')]).toEqual([1, 1, 1]);
});

test('returning to the old key during a takeover keeps its connection', async () => {
  const { upstream, answers, environment, rotating, asked } = await start();
  answers.set('new', { status: 401 });
  rotating.setKey('new');
  await eventually(() => expect(rotating.status().lastError).toBeDefined());
  rotating.setKey('old');
  answers.delete('new');
  const asks = asked('new');
  await upstream.patch('flags', flagData('a', 2));
  await eventually(() => expect(environment.get('features', 'a')?.version).toBe(2));
  expect(asked('old')).toBe(1);
  // One more may have been in progress.
  expect(asked('new')).toBeLessThanOrEqual(asks + 1);
  await eventually(() => expect(upstream.open().map(({ headers }) => headers.authorization)).toEqual(['old']));
  expect(rotating.status()).toMatchObject({ state: 'VALID', current: true, lastError: { statusCode: 401 } });
});

test('setting the same key again changes nothing', async () => {
  const { answers, rotating, asked } = await start();
  rotating.setKey('old');
  answers.set('new', 'silent');
  rotating.setKey('new');
  rotating.setKey('new');
  await eventually(() => expect(asked('new')).toBe(1));
  expect(asked('old')).toBe(1);
});

test('a failure after a takeover is dated from when it happened', async () => {
  const { upstream, answers, rotating, asked } = await start();
  rotating.setKey('new');
  await eventually(() => {
    expect(asked('new')).toBe(1);
    expect(upstream.openStreams).toBe(1);
  });
  const brokenAt = Date.now();
  answers.set('new', { status: 503 });
  upstream.cut();
  await eventually(() => expect(rotating.status().state).toBe('INTERRUPTED'));
  answers.delete('new');
  await eventually(() => expect(rotating.status().state).toBe('VALID'));
  expect(rotating.status().stateSince).toBeGreaterThanOrEqual(brokenAt);
});

test('an upstream that delivers while it is started is in use at once, and reports no status of its start', async () => {
  const statuses: UpstreamStatus[] = [];
  const { log, lines } = createLogRecorder();
  const rotating = startRotating({
    sdkKey: 'old',
    sinkOf: () => createSinkRecorder().sink,
    log,
    onStatus: (status) => void statuses.push(status),
    start: (_sdkKey, sink, onStatus) => startFixed({ items: [], sink, onStatus }),
  });
  behind(() => rotating.close());
  expect(rotating.status()).toMatchObject({ state: 'VALID', current: true });
  rotating.setKey('new');
  expect(lines.map((line) => line.split(' {')[0])).toEqual(['LaunchDarkly stream now uses the new SDK key']);
  expect(statuses).toEqual([]);
});

test('closing closes both connections, and nothing is delivered or reported afterwards', async () => {
  const { upstream, answers, changes, statuses, rotating, asked } = await start();
  answers.set('new', 'silent');
  rotating.setKey('new');
  await eventually(() => expect(asked('new')).toBe(1));
  await rotating.close();
  const before = [changes.length, statuses.length];
  rotating.setKey('third');
  await eventually(() => expect(upstream.openStreams).toBe(0));
  expect(rotating.status().state).toBe('OFF');
  expect([changes.length, statuses.length]).toEqual(before);
  expect(asked('third')).toBe(0);
});
