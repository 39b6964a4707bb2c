import { createHash } from 'node:crypto';

/** Longer keys are hashed. */
const LONGEST_KEPT = 128;

export interface Recent {
  /** Marks the key as the most recently used. True if it is new. */
  add(key: string): boolean;
  clear(): void;
}

/** A set of at most `capacity` keys that evicts the least recently used. Bounds memory for keys of any length. */
export function createRecent(capacity: number): Recent {
  const keys = new Set<string>();
  return {
    add(text) {
      const key = text.length > LONGEST_KEPT ? createHash('sha256').update(text).digest('base64') : text;
      const isNew = !keys.delete(key);
      keys.add(key);
      if (keys.size > capacity) keys.delete(keys.keys().next().value as string);
      return isNew;
    },
    clear: () => keys.clear(),
  };
}
