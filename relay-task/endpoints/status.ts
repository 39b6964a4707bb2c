/** The state of the relay, for people and for load balancers. */
import { createHash, timingSafeEqual } from 'node:crypto';
import { challenge, credentialOf, LIST_MISSING } from './credentials.ts';
import { jsonReply, messageReply, notYetReply, type Reply } from './reply.ts';
import type { Handler, RouteRequest } from './request.ts';
import type { Services } from './services.ts';

export interface StatusOptions extends Pick<Services, 'health'> {
  readonly find?: Services['find'];
  /**
   * `public`, the default: anyone may read `/status`. `restricted`: `Authorization` must hold `statusToken` or an SDK key in
   * force. `/livez` and `/readyz` stay open, but do not name environments to anyone else.
   */
  readonly statusAccess?: 'public' | 'restricted';
  readonly statusToken?: string | undefined;
}

export interface StatusHandlers {
  readonly all: Handler<RouteRequest>;
  readonly one: Handler<RouteRequest>;
  readonly live: Handler<RouteRequest>;
  readonly ready: Handler<RouteRequest>;
}

export function createStatus({ health, find, statusAccess = 'public', statusToken }: StatusOptions): StatusHandlers {
  const guard = (request: RouteRequest): Reply | undefined => {
    if (statusAccess === 'public') return undefined;
    const credential = credentialOf('sdkKey', request);
    if (credential !== undefined) {
      if (statusToken && sameSecret(credential, statusToken)) return undefined;
      const found = find?.('sdkKey', credential, '');
      if (found === 'not-yet') return notYetReply(LIST_MISSING);
      if (typeof found === 'object') return undefined;
    }
    return messageReply(401, 'the status requires an SDK key or the status token', challenge);
  };
  return {
    all: (request) => guard(request) ?? uncached(200, health.status()),
    one: (request) => {
      const denied = guard(request);
      if (denied) return denied;
      const { environment = '', filter } = request.params;
      const identifier = filter === undefined ? environment : `${environment}/${filter}`;
      const status = health.environmentStatus(identifier);
      return status === undefined
        ? messageReply(404, `there is no environment "${identifier}"`)
        : uncached(200, status);
    },
    live: () => uncached(200, { status: 'alive' }),
    ready: (request) => {
      const { ready, waitingFor } = health.readiness();
      if (ready) return uncached(200, { status: 'ready' });
      return uncached(503, { status: 'not ready', ...(!guard(request) && { waitingFor }) });
    },
  };
}

/** In constant time for any lengths. */
function sameSecret(a: string, b: string): boolean {
  const digest = (text: string) => createHash('sha256').update(text).digest();
  return timingSafeEqual(digest(a), digest(b));
}

function uncached(status: number, value: unknown): Reply {
  return jsonReply(status, value, { 'Cache-Control': 'no-store' });
}
