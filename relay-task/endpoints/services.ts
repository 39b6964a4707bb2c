/** What the endpoints need from the rest of the relay; `relay.ts` provides it. */

import type { Socket } from 'node:net';
import type { Kind } from '../../lib/flag-table/index.ts';
import type { FDv2Event } from '../common/fdv2-events.ts';
import type {
  Answered,
  ClientView,
  CredentialKind,
  EventIntake,
  GoalsAnswer,
  ItemView,
  Log,
  RequestWatch,
  StreamOpening,
} from '../ports.ts';

export interface ServedView extends ItemView {
  /** To be awaited before `digest` and `state` are called for the first time: all items are hashed. Undefined: they are. */
  hashed(): Promise<void> | undefined;
  /** A digest of the content of all items, or of one kind, as hex: equal in every relay that holds the same. */
  digest(scope: Kind | 'all'): string;
  /** FDv2's state: a digest of the content, equal in every relay that holds the same. '' before there is data. */
  state(): string;
  readonly fdv2: {
    /** The events that lead from that state to the present one; undefined if it is not remembered. */
    since(basis: string): readonly FDv2Event[] | undefined;
  };
}

export interface ServedEnvironment {
  readonly name: string;
  /** The client-side ID, for `X-LD-EnvID`. */
  readonly environmentId?: string | undefined;
  readonly view: ServedView;
  /** Whether LaunchDarkly currently answers 401 or 403. */
  readonly refused: boolean;
  readonly clientView: ClientView;
  /** Whether browsers must send a hash with their context. */
  readonly secureMode: boolean;
  /** Every SDK key in force, including those in their grace time; for secure mode hashes. */
  sdkKeys(): readonly string[];
  /** False: one of them may be a key that the relay could not read yet. */
  knowsAllKeys(): boolean;
  /** Empty: every origin. */
  readonly allowedOrigins: readonly string[];
  readonly allowedHeaders: readonly string[];
  /** How long PHP may cache answers, in ms; 0: not at all. */
  readonly ttlMs: number;
  /** Undefined: events are not forwarded. */
  readonly events?: EventIntake | undefined;
  /**
   * LaunchDarkly's answer about click and page view goals of the client-side ID of a request; undefined: never requested.
   * `query` is the request's query, without the question mark. Rejects if LaunchDarkly does not answer.
   */
  readonly goals?: ((environmentId: string, query: string) => Promise<GoalsAnswer>) | undefined;
}

/**
 * `not-yet`: the source of credentials has not answered yet, so no credential can be called unknown.
 * `unknown-filter`: the credential is known, but its environment has no such payload filter.
 */
export type Found = { readonly environment: ServedEnvironment } | 'unknown-credential' | 'unknown-filter' | 'not-yet';

export interface Health {
  /** The body of `/status` as JSON, in parts that take little work each. */
  status(): Iterable<string>;
  /**
   * One environment's part of it, by name (`NAME` or `NAME/FILTER`), client-side ID or `PROJECT/ENVIRONMENT` key; undefined if there is
   * none. Yields in between.
   */
  environmentStatus(identifier: string): Generator<void, unknown>;
  readiness(): { readonly ready: boolean; readonly waitingFor: readonly string[] };
}

export interface Services {
  /**
   * `filter` is the query parameter, '' when absent. The same environment is always the same object: requests look again
   * before data is sent. Must not throw.
   */
  find(kind: CredentialKind, credential: string, filter: string): Found;
  /** Takes over the socket and answers on it, or returns why not; then the socket is untouched and must be answered with 503. */
  openStream(
    environment: ServedEnvironment,
    socket: Socket,
    opening: StreamOpening,
  ): 'memory' | 'queue' | 'closing' | undefined;
  readonly health: Health;
  /** A bounded name for a client, from `X-LaunchDarkly-User-Agent` or `User-Agent`. */
  family?(userAgent: string | undefined): string;
  answered?(answer: Answered): void;
  /** Undefined while OpenTelemetry is off. */
  readonly watch?: RequestWatch | undefined;
  readonly log: Log;
}
