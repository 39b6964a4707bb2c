import type { Item, Kind } from '../../lib/flag-table/index.ts';
import type { ItemView, Log } from '../ports.ts';
import type { Known, Ledger, Planned } from './ledger.ts';
import type { ReplicaDatabase, ReplicaTimings } from './replica.ts';
import { everything, idOf, sameItem } from './same-item.ts';

/**
 * Why an item waits. `newer`: over nothing, over an older version, over what is broken or differs. `replace`: memory's
 * version fell, so over whatever stands there. `overrule`: over exactly the row that was looked at twice.
 */
type Mode = 'newer' | 'replace' | 'overrule';

/** An item that may have to be written. */
export interface Waiting {
  readonly kind: Kind;
  readonly key: string;
  readonly mode: Mode;
}

/** Newer than memory, or unknown to it: perhaps memory is about to hear of it. */
interface Suspect {
  readonly token: string;
  /** Monotonic ms of the second look. */
  readonly dueAt: number;
  /** Unix ms of the first look. */
  readonly since: number;
}

/** Decides what is to be written, by what memory holds and what is known to stand in the database. Touches neither. */
export interface Planner {
  /** What is to be done about one item; undefined: nothing now. */
  plan(waiting: Waiting): Planned | undefined;
  /** Everything in which the database, as it was just read, differs from memory. */
  compare(): Waiting[];
  /** Monotonic ms at which `lookAgain` has something to do; Infinity: never. */
  nextLookAt(): number;
  /** What stood there at the first look and is due for the second. */
  lookAgain(): Waiting[];
  /** Items that the layout cannot hold, each with the reason. */
  oversized(): readonly string[];
}

export function createPlanner(options: {
  database: ReplicaDatabase;
  prefix: string;
  view: ItemView;
  ledger: Ledger;
  checkedAt?: (() => number) | undefined;
  timings: ReplicaTimings;
  log: Log;
}): Planner {
  const { database, prefix, view, ledger, timings, log, checkedAt = () => Infinity } = options;
  const where = { database: database.database, prefix };
  const suspects = new Map<string, Suspect>();
  const misfits = new Map<string, string>();
  const now = () => performance.now();

  function suspect(id: string, { token }: Known): void {
    if (suspects.get(id)?.token === token) return;
    suspects.set(id, { token, dueAt: now() + timings.secondLookMs, since: Date.now() });
  }

  function fits(item: Item): boolean {
    const id = idOf(item);
    const reason = database.misfit(item);
    if (reason === undefined) {
      misfits.delete(id);
      return true;
    }
    if (misfits.get(id) !== reason) {
      log.error('an item does not fit the store; its old copy stays', { ...where, item: id, reason });
    }
    misfits.set(id, reason);
    return false;
  }

  function plan({ kind, key, mode }: Waiting): Planned | undefined {
    const id = idOf({ kind, key });
    const item = view.get(kind, key);
    const known = ledger.get(id);
    const twice = mode === 'overrule' && known !== undefined && suspects.get(id)?.token === known.token;
    const above = known?.version !== undefined && known.version > (item?.version ?? Number.NEGATIVE_INFINITY);
    if (known && (item ? above && mode !== 'replace' : !known.deleted) && !twice) return void suspect(id, known);
    suspects.delete(id);
    if (item ? sameItem(known?.item, item) || !fits(item) : !known || known.deleted) return undefined;
    if (twice) log.warn('what stands in the store is not what LaunchDarkly sent; it is put right', { ...where, id });
    return { item, write: { kind, key, over: known?.token, text: item?.json } };
  }

  return {
    plan,
    compare() {
      const differing: Waiting[] = [];
      for (const item of everything(view)) {
        if (sameItem(ledger.get(idOf(item))?.item, item)) misfits.delete(idOf(item));
        else differing.push({ kind: item.kind, key: item.key, mode: 'newer' });
      }
      for (const { kind, key, deleted } of ledger.all()) {
        if (!deleted && !view.get(kind, key)) differing.push({ kind, key, mode: 'newer' });
      }
      for (const [id, { token }] of suspects) if (ledger.get(id)?.token !== token) suspects.delete(id);
      return differing;
    },
    nextLookAt: () => Math.min(Infinity, ...[...suspects.values()].map(({ dueAt }) => dueAt)),
    lookAgain() {
      const again: Waiting[] = [];
      for (const [id, one] of suspects) {
        if (now() < one.dueAt) continue;
        const known = ledger.get(id);
        if (known && checkedAt() >= one.since) again.push({ kind: known.kind, key: known.key, mode: 'overrule' });
        else suspects.set(id, { ...one, dueAt: now() + timings.glanceMs });
      }
      return again;
    },
    oversized: () => [...misfits].map(([id, reason]) => `${id}: ${reason}`),
  };
}
