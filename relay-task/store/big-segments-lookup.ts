import type { BigSegmentsAnswer } from '../../lib/evaluation/index.ts';
import { createTurnstile } from '../common/turnstile.ts';
import type { BigSegments } from '../ports.ts';
import { hashOf, type Membership } from './big-segments.ts';
import { type BigSegmentWatchOptions, createBigSegmentWatch } from './big-segments-watch.ts';

export interface BigSegmentLookupOptions extends BigSegmentWatchOptions {
  /** Evaluations say STALE after this time without synchronisation. Default 2 min, as in LaunchDarkly's SDKs. */
  readonly staleAfterMs?: number;
  /** The same for `status`: `bigSegmentsStaleThreshold`. Default 5 min. */
  readonly statusStaleAfterMs?: number;
  /** How long a membership is used before it is read again. Default 5 s. */
  readonly cacheMs?: number;
  /** How many contexts are remembered. Default 1000. */
  readonly cacheSize?: number;
  /** How many memberships are read at the same time, and how many more reads may wait. Default 64 and 4096. */
  readonly maxInside?: number;
  readonly maxWaiting?: number;
  /** Unix ms; `Date.now`. */
  now?(): number;
}

export interface BigSegmentLookup extends BigSegments {
  /** Starts to read the metadata at intervals. Call it when a Big Segment was seen. Idempotent. */
  start(): void;
  /** Memberships were changed by this relay: reads the metadata now, and memberships again by the next `load`. Never rejects. */
  refresh(): Promise<void>;
  close(): void;
}

interface Entry {
  readonly membership: Membership | null;
  /** How many changes came before it was read. */
  readonly generation: number;
  readonly readAt: number;
  readonly failed: boolean;
}

/**
 * Memberships for evaluation. When no store answers, evaluations use the last known membership and say STORE_ERROR, so an
 * outage removes no remembered context from a segment.
 */
export function createBigSegmentLookup(options: BigSegmentLookupOptions): BigSegmentLookup {
  const { staleAfterMs = 120_000, statusStaleAfterMs = 300_000, cacheMs = 5_000, cacheSize = 1_000 } = options;
  const { maxInside = 64, maxWaiting = 4_096, now = Date.now } = options;
  const turnstile = createTurnstile({ maxInside, maxWaiting });
  /** Least recently loaded first. */
  const cache = new Map<string, Entry>();
  const loading = new Map<string, Promise<void>>();
  let generation = 0;
  const watch = createBigSegmentWatch({
    ...options,
    onChange() {
      generation += 1;
      options.onChange?.();
    },
  });

  function isFresh({ readAt, failed, generation: asked }: Entry): boolean {
    const age = now() - readAt;
    return !failed && asked === generation && age < cacheMs && age >= 0;
  }

  function remember(contextKey: string, entry: Entry): void {
    // A slow answer from before a change is outdated.
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
    // Rejects only when too many wait already.
    const readInTurn = () => turnstile.run(() => watch.readMembership(hashOf(contextKey))).catch(() => undefined);
    const membership = watch.available() === false ? undefined : await readInTurn();
    const failed = membership === undefined;
    const known = failed ? (cache.get(contextKey)?.membership ?? null) : membership;
    remember(contextKey, { ...asked, membership: known, failed });
  }

  /** Calls share a read that is in progress, unless memberships changed since it began. */
  function loadOne(contextKey: string): Promise<void> {
    const id = `${generation} ${contextKey}`;
    const present = loading.get(id);
    if (present) return present;
    const made = read(contextKey).finally(() => loading.delete(id));
    loading.set(id, made);
    return made;
  }

  const staleFor = (ms: number) => now() - (watch.metadata()?.synchronizedOn ?? 0) > ms;

  return {
    lookup(contextKey): BigSegmentsAnswer {
      const entry = cache.get(contextKey);
      if (!entry) return { status: 'STORE_ERROR' };
      if (entry.failed) return { status: 'STORE_ERROR', membership: entry.membership };
      return { status: staleFor(staleAfterMs) ? 'STALE' : 'HEALTHY', membership: entry.membership };
    },
    async load(contextKeys) {
      const started = watch.start();
      const missing: string[] = [];
      for (const key of contextKeys) {
        const entry = cache.get(key);
        if (entry && isFresh(entry)) remember(key, entry);
        else missing.push(key);
      }
      // Without the metadata, fresh and stale look the same.
      await Promise.all([...missing.map(loadOne), ...(watch.metadata() ? [] : [started])]);
    },
    status() {
      const available = watch.available();
      if (available === undefined) return undefined;
      const lastSynchronizedOn = watch.metadata()?.synchronizedOn ?? 0;
      return { available, potentiallyStale: staleFor(statusStaleAfterMs), lastSynchronizedOn };
    },
    start() {
      void watch.start();
    },
    async refresh() {
      generation += 1;
      await watch.readMetadata();
    },
    close: watch.close,
  };
}
