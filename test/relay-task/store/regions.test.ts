/**
 * Two regions whose tables replicate late, in any order, last writer wins. Writers run in the home region, which may move,
 * orderly or not. `SEED=<n>` runs one schedule, `SEED=<n>-<m>` some, `LONG=1` many.
 */
import { setTimeout as delay } from 'node:timers/promises';
import { eventually, PATIENCE_MS } from '../../support/eventually.ts';
import { createMemory } from '../../support/memory.ts';
import { startReplicatedTables } from '../../support/replicator.ts';
import { flag, flags, segment } from './items.ts';
import { expectTableToEqual, openTable, quick, type Stores } from './open-stores.ts';
import { allToTheirEnd, createRandomRelays, seedsInGroups, stateOf } from './random-relays.ts';
import { seededRandom } from './seeded-random.ts';

const groups = seedsInGroups({ ordinary: 1, long: 200, atOnce: 2 });
const namespaces = ['features', 'segments', '$inited', '$snapshot'];

async function openRegions(random: () => number, maxDelayMs: number) {
  const tables = await startReplicatedTables({ random, maxDelayMs });
  const regions = await Promise.all(tables.regions.map(openTable));
  const close = () => Promise.all(regions.map((region) => region.close()));
  return { drained: tables.drained, regions: regions as [Stores, Stores], close };
}

async function everything(region: Stores): Promise<unknown> {
  return Object.fromEntries(await Promise.all(namespaces.map(async (name) => [name, await region.rows(name)])));
}

test('a relay outside the home region boots from its replica and never writes, eligible or not', async () => {
  const { drained, regions, close } = await openRegions(seededRandom(1), 30);
  const [home, away] = regions;
  const memory = createMemory(...flags(20), segment('s', 1));
  const writer = await home.open(memory);
  writer.setEligible(true);
  await writer.flush(PATIENCE_MS);
  await drained();
  const awayMemory = createMemory();
  const reader = await away.open(awayMemory, { writer: 'never', timings: { ...quick, reconcileMs: 50 } });
  const items = (await reader.read())?.items;
  expect(stateOf(items ?? [])).toBe(stateOf(memory.all()));
  awayMemory.setQuietly(...(items ?? []));
  reader.setEligible(true);
  awayMemory.set(flag('flag-1', 7));
  memory.set(flag('flag-2', 2));
  await reader.flush(1_000);
  await writer.flush(PATIENCE_MS);
  await drained();
  await expectTableToEqual(away, memory);
  const requests = reader.proxy.passed.map(({ operation }) => operation);
  expect(requests.length).toBeGreaterThan(0);
  expect(requests.filter((operation) => !/^(GetItem|BatchGetItem|Query)$/.test(operation))).toEqual([]);
  expect(reader.status().writer).toBe(false);
  await close();
});

test('after the home region moves, both regions have the data of the new one @heavy', async () => {
  const { drained, regions, close } = await openRegions(seededRandom(2), 30);
  const [first, second] = regions;
  const memory = createMemory(...flags(10), segment('s', 1));
  const old = await first.open(memory);
  old.setEligible(true);
  await old.flush(PATIENCE_MS);
  memory.set(flag('flag-1', 2));
  await old.flush(PATIENCE_MS);
  const { head } = await first.rows('$snapshot');
  await old.close();
  await drained();
  const news = createMemory(...memory.all());
  news.setQuietly(flag('flag-2', 3), flag('new', 1));
  // Its wall clock is a day behind that of the old home.
  const clock = { now: () => performance.now(), wall: () => Date.now() - 86_400_000 };
  const heir = await second.open(news, { clock });
  heir.setEligible(true);
  await heir.flush(PATIENCE_MS);
  await drained();
  await expectTableToEqual(second, news);
  await expectTableToEqual(first, news);
  const moved = (await first.rows('$snapshot')).head;
  // Readers never go back, so the revisions of the new home must be higher.
  expect(String(moved?.rev) > String(head?.rev)).toBe(true);
  await close();
});

async function runSchedule(seed: number): Promise<void> {
  const random = seededRandom(seed);
  const pick = <T>(list: readonly T[]): T => list[Math.floor(random() * list.length)]!;
  const { drained, regions, close } = await openRegions(random, 120);
  let home: Stores = regions[0];
  const relays = createRandomRelays(random, () => home);
  const names = Object.keys(relays.acts);
  const done: string[] = [];

  /** Orderly: the old writers stop, replication catches up, the new ones start. In haste: both write at the same time. */
  async function moveHome(): Promise<void> {
    const before = home;
    home = regions.find((one) => one !== before)!;
    const inHaste = random() < 0.4;
    done.push(inHaste ? 'moveInHaste' : 'move');
    if (!inHaste) {
      await relays.closeAll(before);
      await drained();
    }
    await relays.start(home);
    if (inHaste) await delay(random() * 300);
    await relays.closeAll(before);
  }

  /** Any complete revision in any region must have been the memory of some relay. */
  async function readAnywhere(): Promise<void> {
    const items = await pick(regions).snapshot();
    if (items && !relays.states.has(stateOf(items))) throw new Error(`a reader got what never was: ${stateOf(items)}`);
  }

  try {
    await relays.start(home);
    for (let step = 0; step < (process.env.LONG ? 60 : 20); step++) {
      const name = random() < 0.4 ? pick(['change', 'pause']) : pick(names);
      done.push(name);
      await relays.acts[name]?.();
      if (random() < 0.1) await readAnywhere();
      if (random() < 0.06) await moveHome();
    }
    await relays.healAll();
    await eventually(async () => {
      await expectTableToEqual(home, relays.truth);
      await drained();
      await expectTableToEqual(home, relays.truth);
    });
    await relays.closeAll(home);
    // `close` does not wait long for the answer when it gives the lease up, so that request may still be on its way.
    await eventually(async () => {
      await drained();
      expect(await everything(regions[0])).toEqual(await everything(regions[1]));
    });
    for (const region of regions) await expectTableToEqual(region, relays.truth);
  } catch (error) {
    const statuses = relays.open.map(({ store }) => store.status());
    const heads = await Promise.all(regions.map(async (region) => (await region.rows('$snapshot')).head));
    throw new Error(`${JSON.stringify({ seed, done: done.join(' '), statuses, heads })}\n${error}`, { cause: error });
  } finally {
    await close();
  }
}

test.each(groups.map((group) => [group.join(', '), group] as const))(
  'after the schedules %s both regions equal upstream @heavy',
  async (_, group) => {
    await allToTheirEnd(group.map(runSchedule));
  },
);
