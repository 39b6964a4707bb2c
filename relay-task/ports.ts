/**
 * The words that the relay's rooms share. Types only: rooms never import each other, `relay.ts` introduces them.
 */
import type { Item, Kind } from '../lib/flag-table/index.ts';

/** The part of the Powertools Logger that the rooms use. Never pass a key, a token or a context. */
export interface Log {
  debug(message: string, fields?: Record<string, unknown>): void;
  info(message: string, fields?: Record<string, unknown>): void;
  warn(message: string, fields?: Record<string, unknown>): void;
  error(message: string, fields?: Record<string, unknown>): void;
}

/** The three kinds of credential, as LaunchDarkly names them: server SDKs, mobile SDKs, client-side ID. */
export type CredentialKind = 'sdkKey' | 'mobileKey' | 'environmentId';

/** What an environment holds in memory; tombstones are items too. */
export interface ItemView {
  /** False until the first data arrived, from whichever source. */
  readonly initialized: boolean;
  /** Rises by one with every change; meaningful inside this process only. */
  readonly generation: number;
  get(kind: Kind, key: string): Item | undefined;
  /** Insertion order; tombstones included. */
  items(kind: Kind): Iterable<Item>;
}

/** What became different in an environment. */
export interface Change {
  /** The generation that this change made. */
  readonly generation: number;
  /**
   * `patch`: every item's version rose, so readers may be sent these items alone.
   * `put`: a version fell or content changed under the same version, so only the whole set makes readers right.
   */
  readonly kind: 'put' | 'patch';
  /** The items that differ, tombstones included, in the order in which they should be sent. */
  readonly items: readonly Item[];
  /** `performance.now()` when the bytes that caused it arrived, in ms. */
  readonly receivedAt: number;
}

/** An item that could not be understood; it is skipped, its previous version stays, everything else is served. */
export interface UnreadableItem {
  readonly kind: Kind;
  readonly key: string;
  readonly reason: string;
}

export type ConnectionState = 'INITIALIZING' | 'VALID' | 'INTERRUPTED' | 'OFF';
export type ConnectionErrorKind = 'NETWORK_ERROR' | 'ERROR_RESPONSE' | 'INVALID_DATA' | 'STORE_ERROR' | 'UNKNOWN';

/** The upstream of one environment, in the words of LaunchDarkly's data source status. */
export interface UpstreamStatus {
  readonly state: ConnectionState;
  /** Unix ms. */
  readonly stateSince: number;
  /** The last error ever seen, kept after recovery. `time` is Unix ms. */
  readonly lastError?: {
    readonly kind: ConnectionErrorKind;
    readonly time: number;
    readonly message: string;
    readonly statusCode?: number;
  };
  /** True while upstream answers with 401 or 403: retried slowly, never given up. */
  readonly refused: boolean;
  /** True while a `put` has been received on the present connection (or the file was read) and bytes still arrive. */
  readonly current: boolean;
  /** Unix ms when memory was last known to equal upstream; 0 before. */
  readonly checkedAt: number;
}

/** Where an upstream delivers. All calls are synchronous; the receiver never throws. */
export interface UpstreamSink {
  /** The whole set. Unreadable items were left out and are named in `unreadable`. */
  put(items: readonly Item[], unreadable: readonly UnreadableItem[], receivedAt: number): void;
  /** One item, or a tombstone. */
  upsert(item: Item, receivedAt: number): void;
  /** One item that could not be understood. */
  skip(item: UnreadableItem): void;
}

/** A running source of data for one environment. */
export interface Upstream {
  status(): UpstreamStatus;
  close(): Promise<void>;
}

/** The state of one store of one environment, as `/status` shows it. */
export interface StoreStatus {
  readonly state: 'INITIALIZING' | 'VALID' | 'INTERRUPTED';
  readonly stateSince: number;
  readonly database: 'dynamodb' | 'redis' | 'consul';
  readonly dbServer?: string;
  readonly dbPrefix?: string;
  readonly dbTable?: string;
  /** Whether this relay is the one that writes this environment. */
  readonly writer: boolean;
  readonly lastError?: { readonly time: number; readonly message: string };
  /** Items of the environment that the store cannot hold in the official layout, with the reason. */
  readonly oversized?: readonly string[];
}

/** A replica of memory, written behind. */
export interface Store {
  /** Everything the store holds, or undefined when it holds no complete set. Rejects when it cannot be reached. */
  read(): Promise<readonly Item[] | undefined>;
  /** Tells the store that memory changed; never throws, never waits. */
  notify(change: Change): void;
  /** Tells the store whether this task's upstream is current, which decides who may write. */
  setEligible(eligible: boolean): void;
  status(): StoreStatus;
  /** Resolves when everything notified so far is in the store or the time is over. */
  flush(timeoutMs: number): Promise<void>;
  /** Releases the lease and stops. */
  close(): Promise<void>;
}
