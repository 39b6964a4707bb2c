/** Heartbeats are sent by LaunchDarkly's REST API: a stand-in on a real socket answers, and the tests move the clock. */
import { heartbeatOf } from '../../../lib/flag-table/index.ts';
import type { LogFields } from '../../../relay-task/ports.ts';
import { type PulseTarget, type PulseTimings, startPulse } from '../../../relay-task/upstream/heartbeat-pulse.ts';
import { eventually, turnsOfLoop } from '../../support/eventually.ts';
import { type FakeRestApi, startFakeRestApi } from '../../support/fake-rest-api.ts';
import { type FakeUpstream, startFakeUpstream } from '../../support/fake-upstream.ts';
import { closeAfterEach } from '../../support/opened.ts';

const MINUTE_MS = 60_000;
const token = 'api-00000000-0000-0000-0000-00000000feed';
const flagOf = (variations: readonly unknown[], offVariation = 1) => ({
  ...{ key: 'heartbeat', version: 1, on: false, offVariation, variations, salt: '' },
});
const { opened, behind } = closeAfterEach();

let upstream: FakeUpstream;
let api: FakeRestApi;
let clock: { now: number; monotonic: number };
let lines: { level: string; message: string; fields: LogFields }[];
let outcomes: string[];
let flags: Record<string, Partial<PulseTarget>>;

beforeEach(async () => {
  clock = { now: 1_764_547_200_000, monotonic: 0 };
  lines = [];
  outcomes = [];
  flags = { shop: {} };
  upstream = opened(await startFakeUpstream({ flags: { heartbeat: flagOf(['none', { note: 'ours' }]) } }));
  api = await startFakeRestApi(upstream, token);
  behind(() => api.close().catch(() => {}));
});

function* targets(): Generator<PulseTarget> {
  for (const [environment, more] of Object.entries(flags)) {
    const flag = heartbeatOf(JSON.stringify(upstream.data.flags.heartbeat));
    yield { environment, flagKey: 'heartbeat', projectKey: 'shop', flag, ...more };
  }
}

function start(more: { readonly token?: string; readonly apiUri?: string; readonly timings?: PulseTimings } = {}) {
  const record =
    (level: string) =>
    (message: string, fields: LogFields = {}) => {
      lines.push({ level, message, fields });
    };
  return opened(
    startPulse({
      targets,
      apiUri: more.apiUri ?? api.uri,
      token: more.token ?? token,
      intervalMs: MINUTE_MS,
      userAgent: 'EdgeFlagRelay/test',
      log: { debug: record('debug'), info: record('info'), warn: record('warn'), error: record('error') },
      wrote: (outcome) => outcomes.push(outcome),
      timings: { lookMs: 1, now: () => clock.now, monotonic: () => clock.monotonic, ...more.timings },
    }),
  );
}

/** Until the pulse has looked at least once more. */
const looked = () => new Promise((resolve) => setTimeout(resolve, 5)).then(() => turnsOfLoop());

/** Everything that may be due after a wait is due. */
async function waitOut(ms: number): Promise<void> {
  await looked();
  clock.monotonic += ms;
  await looked();
}

const told = () =>
  eventually(() => (lines.length === 0 ? Promise.reject(new Error('nothing is said')) : lines.at(-1)!));

test('the variation that the flag serves gets the present time, and keeps what else it holds', async () => {
  start();
  await waitOut(2 * MINUTE_MS);
  await api.requested(1);
  expect(api.requests[0]).toEqual({
    method: 'PATCH',
    url: '/api/v2/flags/shop/heartbeat',
    authorization: token,
    contentType: 'application/json',
    body: [{ op: 'replace', path: '/variations/1/value', value: { note: 'ours', sentAt: clock.now } }],
  });
  await eventually(() => expect(outcomes).toEqual(['written']));
  expect(upstream.data.flags.heartbeat).toMatchObject({ version: 2, variations: ['none', { sentAt: clock.now }] });
});

test('a number stays a number', async () => {
  upstream.data.flags.heartbeat = flagOf([0], 0);
  start();
  await waitOut(2 * MINUTE_MS);
  await api.requested(1);
  expect(api.requests[0]?.body).toEqual([{ op: 'replace', path: '/variations/0/value', value: clock.now }]);
});

test('none is sent while others send: the time counts from the last heartbeat, whoever sent it', async () => {
  const pulse = start();
  await looked();
  for (let minute = 0; minute < 10; minute++) {
    pulse.seen('shop');
    await waitOut(MINUTE_MS - 1);
  }
  expect(api.requests).toHaveLength(0);
  await waitOut(MINUTE_MS);
  await api.requested(1);
});

test('environments that share a flag send one for all', async () => {
  flags = { one: {}, two: {}, three: {} };
  const pulse = start();
  await waitOut(2 * MINUTE_MS);
  await api.requested(1);
  await eventually(() => expect(outcomes).toHaveLength(1));
  for (const name of Object.keys(flags)) pulse.seen(name);
  await waitOut(MINUTE_MS / 2);
  expect(api.requests).toHaveLength(1);
});

test.each([
  [401, 'rejected HEARTBEAT_API_TOKEN'],
  [403, 'updateFlagVariations on proj/shop:env/*:flag/heartbeat'],
  [404, 'no flag heartbeat of project shop'],
  [405, 'wants an approval'],
  [409, 'changed by somebody else'],
  [429, 'limits requests'],
  [500, 'answered 500 to a change of flag heartbeat of project shop: the reason, without sdk-…'],
])('after %s one line says which flag and what to do, and another one when it works again', async (status, text) => {
  api.answer = { status, body: JSON.stringify({ message: 'the reason, without sdk-00000000-0000-0000' }) };
  start({ timings: { backoff: { firstMs: MINUTE_MS, maxMs: MINUTE_MS } } });
  for (let round = 1; round <= 3; round++) {
    await waitOut(2 * MINUTE_MS);
    await eventually(() => expect(outcomes).toHaveLength(round));
  }
  expect(lines).toHaveLength(1);
  expect(lines[0]).toMatchObject({
    level: 'warn',
    fields: { environment: 'shop', flag: 'heartbeat', project: 'shop' },
  });
  expect(lines[0]?.fields.reason).toContain(text);
  api.answer = undefined;
  await waitOut(2 * MINUTE_MS);
  await eventually(() => expect(outcomes.at(-1)).toBe('written'));
  await eventually(() => expect(lines.map(({ level }) => level)).toEqual(['warn', 'info']));
  expect(JSON.stringify(lines)).not.toContain(token);
});

test.each([
  ['Retry-After in seconds', { 'Retry-After': '1800' }],
  ['X-Ratelimit-Reset in Unix ms', { 'X-Ratelimit-Reset': String(1_764_547_200_000 + 30 * MINUTE_MS) }],
])('LaunchDarkly says how long it limits requests: %s', async (_, headers) => {
  api.answer = { status: 429, headers };
  start();
  await waitOut(2 * MINUTE_MS);
  expect((await told()).fields.retrySeconds).toBe(1_800);
  await waitOut(29 * MINUTE_MS);
  expect(api.requests).toHaveLength(1);
  await waitOut(2 * MINUTE_MS);
  await api.requested(2);
});

test.each([
  [
    'no project',
    { projectKey: undefined },
    'set HEARTBEAT_PROJECT, LD_PROJ_KEY_shop, or project-key of the environment in SSM',
  ],
  ['no flag', { flag: undefined }, 'no flag heartbeat that serves one variation'],
  ['text', { flag: { variation: 0, value: 'text', sentAt: undefined } }, 'neither a number nor a JSON object'],
  ['a list', { flag: { variation: 0, value: [], sentAt: undefined } }, 'neither a number nor a JSON object'],
])('%s is told, and nothing is sent', async (_, target, text) => {
  flags = { shop: target };
  start();
  await waitOut(2 * MINUTE_MS);
  expect((await told()).fields.reason).toContain(text);
  expect(outcomes).toEqual(['failed']);
  await waitOut(2 * MINUTE_MS);
  await eventually(() => expect(outcomes).toEqual(['failed', 'failed']));
  expect(lines).toHaveLength(1);
  expect(api.requests).toHaveLength(0);
});

test('environments that lack the same have one line each, and one when they are sent again', async () => {
  flags = { one: { projectKey: undefined }, two: { projectKey: undefined } };
  start();
  for (let round = 1; round <= 3; round++) {
    await waitOut(2 * MINUTE_MS);
    await eventually(() => expect(outcomes).toHaveLength(2 * round));
  }
  expect(lines.map(({ level, fields }) => [level, fields.environment])).toEqual([
    ['warn', 'one'],
    ['warn', 'two'],
  ]);
  flags = { one: {} };
  await waitOut(2 * MINUTE_MS);
  await eventually(() => expect(lines.slice(2)).toMatchObject([{ level: 'info', fields: { environment: 'one' } }]));
});

test('the project or flag that is named in place of a wrong one has its line, and what was wrong before has one again', async () => {
  start();
  const given = [{ projectKey: 'wrong' }, { flag: undefined }, { projectKey: 'wrong' }, {}];
  for (const [index, target] of given.entries()) {
    flags = { shop: target };
    await waitOut(2 * MINUTE_MS);
    await eventually(() => expect(lines).toHaveLength(index + 1));
  }
  expect(lines.map(({ level }) => level)).toEqual(['warn', 'warn', 'warn', 'info']);
  expect(lines.at(-1)).toMatchObject({ message: 'Heartbeats are sent again', fields: { project: 'shop' } });
});

test('an address where nothing answers is told', async () => {
  const { uri } = api;
  await api.close();
  start({ apiUri: uri });
  await waitOut(2 * MINUTE_MS);
  expect((await told()).fields.reason).toContain('is HEARTBEAT_API_URI right?');
});
