/** From what there is to say to an answer: validator, 304, compressed form. */
import type { IncomingHttpHeaders } from 'node:http';
import { acceptedEncoding, type Body } from './encoding.ts';
import { etagOf, heldByClient, heldEncoding } from './etag.ts';
import { notYetReply, type Reply } from './reply.ts';
import type { ServedEnvironment } from './services.ts';

export interface Representation {
  /** Of the content and of everything else that the body depends on; equal in every relay that holds the same. */
  readonly digest: string;
  /** By which other tags clients may know it. */
  readonly aliases?: () => Iterable<string>;
  /** Of 200 and 304. */
  readonly headers?: Readonly<Record<string, string>>;
  /** Whatever tag the client sends, it does not hold what it says. */
  readonly unconditional?: boolean;
  /** Called unless the client holds it already. */
  body(): Body;
}

export async function represent(
  request: { readonly headers: IncomingHttpHeaders },
  { digest, aliases, headers, unconditional, body: make }: Representation,
): Promise<Reply> {
  const ifNoneMatch = request.headers['if-none-match'];
  const common = { Vary: 'Authorization, Accept-Encoding', ...headers };
  const tags = function* () {
    yield digest;
    if (aliases) yield* aliases();
  };
  if (!unconditional && heldByClient(ifNoneMatch, tags)) {
    return { status: 304, headers: { ...common, ETag: etagOf(digest, heldEncoding(ifNoneMatch, digest)) } };
  }
  const body = make();
  const wanted = acceptedEncoding(request.headers['accept-encoding']);
  const compressed = wanted === 'identity' ? undefined : await body.compressed(wanted);
  const encoding = compressed ? wanted : 'identity';
  return {
    status: 200,
    headers: {
      'Content-Type': 'application/json',
      ...common,
      ETag: etagOf(digest, encoding),
      ...(compressed && { 'Content-Encoding': encoding }),
    },
    body: compressed ?? body.raw,
  };
}

/** Never an empty set and never 404: both would be believed. */
export function withoutData({ name, refused }: ServedEnvironment): Reply {
  return notYetReply(
    refused
      ? `environment "${name}" has no data, and LaunchDarkly refuses its SDK key`
      : `environment "${name}" has no data yet`,
  );
}
