import { randomBytes } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import zlib, { deflateRawSync } from 'node:zlib';
import fc from 'fast-check';
import {
  type Attributes,
  atBase,
  BODY_DATA_LIMIT_BYTES,
  createSnapshotReader,
  DELTA_LIMIT_BYTES,
  type EncodedBody,
  encodeBody,
  encodeDelta,
  encodeHead,
  type Item,
  type Rev,
  SNAPSHOT_FORMAT,
  type Snapshot,
} from '../../../lib/flag-table/index.ts';
import { sealBody } from '../../../lib/flag-table/snapshot-format.ts';
import { createRandom, generateEnvironment } from './generate.ts';
import { idOf } from './model.ts';
import { runs } from './properties.ts';

if (process.env.LONG === '1') jest.setTimeout(300_000);

const rev: Rev = { epoch: 1_760_000_000_000, seq: 1 };

async function readBack(written: Pick<EncodedBody, 'body' | 'parts'>, delta?: Attributes, newest = rev) {
  const head = encodeHead('', {
    format: SNAPSHOT_FORMAT,
    owner: 'w',
    epoch: 1,
    beat: 1,
    rev: newest,
    base: rev,
    checkedAt: 1,
  });
  const all = [head, written.body, ...written.parts, ...(delta ? [delta] : [])];
  const byKey = new Map(all.map((one) => [(one.key as { S: string }).S, one]));
  return createSnapshotReader({ prefix: '', get: async (keys) => keys.map(({ key }) => byKey.get(key)) }).cold();
}

async function snapshotOf(written: EncodedBody, delta?: Attributes, newest?: Rev): Promise<Snapshot> {
  const reading = await readBack(written, delta, newest);
  if (reading.kind !== 'snapshot') throw new Error(`no snapshot: ${JSON.stringify(reading)}`);
  return reading.snapshot;
}

const item: fc.Arbitrary<Item> = fc.record({
  kind: fc.constantFrom('features', 'segments'),
  key: fc.oneof(
    fc.string({ unit: 'binary', minLength: 1, maxLength: 20 }),
    fc.constantFrom('__proto__', 'toString', 'a'),
  ),
  version: fc.oneof(fc.nat(500), fc.maxSafeInteger(), fc.double({ noNaN: true })),
  deleted: fc.boolean(),
  json: fc.oneof(fc.json({ maxDepth: 2 }), fc.string({ unit: 'binary', maxLength: 300 })),
});
const items = fc.uniqueArray(item, { maxLength: 60, selector: idOf });
const byId = (all: Iterable<Item>) => new Map([...all].map((one) => [idOf(one), one]));

describe('an encoded body', () => {
  it('is decoded to the same items: any keys, versions and text, any number of blocks and parts @heavy', async () => {
    await fc.assert(
      fc.asyncProperty(
        items,
        fc.integer({ min: 300, max: 4000 }),
        fc.integer({ min: 10, max: 4000 }),
        async (all, dataBytes, blockBytes) => {
          const written = await encodeBody({ prefix: '', items: all, rev, bank: 1, limits: { dataBytes, blockBytes } });
          fc.pre(written.parts.length <= 63);
          const snapshot = await snapshotOf(written);
          expect(byId(snapshot.items())).toEqual(byId(all));
          for (const one of all) expect(snapshot.get(one.kind, one.key)).toEqual(one);
          expect(written.itemCount).toBe(all.length);
          expect(snapshot).toMatchObject({ rev, base: rev, bank: 1, problem: undefined });
        },
      ),
      runs(30, 5000),
    );
  });

  it('has the same bytes for the same items in any order, also with duplicates @heavy', async () => {
    const shuffled = fc.tuple(fc.array(item, { maxLength: 40 }), fc.integer());
    await fc.assert(
      fc.asyncProperty(shuffled, async ([all, seed]) => {
        const random = createRandom(seed);
        const encode = (some: Item[]) =>
          encodeBody({ prefix: 'p', items: some, rev, bank: 0, limits: { dataBytes: 1_000_000, blockBytes: 200 } });
        const other = [...all].sort(() => random() - 0.5);
        expect(await encode(other)).toEqual(await encode(all));
      }),
      runs(20, 3000),
    );
  });

  it('has at most 390,000 bytes of data per item, and is split into parts above that @heavy', async () => {
    const large: Item = {
      kind: 'segments',
      key: 'large',
      version: 1,
      deleted: false,
      json: randomBytes(600_000).toString('hex'),
    };
    const written = await encodeBody({ prefix: '', items: [large, ...generateEnvironment(20)], rev, bank: 0 });
    const sizes = [written.body, ...written.parts].map(({ data }) => (data as { B: Uint8Array }).B.length);
    expect(sizes.slice(0, -1).every((size) => size === BODY_DATA_LIMIT_BYTES)).toBe(true);
    expect(sizes.length).toBe(2);
    expect(sizes.reduce((a, b) => a + b)).toBe(written.bytes);
    expect(written.parts[0]).toMatchObject({ key: { S: 'part.0.0' }, rev: written.body.rev });
    expect((await snapshotOf(written)).get('segments', 'large')).toEqual(large);
  });

  it('has no parts if it fits one table item exactly, and one part if it is a byte larger', async () => {
    const all = generateEnvironment(30);
    const { bytes } = await encodeBody({ prefix: '', items: all, rev, bank: 0 });
    for (const [dataBytes, parts] of [
      [bytes, 0],
      [bytes - 1, 1],
    ] as const) {
      const written = await encodeBody({
        prefix: '',
        items: all,
        rev,
        bank: 0,
        limits: { dataBytes, blockBytes: 65_536 },
      });
      expect(written.parts.length).toBe(parts);
      expect(byId((await snapshotOf(written)).items())).toEqual(byId(all));
    }
  });

  it('an empty body can be encoded and decoded', async () => {
    const snapshot = await snapshotOf(await encodeBody({ prefix: '', items: [], rev, bank: 0 }));
    expect([...snapshot.items()]).toEqual([]);
    expect(snapshot.get('features', 'a')).toBeUndefined();
  });

  it('keeps the bytes of every block whose items did not change @heavy', async () => {
    const all = generateEnvironment(400, 3);
    const first = await encodeBody({ prefix: '', items: all, rev, bank: 0 });
    const changed = all.with(100, { ...all[100]!, version: 100_000, json: '{"key":"changed"}' });
    const second = await encodeBody({ prefix: '', items: changed, rev, bank: 0, previous: first });
    const [before, after] = [blocksOf(first), blocksOf(second)];
    expect(after.length).toBe(before.length);
    expect(after.filter((bytes, i) => !bytes.equals(before[i]!)).length).toBe(1);
    // Reused blocks are identical to newly encoded ones.
    expect(second).toEqual(await encodeBody({ prefix: '', items: changed, rev, bank: 0 }));
  });

  it('keeps its number of blocks when its size varies a little, and changes it when the size changes a lot @heavy', async () => {
    const limits = { dataBytes: 1_000_000, blockBytes: 4096 };
    const of = (count: number, previous?: EncodedBody) =>
      encodeBody({ prefix: '', items: generateEnvironment(200, 5).slice(0, count), rev, bank: 0, limits, previous });
    const counts = (written: EncodedBody) => blocksOf(written).length;
    let last = await of(100);
    const start = counts(last);
    for (const count of [60, 110, 70, 120, 60, 130]) {
      last = await of(count, last);
      expect(counts(last)).toBe(start);
    }
    expect(counts(await of(10, last))).toBeLessThan(start);
  });

  it('is deflated by zlib’s threads, block by block, and other work runs between the blocks @heavy', async () => {
    const onThisThread = jest.spyOn(zlib, 'deflateRawSync');
    const all = generateEnvironment(1500, 7);
    let turns = 0;
    let ended = false;
    const turn = () => {
      turns += 1;
      if (!ended) setImmediate(turn);
    };
    setImmediate(turn);
    const written = await encodeBody({ prefix: '', items: all, rev, bank: 0 });
    ended = true;
    const count = blocksOf(written).length;
    expect(count).toBeGreaterThan(15);
    expect(onThisThread).not.toHaveBeenCalled();
    // Two blocks at a time, and the answer of a thread takes a turn of the event loop.
    expect(turns).toBeGreaterThanOrEqual(count / 2);
    onThisThread.mockRestore();
    expect(byId((await snapshotOf(written)).items())).toEqual(byId(all));
  });

  it('of format 1 can be decoded, since edge bundles and relays are deployed at different times', async () => {
    const path = join(__dirname, '../../fixtures/flag-table/snapshot-format-1.json');
    const {
      body,
      delta,
      items: expected,
    } = JSON.parse(readFileSync(path, 'utf8')) as {
      body: Attributes;
      delta: Attributes;
      items: Item[];
    };
    const snapshot = await readBack({ body, parts: [] }, delta, { ...rev, seq: 2 });
    expect(snapshot.kind === 'snapshot' && byId(snapshot.snapshot.items())).toEqual(byId(expected));
  });
});

describe('a forged body', () => {
  const forge = async (data: Buffer): Promise<Pick<EncodedBody, 'body' | 'parts'>> => {
    const { body } = await encodeBody({ prefix: '', items: [], rev, bank: 0 });
    return { body: { ...body, data: { B: data }, sha256: { B: sealBody(rev, 0, 0, data) } }, parts: [] };
  };
  const header = (...numbers: number[]) => {
    const bytes = Buffer.alloc(4 * numbers.length);
    numbers.forEach((number, i) => {
      bytes.writeUInt32LE(number, 4 * i);
    });
    return bytes;
  };

  it('is refused if it would inflate beyond the readers’ limit', async () => {
    const bomb = deflateRawSync(Buffer.alloc(1000));
    const data = Buffer.concat([header(1, 0, bomb.length, 200_000_000), bomb]);
    expect(await readBack(await forge(data))).toMatchObject({
      kind: 'refused',
      reason: expect.stringContaining('200000000'),
    });
  });

  it('never makes a block inflate beyond its declared size, and gives a problem instead of an exception', async () => {
    const bomb = deflateRawSync(Buffer.alloc(10_000_000));
    for (const promise of [1000, 12_000_000]) {
      const reading = await readBack(await forge(Buffer.concat([header(1, 0, bomb.length, promise), bomb])));
      if (reading.kind !== 'snapshot') throw new Error('blocks are inflated when asked for');
      expect(reading.snapshot.problem).toBeUndefined();
      expect(reading.snapshot.get('features', 'a')).toBeUndefined();
      expect([...reading.snapshot.items()]).toEqual([]);
      expect(reading.snapshot.problem).toMatch(/cannot be read/);
    }
  });

  it('never makes a dictionary inflate beyond deflate’s window', async () => {
    const bomb = deflateRawSync(Buffer.alloc(1_000_000));
    const data = Buffer.concat([header(1, bomb.length, 0, 0), bomb]);
    expect(await readBack(await forge(data))).toMatchObject({
      kind: 'refused',
      reason: expect.stringContaining('dictionary'),
    });
  });

  it('of any bytes with a valid hash is refused or has a problem @heavy', async () => {
    const good = await encodeBody({
      prefix: '',
      items: generateEnvironment(30),
      rev,
      bank: 0,
      limits: { dataBytes: 100_000, blockBytes: 4096 },
    });
    const bytes = Buffer.from((good.body.data as { B: Uint8Array }).B);
    await fc.assert(
      fc.asyncProperty(
        fc.oneof(
          fc.uint8Array({ maxLength: 60 }).map((random) => Buffer.from(random)),
          fc.tuple(fc.nat(bytes.length - 1), fc.nat(255)).map(([at, value]) => {
            const spoilt = Buffer.from(bytes);
            spoilt[at] = value;
            return spoilt;
          }),
          fc.nat(bytes.length).map((length) => bytes.subarray(0, length)),
        ),
        async (data) => {
          const reading = await readBack(await forge(data));
          if (reading.kind === 'refused') return;
          if (reading.kind !== 'snapshot') throw new Error(reading.kind);
          for (const one of reading.snapshot.items()) expect(typeof one.json).toBe('string');
        },
      ),
      runs(50, 20_000),
    );
  });
});

describe('an encoded delta', () => {
  it('is decoded over its body to the same items, tombstones included @heavy', async () => {
    await fc.assert(
      fc.asyncProperty(items, items, async (all, changes) => {
        const newest = { ...rev, seq: 2 };
        const delta = await encodeDelta({ prefix: '', items: changes, rev: newest, base: rev });
        const snapshot = await snapshotOf(await encodeBody({ prefix: '', items: all, rev, bank: 0 }), delta, newest);
        expect(byId(snapshot.items())).toEqual(new Map([...byId(all), ...byId(changes)]));
        expect(byId(atBase(snapshot).items())).toEqual(byId(all));
        for (const one of changes) expect(snapshot.get(one.kind, one.key)).toEqual(one);
      }),
      runs(20, 3000),
    );
  });

  it('is undefined beyond its limit, which keeps its table item within 32 KiB', async () => {
    const make = (bytes: number) =>
      encodeDelta({
        prefix: 'p'.repeat(200),
        items: [
          { kind: 'features', key: 'a', version: 1, deleted: false, json: randomBytes(bytes).toString('latin1') },
        ],
        rev: { ...rev, seq: 2 },
        base: rev,
      });
    expect(await make(30_000)).toBeUndefined(); // half of them take two bytes in UTF-8
    const fits = (await make(18_000))!;
    expect((fits.data as { B: Uint8Array }).B.length).toBeLessThanOrEqual(DELTA_LIMIT_BYTES);
    expect(DELTA_LIMIT_BYTES + 200 + 32 + 300).toBeLessThanOrEqual(32_768);
  });

  it('must be newer than its base', async () => {
    await expect(encodeDelta({ prefix: '', items: [], rev, base: rev })).rejects.toThrow(/must be newer/);
  });
});

/** From the documented layout, without the decoder. */
function blocksOf({ body, parts }: EncodedBody): Buffer[] {
  const data = Buffer.concat([body, ...parts].map(({ data: piece }) => (piece as { B: Uint8Array }).B));
  let at = 8 + 8 * data.readUInt32LE(0) + data.readUInt32LE(4);
  return Array.from({ length: data.readUInt32LE(0) }, (_, i) => {
    const length = data.readUInt32LE(8 + 8 * i);
    at += length;
    return data.subarray(at - length, at);
  });
}
