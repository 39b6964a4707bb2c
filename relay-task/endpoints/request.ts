/** What handlers receive and answer. */
import type { IncomingHttpHeaders } from 'node:http';
import type { WatchedRequest } from '../ports.ts';
import type { Answer } from './answers.ts';
import type { Selected } from './credentials.ts';
import type { Reply } from './reply.ts';
import type { BodyMemory } from './request-body.ts';
import type { Query } from './router.ts';

export interface RouteRequest {
  readonly method: string;
  readonly params: Readonly<Record<string, string>>;
  readonly query: Query;
  readonly headers: IncomingHttpHeaders;
}

/** A request of a route with a credential, which names the environment. */
export interface EnvironmentRequest extends RouteRequest, Selected {
  /** What stands for the client's network address, to share things fairly. */
  readonly address: string;
  /** The decompressed body. Call it once. Rejects with Refusal. */
  body(limitBytes: number): Promise<Buffer>;
  /** As `Holding.hold`. */
  readonly hold: BodyMemory['hold'];
  readonly answer: Answer;
  /** Undefined while OpenTelemetry is off. */
  readonly watched?: WatchedRequest | undefined;
  /** Long work calls it after each slice: resolves when it is this request's turn again. */
  pause(): Promise<void>;
  /**
   * Runs an evaluation of all flags when there is a place for it, which it holds to its end. It calls `pause` after each slice. Rejects as
   * the job does; with Refusal 503 if too many wait; and when the client has left.
   */
  evaluating<T>(job: (pause: () => Promise<void>) => Promise<T>): Promise<T>;
}

/** Reads the body of a request, decompressed; its bytes are taken from the memory. Call it once. Rejects with Refusal. */
export type ReadBody = (limitBytes: number, memory: BodyMemory) => Promise<Buffer>;

/** May reject or throw: a Refusal is answered with its reply; anything else is logged and answered with 500. */
export type Handler<Request extends RouteRequest = EnvironmentRequest> = (request: Request) => Reply | Promise<Reply>;
