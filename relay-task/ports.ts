/**
 * The words that the relay's rooms share. Types only: rooms never import each other, `relay.ts` introduces them.
 */
import type { Agent, IncomingHttpHeaders } from 'node:http';
import type { BigSegmentsAnswer, Context } from '../lib/evaluation/index.ts';
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

export interface Credential {
  readonly kind: CredentialKind;
  readonly value: string;
  /** Unix ms after which it is no longer valid; absent: until it is taken away. */
  readonly expiresAt?: number;
}

/** One environment as a source describes it: configuration, SSM, auto-configuration, an archive. */
export interface EnvironmentDescription {
  /** What the source knows it by, and its key in `/status`: the configured name, the folder in SSM, or the client-side ID. */
  readonly id: string;
  /** For logs and metrics. */
  readonly name: string;
  /** As auto-configuration and archives know them. */
  readonly labels?: {
    readonly envKey: string;
    readonly envName: string;
    readonly projKey: string;
    readonly projName: string;
  };
  readonly environmentId?: string | undefined;
  /** The key with which LaunchDarkly is asked; undefined while none is known. */
  readonly sdkKey?: string | undefined;
  /** Everything that opens the environment: keys in their grace time too, the client-side ID too. */
  readonly credentials: readonly Credential[];
  /** Keys of payload filters; everything, unfiltered, is always served too. */
  readonly filters: readonly string[];
  readonly secureMode: boolean;
  /** How long PHP's answers may be cached; 0: not at all. */
  readonly ttlMs: number;
  /** Of keys in stores; '' for none. */
  readonly prefix: string;
  /** A DynamoDB table of its own. */
  readonly tableName?: string | undefined;
  /** Of browsers; empty: any. */
  readonly allowedOrigins: readonly string[];
  /** Request headers that browsers may send beside LaunchDarkly's own. */
  readonly allowedHeaders: readonly string[];
  readonly logLevel?: 'debug' | 'info' | 'warn' | 'error' | 'none' | undefined;
  /** Flags come from this JSON or YAML file, watched, instead of from LaunchDarkly. */
  readonly flagsFile?: string | undefined;
  /** Flags that come with the description, instead of from LaunchDarkly. Another `id`: other data. */
  readonly data?: { readonly id: string; readonly items: readonly Item[] } | undefined;
  /** Set while the source cannot vouch for the keys: they are the last known ones, in their grace time. */
  readonly keyProblem?: { readonly since: number; readonly message: string } | undefined;
}

/** Where a source of environments delivers. */
export interface EnvironmentSink {
  /**
   * The complete list, at the start and after every change: what is not in it is removed at once. Until the first call
   * no credential can be called unknown. Synchronous; never throws.
   */
  replace(environments: readonly EnvironmentDescription[]): void;
}

/** A running source of environments and keys. */
export interface EnvironmentSource {
  status(): EnvironmentSourceStatus;
  close(): Promise<void>;
}

export interface EnvironmentSourceStatus {
  readonly kind: 'configuration' | 'ssm' | 'auto-configuration' | 'archive';
  /** INITIALIZING until it answered completely once; INTERRUPTED while it fails: what it said last stays in force. */
  readonly state: 'INITIALIZING' | 'VALID' | 'INTERRUPTED';
  readonly stateSince: number;
  readonly lastError?: { readonly time: number; readonly message: string };
}

/** How the outside is reached: through a proxy or not, with more certificate authorities or not. */
export interface Outbound {
  /** Undefined: Node's own agent. */
  agentFor(url: URL): Agent | undefined;
}

/** Where events go, if they are forwarded. Neither call waits or throws. */
export interface EventIntake {
  /** A JSON array of events. */
  analytics(events: EventDelivery): void;
  diagnostic(events: EventDelivery): void;
}

export interface EventDelivery {
  readonly kind: CredentialKind;
  readonly credential: string;
  readonly headers: IncomingHttpHeaders;
  /** What stood in the request, decompressed. */
  readonly body: Buffer;
}

/** Something small that outlives every task and is shared by all, kept in a store beside the flags. */
export interface Keeper {
  /** Undefined: there is nothing. Rejects when the store cannot be reached. */
  read(): Promise<Uint8Array | undefined>;
  write(bytes: Uint8Array): Promise<void>;
}

/** One step of one Big Segment. Members are hashes; versions are opaque, '' before the first. */
export interface BigSegmentPatch {
  /** `<segment key>.g<generation>` */
  readonly segmentRef: string;
  /** What the cursor must be for the patch to fit. */
  readonly previousVersion: string;
  /** What it is afterwards. While a Big Segment is loaded for the first time both may be ''. */
  readonly version: string;
  readonly included: MemberChanges;
  readonly excluded: MemberChanges;
}

export interface MemberChanges {
  readonly add: readonly string[];
  readonly remove: readonly string[];
}

/** Which contexts are in which Big Segments, as a store says. */
export interface BigSegments {
  /** What the last `load` found for the key; STORE_ERROR for a key that was never loaded. */
  lookup(contextKey: string): BigSegmentsAnswer;
  /** Makes `lookup` right for these keys, from a cache of a few seconds or from the store. Never rejects. */
  load(contextKeys: readonly string[]): Promise<void>;
  /** Undefined until a Big Segment was seen. */
  status():
    | { readonly available: boolean; readonly potentiallyStale: boolean; readonly lastSynchronizedOn: number }
    | undefined;
}

/** One flag evaluated for one context, as client-side SDKs get it. */
export interface EvaluatedFlag {
  readonly key: string;
  readonly version: number;
  /** The object that stands behind the key in an evalx answer, as JSON. */
  readonly json: string;
}

export interface EvaluationOptions {
  /** Whose request it is: browsers and mobile SDKs see the flags that are made available to them, servers see all. */
  readonly audience: CredentialKind;
  readonly withReasons: boolean;
}

/** An environment's flags for client-side SDKs. */
export interface ClientView {
  /** To be awaited before evaluating, if there is anything to wait for (memberships in Big Segments). Never rejects. */
  prepare(context: Context): Promise<void> | undefined;
  /** Undefined: no such flag for this audience. */
  evaluateOne(key: string, context: Context, options: EvaluationOptions): EvaluatedFlag | undefined;
  /** All that the audience may see, in the view's order. */
  evaluateAll(context: Context, options: EvaluationOptions): EvaluatedFlag[];
}

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
