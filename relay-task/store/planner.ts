import type { Item, Kind } from '../../lib/flag-table/index.ts';
import { createSkippedLines } from '../common/paced-lines.ts';
import { createTombstone } from '../common/tombstone.ts';
import type { Log, LogFields } from '../ports.ts';
import type { Database, Write } from './database.ts';
import type { Graves } from './graves.ts';
import type { Known, Ledger } from './ledger.ts';
import { everything, idOf, sameItem } from './same-item.ts';
import type { Clock, EngineTimings } from './timings.ts';

/**
 * Why an item waits. `newer`: over no row, over an older version, over one that is broken or differs. `replace`: memory's
 * version fell, so over any row. `overrule`: over exactly the row that was seen twice.
 */
type Mode = 'newer' | 'replace' | 'overrule';

/** An item that may have to be written. */
export interface Waiting {
  readonly kind: Kind;
  readonly key: string;
  readonly mode: Mode;
}

/** A row that is newer than memory, or unknown to it: memory may be about to receive it. */
interface Suspect {
  readonly token: string;
  /** Monotonic ms of the second look. */
  readonly dueAt: number;
  /** Monotonic ms of the first look. */
  readonly since: number;
}

interface PlannerOptions {
  readonly database: Database;
  readonly ledger: Ledger;
  readonly graves: Graves;
  /** Monotonic ms when memory was last known to equal upstream; absent: always. */
  readonly checkedNow?: (() => number) | undefined;
  readonly clock: Clock;
  readonly timings: EngineTimings;
  readonly log: Log;
  /** For log lines: which store of which environment. */
  readonly where: LogFields;
}

export type Planner = ReturnType<typeof createPlanner>;

/** Decides what to write, from what memory holds and what the database is known to hold. Touches neither. */
export function createPlanner(options: PlannerOptions) {
  const { database, ledger, graves, clock, timings, log, where, checkedNow = () => Infinity } = options;
  const { view } = graves;
  const suspects = new Map<string, Suspect>();
  const misfits = new Map<string, string>();

  const tellReplaced = createSkippedLines(({ problem: item, ...more }) =>
    log.warn('Items in the store are not what LaunchDarkly sent; replacing them', {
      ...where,
      ...more,
      item,
      runbook: 'operations.md#store-differs',
    }),
  );

  function suspect(id: string, { token }: Known): void {
    if (suspects.get(id)?.token === token) return;
    const since = clock.now();
    suspects.set(id, { token, dueAt: since + timings.secondLookMs, since });
  }

  /** The database does not take this item. */
  function noteMisfit(item: Item, reason: string): void {
    const id = idOf(item);
    if (misfits.get(id) !== reason) {
      log.error('An item does not fit into the store; keeping its old copy', {
        ...where,
        item: id,
        reason,
        runbook: 'operations.md#oversized-items',
      });
    }
    misfits.set(id, reason);
  }

  function fits(item: Item): boolean {
    const reason = database.misfit(item);
    if (reason === undefined) misfits.delete(idOf(item));
    else noteMisfit(item, reason);
    return reason === undefined;
  }

  /** Of a row that memory does not know: tombstones keep out older versions until they are spent. */
  const mayStay = (known: Known) => known.deleted && !graves.isSpent(known);

  /** What to do about a row that memory does not know. */
  function planUnknown(known: Known): Write | undefined {
    const { kind, key, version, isShort } = known;
    if (!mayStay(known)) return { kind, key, over: known, action: 'remove', item: undefined };
    if (!isShort || version === undefined) return undefined;
    return { kind, key, over: known, action: 'put', item: createTombstone(kind, key, version) };
  }

  /** What to do about one item; undefined: nothing now. */
  function plan({ kind, key, mode }: Waiting): Write | undefined {
    const id = idOf({ kind, key });
    const item = view.get(kind, key);
    const known = ledger.get(id);
    const seenTwice = mode === 'overrule' && known !== undefined && suspects.get(id)?.token === known.token;
    if (known && !seenTwice && isSuspicious(known, item, mode)) {
      suspect(id, known);
      return undefined;
    }
    suspects.delete(id);
    if (!item) return known && planUnknown(known);
    if (sameItem(known?.item, item)) return undefined;
    if (fits(item)) return { kind, key, over: known, action: 'put', item };
    return needsMark(database, item, known) ? { kind, key, over: known, action: 'mark-stale', item } : undefined;
  }

  return {
    plan,
    /** All items in which the database, as it was just read, differs from memory. */
    compare(): Waiting[] {
      const differing: Waiting[] = [];
      for (const item of everything(view)) {
        const known = ledger.get(idOf(item));
        if (sameItem(known?.item, item)) misfits.delete(idOf(item));
        else if (fits(item) || needsMark(database, item, known))
          differing.push({ kind: item.kind, key: item.key, mode: 'newer' });
      }
      for (const known of ledger.all()) {
        const { kind, key } = known;
        if (!view.get(kind, key) && planUnknown(known)) differing.push({ kind, key, mode: 'newer' });
      }
      for (const [id, { token }] of suspects) if (ledger.get(id)?.token !== token) suspects.delete(id);
      return differing;
    },
    /** Monotonic ms at which `lookAgain` has something to do; Infinity: never. */
    nextLookAt(): number {
      let nextAt = Infinity;
      for (const { dueAt } of suspects.values()) nextAt = Math.min(nextAt, dueAt);
      return nextAt;
    },
    /** Rows that are due for the second look. */
    lookAgain(): Waiting[] {
      const again: Waiting[] = [];
      for (const [id, one] of suspects) {
        if (clock.now() < one.dueAt) continue;
        const known = ledger.get(id);
        if (known && checkedNow() >= one.since) again.push({ kind: known.kind, key: known.key, mode: 'overrule' });
        else suspects.set(id, { ...one, dueAt: clock.now() + timings.glanceMs });
      }
      tellReplaced(again.map(idOf));
      return again;
    },
    refused: noteMisfit,
    /** Items that the layout cannot hold, each with the reason. */
    oversized: () => [...misfits].map(([id, reason]) => `${id}: ${reason}`),
  };
}

/** Whether the row of an item that does not fit has yet to say so. */
function needsMark({ marksStale }: Database, item: Item, known: Known | undefined): boolean {
  if (!marksStale || known?.version === undefined) return false;
  return known.version < item.version && known.staleFor !== item.version;
}

/** Whether the row is newer than memory, or memory does not know it. */
function isSuspicious(known: Known, item: Item | undefined, mode: Mode): boolean {
  if (!item) return !known.deleted;
  return mode !== 'replace' && known.version !== undefined && known.version > item.version;
}
