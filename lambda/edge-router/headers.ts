import type { CloudFrontHeaders } from 'aws-lambda';

/** Read by viewer-response. viewer-request always sets or removes them, so a viewer cannot supply their own. */
export const VIEWER_HEADER = 'x-flag-viewer';
export const DECISION_HEADER = 'x-flag-decision';
/** The id that viewer-response stores in the cookie. */
export const NEW_VIEWER_HEADER = 'x-flag-new-viewer';
export const DEFAULT_VARIANT_HEADER = 'x-flag-variant';
export const DEFAULT_COOKIE_NAME = 'flag-viewer';

/** CloudFront always names some; a test event of one's own may not. */
export function headersOf(message: { headers: CloudFrontHeaders }): CloudFrontHeaders {
  message.headers ??= {};
  return message.headers;
}

/** Sets a header in CloudFront's format: lower-case keys, lists of pairs. AWS: "Lambda@Edge event structure". */
export function setHeader(headers: CloudFrontHeaders, name: string, value: string): void {
  headers[name] = [{ key: name, value }];
}

/** The first value of a header. */
export function headerValue(headers: CloudFrontHeaders, name: string): string | undefined {
  return headers[name]?.[0]?.value;
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
  for (const { value = '' } of headers.cookie ?? []) {
    for (const pair of value.split(';')) {
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
