/** What the reader tells of its evaluations. Oracle: the events of LaunchDarkly's Node SDK for the same evaluations. */
import { createHash } from 'node:crypto';
import { parseLine } from '../../../lambda/edge-events/lines.ts';
import { createExposures, createReader, type ExposuresOptions } from '../../../lambda/edge-reader/index.ts';
import { everyNth } from '../../support/long.ts';
import { randomFrom } from '../../support/random.ts';
import {
  type Ask,
  behind,
  comparable,
  configOf,
  env,
  officialEvents,
  openReader,
  randomAsks,
  sharedTable,
  told,
} from './exposure-oracle.ts';
import { randomExposures } from './random-exposures.ts';
import { putMembership, putSynchronizedOn } from './table-writer.ts';

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
  const { reader, exposures, lines } = await openReader(data, settings, () => draws);
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
  const { reader, exposures, lines } = await openReader(data);
  for (const ask of asks) await ask(reader);
  exposures.flush();
  expect(comparable(told(lines))).toEqual(comparable(await officialEvents(data, asks, {})));
});

/** 150 flags, each of which needs the next one. */
const rowOfFlags = (...ofLast: readonly string[]) => {
  const flags = Array.from({ length: 150 }, (_, index) =>
    needing(`f${index}`, ...(index < 149 ? [`f${index + 1}`] : ofLast)),
  );
  return { flags: Object.fromEntries(flags.map((flag) => [flag.key, flag])), segments: {}, contexts: [] };
};

test('tells of 150 flags that need each other in a row what the Node SDK tells @heavy', async () => {
  const data = rowOfFlags();
  const asks: Ask[] = ['f0', 'f60', 'f145'].map((key) => (from) => from.variation(key, alice, 'other'));
  const { reader, exposures, lines } = await openReader(data);
  for (const ask of asks) await ask(reader);
  exposures.flush();
  expect(comparable(told(lines))).toEqual(comparable(await officialEvents(data, asks, {})));
});

test('what flags need in a circle at a great depth is lost, since it is not known', async () => {
  const { reader, exposures, lines } = await openReader(rowOfFlags('f140'));
  await reader.variation('f0', alice, 'other');
  exposures.flush();
  expect(countsOf(lines)).toEqual(['f0 undefined 1']);
  expect(JSON.parse(lines[0] ?? '').lost).toEqual({ evaluations: 1, events: 0 });
});

/** Whose plan is another one whenever it is looked at; it may not be had at all. */
const fickle = (...plans: readonly (string | Error)[]) => {
  const left = [...plans];
  return {
    ...{ kind: 'user', key: 'alice' },
    get plan() {
      const plan = left.shift();
      if (plan instanceof Error) throw plan;
      return plan;
    },
  };
};
const gold = [{ id: 'r', variation: 1, clauses: [{ attribute: 'plan', op: 'in', values: ['gold'] }] }];
const countsOf = (lines: readonly string[]) =>
  told(lines).flatMap(({ features }) =>
    Object.entries(Object(features) as Record<string, { counters: { variation?: number; count: number }[] }>).flatMap(
      ([key, { counters }]) => counters.map(({ variation, count }) => `${key} ${variation} ${count}`),
    ),
  );

test('what was evaluated counts as it came out, and is not evaluated once more to be counted', async () => {
  const flags = {
    f: { ...needing('f', 'g'), trackEvents: false },
    g: { ...needing('g', 'h'), trackEvents: false, rules: gold },
    h: { ...needing('h'), trackEvents: false, rules: gold },
  };
  const { reader, exposures, lines } = await openReader({ flags, segments: {} }, { indexEvents: false });
  // h, then g.
  const context = fickle('silver', 'silver', 'gold', 'gold');
  expect(await reader.variationDetail('f', context, 'other')).toMatchObject({ value: 'a' });
  exposures.flush();
  expect(countsOf(lines).sort()).toEqual(['f 0 1', 'g 0 1', 'h 0 1']);
  expect(context.plan).toBe('gold');
});

test('prerequisites in which the evaluation broke off are not known, and lost', async () => {
  const flags = {
    f: { ...needing('f', 'g'), trackEvents: false },
    g: { ...needing('g', 'h'), trackEvents: false, rules: gold },
    h: { ...needing('h'), trackEvents: false },
  };
  const { reader, exposures, lines } = await openReader({ flags, segments: {} }, { indexEvents: false });
  const context = fickle(new Error('no time'), 'silver', 'silver');
  expect(await reader.variationDetail('f', context, 'other')).toMatchObject({
    value: 'other',
    reason: { errorKind: 'EXCEPTION' },
  });
  exposures.flush();
  expect(countsOf(lines).sort()).toEqual(['f undefined 1']);
  expect(lines.map((line) => JSON.parse(line).lost)).toEqual([{ evaluations: 1, events: 0 }]);
});

test('only the flag that was asked for tells the status of Big Segments, as in the Node SDK', async () => {
  const member = [{ id: 'r', variation: 1, clauses: [{ attribute: '', op: 'segmentMatch', values: ['big'] }] }];
  const flags = { f: { ...needing('f', 'g'), rules: member }, g: { ...needing('g'), rules: member } };
  const segments = {
    big: { key: 'big', version: 1, unbounded: true, generation: 1, included: [], excluded: [], rules: [], salt: '' },
  };
  const data = { flags, segments, contexts: [] };
  const asks: Ask[] = ['f', 'g'].map((key) => (from) => from.variationDetail(key, alice, 'other'));
  const theirs = await officialEvents(data, asks, {
    bigSegments: {
      store: () => ({
        getMetadata: async () => ({ lastUpToDate: Date.now() }),
        getUserMembership: async () => ({ 'big.g1': true }),
        close() {},
      }),
    },
  });
  const config = { ...(await configOf(data)), bigSegments: true };
  const hashed = createHash('sha256').update('alice').digest('base64');
  await putMembership(await sharedTable(), config.prefix, hashed, { included: ['big.g1'] });
  await putSynchronizedOn(await sharedTable(), config.prefix, Date.now());
  const lines: string[] = [];
  const exposures = createExposures({}, { write: (line) => lines.push(line) });
  const reader = createReader(config, { env, exposures });
  await reader.ready();
  for (const ask of asks) await ask(reader);
  exposures.flush();
  expect(JSON.stringify(theirs)).toContain('"bigSegmentsStatus":"HEALTHY"');
  expect(comparable(told(lines))).toEqual(comparable(theirs));
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
  const { reader, lines, sleep } = await openReader(one(), { everyMs: 10_000 });
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

test('a context is described again after five minutes, or when a thousand others came since @heavy', async () => {
  const { reader, exposures, lines, sleep } = await openReader(one());
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
  const { reader, lines } = await openReader(one({ ...checkout, trackEvents: true }), { indexEvents: false });
  await reader.variation('checkout', alice, 'old');
  expect(told(lines).map(({ kind }) => kind)).toEqual(['feature', 'summary']);
});

test('a full line is written at once, so that none exceeds what a log takes, and nothing is lost @heavy', async () => {
  const { reader, exposures, lines } = await openReader(one({ ...checkout, trackEvents: true }));
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
  const { reader, exposures, lines } = await openReader(one({ ...checkout, variations: ['old', 'x'.repeat(200_000)] }));
  await reader.variation('checkout', alice, 'old');
  await reader.variation('checkout', { ...alice, key: 'bob', about: 'x'.repeat(200_000) }, 'old');
  exposures.flush();
  const all = lines.map((line) => JSON.parse(line));
  expect(all.map(({ lost }) => lost)).toEqual([
    { evaluations: 1, events: 0 },
    { evaluations: 1, events: 1 },
  ]);
});

const keyed = (text: string) => ({ toString: () => text });

test('what JavaScript passes as a key counts under its text, as in the Node SDK', async () => {
  const data = { ...one(), contexts: [] };
  const keys: unknown[] = ['checkout', 5, true, 1n, {}, keyed('c'), 'a"b\n\u2028', '\ud800'];
  const asks = keys.map(
    (key): Ask =>
      (from) =>
        from.variation(key as string, alice, 'old'),
  );
  const { reader, exposures, lines } = await openReader(data);
  for (const ask of asks) await ask(reader);
  exposures.flush();
  expect(comparable(told(lines))).toEqual(comparable(await officialEvents(data, asks, {})));
});

test('nothing that a caller passes spoils a line for the others, and what the collector would refuse is lost', async () => {
  const thrown = () => {
    throw new Error('mine');
  };
  const circular: Record<string, unknown> = {};
  circular.self = circular;
  const noFlags = ['', 'é'.repeat(513), Symbol('x'), Object.create(null), { toString: thrown }];
  const fallbacks = [Symbol('x'), 1n, circular, thrown, { toJSON: thrown }, '\u2028\u2029\r\n\0\ud800', Number.NaN];
  const { reader, exposures, lines } = await openReader(one());
  for (const key of noFlags) await reader.variation(key as string, alice, 'old');
  for (const key of [undefined, null]) await reader.variation(key as never, alice, 'old');
  for (const [index, fallback] of fallbacks.entries()) await reader.variation(`gone-${index}`, alice, fallback);
  await reader.variation('checkout', { ...alice, about: '\u2028"\\' }, 'old');
  exposures.flush();
  const parsed = lines.map(parseLine);
  expect(parsed.flatMap(({ problems }) => problems)).toEqual([]);
  expect(parsed.reduce((sum, { lost }) => sum + lost, 0)).toBe(noFlags.length);
  const { counts } = comparable(parsed.flatMap(({ events }) => events) as never);
  expect(Object.keys(counts)).toHaveLength(fallbacks.length + 1);
});

test('an answer does not depend on whether its events can be made', async () => {
  const { reader, exposures, lines } = await openReader(one({ ...checkout, trackEvents: true }));
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
  const write = () => {
    throw new Error('EPIPE');
  };
  const exposures = createExposures({}, { write });
  const reader = createReader(await configOf(one()), { env, exposures });
  await reader.ready();
  const said = jest.spyOn(console, 'error').mockImplementation(() => {});
  behind(() => said.mockRestore());
  expect(await reader.variation('checkout', alice, 'old')).toBe('new');
  expect(said).toHaveBeenCalledTimes(1);
});

test.each([
  [{ privateAttribute: ['email'] }, 'privateAttribute is not an option'],
  [
    { privateAttributes: ['//email'] },
    'privateAttributes=["//email"] is invalid: expected a list of attribute references',
  ],
  ...['key', '/key', 'kind', 'anonymous', '/anonymous', '_meta', '/_meta/privateAttributes', '/key/first', '', '/'].map(
    (name): [object, string] => [
      { privateAttributes: ['email', name] },
      `privateAttributes=["email","${name}"] is invalid: expected a list of attribute references, such as email or /address/street (key, kind, anonymous and _meta are always sent)`,
    ],
  ),
  [{ privateAttributes: 'email' }, 'privateAttributes="email" is invalid'],
  [
    { everyms: 1 },
    'edge reader: exposures: everyms is not an option: expected everyMs, indexEvents, privateAttributes, allAttributesPrivate',
  ],
  [{ everyMs: 'x', indexEvents: 1 }, 'everyMs="x" is invalid: expected a number of ms; indexEvents=1 is invalid'],
])('options %j are refused, since private attributes might be sent', (options, message) => {
  expect(() => createExposures(options as object)).toThrow(message);
});

test('a reader whose exposures are none is refused, since nothing would be counted', async () => {
  const config = await configOf(one());
  for (const exposures of [createExposures, {}])
    expect(() => createReader(config, { env, exposures } as object)).toThrow(
      'edge reader: exposures lacks evaluated: expected createExposures()',
    );
});

test('options beside them are refused if they are misspelt', () => {
  expect(() => createExposures({}, { writeLine: () => {} } as object)).toThrow('writeLine is not an option');
});
