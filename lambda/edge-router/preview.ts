/** Previews: a tester with a signed link gets the flag values that it names. */
import { createPublicKey, type KeyObject, verify } from 'node:crypto';
import type {
  CloudFrontHeaders,
  CloudFrontRequest,
  CloudFrontRequestEvent,
  CloudFrontResultResponse,
} from 'aws-lambda';
import { cookieValue, DECISION_HEADER, headersOf, headerValue, setHeader } from './headers.ts';
import { markPreviewed } from './mark-previewed.ts';
import {
  PREVIEW_HOURS,
  PREVIEW_PATH,
  type PreviewConfig,
  type PreviewToken,
  previewCookieName,
  readPreview,
} from './preview-token.ts';

interface Previews {
  /** The answer to a request for a preview link; undefined for all other requests. */
  answer(request: CloudFrontRequest): CloudFrontResultResponse | undefined;
  /**
   * The values of the previewed flags by key; undefined without a preview. Removes the cookie from the request: no origin
   * needs the token, and with it a tester would not share the cache with viewers of the same variant. Repeatable for the same request.
   */
  overrides(request: CloudFrontRequest): Readonly<Record<string, unknown>> | undefined;
}

/** How far ahead the clock of the person who makes a link may be. */
const SKEW_SECONDS = 300;

/** Never throws: a token that is not accepted means no preview, and a link with one is answered with the reason. */
export function createPreviews(config: PreviewConfig, now: () => number = Date.now): Previews {
  const { publicKeys, maxHours = PREVIEW_HOURS, stage, secure = true } = config;
  const cookieName = previewCookieName(secure);
  const attributes = `Path=/; HttpOnly; SameSite=Lax${secure ? '; Secure' : ''}`;
  let keys: readonly KeyObject[] | undefined;
  // A tester sends the same token with each request.
  let known: { readonly token: string; readonly read: PreviewToken } | undefined;
  const found = new WeakMap<CloudFrontRequest, PreviewToken['flags'] | undefined>();

  function signed(message: Uint8Array, signature: Uint8Array): boolean {
    keys ??= publicKeys.map((x) => createPublicKey({ key: { kty: 'OKP', crv: 'Ed25519', x }, format: 'jwk' }));
    return keys.some((key) => verify(null, message, key, signature));
  }

  /** The token if it is valid, or else why it is not. */
  function check(token: string, host: string | undefined): PreviewToken | string {
    const read = known?.token === token ? known.read : readPreview(token, signed);
    if (!read) return 'is not valid: it is incomplete, or signed with a key that this site does not accept';
    known = { token, read };
    const seconds = now() / 1_000;
    const { issuedAt, expiresAt } = read;
    if ((stage !== undefined && read.stage !== stage) || read.host !== host)
      return `is for another site: ${read.host}, stage ${read.stage}`;
    if (expiresAt <= seconds) return `expired at ${time(expiresAt)}`;
    if (expiresAt - Math.min(issuedAt, seconds + SKEW_SECONDS) > maxHours * 3_600)
      return `is valid for longer than this site accepts, ${maxHours} hours`;
    return read;
  }

  const hostOf = (headers: CloudFrontHeaders) => headerValue(headers, 'host')?.toLowerCase();

  return {
    answer(request) {
      if (request.uri !== PREVIEW_PATH) return undefined;
      const headers = headersOf(request);
      const asked = new URLSearchParams(String(request.querystring));
      const to = asked.get('to') ?? '/';
      if (!isPathOfSite(to)) return page('403', 'This preview link leads to another site.');
      if (asked.has('off')) return redirect(to, `${cookieName}=; Max-Age=0; ${attributes}`);
      const given = asked.get('t');
      const token = given ?? takeCookie(headers, cookieName);
      if (token === undefined) return page('200', 'No preview is on.');
      const checked = check(token, hostOf(headers));
      if (typeof checked === 'string') return page('403', `This preview link ${checked}. Ask for a new one.`);
      const left = Math.max(1, Math.floor(checked.expiresAt - now() / 1_000));
      if (given !== null) return redirect(to, `${cookieName}=${token}; Max-Age=${left}; ${attributes}`);
      const flags = Object.entries(checked.flags).map(([key, value]) => `  ${key} = ${JSON.stringify(value)}`);
      const until = `A preview is on until ${time(checked.expiresAt)}:\n${flags.join('\n')}`;
      return page('200', `${until}\nTo end it, open ${PREVIEW_PATH}?off`);
    },
    overrides(request) {
      if (found.has(request)) return found.get(request);
      const headers = headersOf(request);
      const token = takeCookie(headers, cookieName);
      const checked = token === undefined ? undefined : check(token, hostOf(headers));
      const flags = typeof checked === 'object' ? checked.flags : undefined;
      found.set(request, flags);
      return flags;
    },
  };
}

/** Answers preview links, takes their cookie out of all other requests, and marks what the function itself answers to a tester. */
export function withPreviews<R>(
  handle: (event: CloudFrontRequestEvent) => Promise<R>,
  previews: Previews,
): (event: CloudFrontRequestEvent) => Promise<R | CloudFrontResultResponse> {
  return async (event) => {
    try {
      const { request } = event.Records[0]!.cf;
      const answer = previews.answer(request);
      if (answer) return answer;
      // Before anything else looks at cookies, or fails.
      previews.overrides(request);
    } catch {
      // The handler knows what to do with an event that makes no sense.
    }
    const result = await handle(event);
    // viewer-response does not run for what the function answers.
    if (isGenerated(result)) markPreviewed(headersOf(result), headerValue(headersOf(result), DECISION_HEADER));
    return result;
  };
}

function isGenerated(result: unknown): result is { headers: CloudFrontHeaders } {
  return Object.hasOwn(Object(result), 'status');
}

/** The value of the first cookie of this name. Removes all cookies of this name. */
function takeCookie(headers: CloudFrontHeaders, cookieName: string): string | undefined {
  const token = cookieValue(headers, cookieName);
  if (token === undefined) return undefined;
  const others = (pairs: string) => pairs.split(';').filter((pair) => pair.split('=')[0]?.trim() !== cookieName);
  const kept = headers.cookie!.flatMap((one) => {
    const value = typeof one?.value === 'string' ? others(one.value).join(';').trim() : '';
    return value === '' ? [] : [{ ...one, value }];
  });
  if (kept.length > 0) headers.cookie = kept;
  else delete headers.cookie;
  return token;
}

/** Browsers take `//host` and `/\host` for another site. RFC 9110, Location; WHATWG URL, "path start state". */
function isPathOfSite(path: string): boolean {
  return path.length <= 2_048 && /^\/(?!\/)[!-[\]-~]*$/.test(path);
}

function redirect(to: string, cookie: string): CloudFrontResultResponse {
  return made('302', '', { location: to, 'set-cookie': cookie });
}

function page(status: string, text: string): CloudFrontResultResponse {
  return made(status, `${text}\n`, { 'content-type': 'text/plain; charset=utf-8' });
}

/** The address contains the token, so it must not be sent to any other site. */
function made(status: string, body: string, own: Readonly<Record<string, string>>): CloudFrontResultResponse {
  const headers: CloudFrontHeaders = {};
  const always = { 'cache-control': 'no-store', 'referrer-policy': 'no-referrer', 'x-robots-tag': 'noindex' };
  for (const [name, value] of Object.entries({ ...always, ...own })) setHeader(headers, name, value);
  return { status, headers, ...(body && { body }) };
}

function time(seconds: number): string {
  return `${new Date(seconds * 1_000).toISOString().slice(0, 16)}Z`;
}
