/** Items whose compilation or evaluation threw, in their present version. */
import { KINDS, type Kind } from '../../lib/flag-table/index.ts';
import type { FailedItem } from '../ports.ts';
import { SHOWN_CHARACTERS } from './compilers.ts';

/** `onFailed` is called once for each reason in each version of an item. */
export function createFailedItems(onFailed: (item: FailedItem) => void) {
  const failed = { features: new Map<string, string>(), segments: new Map<string, string>() };
  return {
    fail(kind: Kind, key: string, error: unknown): void {
      const reason = String(error).slice(0, SHOWN_CHARACTERS);
      if (failed[kind].get(key) === reason) return;
      failed[kind].set(key, reason);
      onFailed({ kind, key, reason });
    },
    /** The item was replaced. */
    forget: (kind: Kind, key: string) => failed[kind].delete(key),
    list: (): readonly FailedItem[] =>
      KINDS.flatMap((kind) => [...failed[kind]].map(([key, reason]) => ({ kind, key, reason }))),
  };
}
