/** Whole sets and single items for SDKs that ask instead of listening: server SDKs in polling mode, and PHP. */
import type { Kind } from '../../lib/flag-table/index.ts';
import { type Bodies, createBodies, type Whole } from './bodies.ts';
import { messageReply } from './reply.ts';
import { represent, withoutData } from './represent.ts';
import type { Handler } from './routes.ts';

export interface Polling {
  whole(what: Whole): Handler;
  /** All flags, for PHP, whose answers may be cached for a time. */
  flagsForPhp: Handler;
  one(kind: Kind): Handler;
}

const scopes = { all: 'all', flags: 'features', segments: 'segments' } as const;

export function createPolling(bodies: Bodies = createBodies()): Polling {
  const whole =
    (what: Whole, headers: (ttlMs: number) => Record<string, string> = () => ({})): Handler =>
    (request) => {
      const environment = request.environment!;
      const { view } = environment;
      if (!view.initialized) return withoutData(environment);
      return represent(request, {
        digest: view.digest(scopes[what]),
        aliases: () => (what === 'flags' ? [`relay-${bodies.legacyDigest(view)}`] : []),
        headers: headers(environment.ttlMs),
        body: () => bodies.whole(view, what),
      });
    };
  return {
    whole: (what) => whole(what),
    flagsForPhp: whole('flags', freshness),
    one: (kind) => (request) => {
      const environment = request.environment!;
      const { view } = environment;
      if (!view.initialized) return withoutData(environment);
      const key = request.params.key!;
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

/** `Expires` for caches of HTTP/1.0, which ld-relay relied on alone (RFC 9111 section 5.3). */
function freshness(ttlMs: number): Record<string, string> {
  if (!(ttlMs > 0)) return {};
  return {
    'Cache-Control': `max-age=${Math.ceil(ttlMs / 1_000)}`,
    Expires: new Date(Date.now() + ttlMs).toUTCString(),
  };
}
