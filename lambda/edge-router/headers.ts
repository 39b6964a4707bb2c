import type { CloudFrontHeaders } from 'aws-lambda';
import type { Headers } from './rules.ts';

/** Read by viewer-response. viewer-request always sets or removes them, so a viewer cannot supply their own. */
export const VIEWER_HEADER = 'x-flag-viewer';
export const DECISION_HEADER = 'x-flag-decision';
/** The id that viewer-response stores in the cookie. */
export const NEW_VIEWER_HEADER = 'x-flag-new-viewer';
/** The ids of the headers that viewer-response adds. */
export const RESPONSE_HEADER = 'x-flag-response';
/** Tells the origin that a request is shadow traffic; part of the cache key. */
export const SHADOW_HEADER = 'x-flag-shadow';
export const DEFAULT_VARIANT_HEADER = 'x-flag-variant';
export const DEFAULT_COOKIE_NAME = 'flag-viewer';

/** CloudFront always names some; a test event of one's own may not, or have something else there. */
export function headersOf(message: { headers: CloudFrontHeaders }): CloudFrontHeaders {
  const given: unknown = message.headers;
  if (typeof given !== 'object' || given === null || Array.isArray(given)) message.headers = {};
  return message.headers;
}

/** Sets a header in CloudFront's format: lower-case keys, lists of pairs. AWS: "Lambda@Edge event structure". */
export function setHeader(headers: CloudFrontHeaders, name: string, value: string): void {
  headers[name] = [{ key: name, value }];
}

/** The first value of a header. */
export function headerValue(headers: CloudFrontHeaders, name: string): string | undefined {
  const value: unknown = headers[name]?.[0]?.value;
  return typeof value === 'string' ? value : undefined;
}

/** Sets what the origin and other functions get; a set-cookie is added to those that are there. */
export function addResponseHeader(headers: CloudFrontHeaders, name: string, value: string): void {
  const before = name === 'set-cookie' ? headers[name] : undefined;
  headers[name] = [...(Array.isArray(before) ? before : []), { key: name, value }];
}

/** Headers of several actions: the first one of a name counts, but every set-cookie. */
export function merged(all: Iterable<Headers | undefined>): (readonly [name: string, value: string])[] {
  const names = new Set<string>();
  const chosen: [string, string][] = [];
  for (const headers of all)
    for (const [name, value] of Object.entries(headers ?? {})) {
      if (names.has(name) && name !== 'set-cookie') continue;
      names.add(name);
      chosen.push([name, value]);
    }
  return chosen;
}

const UUID = /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/;

export function isViewerId(value: string | undefined): value is string {
  return value !== undefined && UUID.test(value);
}

/** An id of the site's own, as far as it can be a header's value. */
export function isSiteId(value: string | undefined): value is string {
  return value !== undefined && /^[\x21-\x7e]{1,256}$/.test(value);
}

/** The value of the first cookie of this name, as it was sent. */
export function cookieValue(headers: CloudFrontHeaders, cookieName: string): string | undefined {
  const sent: unknown = headers.cookie;
  for (const one of Array.isArray(sent) ? sent : []) {
    const value: unknown = one?.value;
    for (const pair of typeof value === 'string' ? value.split(';') : []) {
      const at = pair.indexOf('=');
      if (at > 0 && pair.slice(0, at).trim() === cookieName) return pair.slice(at + 1).trim();
    }
  }
  return undefined;
}

/** The value of the router's cookie. */
export function toCookieValue(id: string, epoch: string | undefined): string {
  return epoch === undefined ? id : `${epoch}.${id}`;
}

/** The id in the router's cookie; undefined if there is none, or not one that this router set in this epoch. */
export function storedId(
  headers: CloudFrontHeaders,
  cookieName: string,
  epoch: string | undefined,
): string | undefined {
  const value = cookieValue(headers, cookieName);
  const prefix = toCookieValue('', epoch);
  if (!value?.startsWith(prefix)) return undefined;
  const id = value.slice(prefix.length);
  return isViewerId(id) ? id : undefined;
}
