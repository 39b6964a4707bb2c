/**
 * What the local edge sends to origins, against the rules of the Amazon CloudFront Developer Guide:
 * RB "Request and response behavior for custom origins", its table of headers; CO "Control origin requests with a policy";
 * OP "Understand origin request policies"; MP "Use managed origin request policies"; CP "Understand cache policies"; CK "Cache
 * content based on cookies"; CB "Cache behavior settings"; QU "Quotas".
 */
import type { CloudFrontRequest } from 'aws-lambda';
import {
  describeRefusal,
  matchesPath,
  toForwarded,
  toSent,
  withoutForeignCookies,
} from '../../bin/dev/origin-request.ts';
import { type Destination, forwardingOf } from '../../lib/infrastructure/edge-forwarding.ts';
import type { BehaviorSettings } from '../../lib/infrastructure/edge-settings.ts';
import { pairs } from '../lambda/edge-router/events.ts';

const viewers = {
  Host: 'www.example.com',
  'User-Agent': 'Firefox',
  Cookie: 'session=1; flag-viewer=2; a=3; $x=4',
  Authorization: 'Bearer abc',
  Origin: 'https://www.example.com',
  Referer: 'https://www.example.com/',
  Accept: 'text/html',
  'Accept-Language': 'de',
  'Accept-Encoding': 'gzip, deflate, br;q=0.9, zstd',
  'Content-Type': 'text/plain',
  'X-Mine': 'mine',
  'x-flag-variant': 'canary',
  'If-None-Match': '"1"',
  'CloudFront-Viewer-Country': 'XX',
};

function requestOf(headers: Record<string, string>, change: Partial<CloudFrontRequest> = {}): CloudFrontRequest {
  const basis = { clientIp: '203.0.113.7', method: 'GET', querystring: 'a=1&b=2', uri: '/page' };
  return { ...basis, headers: pairs(headers), ...change };
}

/** The values of headers that an origin gets, undefined for those that it does not get; `query` for the query string. */
function sentBy(
  behavior: BehaviorSettings,
  names: readonly string[],
  request = requestOf(viewers),
  destination: Destination = { routed: true, bucket: false },
) {
  const { headers, querystring } = toForwarded(request, {
    forwarding: forwardingOf(behavior, destination),
    originHost: 'origin.example.com',
    via: '1.1 local.cloudfront.net (CloudFront)',
    viewer: { port: 4711, httpVersion: '1.1' },
  });
  const values = names.map((name) => headers[name]?.map(({ value }) => value).join(', '));
  return Object.fromEntries([...names.map((name, index) => [name, values[index]]), ['query', querystring]]);
}

test('what testers send stays at the edge, whichever policy a behavior of its own origin has', () => {
  const secrets = { cookies: ['session'], headers: ['x-mine'] };
  const names = ['cookie', 'x-mine', 'origin', 'host'];
  const sent = (behavior: BehaviorSettings) =>
    sentBy(behavior, names, requestOf(viewers), { routed: false, bucket: false, secrets });
  const all = { cookie: 'a=3; flag-viewer=2', 'x-mine': undefined, origin: 'https://www.example.com' };
  expect(sent({})).toMatchObject({ ...all, host: 'origin.example.com' });
  expect(sent({ forward: 'all', caching: 'none' })).toMatchObject({ ...all, host: 'www.example.com' });
  expect(sent({ forward: { cookies: 'all' } })).toMatchObject({ cookie: all.cookie, 'x-mine': undefined });
});

const nothing = { forward: 'none', caching: 'none' } as const;

test.each<[source: string, what: string, BehaviorSettings, Record<string, string | undefined>]>([
  [
    'MP',
    'by default, everything that a site with log-ins needs, but not the Host header',
    {},
    {
      host: 'origin.example.com',
      'user-agent': 'Firefox',
      cookie: 'a=3; flag-viewer=2; session=1',
      authorization: 'Bearer abc',
      origin: 'https://www.example.com',
      referer: 'https://www.example.com/',
      accept: 'text/html',
      'accept-language': 'de',
      'x-mine': 'mine',
      'x-flag-variant': 'canary',
      query: 'a=1&b=2',
    },
  ],
  [
    'MP',
    'AllViewer: the Host header, too',
    { forward: 'all' },
    { host: 'www.example.com', cookie: 'a=3; flag-viewer=2; session=1' },
  ],
  [
    'MP',
    'AllViewerExceptHostHeader adds headers of CloudFront, which viewers cannot supply',
    {},
    {
      'cloudfront-forwarded-proto': 'http',
      'cloudfront-viewer-http-version': '1.1',
      'cloudfront-viewer-address': '203.0.113.7:4711',
      'cloudfront-viewer-country': undefined,
    },
  ],
  ['MP', 'AllViewer adds none', { forward: 'all' }, { 'cloudfront-forwarded-proto': undefined }],
  [
    'CO',
    'nothing of the viewer without a policy, apart from what describes the body',
    nothing,
    {
      host: 'origin.example.com',
      'user-agent': 'Amazon CloudFront',
      cookie: undefined,
      authorization: undefined,
      origin: undefined,
      referer: undefined,
      accept: undefined,
      'accept-language': undefined,
      'accept-encoding': undefined,
      'x-mine': undefined,
      'content-type': 'text/plain',
      'if-none-match': '"1"',
      query: '',
    },
  ],
  [
    'CP',
    'what is in the cache key',
    { forward: 'none' },
    { 'x-flag-variant': 'canary', authorization: 'Bearer abc', query: 'a=1&b=2' },
  ],
  [
    'CP',
    'headers, cookies and query strings that the cache key names',
    { forward: 'none', cacheKey: { headers: ['accept-language'], cookies: ['a'], queryStrings: ['b'] } },
    { 'accept-language': 'de', cookie: 'a=3', query: 'b=2', 'x-mine': undefined },
  ],
  [
    'OP',
    'headers, cookies and query strings that are listed',
    {
      caching: 'none',
      forward: { headers: ['x-mine', 'user-agent', 'host'], cookies: ['session'], queryStrings: ['a'] },
    },
    {
      'x-mine': 'mine',
      'user-agent': 'Firefox',
      host: 'www.example.com',
      cookie: 'session=1',
      query: 'a=1',
      accept: undefined,
    },
  ],
  [
    'OP',
    'the variant of a behavior that caches nothing',
    { caching: 'none', forward: 'none' },
    { 'x-flag-variant': 'canary' },
  ],
  ['CP', 'Accept-Encoding normalised, if it compresses', {}, { 'accept-encoding': 'br,gzip' }],
  [
    'CP',
    'Accept-Encoding as the viewer sent it, if it does not',
    { compress: false },
    { 'accept-encoding': viewers['Accept-Encoding'] },
  ],
  [
    'CP',
    'Accept-Encoding as the viewer sent it, if it caches nothing',
    { caching: 'none' },
    { 'accept-encoding': viewers['Accept-Encoding'] },
  ],
  ['CK', 'no conditions with cookies', {}, { 'if-none-match': undefined }],
  [
    'RB',
    "the viewer's address, and itself",
    {},
    { 'x-forwarded-for': '203.0.113.7', via: '1.1 local.cloudfront.net (CloudFront)' },
  ],
])('%s: an origin gets %s', (_source, _what, behavior, expected) => {
  expect(
    sentBy(
      behavior,
      Object.keys(expected).filter((name) => name !== 'query'),
    ),
  ).toMatchObject(expected);
});

test('CP: a cache key without the router’s cookie sends the others', () => {
  const { headers } = toForwarded(requestOf(viewers), {
    forwarding: {
      cache: { ...forwardingOf({}, { routed: true, bucket: false }).cache!, cookies: { except: ['flag-viewer'] } },
      originRequest: { headers: 'none', cookies: 'none', queryStrings: 'none' },
    },
    originHost: 'origin.example.com',
    via: '',
    viewer: { port: 1, httpVersion: '1.1' },
  });
  expect(headers.cookie?.[0]?.value).toBe('a=3; session=1');
});

test.each([
  ['br', 'br'],
  ['gzip;q=0.5, deflate', 'gzip'],
  ['deflate', 'identity'],
  [undefined, undefined],
])('CP: Accept-Encoding %j becomes %j', (sent, received) => {
  const headers: Record<string, string> = sent === undefined ? {} : { 'Accept-Encoding': sent };
  expect(sentBy({}, ['accept-encoding'], requestOf(headers))['accept-encoding']).toBe(received);
});

test('RB: headers of a connection and those that CloudFront removes reach no origin', () => {
  const removed = [
    'Expect',
    'Proxy-Authorization',
    'TE',
    'Trailer',
    'X-Edge-Location',
    'X-Forwarded-Proto',
    'X-Real-IP',
  ];
  const names = [...removed, 'Connection', 'Keep-Alive', 'Transfer-Encoding', 'Upgrade', 'X-Amz-Cf-Id'];
  const sent = sentBy(
    { forward: 'all' },
    names.map((name) => name.toLowerCase()),
    requestOf(Object.fromEntries(names.map((name) => [name, 'x']))),
  );
  expect(Object.values(sent).filter((value) => value !== undefined)).toEqual(['a=1&b=2']);
});

test.each([
  ['GET', undefined],
  ['HEAD', undefined],
  ['OPTIONS', 'Bearer abc'],
  ['POST', 'Bearer abc'],
  ['DELETE', 'Bearer abc'],
])('RB: without a policy, the Authorization of a %s request is %j', (method, value) => {
  expect(sentBy(nothing, ['authorization'], requestOf(viewers, { method })).authorization).toBe(value);
});

test('RB: the address is appended to those that the viewer sent', () => {
  const headers = { 'X-Forwarded-For': '192.0.2.4,192.0.2.3', Via: '1.1 proxy' };
  expect(sentBy({}, ['x-forwarded-for', 'via'], requestOf(headers))).toMatchObject({
    'x-forwarded-for': '192.0.2.4,192.0.2.3, 203.0.113.7',
    via: '1.1 proxy, 1.1 local.cloudfront.net (CloudFront)',
  });
});

test('a bucket gets neither cookies nor Authorization nor a query string', () => {
  const sent = sentBy({}, ['cookie', 'authorization', 'host'], requestOf(viewers), { routed: false, bucket: true });
  expect(sent).toEqual({ cookie: undefined, authorization: undefined, host: 'origin.example.com', query: '' });
});

test('RB: an origin gets its own headers, a number of the request, and a connection that is kept', () => {
  const custom = {
    customHeaders: pairs({ 'x-key': 'abc' }),
    domainName: 'a.example',
    path: '',
    port: 443,
    protocol: 'https' as const,
  };
  const origin = { custom: { ...custom, sslProtocols: [], readTimeout: 30, keepaliveTimeout: 5 } };
  const { headers } = toSent(requestOf({ accept: '*/*' }, { origin }), 'number');
  const values = Object.fromEntries(Object.entries(headers).map(([name, [first]]) => [name, first?.value]));
  expect(values).toEqual({ accept: '*/*', 'x-key': 'abc', connection: 'Keep-Alive', 'x-amz-cf-id': 'number' });
});

test('CK: Set-Cookie of an origin that gets no cookies reaches no viewer', () => {
  const answer = { status: '200', statusDescription: 'OK', headers: pairs({ 'Set-Cookie': 'a=b', ETag: '1' }) };
  const routed = { routed: true, bucket: false };
  expect(withoutForeignCookies(answer, forwardingOf({}, routed))).toEqual(answer);
  expect(withoutForeignCookies(answer, forwardingOf({ forward: 'none' }, routed)).headers).toEqual(
    pairs({ ETag: '1' }),
  );
});

test.each([
  ['QU', 'a URL of 8193 bytes', { uri: `/${'a'.repeat(8_184)}`, querystring: 'b=123456' }, 0, 'all', 414],
  ['QU', 'headers of 32768 bytes', { headers: pairs({ a: 'b'.repeat(32_768) }) }, 0, 'all', 494],
  ['RB', 'a GET request with a body', {}, 1, 'all', 403],
  ['CB', 'a method that the behavior does not allow', { method: 'POST' }, 1, 'read-and-options', 403],
  ['CB', 'a method that CloudFront does not know', { method: 'PROPFIND' }, 0, 'all', 403],
  ['CB', 'OPTIONS where only GET and HEAD are allowed', { method: 'OPTIONS' }, 0, 'read', 403],
] as const)('%s: %s is refused', (_source, _what, change, bodyBytes, methods, status) => {
  expect(describeRefusal(requestOf({}, change as Partial<CloudFrontRequest>), bodyBytes, methods)).toMatchObject({
    status,
  });
});

test.each([
  ['GET', 0, 'read'],
  ['OPTIONS', 0, 'read-and-options'],
  ['PATCH', 10, 'all'],
] as const)('CB: %s with a body of %p bytes is accepted where the behavior allows %p', (method, bytes, methods) => {
  expect(describeRefusal(requestOf({}, { method }), bytes, methods)).toBeUndefined();
});

// The examples of CB, "Path pattern" and "Path normalization".
test.each([
  ['images/*.jpg', ['/images/a.jpg', '/images/b/c.jpg'], ['/images/sample.gif', '/x/images/a.jpg', '/images/LOGO.JPG']],
  ['/images/*', ['/images/', '/images/sample.gif'], ['/images', '/Images/a']],
  ['*.gif', ['/a.gif', '/images/sample.gif'], ['/a.jpg']],
  ['a??.jpg', ['/ant.jpg', '/abe.jpg'], ['/a.jpg', '/apple.jpg']],
  ['*.doc*', ['/a.doc', '/a.docx'], ['/a.do']],
  ['/a/b*', ['/a/b', '/a//b', '/x/../a/b'], ['/a/b/..', '/a']],
  ['/a+b(c)', ['/a+b(c)'], ['/aab(c)']],
])('CB: %s is for %j and not for %j', (pattern, right, wrong) => {
  for (const uri of right) expect([uri, matchesPath(pattern, uri)]).toEqual([uri, true]);
  for (const uri of wrong) expect([uri, matchesPath(pattern, uri)]).toEqual([uri, false]);
});
