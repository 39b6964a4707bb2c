/**
 * Relays of a random schedule. Each has its own memory, which follows the truth while its upstream is connected, its own
 * proxy to the table, and its own clocks.
 */
import { setTimeout as delay } from 'node:timers/promises';
import { encodeOfficialItem, type Item, KINDS } from '../../../lib/flag-table/index.ts';
import { sameItem } from '../../../relay-task/store/same-item.ts';
import type { Clock, Timings } from '../../../relay-task/store/timings.ts';
import { PATIENCE_MS } from '../../support/eventually.ts';
import { createMemory, type Memory } from '../../support/memory.ts';
import { flag, segment, tombstone } from './items.ts';
import { hasty, type OpenStore, type Stores } from './open-stores.ts';

/** Short enough that leases expire within a schedule; without LONG, long enough for a busy machine. */
const timings: Timings = {
  ...hasty,
  ...(process.env.LONG
    ? { renewMs: 150, stopMs: 900, expireMs: 1_900, requestTimeoutMs: 900 }
    : { renewMs: 300, stopMs: 3_000, expireMs: 5_000, requestTimeoutMs: 3_000 }),
  pollMs: 80,
  ...{ reconcileMs: 300, secondLookMs: 60, bodyGapMs: 50 },
};

export interface RandomRelay {
  readonly store: OpenStore;
  readonly memory: Memory;
  readonly stores: Stores;
}

export interface RandomRelays {
  /** The data of upstream. */
  readonly truth: Memory;
  readonly open: readonly RandomRelay[];
  /** Every state that any memory ever had, by `stateOf`. */
  readonly states: ReadonlySet<string>;
  /** The random actions, by name. */
  readonly acts: Readonly<Record<string, () => unknown>>;
  start(stores: Stores): Promise<void>;
  /** Closes every relay on this table. */
  closeAll(stores: Stores): Promise<void>;
  /** Ends every fault and sets all memories to the truth. Resolves when the relays report that the table is up to date. */
  healAll(): Promise<void>;
}

const keys = 12;
const mostRelays = 4;

/** `home` returns the stores that new relays and other writers use. */
export function createRandomRelays(random: () => number, home: () => Stores): RandomRelays {
  const pick = <T>(list: readonly T[]): T => list[Math.floor(random() * list.length)]!;
  const truth = createMemory(flag('f0', 1), segment('s0', 1));
  const states = new Set<string>([stateOf(truth.all())]);
  const relays: Simulated[] = [];

  interface Simulated extends RandomRelay {
    connected: boolean;
    readonly clock: ReturnType<typeof createSteppedClock>;
  }

  function changed(): Item {
    const kind = random() < 0.7 ? 'features' : 'segments';
    const key = `${kind[0]}${Math.floor(random() * keys)}`;
    const version = Math.max(1, (truth.get(kind, key)?.version ?? 0) + (random() < 0.1 ? -2 : 1));
    if (random() < 0.15) return tombstone(kind, key, version);
    // A known field, since unknown ones are not compared.
    const salt = 'n'.repeat(Math.floor(random() * 3_000)) + random();
    return kind === 'features' ? flag(key, version, { salt }) : segment(key, version, { salt });
  }

  function change(count: number): void {
    const items = Array.from({ length: count }, changed);
    tell(...new Map(items.map((item) => [item.kind + item.key, item])).values());
  }

  function tell(...items: Item[]): void {
    truth.setQuietly(...items);
    states.add(stateOf(truth.all()));
    for (const relay of relays) if (relay.connected) catchUp(relay);
  }

  function catchUp({ memory }: Simulated): void {
    const news = truth.all().filter((item) => !sameItem(memory.get(item.kind, item.key), item));
    if (news.length > 0) memory.set(...news);
  }

  function connect(relay: Simulated): void {
    relay.connected = true;
    catchUp(relay);
    relay.store.setEligible(true);
  }

  async function start(stores: Stores): Promise<void> {
    const memory = createMemory(...truth.all());
    const clock = createSteppedClock();
    const store = await stores.open(memory, { timings, random, clock });
    const relay: Simulated = { store, memory, stores, clock, connected: true };
    relays.push(relay);
    connect(relay);
  }

  return {
    truth,
    open: relays,
    states,
    start,
    acts: {
      change: () => change(1),
      changes: () => change(3),
      pause: () => delay(random() * 60),
      cut: () => pick(relays)?.store.proxy.cut(),
      hang: () => pick(relays)?.store.proxy.hang(),
      slow: () => pick(relays)?.store.proxy.slow(random() * 80),
      throttle: () => pick(relays)?.store.proxy.throttle(0.4),
      loseAnswers: () => pick(relays)?.store.proxy.loseAnswers(0.4),
      heal: () => pick(relays)?.store.proxy.heal(),
      // Its memory goes stale; it stays eligible until it notices.
      upstreamDies: () => {
        const relay = pick(relays);
        if (relay) relay.connected = false;
      },
      upstreamIsMissed: () => {
        const relay = pick(relays.filter(({ connected }) => !connected));
        relay?.store.setEligible(false);
      },
      upstreamReturns: () => relays.forEach(connect),
      // Its clock stops, so its own lease never seems to expire.
      freeze: () => pick(relays)?.clock.freeze(),
      thaw: () => pick(relays)?.clock.thaw(),
      stepClock: () => pick(relays)?.clock.step((random() - 0.5) * 172_800_000),
      open: async () => {
        if (relays.length < mostRelays) await start(home());
      },
      close: async () => {
        if (relays.length > 1) await relays.splice(Math.floor(random() * relays.length), 1)[0]?.store.close();
      },
      foreign: () => home().put(encodeOfficialItem('', changed())),
    },
    async closeAll(stores) {
      const leaving = relays.filter((relay) => relay.stores === stores);
      for (const relay of leaving) relays.splice(relays.indexOf(relay), 1);
      await Promise.all(leaving.map(({ store }) => store.close()));
    },
    async healAll() {
      for (const relay of relays) {
        relay.store.proxy.heal();
        relay.clock.thaw();
        connect(relay);
      }
      // Other writers' tombstones of unknown keys may stay, so memory gets every key.
      for (const kind of KINDS) {
        for (let index = 0; index < keys; index++) {
          const key = `${kind[0]}${index}`;
          if (!truth.get(kind, key)) tell(tombstone(kind, key, 100));
        }
      }
      await Promise.all(relays.map(({ store }) => store.flush(PATIENCE_MS)));
    },
  };
}

/** Waits for every run even if one fails, then rejects with the first failure. */
export async function allToTheirEnd(runs: readonly Promise<void>[]): Promise<void> {
  for (const outcome of await Promise.allSettled(runs)) if (outcome.status === 'rejected') throw outcome.reason;
}

/** Seeds in groups that run at once: `SEED=7` or `SEED=11-60` from outside, else 1 to `ordinary`, or to `long` with LONG. */
export function seedsInGroups(counts: { ordinary: number; long: number; atOnce: number }): number[][] {
  const { SEED, LONG } = process.env;
  const [, from = '1', to = from] = /^(\d+)(?:-(\d+))?$/.exec(SEED ?? '') ?? [];
  const last = SEED ? Number(to) : LONG ? counts.long : counts.ordinary;
  const seeds = Array.from({ length: last - Number(from) + 1 }, (_, index) => Number(from) + index);
  const groups = Array.from({ length: Math.ceil(seeds.length / counts.atOnce) }, (_, index) => index * counts.atOnce);
  return groups.map((start) => seeds.slice(start, start + counts.atOnce));
}

/** The items as text, the same for any order. */
export function stateOf(items: readonly Item[]): string {
  return items
    .map(({ kind, key, json }) => `${kind} ${key} ${json}`)
    .sort()
    .join('\n');
}

function createSteppedClock(): Clock & { freeze(): void; thaw(): void; step(ms: number): void } {
  let frozenAt: number | undefined;
  let offsetMs = 0;
  return {
    now: () => frozenAt ?? performance.now(),
    wall: () => Math.round(Date.now() + offsetMs),
    freeze() {
      frozenAt ??= performance.now();
    },
    thaw() {
      frozenAt = undefined;
    },
    step(ms) {
      offsetMs = ms;
    },
  };
}
