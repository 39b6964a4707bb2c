/** Why `/status` is degraded, and when that begins and ends: the rows of the table in docs/endpoints.md. */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { resultOf } from '../../../relay-task/common/slices.ts';
import type { StoreStatus, UpstreamStatus } from '../../../relay-task/ports.ts';
import {
  createHealth,
  type EnvironmentHealth,
  type HealthOptions,
  type RelayStatus,
} from '../../../relay-task/status/health.ts';

const T = 1_760_000_000_000;
const KEY = 'sdk-00000000-1111-2222-3333-444455556666';

const upstream = (more: Partial<UpstreamStatus> = {}): UpstreamStatus => ({
  ...{ state: 'VALID', stateSince: T, stateNow: 0, refused: false, current: true, checkedAt: T, checkedNow: 0 },
  ...more,
});
const environment = (more: Partial<EnvironmentHealth> = {}): EnvironmentHealth => ({
  ...{
    name: 'production',
    sdkKey: KEY,
    credentials: [],
    createdAt: T,
    createdNow: 0,
    initialized: true,
    upstream: upstream(),
  },
  ...{ stores: [], unreadable: [], refusedPatterns: [], failedItems: [] },
  ...more,
});
const store = (more: Partial<StoreStatus>): StoreStatus => ({
  ...{ state: 'VALID', stateSince: T, database: 'dynamodb', dbTable: 'flags', writer: true },
  ...more,
});

function healthOf(environments: readonly EnvironmentHealth[], more: Partial<HealthOptions> = {}) {
  return createHealth({
    ...{ version: '1', environments: () => environments, keysKnown: () => true, initTimeoutMs: 10_000 },
    ...{ disconnectedStatusTimeMs: 60_000, readyRequires: 'any', now: () => T + 59_999 },
    monotonic: () => 59_999,
    ...more,
  });
}

function statusOf(...given: Parameters<typeof healthOf>): RelayStatus {
  return JSON.parse([...healthOf(...given).status()].join(''));
}

const answered = (statusCode: number) =>
  ({ kind: 'ERROR_RESPONSE', time: T, statusCode, message: `x answered ${statusCode}` }) as const;
const away = { state: 'INTERRUPTED', stateSince: T, current: false } as const;
const item = { kind: 'features', key: 'a', reason: 'no' } as const;
const bigSegments = { available: true, potentiallyStale: true, lastSynchronizedOn: T - 600_000 };
const source = {
  kind: 'ssm',
  state: 'INTERRUPTED',
  stateSince: T,
  lastError: { time: T, message: 'no route' },
} as const;

const rows: [
  title: string,
  what: string | undefined,
  message: RegExp,
  Partial<EnvironmentHealth>,
  Partial<HealthOptions>?,
][] = [
  ['nothing is wrong', undefined, /x/, {}],
  [
    'LaunchDarkly has just answered 401',
    'key-refused',
    /^LaunchDarkly rejects the SDK key \(x answered 401\); clients get what memory holds$/,
    { upstream: upstream({ ...away, refused: true, lastError: answered(401) }) },
  ],
  [
    'LaunchDarkly has just answered 404',
    'key-refused',
    /^LaunchDarkly refuses \(x answered 404\)/,
    { upstream: upstream({ ...away, refused: true, lastError: answered(404) }) },
  ],
  [
    'LaunchDarkly has been away for less than the limit',
    undefined,
    /x/,
    { upstream: upstream({ ...away, lastError: answered(503) }) },
  ],
  [
    'LaunchDarkly has been away for the limit',
    'disconnected',
    /^The source of flags has been away for 1 min \(x answered 503\)/,
    { upstream: upstream({ ...away, lastError: answered(503) }) },
    { monotonic: () => 60_000 },
  ],
  ['only a store had data', 'disconnected', /no answer so far/, { upstream: upstream({ state: 'INITIALIZING' }) }],
  [
    'there is no data',
    'no-data',
    /^There are no flags yet \(x answered 503\); clients get 503$/,
    { initialized: false, upstream: upstream({ state: 'INITIALIZING', lastError: answered(503) }) },
  ],
  ['there is no key', 'no-data', /there is no SDK key/, { initialized: false, upstream: undefined }],
  [
    'a store fails',
    'store-down',
    /^DynamoDB table "flags" fails \(no such table\); serving from memory, trying again$/,
    { stores: [store({ state: 'INTERRUPTED', lastError: { time: T, message: 'no such table' } })] },
  ],
  ['a store has not answered yet', undefined, /x/, { stores: [store({ state: 'INITIALIZING' })] }],
  ['a store failed before', undefined, /x/, { stores: [store({ lastError: { time: T, message: 'no' } })] }],
  [
    'an item is too large',
    'oversized-items',
    /^1 item too large for DynamoDB table "flags": a$/,
    { stores: [store({ oversized: ['a'] })] },
  ],
  [
    'items are invalid',
    'unreadable-items',
    /^2 items invalid and left out: features "a" \(no\), and 1 more$/,
    { unreadable: [item, item] },
  ],
  [
    'an item fails',
    'failed-items',
    /^1 item sent to clients without a value: features "a" \(no\)$/,
    { failedItems: [item] },
  ],
  [
    'a pattern is refused, as LaunchDarkly does',
    undefined,
    /x/,
    { refusedPatterns: [{ kind: 'features', key: 'a', pattern: '(' }] },
  ],
  ['keys cannot be confirmed', 'keys-unconfirmed', /^gone$/, { keyProblem: { since: T, message: 'gone' } }],
  ['Big Segments are stale', undefined, /x/, { bigSegments }],
  [
    'Big Segments are stale, and that counts',
    'big-segments-stale',
    /^Big Segments may be out of date: synchronized 11 min ago$/,
    { bigSegments },
    { bigSegmentsStaleAsDegraded: true },
  ],
  [
    'Big Segments cannot be read, and that counts',
    'big-segments-stale',
    /does not answer$/,
    { bigSegments: { ...bigSegments, available: false, potentiallyStale: false } },
    { bigSegmentsStaleAsDegraded: true },
  ],
  [
    'the source of keys fails',
    'key-source-down',
    /fails: no route; its last answer stays in use$/,
    {},
    { source: () => source },
  ],
  [
    'the environments are not known yet',
    'environments-unknown',
    /unknown keys get 503$/,
    {},
    { keysKnown: () => false },
  ],
  [
    'log lines are being lost',
    'log-lines-lost',
    /^Log lines are being lost: nobody reads stdout$/,
    {},
    { losing: () => ({ since: T, reason: 'nobody reads stdout' }) },
  ],
  ['log lines were lost before', undefined, /x/, {}, { logLinesLost: () => 5, losing: () => undefined }],
];

test.each(rows)('when %s, the reason is %s', (...[_title, what, message, wrong, more]) => {
  const status = statusOf([environment(), environment({ name: 'b', ...wrong })], more);
  expect(status.status).toBe(what === undefined ? 'healthy' : 'degraded');
  expect(status.reasons.map((one) => one.what)).toEqual(what === undefined ? [] : [what]);
  const [one] = status.reasons;
  if (what === undefined) return;
  expect(one?.message).toMatch(message);
  expect(one?.environment).toBe(more && Object.keys(wrong).length === 0 ? undefined : 'b');
});

test('docs/endpoints.md lists every reason, and no other', () => {
  const page = readFileSync(join(import.meta.dirname, '../../../docs/endpoints.md'), 'utf8');
  const section = page.slice(page.indexOf('### Why it is degraded'));
  const listed = [...section.slice(0, section.indexOf('\n## ')).matchAll(/^\| `([a-z-]+)` \|/gm)].map(
    ([, what]) => what,
  );
  expect(listed.toSorted()).toEqual([...new Set(rows.flatMap(([, what]) => what ?? []))].toSorted());
});

test('reasons add up, and the list ends after a hundred', () => {
  const wrong = environment({
    upstream: upstream({ ...away, refused: true, lastError: answered(401) }),
    stores: [store({ state: 'INTERRUPTED' }), store({ database: 'redis', state: 'INTERRUPTED' })],
  });
  expect(statusOf([wrong]).reasons.map(({ what }) => what)).toEqual(['key-refused', 'store-down', 'store-down']);
  const many = statusOf(Array.from({ length: 50 }, (_, i) => ({ ...wrong, name: `e${i}` })));
  expect(many.reasons).toHaveLength(100);
  expect(many.moreReasons).toBe(50);
});

test("/status of one environment has that environment's reasons", () => {
  const environments = [environment({ keyProblem: { since: T, message: 'gone' } }), environment({ name: 'b' })];
  const health = healthOf(environments, { keysKnown: () => false });
  expect(resultOf(health.environmentStatus('production'))?.reasons).toEqual([
    {
      environment: 'production',
      what: 'keys-unconfirmed',
      since: T,
      message: 'gone',
      runbook: 'operations.md#key-problem',
    },
  ]);
  expect(resultOf(health.environmentStatus('b'))?.reasons).toEqual([]);
});

test('no message in /status shows a key or a password, wherever it comes from', () => {
  const message = `said ${KEY} at https://user:hunter2@example.com/`;
  const error = { time: T, message };
  const broken = environment({
    upstream: upstream({
      ...away,
      refused: true,
      lastError: { ...answered(401), message },
      delay: { since: T, message },
    }),
    stores: [store({ state: 'INTERRUPTED', lastError: error })],
    keyProblem: { since: T, message },
    unreadable: [{ ...item, reason: message }],
    failedItems: [{ ...item, reason: message }],
  });
  const status = statusOf([broken, { ...broken, name: 'b', initialized: false }], {
    source: () => ({ ...source, lastError: error }),
    losing: () => ({ since: T, reason: message }),
  });
  expect(JSON.stringify(status)).not.toMatch(/44445555|hunter2/);
  // Nothing was left out instead.
  expect(status.environments.production?.connectionStatus.lastError).toMatchObject({
    kind: 'ERROR_RESPONSE',
    statusCode: 401,
    message: 'said sdk-… at https://…@example.com/',
  });
  expect(status.environments.production?.stores[0]?.lastError?.message).toContain('said sdk-…');
});

test('readiness does not depend on reasons', () => {
  const health = healthOf([environment({ stores: [store({ state: 'INTERRUPTED' })], unreadable: [item] })]);
  health.setListening();
  expect(health.readiness().ready).toBe(true);
});
