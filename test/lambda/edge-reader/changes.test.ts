/** Which flags a reader says have changed. Oracle: the `update` events of LaunchDarkly's Node SDK for the same sets. */
import { init, type LDClient } from '@launchdarkly/node-server-sdk';
import { createReader, type Logger, type ReaderOptions } from '../../../lambda/edge-reader/index.ts';
import type { Item } from '../../../lib/flag-table/index.ts';
import { startTable, type TestTable } from '../../support/dynalite.ts';
import { eventually } from '../../support/eventually.ts';
import { silentLog } from '../../support/logs.ts';
import { closeAfterEach } from '../../support/opened.ts';
import { type Random, RandomChoices, randomFrom } from '../../support/random.ts';
import { type Replica, startReplica } from './replica.ts';
import { item, putDelta, putOfficial, putSnapshot } from './table-writer.ts';

const { behind } = closeAfterEach();
const ROUNDS = process.env.LONG ? 400 : 40;
const env = { AWS_REGION: 'eu-west-1', AWS_ACCESS_KEY_ID: 'test', AWS_SECRET_ACCESS_KEY: 'test' };
const alice = { kind: 'user', key: 'alice' };

let table: TestTable;
let replica: Replica;
let skew: number;
let prefix: string;
let prefixes = 0;

beforeAll(async () => {
  table = await startTable();
});
beforeEach(async () => {
  prefix = `p${++prefixes}`;
  skew = 0;
  replica = await startReplica(table.endpoint);
});
afterEach(() => replica.close());
afterAll(() => table.close());

function start(more: ReaderOptions = {}) {
  const { tableName } = table;
  const where = { tableName, prefix, endpoint: replica.endpoint, replicas: { default: ['eu-west-1'] } };
  const around = { env, now: () => Date.now() + skew, random: () => 0.5 };
  const told: string[][] = [];
  const onChange = (flagKeys: readonly string[]) => void told.push([...flagKeys].sort());
  const reader = createReader(
    { ...where, coldDeadlineMs: 60_000, maxWaitMs: 60_000, bigSegments: false },
    { ...around, onChange, ...more },
  );
  return { reader, told };
}

/** What a data source of the SDK is given; its package does not export the type. */
interface Updates {
  init(all: unknown, done: () => void): void;
  upsert(kind: unknown, data: unknown, done: () => void): void;
}

/** The official SDK, given these sets in memory, and the keys that it says have changed since the last call. */
async function startOracle() {
  let updates: Updates | undefined;
  const client: LDClient = init('sdk-test', {
    ...{ sendEvents: false, diagnosticOptOut: true, logger: silentLog },
    updateProcessor: (_: unknown, into: Updates, ready: () => void) => {
      updates = into;
      return { start: ready, stop() {}, close() {} };
    },
  } as unknown as Parameters<typeof init>[1]);
  behind(() => client.close());
  await client.waitForInitialization({ timeout: 60 });
  let heard = new Set<string>();
  client.on('update', ({ key }: { key: string }) => void heard.add(key));
  const since = async () => {
    await new Promise((resolve) => setImmediate(resolve));
    const keys = [...heard].sort();
    heard = new Set();
    return keys;
  };
  const data = ({ json }: Item) => JSON.parse(json);
  return {
    async all(items: Iterable<Item>) {
      const set: Record<string, Record<string, unknown>> = { features: {}, segments: {} };
      // In a whole set, the SDK takes every tombstone for a change.
      for (const one of items) if (!one.deleted) set[one.kind]![one.key] = data(one);
      await new Promise<void>((resolve) => updates!.init(set, resolve));
      return since();
    },
    async some(items: Iterable<Item>) {
      for (const one of items) {
        const kind = { namespace: one.kind };
        await new Promise<void>((resolve) => updates!.upsert(kind, data(one), resolve));
      }
      return since();
    },
  };
}

/** Flags and segments that use others, and change. */
class Environment extends RandomChoices {
  readonly items = new Map<string, Item>();
  private version = 0;

  constructor(random: Random) {
    super(random);
    // So many that the snapshot has several blocks, most of which do not change.
    for (let i = 0; i < 250; i += 1) {
      const text = Array.from({ length: 60 }, () => random().toString(36)).join();
      this.items.set(`features/other${i}`, item('features', { key: `other${i}`, version: 1, variations: [text] }));
    }
    for (let i = 0; i < 12; i += 1) this.change('features', i);
    for (let i = 0; i < 6; i += 1) this.change('segments', i);
  }

  change(kind: 'features' | 'segments', index: number): Item {
    const key = `${kind === 'features' ? 'f' : 's'}${index}`;
    const version = ++this.version;
    const clauses = this.some(0.5, 2, () => ({ op: 'segmentMatch', values: [`s${this.whole(0, 6)}`] }));
    const one = this.chance(0.15)
      ? item(kind, { key, version, deleted: true })
      : item(kind, {
          ...{ key, version, on: true, salt: key, variations: [1, 2], fallthrough: { variation: 0 }, included: ['a'] },
          prerequisites: this.some(0.4, 2, () => ({ key: `f${this.whole(0, 12)}`, variation: 0 })),
          rules: clauses.length > 0 ? [{ variation: 1, clauses }] : [],
        });
    this.items.set(`${kind}/${key}`, one);
    return one;
  }

  /** Returns the items that are other ones now. */
  changeSome(): Item[] {
    const changed = this.times(this.whole(1, 4), () =>
      this.chance(0.6) ? this.change('features', this.whole(0, 14)) : this.change('segments', this.whole(0, 7)),
    );
    return changed.filter((one) => this.items.get(`${one.kind}/${one.key}`) === one);
  }
}

test("the keys are those of the SDK's update events, with deltas and new bodies @heavy", async () => {
  const random = randomFrom(process.env.SEED ?? 'changes');
  const environment = new Environment(random);
  const oracle = await startOracle();
  let base = { epoch: 1, seq: 1 };
  await putSnapshot(table, prefix, environment.items.values(), base);
  await oracle.all(environment.items.values());
  const { reader, told } = start();
  await reader.ready();
  expect(told).toEqual([]);
  const sinceBase = new Map<string, Item>();
  for (let round = 0; round < ROUNDS; round += 1) {
    const changed = environment.changeSome();
    for (const one of changed) sinceBase.set(`${one.kind}/${one.key}`, one);
    const rev = { epoch: 1, seq: round + 2 };
    const isDelta = random() < 0.7;
    if (isDelta) await putDelta(table, prefix, sinceBase.values(), rev, base);
    else {
      await putSnapshot(table, prefix, environment.items.values(), rev);
      base = rev;
      sinceBase.clear();
    }
    const expected = isDelta ? await oracle.some(changed) : await oracle.all(environment.items.values());
    skew += 20_000;
    await reader.ready();
    expect([round, told.splice(0)]).toEqual([round, expected.length > 0 ? [expected] : []]);
  }
});

test('content that changed under the same version is a change, too; what stayed the same is none @heavy', async () => {
  const flag = (value: string) => item('features', { key: 'a', version: 1, on: true, variations: [value] });
  await putSnapshot(table, prefix, [flag('x')], { epoch: 1, seq: 1 });
  const { reader, told } = start();
  await reader.ready();
  for (const [seq, value] of ['x', 'y', 'y'].entries()) {
    await putSnapshot(table, prefix, [flag(value)], { epoch: 1, seq: seq + 2 });
    skew += 20_000;
    await reader.ready();
  }
  expect(told).toEqual([['a']]);
});

test("in LaunchDarkly's own layout, flags in use are compared, and with the snapshot that replaces it by their versions @heavy", async () => {
  const flag = (key: string, version: number, more = {}) =>
    item('features', { key, version, on: true, variations: [version], fallthrough: { variation: 0 }, ...more });
  const needs = (key: string) => ({ prerequisites: [{ key, variation: 0 }] });
  await putOfficial(table, prefix, [flag('a', 1, needs('b')), flag('b', 1), flag('unused', 1)]);
  const { reader, told } = start();
  expect(await reader.variation('a', alice, 0)).toBe(1);
  skew += 20_000;
  expect(await reader.variation('a', alice, 0)).toBe(1);
  expect(told).toEqual([]);
  await putOfficial(table, prefix, [flag('b', 2), flag('unused', 2)]);
  skew += 20_000;
  await reader.ready();
  expect(told.splice(0)).toEqual([['a', 'b']]);
  await putSnapshot(table, prefix, [flag('a', 2), flag('b', 2), flag('unused', 2)], { epoch: 1, seq: 1 });
  skew += 120_000;
  await reader.ready();
  expect(told).toEqual([['a']]);
});

test('what hooks throw, and changes of state, go to the logger', async () => {
  const lines: unknown[][] = [];
  const write =
    (level: string) =>
    (...args: unknown[]) =>
      void lines.push([level, ...args]);
  const logger: Logger = { error: write('error'), warn: write('warn'), info: write('info'), debug: write('debug') };
  const thrown = new Error('mine');
  const fail = () => {
    throw thrown;
  };
  await putSnapshot(table, prefix, [item('features', { key: 'a', variations: [1] })], { epoch: 1, seq: 1 });
  const { reader } = start({ logger, onChange: fail, onDecision: fail });
  await reader.variation('a', alice, 0);
  expect(lines.splice(0)).toEqual([['error', 'edge reader: onDecision threw', thrown]]);
  replica.behave('denied');
  skew += 120_000;
  await reader.variation('a', alice, 0);
  expect(lines.splice(0)).toEqual([
    ['error', 'edge reader: onDecision threw', thrown],
    ['warn', expect.stringMatching(/^edge reader: Flags are out of date; .*: stale \(12\d s\): not read$/)],
  ]);
  replica.behave('pass');
  await putSnapshot(table, prefix, [item('features', { key: 'a', version: 2, variations: [1] })], { epoch: 1, seq: 2 });
  skew += 20_000;
  await eventually(async () => {
    await reader.variation('a', alice, 0);
    expect(lines).toContainEqual(['info', 'edge reader: Flags are current again']);
  });
  expect(lines).toContainEqual(['error', 'edge reader: onChange threw', thrown]);
});

test('a logger that lacks a level is refused', () => {
  expect(() => start({ logger: { warn() {}, error() {} } as unknown as Logger })).toThrow(
    'edge reader: logger lacks info, debug',
  );
});

test('what a logger throws, or a hook rejects with, harms no answer', async () => {
  const said = jest.spyOn(console, 'error').mockImplementation(() => {});
  const [thrown, rejected] = [new Error('mine'), new Error('rejected')];
  const fail = () => {
    throw thrown;
  };
  const logger: Logger = { error: fail, warn: fail, info: fail, debug: fail };
  await putSnapshot(table, prefix, [item('features', { key: 'a', variations: [1] })], { epoch: 1, seq: 1 });
  const { reader } = start({ logger, onDecision: async () => Promise.reject(rejected) });
  try {
    const { value } = await reader.variationDetail('a', alice, 0);
    expect(value).not.toBeUndefined();
    replica.behave('denied');
    skew += 120_000;
    await reader.variation('a', alice, 0);
    await eventually(() => {
      expect(said).toHaveBeenCalledWith('edge reader: onDecision threw, and so did the logger', rejected);
      expect(said).toHaveBeenCalledWith('edge reader: logger threw', thrown);
    });
  } finally {
    said.mockRestore();
  }
});
