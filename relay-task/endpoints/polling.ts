/** Whole sets and single items for SDKs that poll: server SDKs in polling mode, and PHP. */
import type { Kind } from '../../lib/flag-table/index.ts';
import { type Bodies, digestOfWhole, type Whole } from './bodies.ts';
import { messageReply } from './reply.ts';
import { represent, withoutData } from './represent.ts';
import type { EnvironmentRequest, Handler } from './request.ts';

type Listed = Extract<Whole, 'all' | 'flags' | 'segments'>;

/** How ld-relay's tags begin. */
const OF_OTHERS = 'relay-';

export function createPolling(bodies: Bodies) {
  const whole =
    (what: Listed, headers: (ttlMs: number) => Record<string, string> = () => ({})): Handler =>
    async (request) => {
      const { environment } = request;
      const { view } = environment;
      if (!view.initialized) return withoutData(environment);
      await view.hashed();
      const digest = digestOfWhole(view, what);
      const isNamedByOthers = what === 'flags' && request.headers['if-none-match']?.includes(OF_OTHERS);
      const alias = isNamedByOthers ? `${OF_OTHERS}${await bodies.legacyDigest(view)}` : undefined;
      return represent(request, {
        digest,
        aliases: () => (alias === undefined ? [] : [alias]),
        headers: headers(environment.ttlMs),
        compressed: (encoding) => bodies.compressedWhole(view, what, encoding),
        body: () => bodies.whole(view, what),
      });
    };
  return {
    whole: (what: Listed) => whole(what),
    /** All flags for PHP, cacheable for the environment's TTL. */
    flagsForPhp: whole('flags', freshness),
    one: (kind: Kind) => async (request: EnvironmentRequest) => {
      const { environment } = request;
      const { view } = environment;
      if (!view.initialized) return withoutData(environment);
      const { key = '' } = request.params;
      const item = view.get(kind, key);
      if (!item || item.deleted)
        return messageReply(404, `there is no ${kind === 'features' ? 'flag' : 'segment'} "${key}"`);
      const body = await bodies.item(view, item);
      return represent(request, {
        digest: body.digest,
        aliases: () => [`${OF_OTHERS}${item.version}`],
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
