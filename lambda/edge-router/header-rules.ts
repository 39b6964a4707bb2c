/**
 * Which headers CloudFront lets whom write. Source: Amazon CloudFront Developer Guide, the pages named below. Imported by
 * checks and by `npm start`, never by a stage's function.
 */
import {
  DECISION_HEADER,
  DEFAULT_VARIANT_HEADER,
  NEW_VIEWER_HEADER,
  RESPONSE_HEADER,
  SHADOW_HEADER,
  VIEWER_HEADER,
} from './headers.ts';

/** "Restrictions on all edge functions", disallowed headers: functions cannot see them and must not add them. */
export const DISALLOWED =
  /^(client-cert|client-cert-chain|cloudfront-viewer-cert-pem|connection|expect|keep-alive|proxy-authenticate|proxy-authorization|proxy-connection|trailer|upgrade|x-accel-(buffering|charset|limit-rate|redirect)|x-amz-cf-.*|x-amzn-(auth|cf-billing|cf-id|cf-xff|errortype|fle-profile|header-count|header-order|lambda-integration-tag|requestid)|x-cache|x-edge-.*|x-forwarded-proto|x-real-ip)$/;

/** "Restrictions on all edge functions", read-only headers by event. */
export const READ_ONLY = {
  'viewer-request': ['cdn-loop', 'content-length', 'host', 'transfer-encoding', 'via'],
  'origin-request': [
    'accept-encoding',
    'cdn-loop',
    'content-length',
    'if-modified-since',
    'if-none-match',
    'if-range',
    'if-unmodified-since',
    'transfer-encoding',
    'via',
  ],
  'origin-response': ['transfer-encoding', 'via'],
  'viewer-response': ['content-encoding', 'content-length', 'transfer-encoding', 'warning', 'via'],
} as const;

/** "Add custom headers to origin requests", custom headers that CloudFront cannot add to origin requests. */
const NOT_CUSTOM =
  /^(cache-control|connection|content-length|cookie|host|if-match|if-modified-since|if-none-match|if-range|if-unmodified-since|max-forwards|pragma|proxy-authenticate|proxy-authorization|proxy-connection|range|request-range|te|trailer|transfer-encoding|upgrade|via|x-amz-.*|x-edge-.*|x-real-ip)$/;

/**
 * Headers that viewers, CloudFront or origins give a meaning: the table of "Request and response behavior for custom origins",
 * and what browsers and proxies send. The router would overwrite them on every request.
 */
const WELL_KNOWN =
  /^(accept|accept-.*|access-control-.*|authorization|baggage|cache-control|cloudfront-.*|content-.*|cookie|date|dnt|early-data|forwarded|from|host|if-.*|max-forwards|origin|pragma|priority|proxy-.*|range|referer|request-range|sec-.*|te|traceparent|tracestate|transfer-encoding|upgrade-insecure-requests|user-agent|via|warning|x-amz-.*|x-amzn-.*|x-forwarded-.*|x-http-method-override|x-requested-with)$/;

/**
 * Others that have a meaning. Source: IANA, "Hypertext Transfer Protocol (HTTP) Field Name Registry", without those above; client hints
 * (W3C); what tracing, frameworks and proxies agree upon.
 */
const IN_USE = new RegExp(
  `^(${[
    'a-im|age|allow|alpn|alt-.*|alternates|apply-to-redirect-ref|authentication-.*|available-dictionary|b3|cache-.*|cal-managed-id',
    'caldav-.*|capsule-protocol|cdn-.*|cf-.*|clear-site-data|cookie2|cross-origin-.*|dasl|dav|delta-base|deprecation|depth|destination',
    'device-memory|dictionary-id|differential-id|digest|downlink|dpop|dpop-nonce|dpr|ect|etag|expires|fastly-.*|front-end-https|grpc-.*',
    'hobareg|http2-settings|idempotency-key|im|include-.*|isolation|label|last-.*|link|link-template|location|lock-token|memento-.*|meter',
    'mime-version|negotiate|nel|odata-.*|optional-.*|ordering-type|origin-.*|oscore|oslc-.*|overwrite|p3p|pep|pep-info|permissions-policy|pics-label',
    'ping-.*|position|prefer|preference-applied|profileobject|protocol|protocol-.*|public|public-.*|purpose|redirect-ref|referer-root|referrer-policy',
    'refresh|repeatability-.*|replay-nonce|reporting-endpoints|repr-digest|retry-after|rtt|safe|save-data|schedule-.*|security-scheme|server',
    'server-timing|service-worker.*|set-cookie.*|setprofile|signature|signature-input|slug|soapaction|sourcemap|status-uri',
    'strict-transport-security|sunset|surrogate-.*|tcn|timeout|timing-allow-origin|topic|true-client-ip|ttl|uber-trace-id|urgency|uri',
    'use-as-dictionary|variant-vary|vary|viewport-.*|want-.*|width|www-authenticate',
    'x-api-key|x-auth-token|x-b3-.*|x-client-ip|x-cloud-trace-context|x-cluster-client-ip|x-content-type-options|x-correlation-id|x-csrf-token',
    'x-datadog-.*|x-device-.*|x-dns-prefetch-control|x-frame-options|x-host|x-http-.*|x-method-override|x-moz|x-original-.*|x-powered-by|x-purpose',
    'x-remote-.*|x-request-id|x-rewrite-url|x-robots-tag|x-ua-compatible|x-uidh|x-url-scheme|x-wap-profile|x-xsrf-token|x-xss-protection',
  ].join('|')})$`,
);

const TOKEN = /^[a-z0-9!#$%&'*+.^_`|~-]+$/;

/** viewer-response trusts them. */
const ROUTER_HEADERS = [VIEWER_HEADER, NEW_VIEWER_HEADER, DECISION_HEADER, RESPONSE_HEADER, SHADOW_HEADER];

/** Why viewer-request may not put the variant into the header of this name; undefined if it may. */
export function describeVariantHeaderProblem(name: unknown): string | undefined {
  return describeOwnHeaderProblem(name, 'x-flag-variant');
}

/** Why no header of this name may mark shadow traffic, which the router takes out of all requests; undefined if it may. */
export function describeShadowHeaderProblem(name: unknown): string | undefined {
  const example = 'x-load-test';
  const wrong = describeReadHeaderProblem(name) ?? describeOwnHeaderProblem(name, example);
  if (wrong !== undefined) return wrong;
  if (IN_USE.test(name as string))
    return `expected a name of your own, such as ${example} (this one means something else, and no origin would get it)`;
  if (/^x-flag-/.test(name as string))
    return `expected another name, such as ${example} (the router's begin with x-flag-)`;
  return undefined;
}

/** Why rules may not add a header of this name to requests; undefined if they may. Viewers must not be able to send it. */
export function describeAddedHeaderProblem(name: unknown): string | undefined {
  return describeOwnHeaderProblem(name, 'x-new-checkout');
}

/** Why rules may not set a header of this name in responses; undefined if they may. */
export function describeResponseHeaderProblem(name: string): string | undefined {
  if (!TOKEN.test(name) || name.length > 256)
    return 'expected a header name in lower case, of at most 256 characters, such as x-new-checkout';
  if (ROUTER_HEADERS.includes(name)) return 'expected another name (the router uses this one)';
  if (name === 'location') return 'expected a redirect instead';
  // "Restrictions on Lambda@Edge", CloudFront headers: viewer-request must not add one of them, and no viewer has a use for the others.
  if (DISALLOWED.test(name) || /^(x-accel|cloudfront)-/.test(name))
    return 'expected another name (CloudFront forbids edge functions to set this one)';
  const readOnly: readonly string[] = [...READ_ONLY['viewer-response'], ...READ_ONLY['viewer-request']];
  if (readOnly.includes(name)) return 'expected another name (this one is read-only for edge functions)';
  return undefined;
}

function describeOwnHeaderProblem(name: unknown, example: string): string | undefined {
  if (typeof name !== 'string' || !TOKEN.test(name) || name.length > 64)
    return `expected a header name in lower case, of at most 64 characters, such as ${example}`;
  // All headers with these prefixes are avoided, although CloudFront lists only some of x-accel-.
  if (DISALLOWED.test(name) || /^x-accel-/.test(name))
    return `expected a name of your own, such as ${example} (CloudFront forbids edge functions to set this one)`;
  const readOnly: readonly string[] = [...READ_ONLY['viewer-request'], ...READ_ONLY['origin-request']];
  if (readOnly.includes(name))
    return `expected a name of your own, such as ${example} (this one is read-only for edge functions)`;
  if (WELL_KNOWN.test(name))
    return `expected a name of your own, such as ${example} (the router would overwrite what viewers or CloudFront send in this one)`;
  if (ROUTER_HEADERS.includes(name)) return 'expected another name (the router uses this one)';
  return undefined;
}

/** Why CloudFront does not add a header of this name to requests to an origin; undefined if it does. */
export function describeCustomHeaderProblem(name: string): string | undefined {
  if (!TOKEN.test(name) || name.length > 256)
    return 'expected a header name in lower case, of at most 256 characters, such as x-origin-key';
  if (ROUTER_HEADERS.includes(name)) return 'expected another name (the router uses this one)';
  if (NOT_CUSTOM.test(name) || DISALLOWED.test(name))
    return 'expected a name of your own, such as x-origin-key (CloudFront does not add this one to requests)';
  return undefined;
}

/** A header value: visible ASCII, spaces and tabs, without spaces around it. CloudFront: "Quotas on headers". */
export function isHeaderValue(value: unknown): boolean {
  return typeof value === 'string' && value.length <= 1_783 && /^[\x21-\x7e]([\t\x20-\x7e]*[\x21-\x7e])?$/.test(value);
}

/** Why a function cannot read anything from a header of this name; undefined if it can. `variantHeader` is the router's, which viewers may send. */
export function describeReadHeaderProblem(
  name: unknown,
  variantHeader: unknown = DEFAULT_VARIANT_HEADER,
): string | undefined {
  if (typeof name !== 'string' || !TOKEN.test(name) || name.length > 64)
    return 'expected a header name in lower case, of at most 64 characters';
  if (DISALLOWED.test(name)) return 'expected another header (CloudFront does not show this one to edge functions)';
  if (/^cloudfront-/.test(name)) return 'expected another header (CloudFront adds this one after viewer-request)';
  if (name === 'cookie') return 'expected the name of a cookie instead: { cookie: name }';
  if ([variantHeader, DEFAULT_VARIANT_HEADER, ...ROUTER_HEADERS].includes(name))
    return 'expected another header (the router writes this one)';
  return undefined;
}
