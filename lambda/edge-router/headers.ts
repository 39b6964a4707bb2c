import type { CloudFrontHeaders } from 'aws-lambda';

/** Read by viewer-response. viewer-request always sets or removes them, so a viewer cannot supply their own. */
export const VIEWER_HEADER = 'x-flag-viewer';
export const DECISION_HEADER = 'x-flag-decision';
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

/** The viewer's id from the cookie; undefined if the cookie is missing or was not set by this router. */
export function viewerIdFromCookies(headers: CloudFrontHeaders, cookieName: string): string | undefined {
  for (const { value = '' } of headers.cookie ?? []) {
    for (const pair of value.split(';')) {
      const [name, id] = pair.trim().split('=', 2);
      if (name === cookieName && isViewerId(id)) return id;
    }
  }
  return undefined;
}
