/**
 * What CloudFront sends to origins, as far as `npm start` needs it. Source: Amazon CloudFront Developer Guide, "Request and
 * response behavior for custom origins" (its table of headers), "Control origin requests with a policy", "Understand cache
 * policies", "Understand origin request policies", "Use managed origin request policies", "Cache content based on cookies".
 */
import type { CloudFrontHeaders, CloudFrontRequest, CloudFrontResponse } from 'aws-lambda';
import { compileWildcards } from '../../lambda/edge-router/wildcards.ts';
import { type Except, type Forwarding, isExcept, type Selection } from '../../lib/infrastructure/edge-forwarding.ts';

/** Removed whatever the policies say; `connection` is replaced. */
const NEVER_SENT =
  /^(connection|expect|keep-alive|proxy-.*|te|trailer|transfer-encoding|upgrade|x-amz-cf-.*|x-edge-.*|x-forwarded-proto|x-real-ip)$/;

/**
 * Sent without a policy: what describes the body, and what the table forwards without being configured. Not `origin`, although
 * the table has it: the managed policies CORS-CustomOrigin and CORS-S3Origin exist to send it.
 */
const ALWAYS_SENT =
  /^(cache-control|content-(length|md5|type)|date|from|if-(match|modified-since|none-match|range|unmodified-since)|max-forwards|pragma|range|request-range|via|warning|x-forwarded-for)$/;

/** Headers that CloudFront writes itself, or treats by rules of their own. */
const HANDLED = /^(accept-encoding|cookie|host|user-agent)$/;

/** "Add CloudFront request headers", those of AllViewerExceptHostHeader: viewers cannot supply them. */
const ADDED = /^cloudfront-(forwarded-proto|is-.*-viewer|viewer-.*)$/;

interface Sending {
  readonly forwarding: Forwarding;
  /** Of the behavior's own origin: CloudFront's default for the Host header. */
  readonly originHost: string;
  readonly viewer: { readonly port: number; readonly httpVersion: string };
  /** Names the request in Via; CloudFront has an address there. */
  readonly via: string;
}

/** The request that an origin-request function gets, without its origin: what the policies let through. */
export function toForwarded(request: CloudFrontRequest, sending: Sending): CloudFrontRequest {
  const { cache, originRequest } = sending.forwarding;
  return {
    ...request,
    querystring: joined(request.querystring, [cache?.queryStrings ?? 'none', originRequest.queryStrings]),
    headers: toForwardedHeaders(request, sending),
  };
}

function toForwardedHeaders(
  request: CloudFrontRequest,
  { forwarding, originHost, viewer, via }: Sending,
): CloudFrontHeaders {
  const { cache, originRequest } = forwarding;
  const except = exceptOf(originRequest.headers);
  const named = new Set([
    ...(cache?.headers ?? []),
    ...(Array.isArray(originRequest.headers) ? originRequest.headers : []),
  ]);
  const wanted = (name: string) => (except && !except.includes(name)) || named.has(name);
  const adds = (name: string) => (originRequest.headers !== 'all' && except !== undefined) || named.has(name);

  const headers: CloudFrontHeaders = {};
  for (const [name, values] of Object.entries(request.headers)) {
    if (NEVER_SENT.test(name) || HANDLED.test(name) || (adds(name) && ADDED.test(name))) continue;
    if (wanted(name) || ALWAYS_SENT.test(name) || keepsAuthorization(name, request.method)) headers[name] = values;
  }
  const put = (name: string, value: string | undefined) => {
    if (value !== undefined) headers[name] = [{ key: name, value }];
  };
  const sent = (name: string) => request.headers[name]?.map(({ value }) => value).join(', ');
  put('host', wanted('host') ? sent('host') : originHost);
  put('user-agent', wanted('user-agent') ? sent('user-agent') : 'Amazon CloudFront');
  put(
    'accept-encoding',
    acceptEncoding(sent('accept-encoding'), cache?.compressed ?? false, wanted('accept-encoding')),
  );
  put('cookie', cookies(request.headers, [cache?.cookies ?? 'none', originRequest.cookies]));
  put('x-forwarded-for', [sent('x-forwarded-for'), request.clientIp].filter(Boolean).join(', '));
  put('via', [sent('via'), via].filter(Boolean).join(', '));
  // Headers about location, device and TLS cannot be known here.
  const known = {
    'cloudfront-forwarded-proto': 'http',
    'cloudfront-viewer-address': `${request.clientIp}:${viewer.port}`,
    'cloudfront-viewer-http-version': viewer.httpVersion,
  };
  for (const [name, value] of Object.entries(known)) if (adds(name)) put(name, value);
  // "The If-Modified-Since and If-None-Match conditional requests are not supported" with cookies.
  if (forwardsCookies(forwarding)) {
    delete headers['if-modified-since'];
    delete headers['if-none-match'];
  }
  return headers;
}

/** The headers that are not sent, if all others are sent. */
function exceptOf(headers: Forwarding['originRequest']['headers']): readonly string[] | undefined {
  if (headers === 'all') return [];
  return headers === 'all-but-host' ? ['host'] : isExcept(headers) ? headers.except : undefined;
}

/** By the table, methods whose answers are not cached keep it. None of our behaviors caches OPTIONS. */
function keepsAuthorization(name: string, method: string): boolean {
  return name === 'authorization' && method !== 'GET' && method !== 'HEAD';
}

/** "Compression support": normalised if the cache policy is for compressed objects; like any other header if not. */
function acceptEncoding(sent: string | undefined, compressed: boolean, wanted: boolean): string | undefined {
  if (sent === undefined) return undefined;
  if (!compressed) return wanted ? sent : undefined;
  const accepted = sent.split(',').map((one) => one.trim().split(';')[0]);
  return ['br', 'gzip'].filter((one) => accepted.includes(one)).join(',') || 'identity';
}

/** Those of the policies, sorted by name; none with a name that starts with `$`. */
function cookies(headers: CloudFrontHeaders, selections: readonly (Selection | Except)[]): string | undefined {
  const pairs = (headers.cookie ?? [])
    .flatMap(({ value = '' }) => value.split(';'))
    .map((pair) => pair.trim())
    .filter((pair) => /^[^$=\s][^=\s]*=/.test(pair));
  const chosen = pairs.filter((pair) => isChosen(nameIn(pair), selections));
  return chosen.sort((a, b) => (nameIn(a) < nameIn(b) ? -1 : nameIn(a) > nameIn(b) ? 1 : 0)).join('; ') || undefined;
}

function joined(querystring: string, selections: readonly Selection[]): string {
  if (selections.includes('all')) return querystring;
  const parts = querystring.split('&').filter((part) => part !== '' && isChosen(decoded(nameIn(part)), selections));
  return parts.join('&');
}

function isChosen(name: string, selections: readonly (Selection | Except)[]): boolean {
  return selections.some((one) => {
    if (typeof one === 'string') return one === 'all';
    return 'except' in one ? !one.except.includes(name) : one.includes(name);
  });
}

function nameIn(pair: string): string {
  return pair.split('=', 1)[0] ?? '';
}

function decoded(text: string): string {
  try {
    return decodeURIComponent(text);
  } catch {
    return text;
  }
}

function forwardsCookies({ cache, originRequest }: Forwarding): boolean {
  const selections = [cache?.cookies ?? 'none', originRequest.cookies];
  return selections.some((one) => (typeof one === 'string' ? one === 'all' : 'except' in one || one.length > 0));
}

/** The request as it leaves CloudFront, after origin-request: with the origin's own headers, and what functions never see. */
export function toSent(request: CloudFrontRequest, requestId: string): CloudFrontRequest {
  const { customHeaders = {} } = request.origin?.custom ?? {};
  return {
    ...request,
    headers: {
      ...request.headers,
      ...customHeaders,
      connection: [{ key: 'connection', value: 'Keep-Alive' }],
      'x-amz-cf-id': [{ key: 'x-amz-cf-id', value: requestId }],
    },
  };
}

/** "Cache content based on cookies": without cookies for the origin, viewers get none from it either. */
export function withoutForeignCookies(answer: CloudFrontResponse, forwarding: Forwarding): CloudFrontResponse {
  if (forwardsCookies(forwarding)) return answer;
  const { 'set-cookie': _, ...headers } = answer.headers;
  return { ...answer, headers };
}

const METHODS: Readonly<Record<'read' | 'read-and-options' | 'all', readonly string[]>> = {
  read: ['GET', 'HEAD'],
  'read-and-options': ['GET', 'HEAD', 'OPTIONS'],
  all: ['GET', 'HEAD', 'OPTIONS', 'PUT', 'POST', 'PATCH', 'DELETE'],
};

/** The status with which CloudFront refuses a viewer's request, and why; undefined if it accepts it. */
export function describeRefusal(
  { method, uri, querystring, headers }: CloudFrontRequest,
  bodyBytes: number,
  methods: keyof typeof METHODS,
): { readonly status: number; readonly why: string } | undefined {
  const url = Buffer.byteLength(uri) + (querystring ? Buffer.byteLength(querystring) + 1 : 0);
  if (url > 8_192) return { status: 414, why: `the URL has ${url} bytes; CloudFront accepts 8192` };
  const bytes =
    url +
    Object.values(headers)
      .flat()
      .reduce((sum, { key = '', value }) => sum + key.length + Buffer.byteLength(value), 0);
  if (bytes > 32_768) return { status: 494, why: `URL and headers have ${bytes} bytes; CloudFront accepts 32768` };
  if (!METHODS[methods].includes(method))
    return { status: 403, why: `this behavior does not allow ${method}: only ${METHODS[methods].join(', ')}` };
  if (method === 'GET' && bodyBytes > 0) return { status: 403, why: 'CloudFront refuses a GET request with a body' };
  return undefined;
}

/** Whether a path pattern matches; case-sensitive. "Cache behavior settings". */
export function matchesPath(pattern: string, uri: string): boolean {
  return compileWildcards(pattern.replace(/^\/?/, '/'))(normalised(uri)) !== undefined;
}

/** For matching only: origins get the path as it was sent. "Path normalization". */
function normalised(uri: string): string {
  return new URL(uri.replace(/\/{2,}/g, '/'), 'http://localhost').pathname;
}
