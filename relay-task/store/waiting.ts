import type { Change } from '../ports.ts';
import type { Waiting } from './planner.ts';
import { idOf } from './same-item.ts';

/** Work that was taken, to be put back if it fails. */
export interface TakenWork {
  readonly items: ReadonlyMap<string, Waiting>;
  /** `performance.now()` when the first of its changes was received. */
  readonly since: number | undefined;
  /** When the last of them was. */
  readonly until: number | undefined;
}

export type WaitingItems = ReturnType<typeof createWaitingItems>;

/** The items that wait to be written, each once, without their content: the newest version is looked up when it is written. */
export function createWaitingItems() {
  let items = new Map<string, Waiting>();
  let since: number | undefined;
  let until: number | undefined;
  return {
    get size() {
      return items.size;
    },
    notify(change: Change): void {
      for (const { kind, key } of change.items) {
        const id = idOf({ kind, key });
        const fell = change.kind === 'put' || items.get(id)?.mode === 'replace';
        items.set(id, { kind, key, mode: fell ? 'replace' : 'newer' });
      }
      since ??= change.receivedAt;
      until = change.receivedAt;
    },
    /** Adds items that a comparison found; what a change said about one counts more. */
    addDiffering(differing: readonly Waiting[]): void {
      for (const one of differing) if (!items.has(idOf(one))) items.set(idOf(one), one);
    },
    addOverruling(overruling: readonly Waiting[]): void {
      for (const one of overruling) items.set(idOf(one), one);
    },
    take(): TakenWork {
      const taken = { items, since, until };
      [items, since, until] = [new Map(), undefined, undefined];
      return taken;
    },
    putBack(work: Omit<TakenWork, 'until'> & Partial<TakenWork>): void {
      // What was notified meanwhile is as new or newer.
      for (const [id, one] of work.items) if (one.mode === 'replace' || !items.has(id)) items.set(id, one);
      since = work.since ?? since;
      until ??= work.until;
    },
    clear(): void {
      [items, since, until] = [new Map(), undefined, undefined];
    },
  };
}
