/** Keys in Redis that hold another type than the relay's: each counts as missing, and the relay that writes replaces it. */
import type { Log } from '../ports.ts';

export const isWrongType = (error: unknown): boolean => error instanceof Error && error.message.startsWith('WRONGTYPE');

/** Names a key once, until it is right again. */
export function createWrongTypeLog(log: Log, prefix: string) {
  const named = new Set<string>();
  return {
    /** `typeOf` reads the type in Redis. It is called only for keys that are logged. */
    async found(key: string, typeOf: () => Promise<string>): Promise<void> {
      if (named.has(key)) return;
      named.add(key);
      const type = await typeOf().catch(() => 'unknown');
      log.warn('A key in Redis has the wrong type; the relay that writes replaces it', {
        prefix,
        key,
        type,
        runbook: 'operations.md#store-lost-items',
      });
    },
    right(key: string): void {
      named.delete(key);
    },
  };
}
