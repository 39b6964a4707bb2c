import { hash } from 'node:crypto';
import type { Budget } from '../common/budget.ts';

/** Of SHA-256: enough that no second key can be found for a given hash. */
const HASH_BYTES = 12;
/** Measured: a hash as a string, and its place in a Set. */
export const ENTRY_BYTES = 100;

export interface Recent {
  /** Marks the key as the most recently used. True if it is new, or could not be remembered for lack of memory. */
  add(key: string): boolean;
  /** Forgets everything and releases the memory. */
  clear(): void;
}

/**
 * A set of at most `capacity` keys that evicts the least recently used, also while the budget has no room for a new one.
 * Only short hashes are kept.
 */
export function createRecent(capacity: number, budget: Pick<Budget, 'reserve' | 'release'>): Recent {
  const hashes = new Set<string>();

  function forgetOldest(): boolean {
    const [oldest] = hashes;
    if (oldest === undefined) return false;
    hashes.delete(oldest);
    budget.release(ENTRY_BYTES);
    return true;
  }

  return {
    add(key) {
      const hash = shortHash(key);
      if (hashes.delete(hash)) {
        hashes.add(hash);
        return false;
      }
      while (hashes.size >= capacity || !budget.reserve(ENTRY_BYTES)) if (!forgetOldest()) return true;
      hashes.add(hash);
      return true;
    },
    clear() {
      budget.release(hashes.size * ENTRY_BYTES);
      hashes.clear();
    },
  };
}

/** One character per byte, which V8 stores as one byte. */
export function shortHash(text: string): string {
  return hash('sha256', text, 'binary').slice(0, HASH_BYTES);
}
