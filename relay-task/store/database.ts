import type { Item, Kind } from '../../lib/flag-table/index.ts';
import type { StoreStatus } from '../ports.ts';
import type { TakeRead } from './read-memory.ts';

/** What a database holds under one key. */
export interface Row {
  /** What it says, whoever wrote it; `problem` when it cannot be read. */
  readonly item: Item | { readonly problem: string };
  /** Identifies exactly this content: a compare-and-set names it. */
  readonly token: string;
  /** The version of an item that does not fit, if the row says that it is older than that. */
  readonly staleFor?: number | undefined;
}

/** What the row is known to be that a write replaces. */
export interface Replaced {
  readonly token: string;
  /** Undefined when it cannot be read. */
  readonly version: number | undefined;
}

/** A write of the same `apply`, or several of them as one, that other writes need. */
export interface Need {
  /** Each comes before this one; no cycles. */
  readonly needs?: readonly Need[] | undefined;
}

/** One compare-and-set: it changes nothing unless the row is the one that `over` names (undefined: no row). */
export interface Write extends Need {
  readonly kind: Kind;
  readonly key: string;
  readonly over: Replaced | undefined;
  /**
   * `put`: the item. `remove`: no row. `mark-stale`: the row stays and says that `item`, which does not fit, is newer; only
   * for a database with `marksStale`.
   */
  readonly action: 'put' | 'remove' | 'mark-stale';
  /** Undefined for a removal. */
  readonly item: Item | undefined;
}

export type Outcome =
  /** The token of the new row; undefined after a removal. */
  | { readonly written: true; readonly token: string | undefined }
  /** The row was this one. */
  | { readonly written: false; readonly row: Row | undefined }
  /** The database does not take this item, whatever the row is. */
  | { readonly written: false; readonly problem: string }
  /** Something that it needs was not written, so it was not tried. */
  | { readonly written: false; readonly held: true };

/** The outcome of a write that was not tried, since something that it needs was not written. */
export const heldBack = { written: false, held: true } as const satisfies Outcome;

/** Whether a write is held back once one before it in its transaction was refused. */
export function needsOthers({ needs = [] }: Need): boolean {
  return needs.length > 0;
}

/** Everything that a database holds of one environment. */
export interface Content {
  readonly rows: Readonly<Record<Kind, ReadonlyMap<string, Row>>>;
  /** Whether the marker `$inited` says that the set is complete. */
  readonly inited: boolean;
  /** Undefined: none, or the database keeps none. */
  readonly manifest: string | undefined;
}

/** A cheap look: enough to notice that a server was wiped, or fell back to an older state. */
export interface Glance {
  readonly inited: boolean;
  readonly manifest: string | undefined;
  /** How many rows there are at least. */
  readonly counts: Readonly<Record<Kind, number>>;
}

/** What the database is known to have before the next writes, so that a loss is noticed before `$inited` vouches for the rest. */
export interface Held {
  /** Whether the marker `$inited` is there. */
  readonly inited: boolean;
  /** A lower bound on the number of rows: those of items that memory knows, too, since no relay removes these. */
  readonly counts: Readonly<Record<Kind, number>>;
  /** The keys of these rows. */
  keysOf(kind: Kind): readonly string[];
  /** For each kind one of these rows that the next writes leave alone, for databases that cannot count cheaply. */
  readonly witnesses: readonly Pick<Write, 'kind' | 'key'>[];
}

/** LaunchDarkly's layout of one environment in some database. All calls reject when it fails. */
export interface Database {
  readonly name: StoreStatus['database'];
  /** What one `apply` takes. A single write may have more bytes. */
  readonly limits: { readonly writes: number; readonly bytes: number };
  /** Whether a record beside the data says what the set consists of (manifest.ts). */
  readonly keepsManifest: boolean;
  /** Whether a row can say that it is older than an item that does not fit. */
  readonly marksStale: boolean;
  /** `take` counts what is read, and throws to end the reading. */
  readAll(take: TakeRead): Promise<Content>;
  /** Absent: the database is not looked at between two comparisons. */
  glance?(): Promise<Glance>;
  /**
   * Writes in order; returns outcomes in the order of `writes`. No reader sees a write before those that it needs: one whose
   * needs were not all written is held back (a database with transactions may hold back any write that needs something, once one
   * before it was refused). With `manifest`, that record ('' where none is kept) and the
   * marker `$inited` follow, but only if every write was done; as one transaction where the database has transactions.
   * When the database turns out to have less than `held`, it removes the marker, and rejects with `StoreLossError`.
   */
  apply(writes: readonly Write[], held: Held, manifest?: string): Promise<readonly Outcome[]>;
  /** Removes the marker `$inited`, if it is there: readers that open now see no set rather than a part of one. */
  unmark(): Promise<void>;
  /** Why the layout cannot hold the item; undefined: it can. */
  misfit(item: Item): string | undefined;
  /** One sentence for status and log. */
  describe(error: unknown): string;
}
