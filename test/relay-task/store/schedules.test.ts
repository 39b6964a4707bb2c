/**
 * Random schedules of changes, faults and writers. After each one the table equals upstream, item by item,
 * and the snapshot decodes to the same. `SEED=<n>` runs one schedule, `SEED=<n>-<m>` some, `LONG=1` many.
 */
import { eventually } from '../../support/eventually.ts';
import { expectTableToEqual, openTable } from './open-stores.ts';
import { allToTheirEnd, createRandomRelays, seedsInGroups } from './random-relays.ts';
import { seededRandom } from './seeded-random.ts';

const groups = seedsInGroups({ ordinary: 2, long: 300, atOnce: 3 });

async function runSchedule(seed: number): Promise<void> {
  const random = seededRandom(seed);
  const pick = <T>(list: readonly T[]): T => list[Math.floor(random() * list.length)]!;
  const stores = await openTable();
  const relays = createRandomRelays(random, () => stores);
  const names = Object.keys(relays.acts);
  const done: string[] = [];
  try {
    await relays.start(stores);
    for (let step = 0; step < (process.env.LONG ? 60 : 30); step++) {
      const name = random() < 0.4 ? pick(['change', 'pause']) : pick(names);
      done.push(name);
      await relays.acts[name]?.();
    }
    await relays.healAll();
    await eventually(() => expectTableToEqual(stores, relays.truth));
    await eventually(() => expect(relays.open.filter(({ store }) => store.status().writer)).toHaveLength(1));
  } catch (error) {
    const statuses = relays.open.map(({ store }) => store.status());
    const told = { seed, done: done.join(' '), statuses, head: (await stores.rows('$snapshot')).head };
    throw new Error(`${JSON.stringify(told)}\n${error}`, { cause: error });
  } finally {
    await stores.close();
  }
}

test.each(groups.map((group) => [group.join(', '), group] as const))(
  'after the schedules %s the table equals upstream',
  async (_, group) => {
    await allToTheirEnd(group.map(runSchedule));
  },
);
