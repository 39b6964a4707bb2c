/** The context of a client-side SDK's request, in the path as base64url or in the body, and its secure mode hash. */
import { createHmac, timingSafeEqual } from 'node:crypto';
import type { IncomingHttpHeaders } from 'node:http';
import {
  type Context,
  describeGoContextProblem,
  parseGoContext,
  secureModeHash,
  withoutOverridden,
} from '../../lib/evaluation/index.ts';
import { canonicalJson, hasInfinity, type JsonObject } from '../common/json.ts';
import { MAX_DEPTH, MAX_VALUES, shapeOf } from '../common/json-shape.ts';
import { resultOf } from '../common/slices.ts';
import { Refusal, retryLater } from './reply.ts';
import type { Query } from './router.ts';
import type { ServedEnvironment } from './services.ts';

export interface RequestContext {
  readonly context: Context;
  /** Canonical JSON: the same text however the same context was written, and never that of another one. */
  readonly canonical: string;
}

/** In UTF-8. Each percentage rollout hashes the key. */
const MAX_KEY_BYTES = 8 * 1024;

/** base64url with or without padding, or percent-encoded standard base64. Throws Refusal: 400, 413. */
export function contextFromPath(text: string): RequestContext {
  const bytes = decodeBase64(text);
  if (!bytes) throw new Refusal(400, 'the context in the path is not base64url');
  return contextFromValue(resultOf(parseJson(bytes, 'the context in the path')), 'the context in the path');
}

/** In slices, since a context may have 256 KB. Throws Refusal: 400, 413, 415. */
export function* contextFromBody(headers: IncomingHttpHeaders, body: Buffer): Generator<void, RequestContext> {
  const value = yield* jsonFromBody(headers, body);
  yield;
  return contextFromValue(value, 'the body');
}

/** In slices. Throws Refusal: 400, 413, 415. */
export function* jsonFromBody(headers: IncomingHttpHeaders, body: Buffer): Generator<void, unknown> {
  requireJson(headers['content-type']);
  return yield* parseJson(body, 'the body');
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
  const context = parseGoContext(value);
  if (!context) throw new Refusal(400, `${where} is not an evaluation context: ${describeGoContextProblem(value)}`);
  // LaunchDarkly refuses it, too. JSON has no other way to write it, so the canonical text would be that of null.
  if (hasInfinity(value)) throw new Refusal(400, `${where} has a number that is too large, such as 1e400`);
  const { kind, key } = value as JsonObject;
  if (kind === undefined && key === '') {
    throw new Refusal(400, `${where} is not an evaluation context: the key of a user must not be empty`);
  }
  for (const name of context.kinds) {
    if (Buffer.byteLength(context.keyOf(name) ?? '') <= MAX_KEY_BYTES) continue;
    throw new Refusal(400, `${where} has a key of more than ${MAX_KEY_BYTES} bytes`);
  }
  return { context, canonical: canonicalJson(withoutOverridden(value as JsonObject, context)) };
}

function* parseJson(bytes: Buffer, where: string): Generator<void, unknown> {
  let text: string;
  try {
    text = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(bytes);
  } catch {
    throw new Refusal(400, `${where} is not UTF-8`);
  }
  if (text.trim() === '') throw new Refusal(400, `${where} is empty; it must be JSON`);
  const { depth, values } = shapeOf(bytes);
  if (depth > MAX_DEPTH) throw new Refusal(400, `${where} is nested more than ${MAX_DEPTH} levels deep`);
  if (values > MAX_VALUES) throw new Refusal(413, `${where} has more than ${MAX_VALUES} values`);
  yield;
  try {
    return JSON.parse(text);
  } catch {
    throw new Refusal(400, `${where} is not JSON`);
  }
}

/**
 * LaunchDarkly's secure mode: `hash` must be the hash of the context under an SDK key in force. Keys in their grace time
 * count, since pages rendered with them are still open. Compared in constant time. Throws Refusal 503 while an SDK key may be
 * unknown: SDKs do not try again after a 400.
 */
export function passesSecureMode(environment: ServedEnvironment, context: Context, hash: string): boolean {
  if (!environment.secureMode) return true;
  const given = Buffer.from(hash);
  const sdkKeys = environment.sdkKeys();
  let matches = false;
  for (const sdkKey of sdkKeys) {
    const expected = Buffer.from(secureModeHash(hmacSha256Hex, sdkKey, context));
    if (given.length === expected.length && timingSafeEqual(given, expected)) matches = true;
  }
  if (!matches && hash !== '' && (sdkKeys.length === 0 || !environment.knowsAllKeys())) {
    throw new Refusal(503, 'the SDK key with which the hash for secure mode was made may be unknown yet', retryLater());
  }
  return matches;
}

/** For the query parameter `h`. Throws Refusal 400 or 503. */
export function requireSecureMode(environment: ServedEnvironment, context: Context, query: Query): void {
  if (passesSecureMode(environment, context, query.get('h') ?? '')) return;
  throw new Refusal(
    400,
    'the environment is in secure mode, and the query parameter "h" is not the hash of this context under an SDK key',
  );
}

function hmacSha256Hex(key: string, message: string): string {
  return createHmac('sha256', key).update(message).digest('hex');
}
