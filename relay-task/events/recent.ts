import { createHash } from 'node:crypto';

/** Keys up to this length are kept as they are. */
const LONGEST_KEPT = 128;

export interface Recent {
  /** True when the key was not remembered. It is now, and is the last to be forgotten. */
  add(key: string): boolean;
  clear(): void;
}

/** A memory for so many keys, the least recently used of which goes first. However long keys are, memory is bounded. */
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
