/** From content to an answer: ETag, 304 and compression. */
import type { IncomingHttpHeaders } from 'node:http';
import { inSpan } from '../common/in-span.ts';
import type { WatchedRequest } from '../ports.ts';
import type { Answer } from './answers.ts';
import { acceptedEncoding, type Body, type Compression, type Encoding, type SharedBody } from './encoding.ts';
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
  /** What was compressed for another client with the same digest. */
  compressed?(encoding: Compression): Pick<SharedBody, 'parts' | 'hold'> | undefined;
  /** Not called if the client already holds the content. A shared one may have a later digest. */
  body(): Body | SharedBody | Promise<Body | SharedBody>;
}

const VARIES = { Vary: 'Authorization, Accept-Encoding' };

/** The answer to a client that already holds the content; undefined for others. */
export function heldReply(
  request: { readonly headers: IncomingHttpHeaders },
  { digest, aliases, unconditional = false, headers }: Omit<Representation, 'body' | 'compressed'>,
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
  request: {
    readonly headers: IncomingHttpHeaders;
    readonly answer: Answer;
    readonly watched?: WatchedRequest | undefined;
  },
  representation: Representation,
): Promise<Reply> {
  const held = heldReply(request, representation);
  if (held) return held;
  const { answer, watched } = request;
  const span = watched?.span;
  const wanted = acceptedEncoding(request.headers['accept-encoding']);
  const known = wanted === 'identity' ? undefined : representation.compressed?.(wanted);
  if (known) {
    answer.share(known.hold(known.parts));
    return replyWith({ ...representation, encoding: wanted, body: known.parts, isShared: true });
  }
  const body = await (span
    ? inSpan(span, 'relay.payload.serialize', () => representation.body())
    : representation.body());
  const { isShared } = body;
  if (isShared) answer.share(body.hold(body.parts));
  else answer.count(body.raw.length);
  const compressed = wanted === 'identity' ? undefined : await body.compressed(wanted, answer.compress);
  if (isShared && compressed) answer.share(body.hold([compressed]));
  return replyWith({
    headers: representation.headers,
    digest: isShared ? body.digest : representation.digest,
    encoding: compressed ? wanted : 'identity',
    body: compressed ?? (isShared ? body.parts : body.raw),
    isShared,
  });
}

function replyWith({
  headers,
  digest,
  encoding,
  body,
  isShared,
}: Pick<Representation, 'headers' | 'digest'> & {
  readonly encoding: Encoding;
  readonly body: NonNullable<Reply['body']>;
  readonly isShared: boolean;
}): Reply {
  return {
    status: 200,
    headers: {
      'Content-Type': 'application/json',
      ...VARIES,
      ...headers,
      ETag: etagOf(digest, encoding),
      ...(encoding !== 'identity' && { 'Content-Encoding': encoding }),
    },
    body,
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
