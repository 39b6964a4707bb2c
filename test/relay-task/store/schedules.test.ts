/**
 * Random schedules of changes, faults and writers. At the end of each one the table is as memory has it, item by item,
 * and the snapshot decodes to the same. `SEED=<n>` runs one schedule, `LONG=1` many.
 */
import { setTimeout as delay } from 'node:timers/promises';
import type { Item } from '../../../lib/flag-table/index.ts';
import { encodeOfficialItem } from '../../../lib/flag-table/index.ts';
import { eventually } from '../../support/eventually.ts';
import { createMemory, flag, segment, tombstone } from './memory.ts';
import { expectTableToEqual, hasty, type OpenStore, openTable } from './open-stores.ts';
import { seededRandom } from './seeded-random.ts';

const { SEED, LONG } = process.env;
const seeds = SEED ? [Number(SEED)] : Array.from({ length: LONG ? 100 : 4 }, (_, index) => index + 1);
const timings = { ...hasty, reconcileMs: 150, secondLookMs: 60, bodyGapMs: 50 };

test.each(seeds)('schedule of seed %i ends with the table as memory has it', async (seed) => {
  const random = seededRandom(seed);
  const pick = <T>(list: readonly T[]): T => list[Math.floor(random() * list.length)]!;
  const stores = await openTable();
  const memory = createMemory(flag('f0', 1), segment('s0', 1));
  const open: OpenStore[] = [];

  function changed(): Item {
    const kind = random() < 0.7 ? 'features' : 'segments';
    const key = `${kind[0]}${Math.floor(random() * 12)}`;
    const version = Math.max(1, (memory.get(kind, key)?.version ?? 0) + (random() < 0.1 ? -2 : 1));
    if (random() < 0.15) return tombstone(kind, key, version);
    // A field with a meaning: differences in fields that nobody knows are none.
    const salt = 'n'.repeat(Math.floor(random() * 3_000)) + random();
    return kind === 'features' ? flag(key, version, { salt }) : segment(key, version, { salt });
  }

  const acts: Record<string, () => unknown> = {
    change: () => memory.set(changed()),
    changes: () =>
      memory.set(...new Map([changed(), changed(), changed()].map((item) => [item.kind + item.key, item])).values()),
    pause: () => delay(random() * 60),
    cut: () => pick(open).proxy.cut(),
    hang: () => pick(open).proxy.hang(),
    throttle: () => pick(open).proxy.throttle(0.4),
    loseAnswers: () => pick(open).proxy.loseAnswers(0.4),
    heal: () => pick(open).proxy.heal(),
    eligible: () => pick(open).setEligible(true),
    ineligible: () => pick(open).setEligible(false),
    open: async () => {
      if (open.length < 4) open.push(await stores.open(memory, { timings, random }));
      open.at(-1)?.setEligible(true);
    },
    close: async () => {
      if (open.length > 1) await open.splice(Math.floor(random() * open.length), 1)[0]?.close();
    },
    foreign: () => stores.put(encodeOfficialItem('', changed())),
  };
  const names = Object.keys(acts);
  try {
    await acts.open?.();
    for (let step = 0; step < 60; step++) await acts[random() < 0.4 ? pick(['change', 'pause']) : pick(names)]?.();
    for (const store of open) {
      store.proxy.heal();
      store.setEligible(true);
    }
    // Foreign tombstones of keys that memory never knew may stay, so memory learns of every key.
    for (const kind of ['features', 'segments'] as const) {
      for (let index = 0; index < 12; index++) {
        const key = `${kind[0]}${index}`;
        if (!memory.get(kind, key)) memory.set(tombstone(kind, key, 100));
      }
    }
    await eventually(() => expectTableToEqual(stores, memory), 10_000);
    await eventually(() => expect(open.filter((store) => store.status().writer)).toHaveLength(1));
  } catch (error) {
    const told = { seed, stores: open.map((store) => store.status()), head: (await stores.rows('$snapshot')).head };
    throw new Error(`${JSON.stringify(told)}\n${error}`, { cause: error });
  } finally {
    await stores.close();
  }
});
