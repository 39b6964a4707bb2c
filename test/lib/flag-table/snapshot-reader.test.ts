import fc from 'fast-check';
import {
  type Attributes,
  atBase,
  compareRev,
  createSnapshotReader,
  encodeBody,
  encodeDelta,
  encodeHead,
  type Item,
  type Key,
  type Reading,
  type Rev,
  SNAPSHOT_FORMAT,
  type Snapshot,
} from '../../../lib/flag-table/index.ts';
import { createRandom, generateEnvironment, type Random } from './generate.ts';
import { createModel, findMixture, type Model, type Operation } from './model.ts';
import { runs } from './properties.ts';
import { queryOver } from './query.ts';

if (process.env.LONG === '1') jest.setTimeout(300_000);

const edit = fc.record({
  slot: fc.nat(17),
  what: fc.constantFrom('set', 'set', 'set', 'delete', 'revert', 'vanish'),
  // Random hex hardly compresses, so bodies need several parts.
  text: fc.string({ unit: fc.constantFrom(...'0123456789abcdef'), minLength: 0, maxLength: 400 }),
});
const edits = fc.array(edit, { minLength: 1, maxLength: 6 });
const crashAfter = fc.option(fc.nat(8), { nil: undefined, freq: 4 });
const operation: fc.Arbitrary<Operation> = fc.oneof(
  { weight: 6, arbitrary: fc.record({ type: fc.constant('change' as const), edits, crashAfter }) },
  { weight: 3, arbitrary: fc.record({ type: fc.constant('body' as const), edits, crashAfter }) },
  { weight: 2, arbitrary: fc.record({ type: fc.constant('rewrite' as const), crashAfter }) },
  { weight: 1, arbitrary: fc.record({ type: fc.constant('takeover' as const) }) },
  { weight: 1, arbitrary: fc.record({ type: fc.constant('zombie' as const) }) },
  { weight: 1, arbitrary: fc.record({ type: fc.constant('renew' as const) }) },
) as fc.Arbitrary<Operation>;
const operations = fc.array(operation, { minLength: 1, maxLength: 14 });

/** A replica that answers each read with any version of each item that was ever written, or with none. */
function createReplica(model: Model, random: Random, spoil?: (attributes: Attributes, key: string) => Attributes) {
  const versions = new Map<string, Attributes[]>();
  for (const { key, attributes } of model.log) versions.set(key, [...(versions.get(key) ?? []), attributes]);
  /** Mostly the newest, since random choices would hardly ever give a head, a body and parts that match. */
  const choose = (all: readonly Attributes[]) => {
    const luck = random();
    if (luck < 0.6) return all.at(-1);
    if (luck < 0.65) return undefined;
    return all[Math.floor(random() * all.length)];
  };
  return async (wanted: readonly Key[]) => {
    expect(wanted.length).toBeLessThanOrEqual(100);
    return wanted.map(({ key }) => {
      const attributes = choose(versions.get(key) ?? []);
      return attributes && spoil ? spoil(attributes, key) : attributes;
    });
  };
}

/** The writer's own region: the newest version of every item. */
function createOrigin(model: Model) {
  return async (wanted: readonly Key[]) =>
    wanted.map(({ key }) => model.log.findLast((write) => write.key === key)?.attributes);
}

/** Some readers may query, some may not. */
function readerOf(get: ReturnType<typeof createReplica>, random: Random) {
  return createSnapshotReader({ prefix: 'env', get, ...(random() < 0.5 && { query: queryOver(get) }) });
}

async function runAll(all: readonly Operation[]): Promise<Model> {
  const model = createModel('env');
  for (const one of all) await model.run(one);
  return model;
}

const tally = () => ({ newest: 0, older: 0, behind: 0, unchanged: 0, refused: 0, absent: 0 });

function count(outcomes: ReturnType<typeof tally>, reading: Reading, newest: Rev | undefined): void {
  if (reading.kind !== 'snapshot') outcomes[reading.kind] += 1;
  else {
    outcomes[compareRev(reading.snapshot.rev, newest) < 0 ? 'older' : 'newest'] += 1;
    if (reading.behind) outcomes.behind += 1;
  }
}

describe('a snapshot read from a replica', () => {
  it('is exactly one published revision, or refused, whatever mix of versions the replica has @heavy', async () => {
    const outcomes = tally();
    await fc.assert(
      fc.asyncProperty(operations, fc.integer(), async (all, seed) => {
        const model = await runAll(all);
        const random = createRandom(seed);
        const reader = readerOf(createReplica(model, random), random);
        for (let i = 0; i < 10; i++) {
          const reading = await reader.cold();
          count(outcomes, reading, model.newest());
          if (reading.kind === 'snapshot') expect(findMixture(model.published, reading.snapshot)).toBeUndefined();
        }
      }),
      runs(50, 5000),
    );
    for (const outcome of ['newest', 'older', 'behind', 'refused', 'absent'] as const) {
      expect(outcomes[outcome]).toBeGreaterThan(10);
    }
  });

  it('never goes back to an older revision on refresh, across deltas, bodies, banks and takeovers @heavy', async () => {
    const outcomes = tally();
    await fc.assert(
      fc.asyncProperty(operations, fc.integer(), async (all, seed) => {
        const random = createRandom(seed);
        const model = createModel('env');
        const seen: { snapshot: Snapshot; items: readonly Item[] }[] = [];
        let held: Snapshot | undefined;
        for (const one of all) {
          await model.run(one);
          for (let i = 0; i < 3; i++) {
            const reader = readerOf(createReplica(model, random), random);
            const reading = held ? await reader.refresh(held) : await reader.cold();
            count(outcomes, reading, model.newest());
            if (reading.kind !== 'snapshot') continue;
            expect(findMixture(model.published, reading.snapshot)).toBeUndefined();
            if (held) expect(compareRev(reading.snapshot.rev, held.rev)).toBeGreaterThanOrEqual(reading.behind ? 0 : 1);
            held = reading.snapshot;
            seen.push({ snapshot: held, items: [...held.items()] });
          }
        }
        // A snapshot is immutable: later reads did not change earlier ones.
        for (const { snapshot, items } of seen) expect(new Set(snapshot.items())).toEqual(new Set(items));
      }),
      runs(75, 4000),
    );
    for (const outcome of ['newest', 'older', 'behind', 'unchanged', 'refused'] as const) {
      expect(outcomes[outcome]).toBeGreaterThan(10);
    }
  });

  it('is the newest revision once every item has been replicated, cold and after a refresh from any revision @heavy', async () => {
    await fc.assert(
      fc.asyncProperty(operations, fc.integer(), async (all, seed) => {
        const random = createRandom(seed);
        const model = createModel('env');
        let held: Snapshot | undefined;
        // A complete publication at the end: earlier crashes and overtaken writers must not hide it.
        const last: Operation = {
          type: 'body',
          edits: [{ slot: 0, what: 'set', text: 'last' }],
          crashAfter: undefined,
        };
        for (const one of [...all, last]) {
          await model.run(one);
          if (random() < 0.5) continue;
          const reader = readerOf(createReplica(model, random), random);
          const reading = held ? await reader.refresh(held) : await reader.cold();
          if (reading.kind === 'snapshot') held = reading.snapshot;
        }
        const reader = readerOf(createOrigin(model), random);
        const reading = await reader.cold();
        expect(reading).toMatchObject({ kind: 'snapshot', behind: false, snapshot: { rev: model.newest() } });
        if (!held) return;
        const refreshed = await reader.refresh(held);
        if (refreshed.kind === 'unchanged') expect(held.rev).toEqual(model.newest());
        else expect(refreshed).toMatchObject({ kind: 'snapshot', behind: false, snapshot: { rev: model.newest() } });
      }),
      runs(40, 4000),
    );
  });

  it('stays readable after every single write once a publication was complete, so that a crash anywhere loses nothing @heavy', async () => {
    await fc.assert(
      fc.asyncProperty(operations, async (all) => {
        const model = await runAll(all);
        const table = new Map<string, Attributes>();
        const reader = createSnapshotReader({
          prefix: 'env',
          get: async (keys) => keys.map(({ key }) => table.get(key)),
        });
        let last: Rev | undefined;
        for (const { key, attributes } of model.log) {
          table.set(key, attributes);
          const reading = await reader.cold();
          if (reading.kind === 'absent') expect(last).toBeUndefined();
          else if (reading.kind === 'snapshot') {
            expect(findMixture(model.published, reading.snapshot)).toBeUndefined();
            if (!model.overtaken) expect(compareRev(reading.snapshot.rev, last)).toBeGreaterThanOrEqual(0);
            last = reading.snapshot.rev;
          } else if (!model.overtaken) expect(reading).toMatchObject({ kind: 'snapshot' });
        }
      }),
      runs(40, 4000),
    );
  });

  it('is complete or refused when attributes are corrupted, truncated, swapped between versions, retyped or lost @heavy', async () => {
    const outcomes = tally();
    await fc.assert(
      fc.asyncProperty(operations, fc.integer(), async (all, seed) => {
        const model = await runAll(all);
        const random = createRandom(seed);
        let held: Snapshot | undefined;
        for (let i = 0; i < 12; i++) {
          const spoilt = random() < 0.7 ? spoiler(model, random) : undefined;
          const reader = readerOf(createReplica(model, random, spoilt), random);
          const reading = held && random() < 0.6 ? await reader.refresh(held) : await reader.cold();
          count(outcomes, reading, model.newest());
          if (reading.kind !== 'snapshot') continue;
          expect(findMixture(model.published, reading.snapshot)).toBeUndefined();
          expect(reading.snapshot.problem).toBeUndefined();
          held = reading.snapshot;
        }
      }),
      runs(60, 8000),
    );
    expect(outcomes.refused).toBeGreaterThan(100);
    expect(outcomes.newest).toBeGreaterThan(100);
  });
});

/** Damages one attribute of an item. Uses bytes and base64, since readers get both. */
function spoiler(model: Model, random: Random) {
  const target = ['head', 'body', 'delta', 'part'][Math.floor(random() * 4)]!;
  return (attributes: Attributes, key: string): Attributes => {
    const wire = toWire(attributes);
    if (!key.startsWith(target)) return random() < 0.5 ? wire : attributes;
    const names = Object.keys(attributes).filter((name) => name !== 'namespace' && name !== 'key');
    const name = names[Math.floor(random() * names.length)]!;
    const { [name]: value, ...others } = attributes;
    const bytes = value && 'B' in value ? Buffer.from(value.B as Uint8Array) : undefined;
    const at = Math.floor(random() * (bytes?.length ?? 0));
    const other = model.log[Math.floor(random() * model.log.length)]!.attributes[name] ?? { S: 'x' };
    switch (Math.floor(random() * 7)) {
      case 0:
        return others;
      case 1:
        return { ...attributes, [name]: other };
      case 2:
        if (!bytes || bytes.length === 0) return { ...attributes, [name]: { S: '' } };
        bytes[at]! ^= 1 << Math.floor(random() * 8);
        return { ...attributes, [name]: { B: bytes } };
      case 3:
        return { ...attributes, [name]: bytes ? { B: bytes.toString('base64').slice(0, at) } : { N: '99' } };
      case 4:
        return {
          ...attributes,
          [name]: [{ BOOL: true }, { N: '1e999' }, { M: {} }, { B: '%%%' }, { N: '-1' }][at % 5]!,
        };
      case 5:
        return { ...attributes, [name]: null as unknown as { S: string } };
      default:
        return bytes
          ? { ...attributes, [name]: { B: bytes.subarray(at) } }
          : { ...attributes, [name]: { S: 'nonsense' } };
    }
  };
}

/** The form of DynamoDB's JSON protocol: bytes are base64. */
function toWire(attributes: Attributes): Attributes {
  return Object.fromEntries(
    Object.entries(attributes).map(([name, value]) => [
      name,
      'B' in value ? { B: Buffer.from(value.B as Uint8Array).toString('base64') } : value,
    ]),
  );
}

/** Every item that a snapshot keeps from being collected. */
function itemsReachableFrom(snapshot: Snapshot): Set<object> {
  const seen = new Set<object>();
  const items = new Set<object>();
  const visit = (value: unknown): void => {
    if (typeof value !== 'object' || value === null || seen.has(value) || ArrayBuffer.isView(value)) return;
    seen.add(value);
    if ('json' in value) items.add(value);
    else for (const one of value instanceof Map ? value.values() : Object.values(value)) visit(one);
  };
  visit(snapshot);
  return items;
}

describe('a snapshot reader', () => {
  const revAt = (seq: number): Rev => ({ epoch: 1_760_000_000_000, seq });
  const flag = (key: string, version: number): Item => ({
    kind: 'features',
    key,
    version,
    deleted: false,
    json: JSON.stringify({ key, version, on: true }),
  });
  const many = generateEnvironment(300, 7);

  function createTable(prefix = '') {
    const table = new Map<string, Attributes>();
    const asked: string[][] = [];
    const put = (...all: Attributes[]) => {
      for (const one of all) table.set((one.key as { S: string }).S, one);
    };
    const putHead = (rev?: Rev, base?: Rev, format = SNAPSHOT_FORMAT) =>
      put(
        encodeHead(prefix, {
          format,
          owner: 'a',
          epoch: 1,
          beat: 1,
          checkedAt: 5,
          ...(rev && { rev }),
          ...(base && { base }),
        }),
      );
    const get = async (keys: readonly Key[]) => {
      asked.push(keys.map(({ key }) => key));
      return keys.map(({ key }) => table.get(key));
    };
    const reader = createSnapshotReader({ prefix, get, query: queryOver(get) });
    return { table, asked, put, putHead, reader, withoutQuery: createSnapshotReader({ prefix, get }) };
  }

  async function snapshotOf(reading: Promise<Reading>): Promise<Snapshot> {
    const done = await reading;
    if (done.kind !== 'snapshot') throw new Error(`no snapshot: ${JSON.stringify(done)}`);
    return done.snapshot;
  }

  const flagOf = ({ kind, key }: Item, version: number): Item => ({
    ...{ kind, key, version, deleted: false },
    json: JSON.stringify({ key, version, on: true }),
  });
  const sorted = (items: Iterable<Item>) => [...items].map((one) => JSON.stringify(one)).sort();

  /** Returns a string because jest would take minutes to print two snapshots that differ. */
  async function keeps(reading: Promise<Reading>, held: Snapshot): Promise<string> {
    const done = await reading;
    if (done.kind !== 'snapshot') return done.kind;
    return `${done.snapshot === held ? 'the same' : 'another'}, ${done.behind ? 'behind' : 'not behind'}`;
  }

  it('reads head, body and delta in one request when cold', async () => {
    const { reader, put, putHead, asked } = createTable();
    put((await encodeBody({ prefix: '', items: many, rev: revAt(1), bank: 0 })).body);
    putHead(revAt(1), revAt(1));
    expect(await reader.cold()).toMatchObject({
      kind: 'snapshot',
      behind: false,
      snapshot: { rev: revAt(1), bank: 0 },
    });
    expect(asked).toEqual([['head', 'delta', 'body']]);
  });

  it('answers absent without a head, and with a head without a publication', async () => {
    const { reader, put, putHead } = createTable();
    expect(await reader.cold()).toEqual({ kind: 'absent' });
    put((await encodeBody({ prefix: '', items: many, rev: revAt(1), bank: 0 })).body);
    expect(await reader.cold()).toEqual({ kind: 'absent' });
    putHead();
    expect(await reader.cold()).toEqual({ kind: 'absent' });
  });

  it.each([
    [
      'one query',
      true,
      [
        ['delta', 'head'],
        ['delta', 'head'],
      ],
    ],
    ['two reads, where it may not query,', false, [['head'], ['head'], ['delta']]],
  ])(
    'refreshes with one small read while nothing is new, and with %s for a small delta',
    async (_, mayQuery, reads) => {
      const { put, putHead, asked, withoutQuery, reader: one } = createTable('p');
      const reader = mayQuery ? one : withoutQuery;
      put((await encodeBody({ prefix: 'p', items: [flag('a', 1), flag('b', 1)], rev: revAt(1), bank: 0 })).body);
      putHead(revAt(1), revAt(1));
      const first = await snapshotOf(reader.cold());
      expect(await reader.refresh(first)).toMatchObject({ kind: 'unchanged', head: { checkedAt: 5 } });
      put((await encodeDelta({ prefix: 'p', items: [flag('a', 2)], rev: revAt(2), base: revAt(1) }))!);
      putHead(revAt(2), revAt(1));
      const second = await snapshotOf(reader.refresh(first));
      expect(asked.slice(1)).toEqual(reads);
      expect(second.get('features', 'a')?.version).toBe(2);
      expect(second.get('features', 'b')).toBe(first.get('features', 'b'));
      expect(first.get('features', 'a')?.version).toBe(1);
    },
  );

  it('undoes changes that a later delta over the same base no longer contains', async () => {
    const { reader, put, putHead } = createTable();
    put((await encodeBody({ prefix: '', items: [flag('a', 5), flag('b', 1)], rev: revAt(1), bank: 0 })).body);
    put((await encodeDelta({ prefix: '', items: [flag('a', 6)], rev: revAt(2), base: revAt(1) }))!);
    putHead(revAt(2), revAt(1));
    const held = await snapshotOf(reader.cold());
    put((await encodeDelta({ prefix: '', items: [flag('b', 2)], rev: revAt(3), base: revAt(1) }))!);
    putHead(revAt(3), revAt(1));
    const next = await snapshotOf(reader.refresh(held));
    expect([next.get('features', 'a')?.version, next.get('features', 'b')?.version]).toEqual([5, 2]);
  });

  it('applies deltas over a body that repeats its own revision, without reading that body', async () => {
    const { reader, put, putHead, asked } = createTable();
    put((await encodeBody({ prefix: '', items: [flag('a', 1), flag('b', 1)], rev: revAt(1), bank: 0 })).body);
    put((await encodeDelta({ prefix: '', items: [flag('a', 2)], rev: revAt(2), base: revAt(1) }))!);
    putHead(revAt(2), revAt(1));
    const held = await snapshotOf(reader.cold());
    put((await encodeBody({ prefix: '', items: [flag('a', 2), flag('b', 1)], rev: revAt(2), bank: 1 })).body);
    put((await encodeDelta({ prefix: '', items: [flag('b', 2)], rev: revAt(3), base: revAt(2) }))!);
    putHead(revAt(3), revAt(2));
    const next = await snapshotOf(reader.refresh(held));
    expect(asked.slice(1)).toEqual([['delta', 'head']]);
    expect([...next.items()].map(({ key, version }) => `${key}${version}`).sort()).toEqual(['a2', 'b2']);
    expect(next).toMatchObject({ rev: revAt(3), base: revAt(2), bank: undefined });
    expect([...atBase(next).items()].map(({ key, version }) => `${key}${version}`).sort()).toEqual(['a2', 'b1']);
  });

  it('does not read a body while only the delta lags behind the head', async () => {
    const { reader, withoutQuery, put, putHead, asked } = createTable();
    put((await encodeBody({ prefix: '', items: many, rev: revAt(1), bank: 0 })).body);
    putHead(revAt(1), revAt(1));
    const held = await snapshotOf(reader.cold());
    putHead(revAt(2), revAt(1));
    expect(await keeps(reader.refresh(held), held)).toBe('the same, behind');
    expect(asked.slice(1)).toEqual([['delta', 'head']]);
    expect(await keeps(withoutQuery.refresh(held), held)).toBe('the same, behind');
    expect(asked.slice(2)).toEqual([['head'], ['delta']]);
  });

  it('takes a delta whose head has not arrived yet, and waits if it belongs to a body that has not', async () => {
    const { reader, put, putHead } = createTable();
    put((await encodeBody({ prefix: '', items: [flag('a', 1)], rev: revAt(1), bank: 0 })).body);
    putHead(revAt(1), revAt(1));
    const held = await snapshotOf(reader.cold());
    put((await encodeDelta({ prefix: '', items: [flag('a', 2)], rev: revAt(2), base: revAt(1) }))!);
    const next = await snapshotOf(reader.refresh(held));
    expect([next.rev, next.get('features', 'a')?.version]).toEqual([revAt(2), 2]);
    put((await encodeDelta({ prefix: '', items: [flag('a', 4)], rev: revAt(4), base: revAt(3) }))!);
    expect(await reader.refresh(next)).toMatchObject({ kind: 'unchanged' });
  });

  it('reads the head alone while the delta in the table is large, and then all that it needs in one more read @heavy', async () => {
    const { reader, put, putHead, asked } = createTable();
    const large = (seq: number, base: number) =>
      encodeDelta({ prefix: '', items: generateEnvironment(30, seq), rev: revAt(seq), base: revAt(base) });
    put((await encodeBody({ prefix: '', items: many, rev: revAt(1), bank: 0 })).body, (await large(2, 1))!);
    putHead(revAt(2), revAt(1));
    let held = await snapshotOf(reader.cold());
    const refresh = async () => {
      asked.length = 0;
      const reading = await reader.refresh(held);
      if (reading.kind === 'snapshot') held = reading.snapshot;
      return [reading.kind, held.rev.seq, ...asked];
    };
    expect(await refresh()).toEqual(['unchanged', 2, ['head']]);
    put((await large(3, 1))!);
    putHead(revAt(3), revAt(1));
    expect(await refresh()).toEqual(['snapshot', 3, ['head'], ['delta']]);
    // A body that it does not hold, and a large delta over it.
    put((await encodeBody({ prefix: '', items: many, rev: revAt(5), bank: 1 })).body, (await large(6, 5))!);
    putHead(revAt(6), revAt(5));
    expect(await refresh()).toEqual(['snapshot', 6, ['head'], ['delta', 'body']]);
    put((await encodeDelta({ prefix: '', items: [flag('a', 7)], rev: revAt(7), base: revAt(5) }))!);
    putHead(revAt(7), revAt(5));
    expect(await refresh()).toEqual(['snapshot', 7, ['head'], ['delta']]);
    expect(await refresh()).toEqual(['unchanged', 7, ['delta', 'head']]);
  });

  it('holds one version of each item of the body, and finds the body’s again when a change is taken back @heavy', async () => {
    const { reader, put, putHead } = createTable();
    const body = await encodeBody({ prefix: '', items: many, rev: revAt(1), bank: 0 });
    put(body.body);
    putHead(revAt(1), revAt(1));
    let held = await snapshotOf(reader.cold());
    const first = held;
    const inUse = [...held.items()];
    for (let seq = 2; seq < 12; seq += 1) {
      const changed = many.filter((_, index) => index % 10 === seq % 10).map((one) => flagOf(one, seq));
      put((await encodeDelta({ prefix: '', items: changed, rev: revAt(seq), base: revAt(1) }))!);
      putHead(revAt(seq), revAt(1));
      held = await snapshotOf(reader.refresh(held));
      expect(itemsReachableFrom(held).size).toBeLessThanOrEqual(many.length);
      const byKey = new Map(changed.map((one) => [one.kind + one.key, one]));
      expect(sorted(held.items())).toEqual(sorted(many.map((one) => byKey.get(one.kind + one.key) ?? one)));
    }
    // An earlier snapshot still has its content.
    expect(sorted(first.items())).toEqual(sorted(inUse));
  });

  it('holds one version of each item of the body after bodies that it did not have to read, and after one that it had to @heavy', async () => {
    const { reader, put, putHead } = createTable();
    put((await encodeBody({ prefix: '', items: many, rev: revAt(1), bank: 0 })).body);
    putHead(revAt(1), revAt(1));
    let held = await snapshotOf(reader.cold());
    let content = many;
    expect([...held.items()]).toHaveLength(many.length);
    for (let seq = 2; seq < 12; seq += 1) {
      const changed = content.filter((_, index) => index % 10 === seq % 10).map((one) => flagOf(one, seq));
      put((await encodeDelta({ prefix: '', items: changed, rev: revAt(seq), base: revAt(seq - 1) }))!);
      putHead(revAt(seq), revAt(seq - 1));
      held = await snapshotOf(reader.refresh(held));
      const byKey = new Map(changed.map((one) => [one.kind + one.key, one]));
      content = content.map((one) => byKey.get(one.kind + one.key) ?? one);
      expect(sorted(held.items())).toEqual(sorted(content));
      // The delta's items also as they were in its base.
      expect(itemsReachableFrom(held).size).toBeLessThanOrEqual(many.length + changed.length);
    }
    content = content.map((one, index) => (index % 2 ? one : flagOf(one, 20)));
    put((await encodeBody({ prefix: '', items: content, rev: revAt(20), bank: 1 })).body);
    putHead(revAt(20), revAt(20));
    held = await snapshotOf(reader.refresh(held));
    expect(sorted(held.items())).toEqual(sorted(content));
    expect(itemsReachableFrom(held).size).toBe(many.length);
  });

  it('reuses the objects of all items that a new body did not change @heavy', async () => {
    const { reader, put, putHead } = createTable();
    const first = await encodeBody({ prefix: '', items: many, rev: revAt(1), bank: 0 });
    put(first.body);
    putHead(revAt(1), revAt(1));
    const held = await snapshotOf(reader.cold());
    const before = new Map([...held.items()].map((item) => [item.kind + item.key, item]));
    const changed = { ...many[50]!, version: 1_000_000, json: '{"key":"x"}' };
    const items = many.with(50, changed);
    put((await encodeBody({ prefix: '', items, rev: revAt(2), bank: 1, previous: first })).body);
    putHead(revAt(2), revAt(2));
    const next = await snapshotOf(reader.refresh(held));
    // What it replaced is held by nobody, although no item of its block was asked for again.
    expect(itemsReachableFrom(next).has(before.get(changed.kind + changed.key)!)).toBe(false);
    for (const item of next.items()) {
      const same = before.get(item.kind + item.key);
      if (item.key === changed.key && item.kind === changed.kind) expect(item).toEqual(changed);
      else expect(item).toBe(same);
    }
  });

  it('refuses other formats of head, body and delta with a reason that names both numbers @heavy', async () => {
    for (const name of ['head', 'body', 'delta']) {
      const { reader, put, putHead, table } = createTable();
      put((await encodeBody({ prefix: '', items: many, rev: revAt(1), bank: 0 })).body);
      put((await encodeDelta({ prefix: '', items: [], rev: revAt(2), base: revAt(1) }))!);
      putHead(revAt(2), revAt(1));
      table.set(name, { ...table.get(name)!, format: { N: '2' } });
      const reading = await reader.cold();
      expect(reading).toMatchObject({ kind: 'refused', behind: false });
      expect(reading.kind === 'refused' && reading.reason).toMatch(new RegExp(`${name}.*format 2.*expected 1`));
    }
  });

  it('refuses a body with a missing or different part, and says that reading again may help', async () => {
    const { reader, put, putHead, table } = createTable();
    const limits = { dataBytes: 3000, blockBytes: 8192 };
    const old = await encodeBody({ prefix: '', items: many, rev: revAt(1), bank: 0, limits });
    const body = await encodeBody({ prefix: '', items: many.slice(1), rev: revAt(2), bank: 0, limits });
    putHead(revAt(2), revAt(2));
    put(...body.parts, body.body);
    expect(await reader.cold()).toMatchObject({ kind: 'snapshot' });
    put(old.parts[3]!);
    expect(await reader.cold()).toMatchObject({
      kind: 'refused',
      behind: true,
      reason: expect.stringMatching(/part 3 /),
    });
    for (let i = 0; i < body.parts.length; i += 2) table.delete(`part.0.${i}`);
    expect(await reader.cold()).toMatchObject({
      kind: 'refused',
      behind: true,
      reason: expect.stringMatching(/part 0 /),
    });
  });

  it('reuses no block that changed without changing its length', async () => {
    const { reader, put, putHead } = createTable();
    put((await encodeBody({ prefix: '', items: [flag('a', 1)], rev: revAt(1), bank: 0 })).body);
    putHead(revAt(1), revAt(1));
    let held = await snapshotOf(reader.cold());
    for (let version = 2; version < 10; version++) {
      held.get('features', 'a');
      put((await encodeBody({ prefix: '', items: [flag('a', version)], rev: revAt(version), bank: 0 })).body);
      putHead(revAt(version), revAt(version));
      held = await snapshotOf(reader.refresh(held));
      expect(held.get('features', 'a')).toEqual(flag('a', version));
    }
  });

  it.each(['body', 'delta'])('refuses a %s with any attribute of another publication', async (name) => {
    const { reader, put, putHead, table } = createTable();
    const publish = async (seq: number) => {
      const bank = seq % 4 === 1 ? 0 : 1;
      put((await encodeBody({ prefix: '', items: [flag('a', seq), flag('b', 1)], rev: revAt(seq), bank })).body);
      put((await encodeDelta({ prefix: '', items: [flag('b', seq)], rev: revAt(seq + 1), base: revAt(seq) }))!);
      putHead(revAt(seq + 1), revAt(seq));
    };
    await publish(1);
    const old = table.get(name)!;
    await publish(3);
    const now = table.get(name)!;
    expect(await reader.cold()).toMatchObject({ kind: 'snapshot', behind: false });
    for (const attribute of ['rev', 'base', 'bank', 'sha256', 'data']) {
      if (now[attribute] === undefined) continue;
      expect(now[attribute]).not.toEqual(old[attribute]);
      table.set(name, { ...now, [attribute]: old[attribute]! });
      expect(await reader.cold()).toMatchObject({
        kind: 'refused',
        reason: expect.stringMatching(/hash|not older/),
      });
    }
  });

  it('keeps its snapshot when a body is older, and does not read its parts', async () => {
    const { reader, withoutQuery, put, putHead, asked } = createTable();
    put((await encodeBody({ prefix: '', items: many, rev: revAt(5), bank: 0 })).body);
    putHead(revAt(5), revAt(5));
    const held = await snapshotOf(reader.cold());
    const old = await encodeBody({
      prefix: '',
      items: many,
      rev: revAt(3),
      bank: 1,
      limits: { dataBytes: 5000, blockBytes: 8192 },
    });
    put(old.body, ...old.parts);
    putHead(revAt(6), revAt(6));
    expect(await keeps(reader.refresh(held), held)).toBe('the same, behind');
    expect(asked.at(-1)).toEqual(['body']);
    expect(await keeps(withoutQuery.refresh(held), held)).toBe('the same, behind');
    expect(asked.at(-1)).toEqual(['delta', 'body']);
    putHead(revAt(3), revAt(3));
    expect(await reader.refresh(held)).toMatchObject({ kind: 'unchanged' });
  });

  it("rejects with the store's error when the store cannot be reached", async () => {
    const reader = createSnapshotReader({ prefix: '', get: () => Promise.reject(new Error('no route')) });
    await expect(reader.cold()).rejects.toThrow('no route');
  });
});
