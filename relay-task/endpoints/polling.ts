/** Whole sets and single items for SDKs that ask instead of listening: server SDKs in polling mode, and PHP. */
import type { IncomingHttpHeaders } from 'node:http';
import type { Kind } from '../../lib/flag-table/index.ts';
import { type Bodies, type Body, createBodies, type Whole } from './bodies.ts';
import { etagOf, heldByClient } from './etag.ts';
import { messageReply, notYetReply, type Reply } from './reply.ts';
import type { Handler } from './routes.ts';
import type { ServedEnvironment } from './services.ts';

export interface Polling {
  whole(what: Whole): Handler;
  one(kind: Kind): Handler;
}

const scopes = { all: 'all', flags: 'features', segments: 'segments' } as const;

export function createPolling(bodies: Bodies = createBodies()): Polling {
  return {
    whole: (what) => async (request) => {
      const environment = request.environment!;
      const { view } = environment;
      if (!view.initialized) return withoutData(environment);
      const digest = view.digest(scopes[what]);
      const tags = function* () {
        yield digest;
        if (what === 'flags') yield `relay-${bodies.legacyDigest(view)}`;
      };
      return answer(request.headers, digest, tags, () => bodies.whole(view, what));
    },
    one: (kind) => async (request) => {
      const environment = request.environment!;
      const { view } = environment;
      if (!view.initialized) return withoutData(environment);
      const key = request.params.key!;
      const item = view.get(kind, key);
      if (!item || item.deleted)
        return messageReply(404, `there is no ${kind === 'features' ? 'flag' : 'segment'} "${key}"`);
      const body = bodies.item(item);
      return answer(
        request.headers,
        body.digest,
        () => [body.digest, `relay-${item.version}`],
        () => body,
      );
    },
  };
}

/** Never an empty set and never 404: both would be believed. */
function withoutData(environment: ServedEnvironment): Reply {
  return notYetReply(
    environment.refused
      ? `environment "${environment.name}" has no data, and LaunchDarkly refuses its SDK key`
      : `environment "${environment.name}" has no data yet`,
  );
}

async function answer(
  headers: IncomingHttpHeaders,
  digest: string,
  tags: () => Iterable<string>,
  make: () => Body,
): Promise<Reply> {
  const wantsGzip = acceptsGzip(headers['accept-encoding']);
  const vary = 'Authorization, Accept-Encoding';
  if (heldByClient(headers['if-none-match'], tags)) {
    const held = headers['if-none-match']?.includes(`${digest}-gzip"`) ? 'gzip' : 'identity';
    return { status: 304, headers: { ETag: etagOf(digest, held), Vary: vary } };
  }
  const body = make();
  const compressed = wantsGzip ? await body.gzip() : undefined;
  const common = { 'Content-Type': 'application/json', Vary: vary };
  return compressed
    ? {
        status: 200,
        headers: { ...common, ETag: etagOf(digest, 'gzip'), 'Content-Encoding': 'gzip' },
        body: compressed,
      }
    : { status: 200, headers: { ...common, ETag: etagOf(digest, 'identity') }, body: body.raw };
}

/** Named and not refused with a weight of 0 (RFC 9110 12.5.3). */
function acceptsGzip(header: string | string[] | undefined): boolean {
  return String(header ?? '')
    .split(',')
    .some((offer) => /^\s*(?:x-)?gzip\s*(?:;|$)/i.test(offer) && !/;\s*q=0(?:\.0*)?\s*$/i.test(offer));
}
