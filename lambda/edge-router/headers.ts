import type { CloudFrontHeaders } from 'aws-lambda';

/** Read by viewer-response. viewer-request always sets or removes them, so a viewer cannot supply their own. */
export const VIEWER_HEADER = 'x-flag-viewer';
export const DECISION_HEADER = 'x-flag-decision';
export const DEFAULT_VARIANT_HEADER = 'x-flag-variant';
export const DEFAULT_COOKIE_NAME = 'flag-viewer';

/** Headers that edge functions cannot see and must not add. AWS: "Restrictions on all edge functions", disallowed headers. */
export const DISALLOWED =
  /^(connection|expect|keep-alive|proxy-authenticate|proxy-authorization|proxy-connection|trailer|upgrade|x-accel-(buffering|charset|limit-rate|redirect)|x-amz-cf-.*|x-amzn-(auth|cf-billing|cf-id|cf-xff|errortype|fle-profile|header-count|header-order|lambda-integration-tag|requestid)|x-cache|x-edge-.*|x-forwarded-proto|x-real-ip)$/;

/** Why an edge function may not write a header of this name; undefined if it may. */
export function describeHeaderProblem(name: string): string | undefined {
  if (!/^[a-z0-9!#$%&'*+.^_`|~-]+$/.test(name))
    return `header ${JSON.stringify(name)} must be a lower-case header name`;
  // All headers with these prefixes are avoided, although CloudFront lists only some of x-accel-.
  if (DISALLOWED.test(name) || /^(x-edge-|x-amz-cf-|x-accel-)/.test(name)) {
    return `header ${name} must not be set by edge functions (CloudFront forbids it)`;
  }
  return undefined;
}

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
