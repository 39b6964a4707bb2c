/** Every address of the relay, one row each. `docs/endpoints.md` is held against this table. */
import type { IncomingHttpHeaders, IncomingMessage } from 'node:http';
import type { CredentialKind } from '../ports.ts';
import { createPolling } from './polling.ts';
import { jsonReply, messageReply, type Reply } from './reply.ts';
import type { ServedEnvironment, Services, StreamKind } from './services.ts';

export interface RouteRequest {
  readonly method: string;
  readonly params: Readonly<Record<string, string>>;
  readonly query: URLSearchParams;
  readonly headers: IncomingHttpHeaders;
  /** Present on routes with a credential. */
  readonly environment?: ServedEnvironment;
  readonly credential?: string;
  /** For handlers that read a body. */
  readonly message: IncomingMessage;
}

/** May reject or throw: that is answered with 500 and logged. */
export type Handler = (request: RouteRequest) => Reply | Promise<Reply>;

interface RouteBase {
  readonly method: 'GET' | 'POST' | 'REPORT' | 'OPTIONS';
  readonly path: string;
  readonly credential?: CredentialKind;
}

/** Answered by a handler, or with a stream, which needs a credential. */
export type Route =
  | (RouteBase & { readonly handler: Handler })
  | (RouteBase & { readonly method: 'GET'; readonly credential: CredentialKind; readonly stream: StreamKind });

export function createRoutes({ health }: Pick<Services, 'health'>): readonly Route[] {
  const { whole, one } = createPolling();
  const environmentStatus = (identifier: string) => {
    const status = health.environmentStatus(identifier);
    return status === undefined ? messageReply(404, `there is no environment "${identifier}"`) : uncached(200, status);
  };
  return [
    { method: 'GET', path: '/all', credential: 'sdkKey', stream: 'all' },
    { method: 'GET', path: '/flags', credential: 'sdkKey', stream: 'flags' },
    { method: 'GET', path: '/sdk/latest-all', credential: 'sdkKey', handler: whole('all') },
    { method: 'GET', path: '/sdk/latest-flags', credential: 'sdkKey', handler: whole('flags') },
    { method: 'GET', path: '/sdk/latest-segments', credential: 'sdkKey', handler: whole('segments') },
    { method: 'GET', path: '/sdk/flags', credential: 'sdkKey', handler: whole('flags') },
    { method: 'GET', path: '/sdk/flags/{key}', credential: 'sdkKey', handler: one('features') },
    { method: 'GET', path: '/sdk/segments/{key}', credential: 'sdkKey', handler: one('segments') },
    { method: 'GET', path: '/status', handler: () => uncached(200, health.status()) },
    { method: 'GET', path: '/status/{environment}', handler: ({ params }) => environmentStatus(params.environment!) },
    {
      method: 'GET',
      path: '/status/{environment}/{filter}',
      handler: ({ params }) => environmentStatus(`${params.environment}/${params.filter}`),
    },
    { method: 'GET', path: '/livez', handler: () => uncached(200, { status: 'alive' }) },
    {
      method: 'GET',
      path: '/readyz',
      handler: () => {
        const { ready, waitingFor } = health.readiness();
        return ready ? uncached(200, { status: 'ready' }) : uncached(503, { status: 'not ready', waitingFor });
      },
    },
  ];
}

function uncached(status: number, value: unknown): Reply {
  return jsonReply(status, value, { 'Cache-Control': 'no-store' });
}
