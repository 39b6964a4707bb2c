/**
 * Random schedules of patches, faults and relays on one real table. After each one the table holds what LaunchDarkly
 * sent, hash by hash. `SEED=<n>` runs one schedule, `LONG=1` many.
 */
import { DeleteItemCommand } from '@aws-sdk/client-dynamodb';
import { sleep } from '../../../relay-task/common/pause.ts';
import { eventually } from '../../support/eventually.ts';
import { startFakeBigSegments, wirePatch } from '../../support/fake-big-segments.ts';
import type { FaultyProxy } from '../../support/faulty-proxy.ts';
import { startBigSegmentRelay } from './big-segments-relays.ts';
import { openTable, type Stores } from './open-stores.ts';
import { seededRandom } from './seeded-random.ts';

const { SEED, LONG } = process.env;
const seeds = SEED ? [Number(SEED)] : Array.from({ length: LONG ? 200 : 1 }, (_, index) => index + 1);

const timings = {
  /** A request that hangs also ends when the proxy heals, so a busy machine needs no shorter limit. */
  requestTimeoutMs: LONG ? 300 : 10_000,
  /**
   * Relays take over from each other often, in a long run also from one that only is slow. A writer must send an update within
   * `patchExpireMs` after a request, so with less, relays on a busy machine write next to nothing.
   */
  ...{ patchBeatMs: 20, patchExpireMs: LONG ? 500 : 3_000 },
};

const metadata = 'big_segments_metadata';
const hashes = ['a', 'b', 'c', 'd', 'e', 'f'];
const refs = ['vip.g1', 'vip.g2', 'beta.g1'];
async function runSchedule(seed: number): Promise<void> {
  const random = seededRandom(seed);
  const pick = <T>(list: readonly T[]): T => list[Math.floor(random() * list.length)]!;
  const stores = await openTable();
  const fake = await startFakeBigSegments();
  const closers: (() => unknown)[] = [];
  const proxies: FaultyProxy[] = [];
  const truth = new Map<string, Set<string>>();
  const done: string[] = [];

  async function startRelay() {
    const relay = await startBigSegmentRelay({ stores, launchDarkly: fake, timings, random });
    proxies.push(relay.proxy);
    closers.push(relay.close);
  }

  function change(): void {
    const changes = { included: [] as string[], excluded: [] as string[] };
    const ref = pick(refs);
    for (const [list, changed] of Object.entries(changes)) {
      for (const hash of hashes.filter(() => random() < 0.4)) {
        const adds = random() < 0.5;
        changed.push(`${adds ? '+' : '-'}${hash}`);
        const name = `${hash} ${list}`;
        const held = truth.get(name) ?? new Set();
        truth.set(name, held);
        if (adds) held.add(ref);
        else held.delete(ref);
      }
    }
    const count = fake.history.length;
    const next = wirePatch(ref, count === 0 ? '' : `v${count}`, `v${count + 1}`, changes.included, changes.excluded);
    if (random() < 0.8) fake.push(next);
    else fake.history.push(next);
  }

  const acts: Record<string, () => unknown> = {
    change,
    burst: () => [1, 2, 3].forEach(change),
    pause: () => sleep(random() * 60),
    cut: () => pick(proxies).cut(),
    cutAfter: () => pick(proxies).cutAfter(Math.floor(random() * 8)),
    slow: () => pick(proxies).slow(random() * (LONG ? 200 : 40)),
    hang: () => pick(proxies).hang(),
    throttle: () => pick(proxies).throttle(0.3),
    loseAnswers: () => pick(proxies).loseAnswers(0.3),
    heal: () => pick(proxies).heal(),
    endStreams: () => fake.endStreams(),
    forget: () => removeMetadata(stores),
  };

  try {
    for (let relays = 0; relays < 3; relays++) await startRelay();
    for (let step = 0; step < (LONG ? 24 : 14); step++) {
      const name = random() < 0.5 ? pick(['change', 'burst', 'pause']) : pick(Object.keys(acts));
      done.push(name);
      await acts[name]?.();
    }
    change();
    for (const proxy of proxies) proxy.heal();
    await eventually(() => expectTruth(stores, truth, `v${fake.history.length}`));
  } catch (error) {
    throw new Error(`seed ${seed}: ${done.join(' ')}\n${error}`, { cause: error });
  } finally {
    for (const close of closers) await close();
    await fake.close();
    await stores.close();
  }
}

async function removeMetadata({ table }: Stores): Promise<void> {
  const Key = { namespace: { S: metadata }, key: { S: metadata } };
  await table.client.send(new DeleteItemCommand({ TableName: table.tableName, Key }));
}

async function expectTruth(stores: Stores, truth: ReadonlyMap<string, ReadonlySet<string>>, cursor: string) {
  const rows = await stores.rows('big_segments_user');
  const found = new Map(
    Object.entries(rows).flatMap(([hash, row]) =>
      ['included', 'excluded'].map((list) => [`${hash} ${list}`, [...((row[list] as string[]) ?? [])].sort()] as const),
    ),
  );
  const named = ([name, list]: readonly [string, Iterable<string>]) => `${name}: ${[...list].sort()}`;
  const filled = (lists: Iterable<readonly [string, Iterable<string>]>) =>
    [...lists]
      .filter(([, list]) => [...list].length > 0)
      .map(named)
      .sort();
  expect((await stores.rows(metadata))[metadata]?.lastVersion).toBe(cursor);
  expect(filled(found)).toEqual(filled(truth));
}

test.each(seeds)("after schedule %i the table holds LaunchDarkly's Big Segments", runSchedule);
