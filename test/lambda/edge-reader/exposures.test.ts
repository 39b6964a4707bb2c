/** What the reader tells of its evaluations. Oracle: the events of LaunchDarkly's Node SDK for the same evaluations. */
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { init, integrations, type LDContext } from '@launchdarkly/node-server-sdk';
import {
  createExposures,
  createReader,
  type EvaluationContext,
  type ExposuresOptions,
  type Reader,
} from '../../../lambda/edge-reader/index.ts';
import { startEventsRecorder } from '../../interop/events-recorder.ts';
import { startTable, type TestTable } from '../../support/dynalite.ts';
import { silentLog } from '../../support/logs.ts';
import { everyNth } from '../../support/long.ts';
import { closeAfterEach } from '../../support/opened.ts';
import { randomFrom } from '../../support/random.ts';
import { type ExposureCase, randomExposures } from './random-exposures.ts';
import { itemsOf, putSnapshot } from './table-writer.ts';

const { behind } = closeAfterEach();
const env = { AWS_REGION: 'eu-west-1', AWS_ACCESS_KEY_ID: 'test', AWS_SECRET_ACCESS_KEY: 'test' };

type Event = Readonly<Record<string, unknown>>;
type Ask = (from: Reader) => Promise<unknown>;

let table: TestTable;
let prefixes = 0;
beforeAll(async () => {
  table = await startTable();
});
afterAll(() => table.close());

/** A reader of these flags and the lines that it writes. */
async function open(
  data: Pick<ExposureCase, 'flags' | 'segments'>,
  options: ExposuresOptions = {},
  random = Math.random,
) {
  const prefix = `p${++prefixes}`;
  await putSnapshot(table, prefix, itemsOf(data as never), { epoch: 1, seq: 1 });
  const lines: string[] = [];
  let at = 1_700_000_000_000;
  const exposures = createExposures(options, { random, now: () => at, write: (line) => lines.push(line) });
  const replicas = { default: ['eu-west-1'] };
  const config = { tableName: table.tableName, prefix, endpoint: table.endpoint, replicas, bigSegments: false };
  const reader = createReader(config, { env, exposures });
  await reader.ready();
  const sleep = (ms: number) => {
    at += ms;
  };
  return { reader, exposures, lines, sleep };
}

const told = (lines: readonly string[]): Event[] => lines.flatMap((line) => JSON.parse(line).events as Event[]);

/** Runs the questions in the official SDK and returns the events that it sends. */
async function officialEvents(data: ExposureCase, asks: readonly Ask[], options: object): Promise<Event[]> {
  const directory = mkdtempSync(join(tmpdir(), 'exposures-'));
  behind(() => rmSync(directory, { recursive: true }));
  const file = join(directory, 'flags.json');
  writeFileSync(file, JSON.stringify({ flags: data.flags, segments: data.segments }));
  const recorder = await startEventsRecorder();
  behind(() => recorder.close());
  const client = init('sdk-test', {
    ...{ eventsUri: recorder.uri, diagnosticOptOut: true, logger: silentLog, flushInterval: 3_600 },
    updateProcessor: new integrations.FileDataSourceFactory({ paths: [file] }).getFactory(),
    ...options,
  });
  behind(() => client.close());
  await client.waitForInitialization({ timeout: 60 });
  for (const ask of asks) await ask(client as unknown as Reader);
  await client.flush();
  return recorder.requests.flatMap(({ events }) => events);
}

/** Full events without their dates, sorted, and the counters of all summaries, added up. */
function comparable(events: readonly Event[]) {
  const others = events
    .filter(({ kind }) => kind !== 'summary')
    .map((event) => sortedJson({ ...event, creationDate: 0 }));
  const counts: Record<string, number> = {};
  const about: Record<string, unknown> = {};
  for (const { features } of events.filter(({ kind }) => kind === 'summary')) {
    for (const [flag, { default: fallback, contextKinds, counters }] of Object.entries(features as Features)) {
      about[flag] ??= { fallback, kinds: new Set() };
      for (const kind of contextKinds) (about[flag] as { kinds: Set<string> }).kinds.add(kind);
      for (const { count, ...counter } of counters) {
        const name = `${flag} ${sortedJson(counter)}`;
        counts[name] = (counts[name] ?? 0) + count;
      }
    }
  }
  return { others: others.sort(), counts, about };
}
type Features = Record<string, { default: unknown; contextKinds: string[]; counters: { count: number }[] }>;

const sortedJson = (value: unknown) =>
  JSON.stringify(value, (_, part) =>
    part && typeof part === 'object' && !Array.isArray(part) ? Object.fromEntries(Object.entries(part).sort()) : part,
  );

const FALLBACKS = ['other', null, undefined, { deep: [1] }, 7];
const METHODS = ['variation', 'variationDetail', 'boolVariation', 'numberVariationDetail', 'stringVariation'] as const;

function randomAsks(data: ExposureCase, random: () => number, count: number): Ask[] {
  const pick = <T>(list: readonly T[]) => list[Math.floor(random() * list.length)] as T;
  return Array.from({ length: count }, () => {
    const method = pick(METHODS);
    const flag = pick([...Object.keys(data.flags), 'unknown']);
    const context = pick(data.contexts) as EvaluationContext & LDContext;
    // One for each flag, since a summary has the first of them only.
    const fallback = FALLBACKS[[...flag].reduce((sum, letter) => sum + letter.charCodeAt(0), 0) % FALLBACKS.length];
    return (from) => (from[method] as Reader['variation'])(flag, structuredClone(context), fallback);
  });
}

const SEEDS = Array.from({ length: 40 }, (_, index) => index);
const SETTINGS: readonly ExposuresOptions[] = [
  {},
  { privateAttributes: ['email', '/address/street', 'name'] },
  { allAttributesPrivate: true },
];

test.each(everyNth(4, SEEDS))('tells of every evaluation what the Node SDK tells: seed %s', async (seed) => {
  const random = randomFrom(`exposures:${seed}`);
  const data = randomExposures(random);
  const settings = SETTINGS[seed % SETTINGS.length] ?? {};
  const asks = randomAsks(data, random, 250);
  const draws = seed % 2 === 0 ? 0.4 : 0.9;
  const drawn = jest.spyOn(Math, 'random').mockReturnValue(draws);
  const theirs = await officialEvents(data, asks, settings);
  drawn.mockRestore();
  const { reader, exposures, lines } = await open(data, settings, () => draws);
  for (const ask of asks) await ask(reader);
  exposures.flush();
  expect(comparable(told(lines))).toEqual(comparable(theirs));
  expect(lines.some((line) => line.includes('"lost"'))).toBe(false);
});

const needing = (key: string, ...others: readonly string[]) => ({
  ...{ key, version: 1, on: true, salt: '', variations: ['a', 'b'], fallthrough: { variation: 0 }, trackEvents: true },
  prerequisites: others.map((other) => ({ key: other, variation: 0 })),
});

test.each<[string, readonly Record<string, unknown>[]]>([
  ['several flags need', [needing('f', 'g', 'h'), needing('g', 'i'), needing('h', 'i', 'g'), needing('i')]],
  ['need each other', [needing('f', 'g'), needing('g', 'h'), needing('h', 'f')]],
  ['need themselves', [needing('f', 'f')]],
])('tells of flags that %s what the Node SDK tells', async (_, flags) => {
  const data = { flags: Object.fromEntries(flags.map((flag) => [flag.key, flag])), segments: {}, contexts: [] };
  const asks = flags.map(
    ({ key }): Ask =>
      (from) =>
        from.variation(key as string, alice, 'other'),
  );
  const { reader, exposures, lines } = await open(data);
  for (const ask of asks) await ask(reader);
  exposures.flush();
  expect(comparable(told(lines))).toEqual(comparable(await officialEvents(data, asks, {})));
});

const alice = { kind: 'user', key: 'alice', email: 'alice@example.com' };
const checkout = {
  key: 'checkout',
  version: 7,
  on: true,
  salt: '',
  variations: ['old', 'new'],
  fallthrough: { variation: 1 },
};
const one = (flag: object = checkout) => ({ flags: { checkout: flag as Record<string, unknown> }, segments: {} });

test('the first evaluation writes a line, the next ones when the interval is over, and nothing is written without evaluations', async () => {
  const { reader, lines, sleep } = await open(one(), { everyMs: 10_000 });
  await reader.variation('checkout', alice, 'old');
  const at = 1_700_000_000_000;
  const counters = [{ value: 'new', variation: 1, version: 7, count: 1 }];
  expect(lines.map((line) => JSON.parse(line))).toEqual([
    {
      edgeFlagExposures: 1,
      events: [
        { kind: 'index', creationDate: at, context: alice },
        {
          ...{ kind: 'summary', startDate: at, endDate: at },
          features: { checkout: { default: 'old', contextKinds: ['user'], counters } },
        },
      ],
    },
  ]);
  sleep(4_000);
  await reader.variation('checkout', alice, 'old');
  sleep(5_999);
  reader.evaluate('checkout', alice, 'old');
  expect(lines).toHaveLength(1);
  sleep(1);
  await reader.variation('checkout', alice, 'old');
  expect(told(lines.slice(1))).toMatchObject([
    { startDate: at + 4_000, endDate: at + 10_000, features: { checkout: { counters: [{ count: 3 }] } } },
  ]);
});

test('a context is described again after five minutes, or when a thousand others came since', async () => {
  const { reader, exposures, lines, sleep } = await open(one());
  const described = async (work: () => Promise<unknown>) => {
    exposures.flush();
    lines.length = 0;
    await work();
    exposures.flush();
    return told(lines).filter(({ kind }) => kind === 'index').length;
  };
  const ask = (key: string) => reader.variation('checkout', { kind: 'user', key }, 'old');
  expect(await described(() => ask('alice'))).toBe(1);
  sleep(299_999);
  expect(await described(() => ask('alice'))).toBe(0);
  sleep(1);
  expect(await described(() => ask('alice'))).toBe(1);
  const others = async (count: number) => {
    for (let i = 0; i < count; i++) await ask(`other-${i}`);
  };
  await others(999);
  expect(await described(() => ask('alice'))).toBe(0);
  await others(1_000);
  expect(await described(() => ask('alice'))).toBe(1);
});

test('without index events, contexts are described in full events only', async () => {
  const { reader, lines } = await open(one({ ...checkout, trackEvents: true }), { indexEvents: false });
  await reader.variation('checkout', alice, 'old');
  expect(told(lines).map(({ kind }) => kind)).toEqual(['feature', 'summary']);
});

test('a full line is written at once, so that none exceeds what a log takes, and nothing is lost', async () => {
  const { reader, exposures, lines } = await open(one({ ...checkout, trackEvents: true }));
  const asked = 500;
  for (let i = 0; i < asked; i++) {
    const context = { kind: 'user', key: `k${i}`, about: 'é\n'.repeat(300), [`kind-${i}`]: i };
    await reader.variation('checkout', i % 2 ? context : { kind: 'multi', [`kind-${i}`]: context }, 'old');
  }
  exposures.flush();
  expect(lines.length).toBeGreaterThan(3);
  expect(Math.max(...lines.map((line) => Buffer.byteLength(line)))).toBeLessThan(120_000);
  const { others, counts } = comparable(told(lines));
  expect(others).toHaveLength(2 * asked);
  expect(Object.values(counts)).toEqual([asked]);
});

test('what fits into no line is counted as lost', async () => {
  const { reader, exposures, lines } = await open(one({ ...checkout, variations: ['old', 'x'.repeat(200_000)] }));
  await reader.variation('checkout', alice, 'old');
  await reader.variation('checkout', { ...alice, key: 'bob', about: 'x'.repeat(200_000) }, 'old');
  exposures.flush();
  const all = lines.map((line) => JSON.parse(line));
  expect(all.map(({ lost }) => lost)).toEqual([
    { evaluations: 1, events: 0 },
    { evaluations: 1, events: 1 },
  ]);
});

test('an answer does not depend on whether its events can be made', async () => {
  const { reader, exposures, lines } = await open(one({ ...checkout, trackEvents: true }));
  const context = {
    ...alice,
    get thrown() {
      throw new Error('no such luck');
    },
    number: 1n,
  };
  const fallback = { number: 1n };
  expect(await reader.variationDetail('checkout', context, fallback)).toMatchObject({ value: 'new' });
  exposures.flush();
  const { counts } = comparable(told(lines));
  expect(Object.values(counts)).toEqual([1]);
  expect(JSON.parse(lines[0] as string).lost).toEqual({ evaluations: 0, events: 1 });
});

test('what fails to write a line harms no answer', async () => {
  const data = one();
  const prefix = `p${++prefixes}`;
  await putSnapshot(table, prefix, itemsOf(data), { epoch: 1, seq: 1 });
  const write = () => {
    throw new Error('EPIPE');
  };
  const exposures = createExposures({}, { write });
  const replicas = { default: ['eu-west-1'] };
  const reader = createReader(
    { tableName: table.tableName, prefix, endpoint: table.endpoint, replicas },
    { env, exposures },
  );
  await reader.ready();
  const said = jest.spyOn(console, 'error').mockImplementation(() => {});
  behind(() => said.mockRestore());
  expect(await reader.variation('checkout', alice, 'old')).toBe('new');
  expect(said).toHaveBeenCalledTimes(1);
});
