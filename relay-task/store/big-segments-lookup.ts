import type { BigSegmentsAnswer } from '../../lib/evaluation/index.ts';
import { sleep } from '../common/pause.ts';
import type { BigSegments, LoadOptions } from '../ports.ts';
import { type BigSegmentMetadata, EVERY_HASH, hashOf } from './big-segments.ts';
import type { CacheEntry, MembershipCache, MembershipMemory } from './big-segments-cache.ts';
import { createMembershipReads, type ReadMembership } from './big-segments-reads.ts';
import {
  type BigSegmentWatchOptions,
  createBigSegmentWatch,
  type FormerStores,
  type WatchedReading,
} from './big-segments-watch.ts';

export interface BigSegmentLookupOptions extends BigSegmentWatchOptions {
  /** What was known of the same environment before: its memberships are used until its own stores are current. */
  readonly former?: (FormerStores & Pick<KnownMemberships, 'cache'>) | undefined;
  /** Evaluations say STALE after this time without synchronisation. Default 2 min, as in LaunchDarkly's SDKs. */
  readonly staleAfterMs?: number;
  /** The same for `status`: `bigSegmentsStaleThreshold`. */
  readonly statusStaleAfterMs: number;
  /** How long a membership is used before it is read again. Default 5 s. */
  readonly cacheMs?: number;
  /** Where memberships are remembered. */
  readonly memory: MembershipMemory;
  /** How many requests are in progress at the same time, and how many more contexts may wait. Default 4 and 50,000. */
  readonly maxInside?: number;
  readonly maxWaiting?: number;
  /** How long a load that is not patient waits. Default 5 s. */
  readonly waitMs?: number;
  /** Unix ms; `Date.now`. */
  now?(): number;
}

export interface BigSegmentLookup extends BigSegments {
  /** Starts to read the metadata at intervals. Call it when a Big Segment was seen. Idempotent. */
  start(): void;
  /** Memberships were changed by this relay: reads the metadata now, and memberships again by the next `load`. Never rejects. */
  refresh(): Promise<void>;
  /** LaunchDarkly's ID of the environment whose memberships were read last, as far as the store says. */
  owner(): string | undefined;
  /** For a lookup of the same environment in another place. The cache is to be closed. */
  known(): KnownMemberships;
  /** Loads in progress resolve with what is known, or with undefined. */
  close(): void;
}

export interface KnownMemberships {
  /** What the stores said last when they were current; undefined: they never were. */
  readonly newest: BigSegmentMetadata | undefined;
  readonly cache: MembershipCache;
}

/** Of an entry that another lookup read: older than every change. */
const BEFORE_ALL = -1;

/** A membership that can be relied on. */
type Found = Pick<CacheEntry, 'membership' | 'incomplete'>;

/**
 * Memberships for evaluation. While no store can be relied on, evaluations use the last known membership and say STALE. A
 * context of which nothing is known waits; it gets STORE_ERROR only if the store cannot be asked for longer than that.
 */
export function createBigSegmentLookup(options: BigSegmentLookupOptions): BigSegmentLookup {
  const { staleAfterMs = 120_000, statusStaleAfterMs, cacheMs = 5_000, waitMs = 5_000 } = options;
  const { maxInside = 4, maxWaiting = 50_000, outageWaitMs = 5_000, now = Date.now } = options;
  const known = createKnown(options);
  let generation = 0;
  let closed = false;
  const watch = createBigSegmentWatch({
    ...options,
    former: options.former && { ...options.former, close: known.leaveFormer },
    onChange() {
      generation += 1;
      options.onChange?.();
    },
  });
  const reads = createMembershipReads({ read, generation: () => generation, maxInside, maxWaiting });

  async function read(hashes: readonly string[]): Promise<readonly ReadMembership[] | undefined> {
    const asked = { generation, readAt: now() };
    const reading = await watch.read(hashes);
    if (!reading) return undefined;
    return hashes.map((hash, index) => {
      const found = membershipIn(reading, hash, index);
      const held = known.get(hash);
      // What was known is newer than an outdated store, and than a slow answer from before a change.
      if (!held || (!found.outdated && held.generation <= asked.generation)) known.set(hash, { ...asked, ...found });
      return found;
    });
  }

  function isFresh({ readAt, generation: asked }: CacheEntry): boolean {
    const age = now() - readAt;
    return watch.reliability() === 'current' && asked === generation && age < cacheMs && age >= 0;
  }

  const staleFor = (ms: number) => now() - (watch.newest()?.synchronizedOn ?? 0) > ms;
  const current = (found: Found) => answerOf(found, staleFor(staleAfterMs));

  /** Undefined: too many wait already, or the lookup was closed. */
  async function answer(key: string, hash: string, how: LoadOptions): Promise<BigSegmentsAnswer | undefined> {
    const began = performance.now();
    for (;;) {
      const entry = known.get(hash);
      if (entry && isFresh(entry)) {
        known.set(hash, entry);
        return current(entry);
      }
      const before = known.last(key, hash, how);
      const reliability = watch.reliability();
      if (!closed && reliability !== 'none' && !(reliability === 'outdated' && before)) {
        const found = await reads.get(hash, how.patient ?? false);
        if (found === 'full') return before;
        if (found && !found.outdated) return current(found);
        if (found) return before ?? { status: 'STALE', membership: found.membership };
      }
      const last = known.last(key, hash, how);
      if (last || closed) return last;
      const isOver = await watch.recovery();
      if (closed) return undefined;
      if (!isOver || performance.now() - began > outageWaitMs) return { status: 'STORE_ERROR' };
    }
  }

  return {
    async load(keys, how = {}) {
      watch.start();
      const deadline = new AbortController();
      const late = how.patient ? undefined : sleep(waitMs, deadline.signal);
      const answers = await Promise.all(
        keys.map(async (key) => {
          const hash = hashOf(key);
          const found = answer(key, hash, how);
          const soon = late?.then(() => known.last(key, hash, how));
          return [key, await (soon ? Promise.race([found, soon]) : found)] as const;
        }),
      );
      deadline.abort();
      const complete = answers.filter((one): one is [string, BigSegmentsAnswer] => one[1] !== undefined);
      return complete.length === keys.length ? new Map(complete) : undefined;
    },
    owner: () => watch.newest()?.environment,
    known: () => ({ newest: watch.newest(), cache: known.share() }),
    status: () => statusOf(watch, staleFor(statusStaleAfterMs)),
    start: watch.start,
    async refresh() {
      generation += 1;
      await watch.refresh();
    },
    close() {
      closed = true;
      watch.close();
      reads.close();
      known.close();
    },
  };
}

/** The memberships that are remembered: those of this lookup and, until its own stores are current, those of the one before. */
function createKnown({ memory, ...options }: BigSegmentLookupOptions) {
  const cache = memory.open();
  let { former } = options;
  return {
    ...cache,
    /** For evaluations while no store can be relied on. */
    last(key: string, hash: string, { known }: LoadOptions): BigSegmentsAnswer | undefined {
      const held = cache.get(hash);
      const before = held ? undefined : former?.cache.get(hash);
      if (before) cache.set(hash, { ...before, generation: BEFORE_ALL });
      const entry = held ?? before;
      const membership = entry ? entry.membership : known?.get(key)?.membership;
      return membership === undefined ? undefined : { status: 'STALE', membership };
    },
    leaveFormer(): void {
      former?.close();
      former?.cache.close();
      former = undefined;
    },
  };
}

function membershipIn({ memberships, metadata, reliability }: WatchedReading, hash: string, index: number) {
  const { incomplete = [] } = metadata;
  return {
    membership: memberships[index] ?? null,
    incomplete: incomplete.includes(hash) || incomplete.includes(EVERY_HASH),
    outdated: reliability === 'outdated',
  };
}

function answerOf({ membership, incomplete }: Found, isOld: boolean): BigSegmentsAnswer {
  return { status: incomplete || isOld ? 'STALE' : 'HEALTHY', membership };
}

function statusOf(watch: ReturnType<typeof createBigSegmentWatch>, isOld: boolean): ReturnType<BigSegments['status']> {
  const available = watch.available();
  if (available === undefined) return undefined;
  const { synchronizedOn = 0, incomplete } = watch.newest() ?? {};
  return {
    available,
    potentiallyStale: isOld || watch.reliability() !== 'current' || incomplete !== undefined,
    lastSynchronizedOn: synchronizedOn,
    ...(incomplete && { incompleteContexts: incomplete }),
  };
}
