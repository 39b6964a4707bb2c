import type { Item, Kind } from '../../lib/flag-table/index.ts';
import type { StoreStatus } from '../ports.ts';

/** What stands in a database under one key. */
export interface Row {
  readonly text: string;
  /** Stands for exactly this content: a compare-and-set names it. */
  readonly token: string;
}

/** One compare-and-set: nothing happens unless what stands there is what `over` names. */
export interface Write {
  readonly kind: Kind;
  readonly key: string;
  /** Token of what must stand there; undefined: nothing may stand there. */
  readonly over: string | undefined;
  /** What shall stand there; undefined: nothing. */
  readonly text: string | undefined;
}

export type Outcome =
  | { readonly written: true; readonly token: string | undefined }
  /** Something else stood there: this. */
  | { readonly written: false; readonly row: Row | undefined };

/** Everything that a database holds of one environment. */
export interface Content {
  readonly rows: Readonly<Record<Kind, ReadonlyMap<string, Row>>>;
  readonly inited: boolean;
  readonly manifest: string | undefined;
}

/** A cheap look: enough to notice that a server was wiped, or fell back to an older state. */
export interface Glance {
  readonly inited: boolean;
  readonly manifest: string | undefined;
  /** How many rows stand there at least. */
  readonly counts: Readonly<Record<Kind, number>>;
}

/** LaunchDarkly's layout of one environment in some database that has no lease and no snapshot. All calls reject when it fails. */
export interface ReplicaDatabase {
  readonly database: Exclude<StoreStatus['database'], 'dynamodb'>;
  /** Where it is, for people; never with a password. */
  readonly server: string;
  /** What one `apply` takes. A single write may have more bytes. */
  readonly limits: { readonly writes: number; readonly bytes: number };
  readAll(): Promise<Content>;
  glance(): Promise<Glance>;
  /**
   * Writes in order; answers in the order of `writes`. With a manifest, that and the marker `$inited` follow, but only
   * if every write was done; as one transaction where the database has such.
   */
  apply(writes: readonly Write[], manifest?: string): Promise<readonly Outcome[]>;
  /** Why the layout cannot hold the item; undefined: it can. */
  misfit(item: Item): string | undefined;
  /** One sentence for status and log. */
  describe(error: unknown): string;
  close(): Promise<void>;
}

/** Every time that such a store keeps, in ms. A test scales them down; a relay never changes them. */
export interface ReplicaTimings {
  /** The least time between two publications. The first change goes at once. */
  readonly publishGapMs: number;
  /** How often the database is glanced at, to see that it is there and was not wiped. */
  readonly glanceMs: number;
  /** How often everything is read back and compared. */
  readonly reconcileMs: number;
  /** How long something newer than memory, or unknown to it, may stand before memory's word is final. */
  readonly secondLookMs: number;
  /** After how long a set is read again that another writer may just be changing. */
  readonly rereadMs: number;
  /** First pause after a failure; doubles, with full jitter, up to `retryCapMs`. */
  readonly retryBaseMs: number;
  readonly retryCapMs: number;
  /** How long `close` waits for a write under way. */
  readonly closeGraceMs: number;
}

export const replicaTimings: ReplicaTimings = {
  publishGapMs: 200,
  glanceMs: 5_000,
  reconcileMs: 300_000,
  secondLookMs: 30_000,
  rereadMs: 250,
  retryBaseMs: 50,
  retryCapMs: 5_000,
  closeGraceMs: 300,
};
