/** What handlers receive and answer. */
import type { IncomingHttpHeaders } from 'node:http';
import type { Selected } from './credentials.ts';
import type { Reply } from './reply.ts';

export interface RouteRequest {
  readonly method: string;
  readonly params: Readonly<Record<string, string>>;
  readonly query: URLSearchParams;
  readonly headers: IncomingHttpHeaders;
  /** The decompressed body. Call it once. Rejects with Refusal. */
  body(limitBytes: number): Promise<Buffer>;
}

/** A request of a route with a credential, which names the environment. */
export interface EnvironmentRequest extends RouteRequest, Selected {}

/** May reject or throw: a Refusal is answered with its reply; anything else is logged and answered with 500. */
export type Handler<Request extends RouteRequest = EnvironmentRequest> = (request: Request) => Reply | Promise<Reply>;
