/**
 * The cost of writing the flag table, compared with ld-relay: one environment of 2,000 flags (about 1.3 KB of JSON each) and
 * 200 segments.
 *
 *     npx tsx test/bench/store-cost.ts [--json] [--flags 2000]
 *
 * Method: complete relays with their real timings, on real sockets, between a fake LaunchDarkly and a real DynamoDB server
 * (dynalite). Every write is counted with the capacity that the server reports, including failed conditions. A case is over
 * when only lease renewals were written for two seconds. Renewals and takeovers are counted separately, since they do not
 * depend on changes.
 *
 * ld-relay does not run here. Its column is computed from what its DynamoDB store does, with the same items: on every start
 * and every reconnect to LaunchDarkly, each instance writes every item and the marker unconditionally; on every change each
 * instance puts the item if it is newer, and a failed condition consumes as much as a write.
 *
 * Exits with 1 if the relay wrote more than promised.
 */
import { setTimeout as delay } from 'node:timers/promises';
import { parseArgs } from 'node:util';
import { encodeInited, encodeOfficialItem, type Item } from '../../lib/flag-table/index.ts';
import { defaultTimings } from '../../relay-task/store/timings.ts';
import { generateEnvironment } from '../lib/flag-table/generate.ts';
import { startTable } from '../support/dynalite.ts';
import { eventually } from '../support/eventually.ts';
import { type FakeUpstream, type FlagData, startFakeUpstream } from '../support/fake-upstream.ts';
import { type PassedRequest, startFaultyProxy } from '../support/faulty-proxy.ts';
import { startTestRelay } from '../support/start-relay.ts';

/** On-demand prices of us-east-1, USD for a million units. */
const USD_FOR_WRITES = 0.625;
const USD_FOR_READS = 0.125;
const MONTH_MS = 730 * 3_600_000;
const QUIET_MS = 2_000;

const { values } = parseArgs({ options: { json: { type: 'boolean' }, flags: { type: 'string', default: '2000' } } });
const items = generateEnvironment(Number(values.flags));
const flags = items.filter(({ kind }) => kind === 'features');
const relays = 3;

interface Cost {
  readonly flags: number;
  readonly segments: number;
  readonly markers: number;
  /** The body and its parts. */
  readonly bodies: number;
  readonly deltas: number;
  /** Updates of the head that name a new revision. */
  readonly publications: number;
  readonly units: number;
}

const table = await startTable();
const proxy = await startFaultyProxy(table.endpoint);
const upstream = await startFakeUpstream(dataOf(items));
const open: { close(): Promise<void> }[] = [];
const results: { name: string; ours: Cost; ldRelay: { writes: number; units: number }; leaseUnits: number }[] = [];

try {
  await measure('first start, on an empty table', () => startRelay(), wholeSet(1));
  await open.pop()?.close();
  await measure('(a) start on an unchanged table', () => startRelay(), wholeSet(1));
  for (let more = 1; more < relays; more++) await startRelay();
  await quiet();
  const [changed] = flags.slice(7).map((flag) => nextVersion(flag, 1));
  await measure('(b) one flag changes, three relays run', () => send(upstream, changed!), upserts([changed!]));
  await measure(
    '(c) LaunchDarkly’s stream drops, three relays reconnect',
    async () => {
      const { connections } = upstream;
      upstream.cut();
      await upstream.connected(connections + relays);
    },
    wholeSet(relays),
  );
  // Bodies are at least 10 s apart, which is not part of the cost.
  await delay(defaultTimings.bodyGapMs);
  const many = flags.slice(0, 500).map((flag) => nextVersion(flag, 2));
  await measure(
    `(d) ${many.length} flags change within a second`,
    async () => {
      for (const [index, item] of many.entries()) {
        await send(upstream, item);
        if (index % 50 === 49) await delay(20);
      }
    },
    upserts(many),
  );
  report();
} finally {
  await Promise.all(open.map((relay) => relay.close()));
  await Promise.all([upstream.close(), proxy.close()]);
  await table.close();
}

async function measure(name: string, act: () => unknown, ldRelay: { writes: number; units: number }): Promise<void> {
  proxy.passed.length = 0;
  await act();
  await quiet();
  const all = proxy.passed.filter(({ writeUnits }) => writeUnits > 0);
  const writes = all.filter((one) => !isLease(one));
  const count = (matches: (one: PassedRequest) => boolean) => writes.filter(matches).length;
  const ours: Cost = {
    flags: count(({ namespace }) => namespace === 'bench:features'),
    segments: count(({ namespace }) => namespace === 'bench:segments'),
    markers: count(({ namespace }) => namespace === 'bench:$inited'),
    bodies: count(({ key }) => key === 'body' || key.startsWith('part.')),
    deltas: count(({ namespace, key }) => namespace === 'bench:$snapshot' && key === 'delta'),
    publications: count(isHead),
    units: unitsOf(writes),
  };
  results.push({ name, ours, ldRelay, leaseUnits: unitsOf(all) - ours.units });
}

async function startRelay(): Promise<void> {
  const { connections } = upstream;
  const relay = await startTestRelay({
    ...{ LD_ENV_bench: 'sdk-bench', LD_PREFIX_bench: 'bench', STREAM_URI: upstream.uri, LOG_LEVEL: 'error' },
    ...{ USE_DYNAMODB: 'true', DYNAMODB_TABLE: table.tableName, DYNAMODB_URL: proxy.endpoint },
  });
  open.push(relay);
  await upstream.connected(connections + 1);
  if (open.length > 1) return;
  await eventually(async () => {
    if (!proxy.passed.some((one) => isHead(one) && one.writeUnits > 0)) throw new Error('nobody took the lease');
  }, 30_000);
  await relay.stored(60_000);
}

/** Resolves when only the lease is being written. */
async function quiet(): Promise<void> {
  let since = performance.now();
  let seen = -1;
  while (performance.now() - since < QUIET_MS) {
    const now = proxy.passed.filter((one) => one.writeUnits > 0 && !isLease(one)).length;
    if (now !== seen) [since, seen] = [performance.now(), now];
    await delay(50);
  }
}

function isHead({ namespace, key }: PassedRequest): boolean {
  return namespace === 'bench:$snapshot' && key === 'head';
}

/** A renewal, a takeover or a release: a write of the head without a revision. */
function isLease(one: PassedRequest): boolean {
  return isHead(one) && !one.condition.includes('rev <');
}

function unitsOf(requests: readonly PassedRequest[]): number {
  return requests.reduce((sum, { writeUnits }) => sum + writeUnits, 0);
}

function send(to: FakeUpstream, { key, json }: Item): Promise<void> {
  return to.patch('flags', { ...(JSON.parse(json) as object), key });
}

function nextVersion(item: Item, more: number): Item {
  const version = item.version + more;
  const data = JSON.parse(item.json) as { on: boolean };
  return { ...item, version, json: JSON.stringify({ ...data, version, on: !data.on }) };
}

function dataOf(all: readonly Item[]): FlagData {
  const some = (kind: Item['kind']) =>
    Object.fromEntries(all.filter((item) => item.kind === kind).map(({ key, json }) => [key, JSON.parse(json)]));
  return { flags: some('features'), segments: some('segments') };
}

/** The cost of ld-relay's `init` by this many instances. */
function wholeSet(instances: number): { writes: number; units: number } {
  const rows = [...items.map((item) => encodeOfficialItem('bench', item)), encodeInited('bench')];
  return { writes: instances * rows.length, units: instances * rows.reduce((sum, row) => sum + writeUnits(row), 0) };
}

/** The cost of ld-relay's `upsert` of each item by every relay. */
function upserts(changed: readonly Item[]): { writes: number; units: number } {
  const units = changed.reduce((sum, item) => sum + writeUnits(encodeOfficialItem('bench', item)), 0);
  return { writes: relays * changed.length, units: relays * units };
}

/** DynamoDB's rule: one unit per started KiB of names and values. */
function writeUnits(row: ReturnType<typeof encodeOfficialItem>): number {
  const bytes = Object.entries(row).reduce((sum, [name, value]) => {
    const [[type, text]] = Object.entries(value) as [[string, string]];
    return sum + name.length + (type === 'N' ? Math.ceil(text.length / 2) + 1 : Buffer.byteLength(text));
  }, 0);
  return Math.max(1, Math.ceil(bytes / 1_024));
}

function report(): void {
  const { renewMs, pollMs } = defaultTimings;
  const month = {
    renewalUnits: Math.round(MONTH_MS / renewMs),
    renewalUsd: round((MONTH_MS / renewMs / 1e6) * USD_FOR_WRITES),
    waitingReadUnits: Math.round(MONTH_MS / pollMs / 2),
    waitingUsd: round((MONTH_MS / pollMs / 2 / 1e6) * USD_FOR_READS),
  };
  const broken = results.flatMap(({ name, ours }) => brokenPromises(name, ours));
  if (values.json) {
    const sizes = { flags: flags.length, segments: items.length - flags.length, relays };
    console.log(JSON.stringify({ ...sizes, cases: results, lease: { perMonth: month }, broken }, undefined, 2));
  } else {
    const rows = results.map(({ name, ours, ldRelay, leaseUnits }) => [
      name,
      { ...ours, 'lease units': leaseUnits, 'ld-relay writes': ldRelay.writes, 'ld-relay units': ldRelay.units },
    ]);
    console.table(Object.fromEntries(rows));
    console.log(
      `The lease, per environment and month: ${month.renewalUnits} write units (${month.renewalUsd} USD) by its holder, ` +
        `${month.waitingReadUnits} read units (${month.waitingUsd} USD) by each waiting task.`,
    );
    for (const one of broken) console.error(one);
  }
  if (broken.length > 0) process.exitCode = 1;
}

function brokenPromises(name: string, cost: Cost): string[] {
  const { flags, segments, markers, bodies, deltas, publications, units } = cost;
  const promises: Record<string, boolean> = {
    a: flags + segments + markers + bodies + deltas === 0,
    b: flags === 1 && deltas === 1 && publications === 1 && segments + markers + bodies === 0,
    c: units === 0,
    d: publications <= 2,
  };
  const kept = promises[/^\((.)\)/.exec(name)?.[1] ?? ''] ?? true;
  return kept ? [] : [`${name}: wrote more than promised: ${JSON.stringify(cost)}`];
}

function round(value: number): number {
  return Number(value.toFixed(2));
}
