import type { BigSegmentsAnswer } from '../../lib/evaluation/index.ts';
import type { BigSegments, Log } from '../ports.ts';
import { type BigSegmentMetadata, type BigSegmentStore, hashOf, type Membership } from './big-segments.ts';

export interface BigSegmentLookupOptions {
  /** The first one counts; the next ones stand in for it while it fails. */
  readonly stores: readonly Pick<BigSegmentStore, 'metadata' | 'membership'>[];
  readonly log: Log;
  /** Memberships may differ: another relay moved the cursor, or a store that failed answers again. Must not throw. */
  onChange?(): void;
  /** Evaluations say STALE after this time without synchronisation. Default 2 min, as in LaunchDarkly's SDKs. */
  readonly staleAfterMs?: number;
  /** The same for `status`: `bigSegmentsStaleThreshold`. Default 5 min. */
  readonly statusStaleAfterMs?: number;
  /** How long a membership is taken as it was read. Default 5 s. */
  readonly cacheMs?: number;
  /** So many contexts are remembered. Default 1000. */
  readonly cacheSize?: number;
  /** How often the metadata is read. Default 5 s. */
  readonly pollMs?: number;
  /** How long an evaluation waits for the store. Default 2 s. */
  readonly timeoutMs?: number;
  /** How often a store that failed is tried again; until it answers nobody waits for it. Default 1 s. */
  readonly retryMs?: number;
  /** So many memberships are read at the same time; so many more may wait. Default 64 and 4096. */
  readonly maxInside?: number;
  readonly maxWaiting?: number;
  /** Unix ms; `Date.now`. */
  now?(): number;
}

export interface BigSegmentLookup extends BigSegments {
  /** From now on the metadata is read at intervals. To be called when a Big Segment was seen; again does nothing. */
  start(): void;
  /** Memberships were changed by this relay: reads the metadata now, and memberships again by the next `load`. Never rejects. */
  refresh(): Promise<void>;
  close(): void;
}

interface Entry {
  readonly membership: Membership | null;
  /** When it was asked for, in changes: another one came in between if this differs. */
  readonly generation: number;
  readonly readAt: number;
  readonly failed: boolean;
}

const crowded = new Error('too many memberships are being read');

/**
 * Memberships for evaluation. When no store answers, what was read before goes on counting, and the reason says
 * STORE_ERROR: an outage takes nobody out of a segment who is remembered.
 */
export function createBigSegmentLookup(options: BigSegmentLookupOptions): BigSegmentLookup {
  const { stores, log, staleAfterMs = 120_000, statusStaleAfterMs = 300_000, cacheMs = 5_000 } = options;
  const { cacheSize = 1_000, pollMs = 5_000, timeoutMs = 2_000, retryMs = 1_000, now = Date.now } = options;
  const turnstile = createTurnstile(options.maxInside ?? 64, options.maxWaiting ?? 4_096);
  /** Least recently loaded first. */
  const cache = new Map<string, Entry>();
  const loading = new Map<string, Promise<void>>();
  let generation = 0;
  /** The store that answered last; the metadata is always asked for from the first one on. */
  let preferred = 0;
  let metadata: BigSegmentMetadata | undefined;
  let available: boolean | undefined;
  let first: Promise<void> | undefined;
  let timer: NodeJS.Timeout | undefined;
  let closed = false;

  async function ask<T>(from: number, question: (store: (typeof stores)[number]) => Promise<T>): Promise<T> {
    let failure: unknown = new Error('there is no store of Big Segments');
    for (let turn = 0; turn < stores.length; turn++) {
      const index = (from + turn) % stores.length;
      try {
        const answer = await within(timeoutMs, question(stores[index]!));
        preferred = index;
        return answer;
      } catch (error) {
        failure = error;
      }
    }
    throw failure;
  }

  function report(error: Error | undefined): void {
    const before = available;
    available = error === undefined;
    if (error && before !== false) {
      log.warn('Big Segments cannot be read; what is known of them answers', { reason: error.message });
      if (first) schedule(retryMs);
    }
    if (error || before !== false || closed) return;
    log.info('Big Segments can be read again');
    // Meanwhile some were answered without their memberships.
    changed();
  }

  /** Answers whether the cursor is elsewhere than before. */
  async function readMetadata(): Promise<boolean> {
    try {
      const read = await ask(0, (store) => store.metadata());
      const moved = metadata !== undefined && metadata.cursor !== read.cursor;
      metadata = read;
      report(undefined);
      return moved;
    } catch (error) {
      report(error as Error);
      return false;
    }
  }

  async function poll(): Promise<void> {
    const moved = await readMetadata();
    if (closed) return;
    schedule(available ? pollMs : retryMs);
    if (moved) changed();
  }

  function changed(): void {
    generation += 1;
    options.onChange?.();
  }

  function schedule(ms: number): void {
    clearTimeout(timer);
    if (closed) return;
    timer = setTimeout(() => void poll(), ms);
    timer.unref();
  }

  function start(): void {
    if (!closed) first ??= poll();
  }

  function isFresh({ readAt, failed, generation: asked }: Entry): boolean {
    const age = now() - readAt;
    return !failed && asked === generation && age < cacheMs && age >= 0;
  }

  function remember(contextKey: string, entry: Entry): void {
    // A slow answer from before a change says nothing any more.
    if ((cache.get(contextKey)?.generation ?? 0) > entry.generation) return;
    cache.delete(contextKey);
    cache.set(contextKey, entry);
    for (const oldest of cache.keys()) {
      if (cache.size <= cacheSize) break;
      cache.delete(oldest);
    }
  }

  async function read(contextKey: string): Promise<void> {
    const asked = { generation, readAt: now() };
    const fail = () => {
      remember(contextKey, { membership: cache.get(contextKey)?.membership ?? null, ...asked, failed: true });
    };
    if (available === false) return fail();
    try {
      const hash = hashOf(contextKey);
      // Those who waited hear at once of what failed meanwhile.
      const membership = await turnstile(
        async () => available !== false && ask(preferred, (store) => store.membership(hash)),
      );
      if (membership === false) return fail();
      remember(contextKey, { membership, ...asked, failed: false });
    } catch (error) {
      if (error !== crowded) report(error as Error);
      fail();
    }
  }

  /** One read serves everybody who asks while it is under way, unless memberships changed since it began. */
  function loadOne(contextKey: string): Promise<void> {
    const id = `${generation} ${contextKey}`;
    const present = loading.get(id);
    if (present) return present;
    const made = read(contextKey).finally(() => loading.delete(id));
    loading.set(id, made);
    return made;
  }

  return {
    lookup(contextKey): BigSegmentsAnswer {
      const entry = cache.get(contextKey);
      if (!entry) return { status: 'STORE_ERROR' };
      if (entry.failed) return { status: 'STORE_ERROR', membership: entry.membership };
      const isStale = now() - (metadata?.synchronizedOn ?? 0) > staleAfterMs;
      return { status: isStale ? 'STALE' : 'HEALTHY', membership: entry.membership };
    },
    async load(contextKeys) {
      start();
      const missing: string[] = [];
      for (const key of contextKeys) {
        const entry = cache.get(key);
        if (entry && isFresh(entry)) remember(key, entry);
        else missing.push(key);
      }
      // Without the metadata nobody can tell fresh from stale.
      await Promise.all([...missing.map(loadOne), ...(metadata ? [] : [first])]);
    },
    status() {
      if (available === undefined) return undefined;
      const lastSynchronizedOn = metadata?.synchronizedOn ?? 0;
      return { available, potentiallyStale: now() - lastSynchronizedOn > statusStaleAfterMs, lastSynchronizedOn };
    },
    start,
    async refresh() {
      generation += 1;
      await readMetadata();
    },
    close() {
      closed = true;
      clearTimeout(timer);
    },
  };
}

async function within<T>(ms: number, work: Promise<T>): Promise<T> {
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<never>((_resolve, reject) => {
    timer = setTimeout(() => reject(new Error(`no answer within ${ms} ms`)), ms);
  });
  return Promise.race([work, late]).finally(() => clearTimeout(timer));
}

/** Lets so many jobs run at the same time and so many wait; the next one is turned away (rejects). */
function createTurnstile(maxInside: number, maxWaiting: number) {
  const waiting: (() => void)[] = [];
  let inside = 0;
  return async <T>(job: () => Promise<T>): Promise<T> => {
    if (inside < maxInside) inside += 1;
    else if (waiting.length >= maxWaiting) throw crowded;
    // Whoever leaves hands over its place.
    else await new Promise<void>((resolve) => waiting.push(resolve));
    try {
      return await job();
    } finally {
      const next = waiting.shift();
      if (next) next();
      else inside -= 1;
    }
  };
}
