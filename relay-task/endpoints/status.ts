/** The state of the relay, for people and for load balancers. */
import { createHash, timingSafeEqual } from 'node:crypto';
import { challenge, credentialOf } from './credentials.ts';
import { jsonReply, messageReply, notYetReply, type Reply } from './reply.ts';
import type { Handler, RouteRequest } from './routes.ts';
import type { Services } from './services.ts';

export interface StatusOptions extends Pick<Services, 'health'> {
  readonly find?: Services['find'];
  /**
   * `public`, the default: anybody may read `/status`. `restricted`: only with `Authorization` holding `statusToken` or an
   * SDK key in force. `/livez` and `/readyz` stay open, and tell nobody else the names of environments.
   */
  readonly statusAccess?: 'public' | 'restricted';
  readonly statusToken?: string | undefined;
}

export interface StatusHandlers {
  readonly all: Handler;
  readonly one: Handler;
  readonly live: Handler;
  readonly ready: Handler;
}

export function createStatus({ health, find, statusAccess = 'public', statusToken }: StatusOptions): StatusHandlers {
  const guard = (request: RouteRequest): Reply | undefined => {
    if (statusAccess === 'public') return undefined;
    const credential = credentialOf('sdkKey', request);
    if (credential !== undefined) {
      if (statusToken && sameSecret(credential, statusToken)) return undefined;
      const found = find?.('sdkKey', credential, '');
      if (found === 'not-yet') return notYetReply('the relay does not have its list of environments yet');
      if (typeof found === 'object') return undefined;
    }
    return messageReply(401, 'the status is shown to holders of an SDK key or of the status token only', challenge);
  };
  return {
    all: (request) => guard(request) ?? uncached(200, health.status()),
    one: (request) => {
      const denied = guard(request);
      if (denied) return denied;
      const { environment, filter } = request.params;
      const identifier = filter === undefined ? environment! : `${environment}/${filter}`;
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

/** In constant time, whatever the lengths. */
function sameSecret(a: string, b: string): boolean {
  const digest = (text: string) => createHash('sha256').update(text).digest();
  return timingSafeEqual(digest(a), digest(b));
}

function uncached(status: number, value: unknown): Reply {
  return jsonReply(status, value, { 'Cache-Control': 'no-store' });
}
