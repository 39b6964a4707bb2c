/**
 * What the endpoints need from the rest of the relay, in their own words; `relay.ts` hands it in.
 */

import type { Socket } from 'node:net';
import type { Context, Evaluator, Flag } from '../../lib/evaluation/index.ts';
import type { Item, Kind } from '../../lib/flag-table/index.ts';
import type { ClientView, CredentialKind, EventIntake, ItemView, Log } from '../ports.ts';

/**
 * The kinds of stream that a route can open: `/all`, `/flags`, pings, OpenFeature's pings, evaluated flags for one
 * context, and FDv2's `/sdk/stream`.
 */
export type StreamKind = 'all' | 'flags' | 'ping' | 'refetch' | 'eval' | 'fdv2';

export interface ServedView extends ItemView {
  /** A digest of the content of all items, or of one kind, as hex: equal in every relay that holds the same. */
  digest(scope: Kind | 'all'): string;
  /** What FDv2 calls the state: a digest of the content, equal in every relay that holds the same. '' before there is data. */
  state(): string;
  /** Items, tombstones too, that lead from that state to the present one; undefined: the state is not remembered. */
  changesSince(state: string): readonly Item[] | undefined;
}

export interface ServedEnvironment {
  readonly name: string;
  /** The client-side ID, for `X-LD-EnvID`. */
  readonly environmentId?: string | undefined;
  readonly view: ServedView;
  /** Whether upstream answers with 401 or 403 at present. */
  readonly refused: boolean;
  readonly clientView: ClientView;
  /** For answers about single flags; `prepare` of the client view first. */
  readonly evaluator: Evaluator;
  /** Compiled flags that the audience may see, without tombstones. */
  flags(audience: CredentialKind): Iterable<Flag>;
  /** Whether browsers have to prove who their context is. */
  readonly secureMode: boolean;
  /** Every SDK key in force, those in their grace time too; for hashes of secure mode. */
  sdkKeys(): readonly string[];
  /** Empty: any origin. */
  readonly allowedOrigins: readonly string[];
  readonly allowedHeaders: readonly string[];
  /** How long PHP's answers may be cached, in ms; 0: not at all. */
  readonly ttlMs: number;
  /** Undefined: events are not forwarded. */
  readonly events?: EventIntake | undefined;
  /**
   * LaunchDarkly's answer about click and page view goals; undefined: it is not asked. `query` is that of the request,
   * without its question mark. Rejects when LaunchDarkly does not answer.
   */
  readonly goals?: ((query: string) => Promise<GoalsAnswer>) | undefined;
}

export interface GoalsAnswer {
  readonly status: number;
  readonly headers: Readonly<Record<string, string>>;
  readonly body: Buffer;
}

/**
 * `not-yet`: whoever knows the credentials has not answered once, so nobody can be called unknown.
 * `unknown-filter`: the credential is known, its environment has no such payload filter.
 */
export type Found = { readonly environment: ServedEnvironment } | 'unknown-credential' | 'unknown-filter' | 'not-yet';

export interface StreamOpening {
  readonly kind: StreamKind;
  readonly credentialKind: CredentialKind;
  readonly credential: string;
  readonly family: string;
  readonly httpVersion: string;
  /** Beside those of every stream: CORS for browsers. */
  readonly headers?: Readonly<Record<string, string>>;
  /** `eval` */
  readonly context?: Context;
  /** `eval` */
  readonly withReasons?: boolean;
  /** `fdv2`: the state that the client says it holds. */
  readonly basis?: string;
}

export interface Health {
  /** The body of `/status`. */
  status(): unknown;
  /** The part of it for one environment, by name (`NAME` or `NAME/FILTER`), client-side ID or `PROJECT/ENVIRONMENT` key. */
  environmentStatus(identifier: string): unknown | undefined;
  readiness(): { readonly ready: boolean; readonly waitingFor: readonly string[] };
}

/** One finished answer, for metrics. Streams are told when they are opened. */
export interface Answered {
  /** The pattern of the route, or `none`. */
  readonly route: string;
  readonly method: string;
  readonly status: number;
  readonly environment: string | undefined;
  readonly credential: CredentialKind | undefined;
  readonly family: string;
  readonly durationMs: number;
}

export interface Services {
  /** `filter` is the text of the query parameter, '' when absent. Must not throw. */
  find(kind: CredentialKind, credential: string, filter: string): Found;
  /** Takes the socket over and answers on it; false when it was left alone and is to be answered with 503. */
  openStream(environment: ServedEnvironment, socket: Socket, opening: StreamOpening): boolean;
  readonly health: Health;
  /** A bounded name for a client, from `X-LaunchDarkly-User-Agent` or `User-Agent`. */
  family?(userAgent: string | undefined): string;
  answered?(answer: Answered): void;
  readonly log: Log;
}
