/** The state of the relay, for people and for load balancers. */
import { createHash, timingSafeEqual } from 'node:crypto';
import { challenge, credentialOf, LIST_MISSING } from './credentials.ts';
import { bytesOf } from './patience.ts';
import { jsonReply, messageReply, notYetReply, type Reply } from './reply.ts';
import type { Handler, RouteRequest } from './request.ts';
import type { Health, Services } from './services.ts';
import { type Asked, createSharedWork } from './shared-work.ts';

export interface StatusOptions extends Pick<Services, 'health'> {
  readonly find?: Services['find'];
  /**
   * `public`, the default: anyone may read `/status`. `restricted`: `Authorization` must hold `statusToken` or an SDK key in
   * force. `/livez` and `/readyz` stay open, but do not name environments to anyone else.
   */
  readonly statusAccess?: 'public' | 'restricted';
  readonly statusToken?: string | undefined;
}

type StatusHandlers = Readonly<Record<'all' | 'one' | 'live' | 'ready', Handler<RouteRequest>>>;

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
  const work = createSharedWork(AT_ONCE);
  /** Joins what has not begun only, since what has begun may have passed what has changed. */
  let asked = 0;
  const look: Look = (what, steps) => work.run({ owner: health, stateOf: () => String(asked++), ...what }, steps);
  const wholeStatus = createWholeStatus(health, look);
  return {
    all: async (request) => guard(request) ?? { status: 200, headers: jsonHeaders, body: await wholeStatus() },
    one: async (request) => {
      const denied = guard(request);
      if (denied) return denied;
      const { environment = '', filter } = request.params;
      const identifier = filter === undefined ? environment : `${environment}/${filter}`;
      const status = await look({ name: identifier, lanes: ['one', identifier] }, () =>
        health.environmentStatus(identifier),
      );
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

const UNCACHED = { 'Cache-Control': 'no-store' };
const jsonHeaders = { 'Content-Type': 'application/json', ...UNCACHED };

function uncached(status: number, value: unknown): Reply {
  return jsonReply(status, value, UNCACHED);
}

type Look = <T>(what: Pick<Asked, 'name' | 'lanes'>, steps: () => Generator<void, T>) => Promise<T>;

/** Anyone may ask, and of thousands of environments each look takes 0.1 s: one at a time. */
const AT_ONCE = 1;
/** Large bodies are shared for as many ms as they have parts of so many bytes, but for a second at most: a small one is always new. */
const BYTES_OF_MS = 200;
const SMALL_BYTES = 16 * 1024;
const LONGEST_MS = 1_000;
const PART_BYTES = 64 * 1024;

/** Makes it in slices, once for all requests meanwhile. */
function createWholeStatus(health: Health, look: Look): () => Promise<readonly Buffer[]> {
  let latest: { readonly parts: readonly Buffer[]; readonly until: number } | undefined;
  function* made(): Generator<void, readonly Buffer[]> {
    const parts: Buffer[] = [];
    let text = '';
    for (const part of health.status()) {
      text += part;
      if (text.length > PART_BYTES) {
        parts.push(Buffer.from(text));
        text = '';
      }
      yield;
    }
    parts.push(Buffer.from(text));
    const bytes = bytesOf(parts);
    const sharedMs = bytes < SMALL_BYTES ? 0 : Math.min(LONGEST_MS, bytes / BYTES_OF_MS);
    latest = { parts, until: performance.now() + sharedMs };
    return parts;
  }
  return async () => {
    if (latest && performance.now() < latest.until) return latest.parts;
    return look({ name: 'all', lanes: ['all', 'all'] }, made);
  };
}
