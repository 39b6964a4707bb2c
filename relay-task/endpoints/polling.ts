/** Whole sets and single items for SDKs that poll: server SDKs in polling mode, and PHP. */
import type { Kind } from '../../lib/flag-table/index.ts';
import type { Bodies, Whole } from './bodies.ts';
import { messageReply } from './reply.ts';
import { represent, withoutData } from './represent.ts';
import type { Handler } from './request.ts';

export interface Polling {
  whole(what: Whole): Handler;
  /** All flags for PHP, cacheable for the environment's TTL. */
  flagsForPhp: Handler;
  one(kind: Kind): Handler;
}

const scopes = { all: 'all', flags: 'features', segments: 'segments' } as const;

export function createPolling(bodies: Bodies): Polling {
  const whole =
    (what: Whole, headers: (ttlMs: number) => Record<string, string> = () => ({})): Handler =>
    (request) => {
      const { environment } = request;
      const { view } = environment;
      if (!view.initialized) return withoutData(environment);
      const digest = view.digest(scopes[what]);
      return represent(request, {
        digest,
        aliases: () => (what === 'flags' ? [`relay-${bodies.legacyDigest(view)}`] : []),
        headers: headers(environment.ttlMs),
        body: () => bodies.whole(view, what, digest),
      });
    };
  return {
    whole: (what) => whole(what),
    flagsForPhp: whole('flags', freshness),
    one: (kind) => (request) => {
      const { environment } = request;
      const { view } = environment;
      if (!view.initialized) return withoutData(environment);
      const { key = '' } = request.params;
      const item = view.get(kind, key);
      if (!item || item.deleted)
        return messageReply(404, `there is no ${kind === 'features' ? 'flag' : 'segment'} "${key}"`);
      const body = bodies.item(item);
      return represent(request, {
        digest: body.digest,
        aliases: () => [`relay-${item.version}`],
        headers: freshness(environment.ttlMs),
        body: () => body,
      });
    },
  };
}

/** Also `Expires`, for HTTP/1.0 caches (RFC 9111 section 5.3); ld-relay sends nothing else. */
function freshness(ttlMs: number): Record<string, string> {
  if (!(ttlMs > 0)) return {};
  return {
    'Cache-Control': `max-age=${Math.ceil(ttlMs / 1_000)}`,
    Expires: new Date(Date.now() + ttlMs).toUTCString(),
  };
}
