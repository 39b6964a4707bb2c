/** Why `/status` says degraded. docs/endpoints.md lists when each reason begins and ends. */
import { counted } from '../common/counted.ts';
import { durationText } from '../common/duration-text.ts';
import { cutText } from '../common/json.ts';
import { redactSecrets } from '../common/secrets.ts';
import type {
  BigSegments,
  EnvironmentSourceStatus,
  FailedItem,
  Runbook,
  StoreStatus,
  UnreadableItem,
  UpstreamStatus,
} from '../ports.ts';

export interface Reason {
  /** Absent: it is about the whole relay. */
  readonly environment?: string;
  readonly what: string;
  /** Unix ms; absent: not known. */
  readonly since?: number;
  /** Without secrets. */
  readonly message: string;
  readonly runbook: Runbook;
}

/** What reasons depend on. */
export interface Environment {
  /** `NAME`, or `NAME/FILTER`. */
  readonly name: string;
  /** Unix ms. */
  readonly createdAt: number;
  /** Whether it has data, from any source. */
  readonly initialized: boolean;
  /** Undefined: there is no key for LaunchDarkly. */
  readonly upstream?: UpstreamStatus | undefined;
  /** Set while the source cannot confirm the keys. */
  readonly keyProblem?: { readonly since: number; readonly message: string } | undefined;
  readonly stores: readonly StoreStatus[];
  readonly unreadable: readonly UnreadableItem[];
  readonly failedItems: readonly FailedItem[];
  /** Undefined: it has no Big Segments, or no store for them. */
  readonly bigSegments?: ReturnType<BigSegments['status']>;
}

export interface Limits {
  /** Unix ms. */
  readonly now: number;
  /** Ms of `performance.now()`. */
  readonly monotonic: number;
  readonly disconnectedStatusTimeMs: number;
  /** Whether stale Big Segments make the relay degraded. */
  readonly bigSegmentsStaleAsDegraded?: boolean | undefined;
}

/** Of texts that others sent. */
export const LONGEST_TEXT = 1_000;

function reason(what: string, runbook: Runbook, message: string, since?: number): Reason {
  const text = redactSecrets(cutText(message, LONGEST_TEXT));
  return { what, ...(since !== undefined && { since }), message: text, runbook };
}

/** A short interruption is tolerated. Data from a store before the first connection is not an interruption. */
export function isConnected({ initialized, upstream }: Environment, limits: Limits): boolean {
  return (
    initialized &&
    upstream !== undefined &&
    upstream.state !== 'INITIALIZING' &&
    (upstream.state === 'VALID' || limits.monotonic - upstream.stateNow < limits.disconnectedStatusTimeMs)
  );
}

export function* reasonsOf(environment: Environment, limits: Limits): Generator<Reason, void> {
  for (const one of allOf(environment, limits)) yield { environment: environment.name, ...one };
}

function* allOf(environment: Environment, limits: Limits): Generator<Reason, void> {
  const { keyProblem, stores, unreadable, failedItems } = environment;
  yield* ofUpstream(environment, limits);
  if (keyProblem) yield reason('keys-unconfirmed', 'operations.md#key-problem', keyProblem.message, keyProblem.since);
  for (const store of stores) yield* ofStore(store);
  if (unreadable.length > 0) {
    yield reason('unreadable-items', 'operations.md#unreadable-items', listed('invalid and left out', unreadable));
  }
  if (failedItems.length > 0) {
    yield reason('failed-items', 'operations.md#failed-items', listed('sent to clients without a value', failedItems));
  }
  yield* ofBigSegments(environment, limits);
}

/** Of the relay as a whole. */
export function* ownReasons(state: {
  readonly keysKnown: boolean;
  readonly source: EnvironmentSourceStatus | undefined;
  readonly losing: { readonly since: number; readonly reason: string } | undefined;
}): Generator<Reason, void> {
  const { keysKnown, source, losing } = state;
  const why = source?.lastError ? `: ${source.lastError.message}` : '';
  if (source?.state === 'INTERRUPTED') {
    const message = `The source of environments and keys fails${why}; its last answer stays in use`;
    yield reason('key-source-down', 'operations.md#key-source-down', message, source.stateSince);
  } else if (!keysKnown) {
    const message = `The list of environments is not known yet${why}; unknown keys get 503`;
    yield reason('environments-unknown', 'operations.md#key-source-down', message, source?.stateSince);
  }
  if (losing) {
    const message = `Log lines are being lost: ${losing.reason}`;
    yield reason('log-lines-lost', 'operations.md#log-lines-lost', message, losing.since);
  }
}

function* ofUpstream(environment: Environment, limits: Limits): Generator<Reason, void> {
  const { initialized, upstream, createdAt } = environment;
  const why = upstream?.lastError?.message ?? 'no answer so far';
  const serves = initialized ? 'clients get what memory holds' : 'clients get 503';
  const { statusCode } = upstream?.lastError ?? {};
  if (upstream?.refused) {
    const what = statusCode === 401 || statusCode === 403 ? 'LaunchDarkly rejects the SDK key' : 'LaunchDarkly refuses';
    yield reason('key-refused', 'operations.md#upstream-refused', `${what} (${why}); ${serves}`, upstream.stateSince);
  }
  if (!initialized) {
    const source = upstream ? why : 'there is no SDK key';
    yield reason('no-data', 'operations.md#no-data', `There are no flags yet (${source}); clients get 503`, createdAt);
  } else if (!upstream) {
    yield reason('disconnected', 'operations.md#upstream-disconnected', `There is no source of flags; ${serves}`);
  } else if (!upstream.refused && !isConnected(environment, limits)) {
    const { stateSince, stateNow } = upstream;
    const message = `The source of flags has been away for ${durationText(limits.monotonic - stateNow)} (${why}); ${serves}`;
    yield reason('disconnected', 'operations.md#upstream-disconnected', message, stateSince);
  }
}

const NAMES = { dynamodb: 'DynamoDB', redis: 'Redis', consul: 'Consul' } as const satisfies Record<
  StoreStatus['database'],
  string
>;

function* ofStore({ database, state, stateSince, dbTable, lastError, oversized = [] }: StoreStatus) {
  const name = `${NAMES[database]}${dbTable === undefined ? '' : ` table "${dbTable}"`}`;
  if (state === 'INTERRUPTED') {
    const message = `${name} fails (${lastError?.message ?? 'no reason is known'}); serving from memory, trying again`;
    yield reason('store-down', 'operations.md#store-down', message, stateSince);
  }
  if (oversized.length > 0) {
    const message = `${counted(oversized.length, 'item')} too large for ${name}: ${oversized.slice(0, 3).join('; ')}`;
    yield reason('oversized-items', 'operations.md#oversized-items', message);
  }
}

function* ofBigSegments({ bigSegments }: Environment, { bigSegmentsStaleAsDegraded, now }: Limits) {
  if (!bigSegments || !bigSegmentsStaleAsDegraded) return;
  const { available, potentiallyStale, lastSynchronizedOn } = bigSegments;
  if (available && !potentiallyStale) return;
  const age =
    lastSynchronizedOn > 0 ? `synchronized ${durationText(now - lastSynchronizedOn)} ago` : 'never synchronized';
  const message = available ? `Big Segments may be out of date: ${age}` : 'The store of Big Segments does not answer';
  const since = lastSynchronizedOn > 0 ? lastSynchronizedOn : undefined;
  yield reason('big-segments-stale', 'operations.md#big-segments-stale', message, since);
}

function listed(
  what: string,
  items: readonly { readonly kind: string; readonly key: string; readonly reason: string }[],
) {
  const [first] = items;
  const others = items.length > 1 ? `, and ${items.length - 1} more` : '';
  return `${counted(items.length, 'item')} ${what}: ${first?.kind} "${first?.key}" (${first?.reason})${others}`;
}
