/**
 * What the endpoints need from the rest of the relay, in their own words; `relay.ts` hands it in.
 */
import type { Socket } from 'node:net';
import type { Kind } from '../../lib/flag-table/index.ts';
import type { CredentialKind, ItemView, Log } from '../ports.ts';

/** The kinds of stream that a route can open. */
export type StreamKind = 'all' | 'flags';

export interface ServedView extends ItemView {
  /** A digest of the content of all items, or of one kind, as hex: equal in every relay that holds the same. */
  digest(scope: Kind | 'all'): string;
}

export interface ServedEnvironment {
  readonly name: string;
  /** The client-side ID, for `X-LD-EnvID`. */
  readonly environmentId?: string | undefined;
  readonly view: ServedView;
  /** Whether upstream answers with 401 or 403 at present. */
  readonly refused: boolean;
}

/**
 * `not-yet`: whoever knows the credentials has not answered once, so nobody can be called unknown.
 * `unknown-filter`: the credential is known, its environment has no such payload filter.
 */
export type Found = { readonly environment: ServedEnvironment } | 'unknown-credential' | 'unknown-filter' | 'not-yet';

export interface StreamOpening {
  readonly kind: StreamKind;
  readonly credential: string;
  readonly family: string;
  readonly httpVersion: string;
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
