/** From content to an answer: ETag, 304 and compression. */
import type { IncomingHttpHeaders } from 'node:http';
import type { Answer } from './answers.ts';
import { acceptedEncoding, type Body } from './encoding.ts';
import { etagOf, heldByClient, heldEncoding } from './etag.ts';
import { notYetReply, type Reply } from './reply.ts';
import type { ServedEnvironment } from './services.ts';

export interface Representation {
  /** Of everything that the body depends on; equal in every relay that holds the same data. */
  readonly digest: string;
  /** Other tags by which clients may know the content. */
  readonly aliases?: () => Iterable<string>;
  /** Answers with 200 although the client may hold the content. Default false. */
  readonly unconditional?: boolean;
  /** For 200 and 304. */
  readonly headers?: Readonly<Record<string, string>>;
  /** Not called if the client already holds the content. */
  body(): Body | Promise<Body>;
}

const VARIES = { Vary: 'Authorization, Accept-Encoding' };

/** The answer to a client that already holds the content; undefined for others. */
export function heldReply(
  request: { readonly headers: IncomingHttpHeaders },
  { digest, aliases, unconditional = false, headers }: Omit<Representation, 'body'>,
): Reply | undefined {
  const ifNoneMatch = request.headers['if-none-match'];
  const tags = function* () {
    yield digest;
    if (aliases) yield* aliases();
  };
  if (unconditional || !heldByClient(ifNoneMatch, tags)) return undefined;
  return { status: 304, headers: { ...VARIES, ...headers, ETag: etagOf(digest, heldEncoding(ifNoneMatch, digest)) } };
}

/** Rejects with Refusal 503 if there is no memory for the answer. */
export async function represent(
  request: { readonly headers: IncomingHttpHeaders; readonly answer: Answer },
  representation: Representation,
): Promise<Reply> {
  const held = heldReply(request, representation);
  if (held) return held;
  const { digest, headers } = representation;
  const body = await representation.body();
  const { raw, isShared } = body;
  if (!isShared) request.answer.count(raw.length);
  const wanted = acceptedEncoding(request.headers['accept-encoding']);
  const compressed = wanted === 'identity' ? undefined : await body.compressed(wanted, request.answer.compress);
  const encoding = compressed ? wanted : 'identity';
  return {
    status: 200,
    headers: {
      'Content-Type': 'application/json',
      ...VARIES,
      ...headers,
      ETag: etagOf(digest, encoding),
      ...(compressed && { 'Content-Encoding': encoding }),
    },
    body: compressed ?? raw,
    isShared,
  };
}

/** Never an empty set or 404, since clients would believe either. */
export function withoutData({ name, refused }: ServedEnvironment): Reply {
  return notYetReply(
    refused
      ? `environment "${name}" has no data, and LaunchDarkly rejects its SDK key`
      : `environment "${name}" has no data yet`,
  );
}
