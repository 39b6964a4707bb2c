import type { Membership } from './big-segments.ts';

/** What is remembered about one context. */
export interface CacheEntry {
  readonly membership: Membership | null;
  /** The store could not keep all segments of the context. */
  readonly incomplete: boolean;
  /** How many changes came before it was read. */
  readonly generation: number;
  /** Unix ms. */
  readonly readAt: number;
}

/** One environment's memberships, by hash. */
export interface MembershipCache {
  get(hash: string): CacheEntry | undefined;
  /** Also makes it the one that was used last. */
  set(hash: string, entry: CacheEntry): void;
  /** The same memberships for another holder, after `close` as well. They count as memory until every holder has closed. */
  share(): MembershipCache;
  close(): void;
}

/** The memory that all environments of a relay share for memberships. */
export interface MembershipMemory {
  open(): MembershipCache;
  /** About so many bytes are in use. */
  readonly bytes: number;
}

/** Measured with Node 20: the hash, its entry and the place in the map; an object with segments; each of these. */
const ENTRY_BYTES = 180;
const OBJECT_BYTES = 180;
const SEGMENT_BYTES = 40;

/**
 * Over the limit, the environment that uses the most forgets the context that was used longest ago: many contexts of one
 * environment take nothing from another.
 */
export function createMembershipMemory({ limitBytes }: { readonly limitBytes: number }): MembershipMemory {
  const caches = new Set<ReturnType<typeof createCache>>();
  let bytes = 0;

  function largest() {
    let found: ReturnType<typeof createCache> | undefined;
    for (const cache of caches) if (!found || cache.bytes > found.bytes) found = cache;
    return found;
  }

  return {
    get bytes() {
      return bytes;
    },
    open() {
      const cache = createCache((change) => {
        bytes += change;
      });
      let holders = 0;
      const share = (): MembershipCache => {
        let closed = false;
        if (holders === 0) {
          caches.add(cache);
          bytes += cache.bytes;
        }
        holders += 1;
        return {
          get: cache.get,
          set(hash, entry) {
            if (closed) return;
            cache.set(hash, entry);
            while (bytes > limitBytes) if (!largest()?.forgetOldest()) return;
          },
          share,
          close() {
            if (closed) return;
            closed = true;
            holders -= 1;
            if (holders > 0) return;
            caches.delete(cache);
            bytes -= cache.bytes;
          },
        };
      };
      return share();
    },
  };
}

function createCache(grew: (bytes: number) => void) {
  /** Least recently used first. */
  const entries = new Map<string, CacheEntry>();
  let bytes = 0;
  const add = (change: number) => {
    bytes += change;
    grew(change);
  };
  const remove = (hash: string): boolean => {
    const entry = entries.get(hash);
    if (!entry) return false;
    entries.delete(hash);
    add(-bytesOf(entry));
    return true;
  };
  return {
    get bytes() {
      return bytes;
    },
    get: (hash: string) => entries.get(hash),
    set(hash: string, entry: CacheEntry): void {
      remove(hash);
      entries.set(hash, entry);
      add(bytesOf(entry));
    },
    forgetOldest(): boolean {
      const [oldest] = entries.keys();
      return oldest !== undefined && remove(oldest);
    },
  };
}

function bytesOf({ membership }: CacheEntry): number {
  if (!membership) return ENTRY_BYTES;
  const refs = Object.keys(membership);
  return ENTRY_BYTES + OBJECT_BYTES + refs.reduce((sum, ref) => sum + SEGMENT_BYTES + ref.length, 0);
}
