/**
 * The types that the relay's modules share. No code: modules never import one another, `wiring/` connects them.
 */
import type { Agent, IncomingHttpHeaders } from 'node:http';
import type { Agent as HttpsAgent } from 'node:https';
import type { BigSegmentsAnswer, Context, Memo, Reason } from '../lib/evaluation/index.ts';
import type { Item, Kind } from '../lib/flag-table/index.ts';

/** What the modules log with. Never pass a key, a token or a context. */
export interface Log {
  debug(message: string, fields?: LogFields): void;
  info(message: string, fields?: LogFields): void;
  warn(message: string, fields?: LogFields): void;
  error(message: string, fields?: LogFields): void;
}

/** What a log line says beside its message. Its own names are taken. */
export type LogFields = Readonly<Record<string, unknown>> & {
  /** Where docs/operations.md says what to do; every warning and error has one. */
  readonly runbook?: Runbook;
} & {
  readonly [name in 'level' | 'message' | 'sampling_rate' | 'service' | 'timestamp']?: never;
};

/** A heading of docs/operations.md; a test looks whether it exists. */
export type Runbook = `operations.md#${string}`;

/** The three kinds of credential, as LaunchDarkly names them: server SDKs, mobile SDKs, client-side ID. */
export type CredentialKind = 'sdkKey' | 'mobileKey' | 'environmentId';

export interface Credential {
  readonly kind: CredentialKind;
  readonly value: string;
  /** Unix ms after which it is no longer valid; absent: valid until it is removed. */
  readonly expiresAt?: number;
  /** The source no longer names it, or cannot be read: it is the last known one, until the source says more. */
  readonly unconfirmed?: true;
}

/** Keys and names in LaunchDarkly, from auto-configuration and archives. */
export interface EnvironmentLabels {
  readonly envKey: string;
  readonly envName: string;
  readonly projKey: string;
  readonly projName: string;
}

/** One environment as a source describes it: configuration, SSM, auto-configuration, an archive. */
export interface EnvironmentDescription {
  /** The source's ID for it, and its key in `/status`: the configured name, the folder in SSM, or the client-side ID. */
  readonly id: string;
  /** For logs and metrics. */
  readonly name: string;
  readonly labels?: EnvironmentLabels;
  readonly environmentId?: string | undefined;
  /** The client-side ID that it had until its parameter was deleted and another environment got it: whose its mobile keys may be. */
  readonly formerEnvironmentId?: string | undefined;
  /** The key to connect to LaunchDarkly with; undefined while none is known. */
  readonly sdkKey?: string | undefined;
  /** All credentials of the environment, including keys in their grace time and the client-side ID. */
  readonly credentials: readonly Credential[];
  /** Keys of payload filters; the unfiltered environment is always served, too. */
  readonly filters: readonly string[];
  readonly secureMode: boolean;
  /** How long PHP's answers may be cached; 0: not at all. */
  readonly ttlMs: number;
  /** The prefix of keys in stores; '' for none. */
  readonly prefix: string;
  /** A DynamoDB table of its own. */
  readonly tableName?: string | undefined;
  /**
   * The SDK key in use is not the one that the source names, which may have come with the place: a task that starts writes nothing
   * there unless the place holds that key's data already.
   */
  readonly awaitsKey?: true;
  /** Origins of browsers; empty: any. */
  readonly allowedOrigins: readonly string[];
  /** Request headers that browsers may send beside LaunchDarkly's own. */
  readonly allowedHeaders: readonly string[];
  readonly logLevel?: 'debug' | 'info' | 'warn' | 'error' | 'none' | undefined;
  /** `logLevel` counts until then, in Unix ms; absent: for good. */
  readonly logLevelUntil?: number;
  /** Flags come from this JSON or YAML file, watched, instead of from LaunchDarkly. */
  readonly flagsFile?: string | undefined;
  /** The key of its project in LaunchDarkly, unless `labels` name it. */
  readonly projectKey?: string | undefined;
  /** The key of its heartbeat flag; undefined: `HEARTBEAT_FLAG`, if any. */
  readonly heartbeatFlag?: string | undefined;
  /** Flags that come with the description, instead of from LaunchDarkly. Another `id`: other data. */
  readonly data?: { readonly id: string; readonly items: readonly Item[] } | undefined;
  /** Set while the source cannot confirm the keys: they are the last known ones, in their grace time. */
  readonly keyProblem?: { readonly since: number; readonly message: string } | undefined;
}

/** Where a source of environments delivers. */
export interface EnvironmentSink {
  /**
   * The complete list, at the start and after every change. What is no longer in it is revoked when this returns; the rest
   * follows in slices, at the cost of what changed: the same object as before is known to be unchanged. Until the first
   * list is in force, no credential counts as unknown. `incomplete`: more environments are known to exist and follow as they
   * can be read. Never throws.
   */
  replace(environments: readonly EnvironmentDescription[], extent?: 'incomplete'): void;
}

/** A running source of environments and keys. */
export interface EnvironmentSource {
  status(): EnvironmentSourceStatus;
  close(): Promise<void>;
}

export interface EnvironmentSourceStatus {
  readonly kind: 'configuration' | 'ssm' | 'auto-configuration' | 'archive';
  /** INITIALIZING until the first complete answer; INTERRUPTED while it fails and its last answer stays in force. */
  readonly state: 'INITIALIZING' | 'VALID' | 'INTERRUPTED';
  readonly stateSince: number;
  readonly lastError?: { readonly time: number; readonly message: string };
}

/** How outgoing connections are made: through a proxy or not, with additional certificate authorities or not. */
export interface Outbound {
  /** Undefined: Node's own agent. */
  agentFor(url: URL): Agent | undefined;
  /**
   * New agents for one client of AWS, which closes them with itself; undefined: those of the SDK. Throws RelayError
   * CONFIG_INVALID when a proxy that only AWS would use has an invalid address.
   */
  awsAgents(): AwsAgents | undefined;
}

/** How collectors of telemetry are reached. */
export interface CollectorOutbound {
  /**
   * A collector may be beside the relay: none that NO_PROXY names, or on the loopback interface, is reached through a proxy. `pem`: for TLS, `ca`
   * in place of the relay's authorities. Undefined: Node's own agent. Throws when they do not fit each other.
   */
  collectorAgent(url: URL, pem?: CollectorPem): Agent | undefined;
}

export interface CollectorPem {
  readonly ca?: Buffer;
  readonly cert?: Buffer;
  readonly key?: Buffer;
}

/** What the SDK takes as `requestHandler`. */
export interface AwsAgents {
  readonly httpAgent: Agent;
  readonly httpsAgent: HttpsAgent;
}

/** Takes events to be forwarded. Neither call waits for LaunchDarkly, throws or rejects. */
export interface EventIntake {
  /** It takes nothing more: its environment was removed, or the relay stops. */
  readonly closed: boolean;
  /** A JSON array of events. Resolves when it was read, at once unless it is large; the body is not needed any more. */
  analytics(events: EventDelivery): Promise<void>;
  diagnostic(events: EventDelivery): void;
}

export interface EventDelivery {
  readonly kind: CredentialKind;
  readonly credential: string;
  readonly headers: IncomingHttpHeaders;
  /** The body of the request, decompressed. */
  readonly body: Buffer;
  /** What stands for the sender's network address: what events may take is shared among addresses. */
  readonly address: string;
  /** Called between slices of long work: resolves when it is this request's turn again. */
  pause(): Promise<void>;
}

/** Whether the events of an environment reach LaunchDarkly. */
export interface EventStatus {
  /** INITIALIZING until some were delivered; INTERRUPTED while those with one of its credentials cannot be. */
  readonly state: 'INITIALIZING' | 'VALID' | 'INTERRUPTED';
  /** Unix ms. */
  readonly stateSince: number;
  /** The last failure, kept after recovery. `time` is Unix ms. */
  readonly lastError?: NonNullable<UpstreamStatus['lastError']>;
  /** How many are queued or being sent. */
  readonly pending: number;
}

/** Whether events are on the disk, too, until they are delivered. */
export interface SpoolStatus {
  /** INTERRUPTED while the directory cannot be used or written to, or writing takes long. */
  readonly state: 'VALID' | 'INTERRUPTED';
  /** Unix ms. */
  readonly stateSince: number;
  /** The last failure, kept after recovery. `time` is Unix ms. */
  readonly lastError?: { readonly time: number; readonly message: string };
  /** What this relay keeps there, and may. */
  readonly bytes: number;
  readonly maxBytes: number;
}

/** Where a DogStatsD server listens: on UDP, or on a Unix datagram socket. */
export type StatsAddress = { readonly host: string; readonly port: number } | { readonly path: string };

/** A small value that outlives every task and is shared by all, stored beside the flags. */
export interface Keeper {
  /** Undefined when there is none. Rejects when the store cannot be reached. */
  read(): Promise<Uint8Array | undefined>;
  write(bytes: Uint8Array): Promise<void>;
}

/** What the relay holds in memory for clients and of what LaunchDarkly is sending, and the most that it may; in bytes, mostly estimated. */
export interface MemoryUsage {
  /** Of the whole process: the container's memory, or the machine's. */
  readonly limitBytes: number;
  readonly budgetBytes: number;
  readonly usedBytes: Readonly<Record<MemoryPart, number>>;
  /** What each part may take at most; all but `received` and `flags` together may take `budgetBytes`. */
  readonly maxBytes: Readonly<Record<MemoryPart, number>>;
}

export type MemoryPart =
  | 'connections'
  | 'bodies'
  | 'events'
  | 'polls'
  | 'serverStreams'
  | 'clientStreams'
  | 'answerTexts'
  | 'received'
  | 'flags';

/** A context that is kept for long, in little memory. */
export interface HeldContext {
  /** Equal for equal contexts. */
  readonly id: string;
  /** What it takes in memory, estimated. */
  readonly bytes: number;
  /** Reading it takes milliseconds, since it is kept compressed. */
  readonly isPacked?: boolean;
  read(): Context;
}

/** What a stream sends, and what a client says about it when it opens one. */
export type StreamDetails =
  /**
   * `all`: flags and segments, for server SDKs. `flags`: flags only, for the oldest ones. `ping`: only that something changed,
   * for client-side SDKs; `refetch`: the same in OpenFeature's format.
   */
  | { readonly kind: 'all' | 'flags' | 'ping' | 'refetch' }
  /** Flags evaluated for one context, for client-side SDKs. */
  | { readonly kind: 'eval'; readonly context: HeldContext; readonly withReasons: boolean }
  /** The data of `all` in LaunchDarkly's second protocol. `basis`: the state that the client says it holds, or ''. */
  | { readonly kind: 'fdv2'; readonly basis: string };

export type StreamKind = StreamDetails['kind'];

export type StreamOpening = StreamDetails & {
  readonly credentialKind: CredentialKind;
  /** What the stream was opened with. */
  readonly credential: string;
  /** A bounded name of the client, for metrics. */
  readonly family: string;
  /** The client's network address, or what stands for it: clients with the same share places for first payloads. */
  readonly address: string;
  /** HTTP/1.0 clients do not understand chunks. */
  readonly httpVersion: string;
  /** In addition to those of every stream: CORS for browsers. */
  readonly headers?: Readonly<Record<string, string>> | undefined;
};

/** One step of one Big Segment. Members are hashes; versions are opaque, '' before the first. */
export interface BigSegmentPatch {
  /** `<segment key>.g<generation>` */
  readonly segmentRef: string;
  /** The cursor that the patch applies to. */
  readonly previousVersion: string;
  /** The cursor afterwards. While a Big Segment is loaded for the first time, both may be ''. */
  readonly version: string;
  readonly included: MemberChanges;
  readonly excluded: MemberChanges;
}

export interface MemberChanges {
  readonly add: readonly string[];
  readonly remove: readonly string[];
}

/** What an evaluation knows about memberships in Big Segments, by context key. */
export type Memberships = ReadonlyMap<string, BigSegmentsAnswer>;

export interface LoadOptions {
  /** Waits for its turn as long as it takes, for streams, which are open anyway. Otherwise the wait has a limit. */
  readonly patient?: boolean;
  /** What the caller got before: used while the store cannot be asked, even if nothing else remembers it. */
  readonly known?: Memberships | undefined;
}

/** Which contexts are in which Big Segments, according to a store. */
export interface BigSegments {
  /**
   * Memberships of these keys, from a cache of a few seconds or from the store, which may be waited for. Undefined: they
   * are not known yet, because too many others are being looked up; nothing may be answered without them. Never rejects.
   */
  load(contextKeys: readonly string[], options?: LoadOptions): Promise<Memberships | undefined>;
  /**
   * Whether these memberships are those of the source that the flags are of now: between loading and evaluating, an environment may have got
   * another one's flags. By default they always are.
   */
  isPresent?(memberships: Memberships): boolean;
  /** Undefined until there is a Big Segment. */
  status():
    | {
        readonly available: boolean;
        readonly potentiallyStale: boolean;
        readonly lastSynchronizedOn: number;
        /** Hashes of contexts whose segments the store cannot all keep; `*`: any context may be one. */
        readonly incompleteContexts?: readonly string[];
      }
    | undefined;
}

/** The JSON of a variation's value: one object for all answers with it about one state of a flag. */
export interface ValueText {
  readonly json: string;
}

/** One flag evaluated for one context, as client-side SDKs get it. Texts are put together at each use. */
export interface EvaluatedFlag {
  readonly key: string;
  readonly version: number;
  readonly value: ValueText;
  /** Null: there is none. */
  readonly variation: number | null;
  readonly reason: Reason;
  /** The value of the flag's member in an evalx answer, as JSON: `{"value":`, the value's JSON and the rest. */
  readonly json: string;
  readonly rest: string;
}

export interface EvaluationOptions {
  /** Who asks: browsers and mobile SDKs see the flags that are available to them, servers see all. */
  readonly audience: CredentialKind;
  readonly withReasons: boolean;
}

/** An environment's flags for client-side SDKs. What throws while a flag is evaluated costs that flag its value, and nothing else. */
export interface ClientView {
  /**
   * Loads the memberships in Big Segments that evaluations of this context need; undefined when they need none. Resolves
   * with undefined when they are not known yet (see `BigSegments.load`). Never rejects.
   */
  prepare(context: Context, options?: LoadOptions): Promise<Memberships | undefined> | undefined;
  /**
   * Compiles what is not compiled yet in slices, if that takes more than some milliseconds, as after a start; undefined otherwise.
   * Evaluating without it compiles what is needed in one turn of the event loop, but large items that were compiled before count in the
   * version that was. Never rejects.
   */
  compile(): Promise<void> | undefined;
  /** Whether a flag or segment counts in an earlier version than the one held, because it is not compiled yet. */
  readonly isBehind: boolean;
  /** Whether these memberships are all that an evaluation of this context needs now, and of the same environment as the flags. */
  isPrepared(context: Context, memberships: Memberships | undefined): boolean;
  /** `memo`: what evaluations for this context share within one turn of the event loop. Undefined: no such flag for this audience. */
  evaluateOne(
    key: string,
    context: Context,
    options: EvaluationOptions,
    memberships?: Memberships,
    memo?: Memo,
  ): EvaluatedFlag | undefined;
  /** All flags that the audience may see, sorted by key, in steps of less than a millisecond. Void once the environment has changed. */
  evaluateInSteps(
    context: Context,
    options: EvaluationOptions,
    memberships?: Memberships,
  ): Generator<void, EvaluatedFlag[]>;
}

/** The items of an environment in memory, tombstones included. */
export interface ItemView {
  /** False until the first data arrived, from whichever source. */
  readonly initialized: boolean;
  /** Rises by one with every change; has no meaning outside this process. */
  readonly generation: number;
  get(kind: Kind, key: string): Item | undefined;
  /** Insertion order; tombstones included. */
  items(kind: Kind): Iterable<Item>;
}

/** A change of an environment. */
export interface Change {
  /** The generation that this change made. */
  readonly generation: number;
  /**
   * `patch`: every item's version rose, so readers can be sent these items alone.
   * `put`: a version fell, or content changed without a new version, so readers need the whole set.
   */
  readonly kind: 'put' | 'patch';
  /** The items that differ, tombstones included, in the order in which they should be sent. */
  readonly items: readonly Item[];
  /** `performance.now()` when the bytes that caused it arrived, in ms. */
  readonly receivedAt: number;
}

/** An invalid item: it is skipped, its previous version stays, and everything else is served. */
export interface UnreadableItem {
  readonly kind: Kind;
  readonly key: string;
  readonly reason: string;
}

/** A regular expression in an item that RE2 refuses; it never matches. */
export interface RefusedPattern {
  readonly kind: Kind;
  readonly key: string;
  /** The first 300 characters. */
  readonly pattern: string;
}

/** An item that could not be compiled, evaluated or sent; clients get it without a value, and everything else as usual. */
export interface FailedItem {
  readonly kind: Kind;
  readonly key: string;
  readonly reason: string;
}

export type ConnectionState = 'INITIALIZING' | 'VALID' | 'INTERRUPTED' | 'OFF';
export type ConnectionErrorKind = 'NETWORK_ERROR' | 'ERROR_RESPONSE' | 'INVALID_DATA' | 'STORE_ERROR' | 'UNKNOWN';

/** The upstream of one environment, in the terms of LaunchDarkly's data source status. */
export interface UpstreamStatus {
  readonly state: ConnectionState;
  /** Unix ms. */
  readonly stateSince: number;
  /** The same in ms of `performance.now()`: how long it lasts, whatever the clock does meanwhile. */
  readonly stateNow: number;
  /** The last error, kept after recovery. `time` is Unix ms. */
  readonly lastError?: {
    readonly kind: ConnectionErrorKind;
    readonly time: number;
    readonly message: string;
    readonly statusCode?: number;
  };
  /** Set while something large comes late: it arrives slowly, or waits for that of other environments. `since` is Unix ms. */
  readonly delay?: { readonly since: number; readonly message: string };
  /** True while upstream answers with 401 or 403: retried slowly, without end. */
  readonly refused: boolean;
  /** True once a `put` was received on the present connection (or the file was read), as long as bytes arrive. */
  readonly current: boolean;
  /** Unix ms when memory was last known to equal upstream; 0 before. */
  readonly checkedAt: number;
  /** The same in ms of `performance.now()`, to compare with: steps of the clock do not move it. */
  readonly checkedNow: number;
}

/** An attempt to open a stream of LaunchDarkly's. `timestamp`: Unix ms when it began. */
export interface StreamAttempt {
  readonly timestamp: number;
  readonly failed: boolean;
  readonly durationMillis: number;
}

/** Receives what an upstream delivers. All calls are synchronous; the receiver never throws. */
export interface UpstreamSink {
  /** The whole set. Invalid items are left out and named in `unreadable`. */
  put(items: readonly Item[], unreadable: readonly UnreadableItem[], receivedAt: number): void;
  /** One item, or a tombstone. */
  upsert(item: Item, receivedAt: number): void;
  /** One invalid item. */
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

/** The complete set that a store holds. */
export interface StoredSet {
  readonly items: readonly Item[];
  /**
   * Whose data it is, as the writer named it; '' when that cannot be said. Undefined: the store does not say, since another
   * program wrote it, or an earlier version.
   */
  readonly source: string | undefined;
}

/** A replica of memory in a database, written behind. */
export interface Store {
  /** Undefined when there is no complete set. Rejects when the store cannot be reached. */
  read(): Promise<StoredSet | undefined>;
  /**
   * A cheap text that becomes another one with every change of the set; undefined where nothing tells, as after another
   * program wrote it. Rejects when the store cannot be reached.
   */
  stamp(): Promise<string | undefined>;
  /** Tells the store that memory changed; never throws, never waits. */
  notify(change: Change): void;
  /** Tells the store whether this task's upstream is current, which decides whether it may write. */
  setEligible(eligible: boolean): void;
  status(): StoreStatus;
  /** Resolves when everything notified so far is in the store, or the time is over. */
  flush(timeoutMs: number): Promise<void>;
  /** Releases the lease and stops. */
  close(): Promise<void>;
}

/** One answer of an endpoint, for metrics. Streams are reported when they are opened. */
export interface Answered {
  /** The pattern of the route, or `none`. */
  readonly route: string;
  readonly method: string;
  readonly status: number;
  readonly environment: string | undefined;
  readonly credential: CredentialKind | undefined;
  readonly family: string;
  /** Of its body before compression; 0 for a stream. */
  readonly bytes?: number;
  readonly durationMs: number;
}

/** What a span says. Never a key, a context or a flag's value. */
export type SpanAttributes = Readonly<Record<string, string | number | boolean | readonly string[]>>;

/** One operation of a trace that is recorded. There is none while nothing is traced, and for a request that is not sampled. */
export interface Span {
  set(attributes: SpanAttributes): void;
  /** Begins now. */
  child(name: string, attributes?: SpanAttributes): Span;
  /** `problem`: it failed. */
  end(problem?: string): void;
}

/** The head of a request, as far as it may be shown. */
export interface WatchedHead {
  readonly headers: IncomingHttpHeaders;
  readonly method: string;
  readonly scheme: 'http' | 'https';
  readonly httpVersion: string;
  /** The pattern of the route and what it holds; undefined: there is no such route. */
  readonly route?: { readonly path: string; readonly params: Readonly<Record<string, string>> } | undefined;
  /** Whether it asks for a stream. */
  readonly isStream: boolean;
  readonly address: string;
  readonly family: string;
  /** `performance.now()` when the head had arrived. */
  readonly since: number;
}

/** Sees requests from their heads to their ends. Must not throw. */
export interface RequestWatch {
  begin(head: WatchedHead): WatchedRequest;
}

export interface WatchedRequest {
  readonly span: Span | undefined;
  /** Whose request it is, or that nobody knows. Once, right after the head. */
  identified(environment: string | undefined, credentialKind: CredentialKind | undefined): void;
  /** The size of a body of events, decompressed. */
  receivedEvents(bytes: number): void;
  /** An answer begins to be sent, or a stream is open. */
  answered(status: number): void;
  /** The answer is sent, the stream is closed, or the client is gone. */
  ended(): void;
}

/** What a store has written: when the first and the last of its changes were received, by `performance.now()`. */
export interface WrittenWork {
  readonly since: number;
  readonly until: number;
  readonly items: number;
}

/** Sees the way of changes through the relay. Must not throw. */
export interface ChangeWatch {
  /** Memory has it, and streams and stores were told, in this turn of the event loop. */
  changed(environment: string, change: Change): void;
  /** The changes that were received between these times were written to every stream of this kind. */
  wroteStreams(environment: string, kind: StreamKind, since: number, until: number): void;
  /** So many items, of the changes that were received between these times, are in a store. */
  wroteStore(environment: string, database: StoreStatus['database'], written: WrittenWork): void;
}

/** LaunchDarkly's answer about click and page view goals. */
export interface GoalsAnswer {
  readonly status: number;
  /** Without hop-by-hop, CORS and cookie headers. */
  readonly headers: Readonly<Record<string, string>>;
  readonly body: Buffer;
}
