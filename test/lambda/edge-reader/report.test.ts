/** What the edge says of itself in log and metrics. The tests move the clock. */

import { parseReaderConfig } from '../../../lambda/edge-reader/config.ts';
import {
  createReader,
  createReport,
  type Decision,
  type ReaderStatus,
  type Report,
  startReader,
} from '../../../lambda/edge-reader/index.ts';
import { createViewerRequestHandler } from '../../../lambda/edge-router/index.ts';
import { startTable, type TestTable } from '../../support/dynalite.ts';
import { requestEvent } from '../edge-router/events.ts';
import { type Replica, startReplica } from './replica.ts';
import { item, putSnapshot } from './table-writer.ts';

const MINUTE_MS = 60_000;
const ready: ReaderStatus = {
  state: 'ready',
  message: '',
  ageMs: 4_000,
  rev: '7.1',
  checkedAt: 1,
  source: 'snapshot',
  replica: 'eu-west-1',
  lastError: undefined,
};

function start(flags: readonly string[] = ['checkout']) {
  const clock = { now: 1_760_000_000_000 };
  let status = ready;
  const lines: Record<string, unknown>[] = [];
  const report = createReport({ namespace: 'Edge/dev', flags }, () => status, {
    now: () => clock.now,
    write: (line) => lines.push(JSON.parse(line)),
  });
  const decide = (variation: string, more: Partial<Parameters<Report['decided']>[0]> = {}) =>
    report.decided({ flagKey: 'checkout', variation, ms: 0, ...more });
  return {
    ...{ report, clock, lines, decide },
    become(next: Partial<ReaderStatus>) {
      status = { ...ready, ...next };
    },
  };
}

/** The metrics of a line, as CloudWatch reads them. */
function metricsOf(line: Record<string, unknown> = {}) {
  const { CloudWatchMetrics } = line._aws as {
    CloudWatchMetrics: { Namespace: string; Dimensions: string[][]; Metrics: { Name: string; Unit: string }[] }[];
  };
  const [directive] = CloudWatchMetrics;
  expect(CloudWatchMetrics).toHaveLength(1);
  expect(directive).toMatchObject({ Namespace: 'Edge/dev', Dimensions: [[]] });
  return Object.fromEntries(directive!.Metrics.map(({ Name, Unit }) => [Name, `${line[Name]} ${Unit}`]));
}

test('the first decision is told at once, later ones once a minute', () => {
  const { clock, lines, decide, become } = start();
  decide('stable', { ms: 130.4 });
  expect(lines).toHaveLength(1);
  expect(lines[0]).toMatchObject({ _aws: { Timestamp: clock.now }, state: 'ready', replica: 'eu-west-1', rev: '7.1' });
  expect(metricsOf(lines[0])).toEqual({
    Decisions: '1 Count',
    Fallbacks: '0 Count',
    DataAge: '4 Seconds',
    DecisionTime: '130 Milliseconds',
    'checkout=stable': '1 Count',
  });
  become({ ageMs: 9_000 });
  decide('canary', { ms: 2 });
  clock.now += MINUTE_MS - 1;
  become({ ageMs: 10 });
  decide('stable');
  decide('stable', { flagKey: 'other' });
  expect(lines).toHaveLength(1);
  clock.now += 1;
  decide('stable', { why: 'FLAG_NOT_FOUND' });
  expect(lines).toHaveLength(2);
  expect(metricsOf(lines[1])).toEqual({
    Decisions: '4 Count',
    Fallbacks: '1 Count',
    DataAge: '9 Seconds',
    DecisionTime: '2 Milliseconds',
    'checkout=canary': '1 Count',
    'checkout=stable': '1 Count',
    'checkout=fallback': '1 Count',
  });
  expect(lines[1]).toMatchObject({
    decided: { checkout: { canary: 1, stable: 1, fallback: 1 }, other: { stable: 1 } },
    fallbacks: { FLAG_NOT_FOUND: 1 },
  });
});

test('a clock that was set back does not silence it', () => {
  const { clock, lines, decide } = start();
  decide('stable');
  clock.now -= 3_600_000;
  decide('stable');
  expect(lines).toHaveLength(2);
});

test('each change of state is one line with its reason', () => {
  const { clock, lines, decide, become } = start();
  const lastError = { at: clock.now, message: 'eu-west-1: AccessDeniedException' };
  become({ state: 'unreachable', ageMs: undefined, message: lastError.message, lastError, replica: undefined });
  for (let viewer = 0; viewer < 200; viewer++) decide('stable', { why: 'CLIENT_NOT_READY' });
  become({});
  for (let viewer = 0; viewer < 5; viewer++) decide('stable');
  become({ state: 'stale', message: 'stale (71 s): not read', ageMs: 71_000 });
  for (let viewer = 0; viewer < 5; viewer++) decide('stable');
  const [first, metrics, ...later] = lines;
  expect(first).toEqual({
    level: 'ERROR',
    message: 'Flags cannot be read; callers get their fallbacks',
    reason: 'eu-west-1: AccessDeniedException',
    state: 'unreachable',
  });
  expect(metricsOf(metrics)).toMatchObject({
    Decisions: '1 Count',
    Fallbacks: '1 Count',
    'checkout=fallback': '1 Count',
  });
  expect(later).toEqual([
    { level: 'INFO', message: 'Flags are current again', state: 'ready', ageMs: 4_000, replica: 'eu-west-1' },
    {
      ...{ level: 'WARN', message: 'Flags are out of date; callers are answered from those in memory' },
      ...{ reason: 'stale (71 s): not read', state: 'stale', ageMs: 71_000, replica: 'eu-west-1' },
    },
  ]);
});

test('data of which no age is known gives no age', () => {
  const { lines, decide, become } = start();
  become({ state: 'loading', ageMs: undefined, rev: undefined, replica: undefined });
  decide('stable', { why: 'CLIENT_NOT_READY' });
  expect(lines[0]).toMatchObject({ level: 'ERROR', state: 'loading', reason: 'no answer yet' });
  expect(Object.keys(metricsOf(lines[1]))).toEqual(['Decisions', 'Fallbacks', 'DecisionTime', 'checkout=fallback']);
});

test('a line stays small, whatever flags are asked', () => {
  const { clock, lines, decide } = start(['checkout']);
  decide('stable');
  clock.now += MINUTE_MS - 1;
  for (let flag = 0; flag < 5_000; flag++) decide('x'.repeat(64), { flagKey: `flag-${flag}`.padEnd(64, '-') });
  for (const odd of ['', '__proto__', 'x'.repeat(100_000), 'ä', 'a b', '\n']) decide('stable', { flagKey: odd });
  clock.now += 1;
  decide('stable', { flagKey: 'one-more' });
  const [, line] = lines;
  expect(JSON.stringify(line).length).toBeLessThan(10_000);
  expect(metricsOf(line)).toMatchObject({ Decisions: '5007 Count' });
  const counts = Object.values(line!.decided as object).flatMap((by: object) => Object.values(by) as number[]);
  expect(counts.reduce((sum, count) => sum + count)).toBe(5_007);
  expect(counts).toHaveLength(51);
});

test('as a hook it names variations by their values, or by their numbers', () => {
  const { clock, lines, report } = start();
  clock.now -= MINUTE_MS;
  const tell = (value: unknown, variationIndex: number | null, reason: Decision['detail']['reason']) =>
    report.onDecision({
      ...{ flagKey: 'checkout', context: { kind: 'user', key: 'alice' }, fallback: 'x', ms: 0 },
      detail: { value, variationIndex, reason },
    });
  tell('stable', 0, { kind: 'FALLTHROUGH' });
  tell('stable', 0, { kind: 'OFF' });
  tell(true, 1, { kind: 'FALLTHROUGH' });
  tell(0.5, 2, { kind: 'FALLTHROUGH' });
  tell({ large: 'x'.repeat(1_000) }, 3, { kind: 'FALLTHROUGH' });
  tell(null, null, { kind: 'OFF' });
  clock.now += MINUTE_MS;
  tell('x', null, { kind: 'ERROR', errorKind: 'WRONG_TYPE' });
  const all = { true: 1, '0.5': 1, 'variation-3': 1, 'variation-none': 1, stable: 1, fallback: 1 };
  expect(lines.at(-1)).toMatchObject({ decided: { checkout: all }, fallbacks: { WRONG_TYPE: 1 } });
});

describe('with a table', () => {
  const env = { AWS_REGION: 'eu-west-1', AWS_ACCESS_KEY_ID: 'test', AWS_SECRET_ACCESS_KEY: 'test' };
  let table: TestTable;
  let replica: Replica;
  const config = () => ({
    ...{ tableName: table.tableName, prefix: 'p', endpoint: replica.endpoint, coldDeadlineMs: 60_000 },
    replicas: { default: ['eu-west-1'] },
  });

  beforeAll(async () => {
    table = await startTable();
    const flag = { key: 'checkout', version: 1, on: true, fallthrough: { variation: 0 }, salt: '' };
    await putSnapshot(table, 'p', [item('features', { ...flag, variations: ['canary'] })], { epoch: 1, seq: 1 });
  });
  beforeEach(async () => {
    replica = await startReplica(table.endpoint);
  });
  afterEach(() => replica.close());
  afterAll(() => table.close());

  test('viewers on the default variant because every replica denies access are seen @heavy', async () => {
    replica.behave('denied');
    const lines: Record<string, unknown>[] = [];
    const reader = startReader(parseReaderConfig(config()), { env });
    const report = createReport({ namespace: 'Edge/dev', flags: ['checkout'] }, reader.status, {
      write: (line) => lines.push(JSON.parse(line)),
    });
    const router = { reader: config(), flagKey: 'checkout', variants: ['stable', 'canary'], defaultVariant: 'stable' };
    const handler = createViewerRequestHandler(router, reader, report);
    for (let viewer = 0; viewer < 200; viewer++) {
      const { headers } = await handler(requestEvent('viewer-request'));
      expect(headers['x-flag-variant']?.[0]?.value).toBe('stable');
    }
    expect(lines).toHaveLength(2);
    expect(lines[0]).toMatchObject({ level: 'ERROR', reason: expect.stringContaining('AccessDenied') });
    expect(metricsOf(lines[1])).toMatchObject({ Fallbacks: '1 Count', 'checkout=fallback': '1 Count' });
    expect(lines[1]).toMatchObject({ fallbacks: { CLIENT_NOT_READY: 1 } });
  });

  test('a flag whose value is no variant counts as a fallback', async () => {
    const lines: Record<string, unknown>[] = [];
    const reader = startReader(parseReaderConfig(config()), { env });
    const report = createReport({ namespace: 'Edge/dev' }, reader.status, {
      write: (line) => lines.push(JSON.parse(line)),
    });
    const router = { reader: config(), flagKey: 'checkout', variants: ['stable'], defaultVariant: 'stable' };
    await createViewerRequestHandler(router, reader, report)(requestEvent('viewer-request'));
    expect(lines).toHaveLength(1);
    expect(lines[0]).toMatchObject({
      Fallbacks: 1,
      fallbacks: { UNKNOWN_VARIANT: 1 },
      decided: { checkout: { fallback: 1 } },
    });
  });

  test('a hook sees each evaluation, and what it throws harms none', async () => {
    const seen: Decision[] = [];
    const told = jest.spyOn(console, 'error').mockImplementation(() => {});
    const reader = createReader(config(), {
      env,
      onDecision(decision) {
        seen.push(decision);
        throw new Error('mine');
      },
    });
    const context = { kind: 'user', key: 'alice' };
    const detail = { value: 'canary', variationIndex: 0, reason: { kind: 'FALLTHROUGH' } };
    expect(await reader.variation('checkout', context, 'x')).toBe('canary');
    expect(await reader.variationDetail('checkout', context, 'x')).toEqual(detail);
    expect(await reader.stringVariation('checkout', context, 'x')).toBe('canary');
    expect(await reader.boolVariation('checkout', context, false)).toBe(false);
    expect(await reader.numberVariation('no-flag', context, 1)).toBe(1);
    expect(reader.evaluate('checkout', context, 'x')).toEqual(detail);
    expect(seen.map(({ flagKey, fallback, detail: { reason } }) => [flagKey, fallback, reason])).toEqual([
      ['checkout', 'x', { kind: 'FALLTHROUGH' }],
      ['checkout', 'x', { kind: 'FALLTHROUGH' }],
      ['checkout', 'x', { kind: 'FALLTHROUGH' }],
      ['checkout', false, { kind: 'ERROR', errorKind: 'WRONG_TYPE' }],
      ['no-flag', 1, { kind: 'ERROR', errorKind: 'FLAG_NOT_FOUND' }],
      ['checkout', 'x', { kind: 'FALLTHROUGH' }],
    ]);
    expect(seen.every((one) => one.context === context && one.ms >= 0)).toBe(true);
    expect(told.mock.calls).toEqual(seen.map(() => ['edge reader: onDecision threw', new Error('mine')]));
    told.mockRestore();
  });
});

test('changes of state go to a logger, if there is one, and metrics to the log of the process', () => {
  const lines: string[] = [];
  const told: unknown[][] = [];
  const silent = () => {};
  const logger = { debug: silent, info: silent, warn: silent, error: (...args: unknown[]) => void told.push(args) };
  const status: ReaderStatus = { ...ready, state: 'unreachable', message: 'no route', source: undefined };
  const options = { write: (line: string) => void lines.push(line), logger };
  createReport({ namespace: 'Edge/dev' }, () => status, options).decided({ flagKey: 'a', variation: 'b', ms: 1 });
  const fields = { reason: 'no route', state: 'unreachable', ageMs: 4_000, replica: 'eu-west-1' };
  expect(told).toEqual([['Flags cannot be read; callers get their fallbacks', fields]]);
  expect(lines).toEqual([expect.stringContaining('CloudWatchMetrics')]);
});
