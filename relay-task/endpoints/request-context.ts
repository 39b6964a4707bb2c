/** The context that a client-side SDK asks for: in the path as base64url, or in the body; and the proof of who it is. */
import { createHmac, timingSafeEqual } from 'node:crypto';
import type { IncomingHttpHeaders } from 'node:http';
import { type Context, describeContextProblem, parseContext, secureModeHash } from '../../lib/evaluation/index.ts';
import { Refusal } from './reply.ts';
import type { ServedEnvironment } from './services.ts';

export interface RequestContext {
  readonly context: Context;
  /** JSON with sorted names: the same text for every way to write the same context. */
  readonly canonical: string;
}

/** Deeper nesting means nothing in a context, and would be dear to walk through. */
const MAX_DEPTH = 100;
const [QUOTE, BACKSLASH, OPENING, CLOSING] = Buffer.from('"\\{}') as unknown as [number, number, number, number];

/** base64url with or without padding; the other alphabet, percent-encoded, too. Throws Refusal 400. */
export function contextFromPath(text: string): RequestContext {
  const bytes = decodeBase64(text);
  if (!bytes) throw new Refusal(400, 'the context in the path is not base64url');
  return contextFromValue(parseJson(bytes, 'the context in the path'), 'the context in the path');
}

/** Throws Refusal: 400, 415. */
export function contextFromBody(headers: IncomingHttpHeaders, body: Buffer): RequestContext {
  return contextFromValue(jsonFromBody(headers, body), 'the body');
}

/** Throws Refusal: 400, 415. */
export function jsonFromBody(headers: IncomingHttpHeaders, body: Buffer): unknown {
  requireJson(headers['content-type']);
  return parseJson(body, 'the body');
}

function requireJson(contentType = ''): void {
  const [type = '', ...parameters] = contentType.split(';').map((part) => part.trim().toLowerCase());
  const charset = parameters.find((parameter) => parameter.startsWith('charset='))?.replace(/^charset="?|"$/g, '');
  if (type !== 'application/json') throw new Refusal(415, 'Content-Type must be application/json');
  if (charset !== undefined && charset !== 'utf-8' && charset !== 'utf8') {
    throw new Refusal(415, 'the charset of application/json must be utf-8');
  }
}

/** Undefined for anything that is not base64 in one of its two alphabets. */
export function decodeBase64(text: string): Buffer | undefined {
  const bare = text.replace(/={1,2}$/, '');
  if (!/^[\w+/-]*$/.test(bare) || bare.length % 4 === 1) return undefined;
  return Buffer.from(bare, 'base64url');
}

/** Of parsed JSON. Throws Refusal 400. */
export function contextFromValue(value: unknown, where: string): RequestContext {
  const problem = describeContextProblem(value);
  if (problem !== undefined) throw new Refusal(400, `${where} is no evaluation context: ${problem}`);
  const { kind, key } = value as { kind?: unknown; key?: unknown };
  if ((kind === undefined || kind === null) && String(key) === '') {
    throw new Refusal(400, `${where} is no evaluation context: the key of a user must not be empty`);
  }
  return { context: parseContext(value)!, canonical: JSON.stringify(value, sorted) };
}

function parseJson(bytes: Buffer, where: string): unknown {
  let text: string;
  try {
    text = new TextDecoder('utf-8', { fatal: true }).decode(bytes);
  } catch {
    throw new Refusal(400, `${where} is not UTF-8`);
  }
  if (text.trim() === '') throw new Refusal(400, `${where} is empty; it must be JSON`);
  if (depthOf(bytes) > MAX_DEPTH) throw new Refusal(400, `${where} is nested more than ${MAX_DEPTH} levels deep`);
  try {
    return JSON.parse(text);
  } catch {
    throw new Refusal(400, `${where} is not JSON`);
  }
}

/** How deep JSON text is nested, found byte by byte: deep enough text would exhaust the stack of anything recursive. */
function depthOf(bytes: Buffer): number {
  let depth = 0;
  let deepest = 0;
  let quoted = false;
  for (let i = 0; i < bytes.length; i++) {
    const byte = bytes[i]!;
    if (quoted) {
      if (byte === BACKSLASH) i++;
      else if (byte === QUOTE) quoted = false;
    } else if (byte === QUOTE) quoted = true;
    // `[` and `{`, `]` and `}` differ in one bit.
    else if ((byte | 0x20) === OPENING) deepest = Math.max(deepest, ++depth);
    else if ((byte | 0x20) === CLOSING) depth--;
  }
  return deepest;
}

/** For JSON.stringify. fromEntries defines properties, so that an attribute named __proto__ is one like any other. */
function sorted(_name: string, value: unknown): unknown {
  if (typeof value !== 'object' || value === null || Array.isArray(value)) return value;
  return Object.fromEntries(Object.entries(value).sort(([a], [b]) => (a < b ? -1 : 1)));
}

/**
 * LaunchDarkly's secure mode: the query's `h` ties the context to any SDK key in force, those in their grace time too, since
 * pages that were rendered with them are still open. Compared in constant time. Throws Refusal 400.
 */
export function requireSecureMode(environment: ServedEnvironment, context: Context, query: URLSearchParams): void {
  if (!environment.secureMode) return;
  const given = Buffer.from(query.get('h') ?? '');
  let matches = false;
  for (const sdkKey of environment.sdkKeys()) {
    const expected = Buffer.from(secureModeHash(hmacSha256Hex, sdkKey, context));
    if (given.length === expected.length && timingSafeEqual(given, expected)) matches = true;
  }
  if (matches) return;
  throw new Refusal(
    400,
    'the environment is in secure mode, and the query parameter "h" is not the hash of this context under an SDK key',
  );
}

function hmacSha256Hex(key: string, message: string): string {
  return createHmac('sha256', key).update(message).digest('hex');
}
