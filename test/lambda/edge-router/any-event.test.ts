/** The handlers and events of all kinds: documented ones, odd ones, malformed ones, and any values at all. */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import type { CloudFrontHeaders, CloudFrontRequest } from 'aws-lambda';
import fc from 'fast-check';
import { describeResultProblem } from '../../../bin/dev/cloudfront.ts';
import { createOfflineReader } from '../../../lambda/edge-reader/index.ts';
import { DISALLOWED, READ_ONLY } from '../../../lambda/edge-router/header-rules.ts';
import {
  createHandlerForTesters,
  createOriginRequestHandler,
  createViewerRequestHandler,
  createViewerResponseHandler,
  type Rule,
} from '../../../lambda/edge-router/index.ts';
import { headersById } from '../../../lambda/edge-router/rules.ts';
import { pairs, requestEvent, responseEvent } from './events.ts';

const fixture = readFileSync(join(import.meta.dirname, '../../fixtures/edge-events/events.json'), 'utf8');
type Kind = 'viewer-request' | 'origin-request' | 'viewer-response';
/** Typed as one of ours, though it may be anything. */
type Event = ReturnType<typeof requestEvent>;
// biome-ignore lint/suspicious/noExplicitAny: results are looked at as what they might be
type Handler = (event: any) => Promise<any>;

const config = {
  reader: { tableName: 'flags', replicas: { default: ['eu-west-1'] } },
  flagKey: 'checkout',
  variants: ['stable', 'canary'],
  defaultVariant: 'stable',
};
const flag = {
  key: 'checkout',
  version: 1,
  on: true,
  salt: 'salt',
  variations: ['stable', 'canary'],
  fallthrough: { variation: 1 },
  rules: [
    { id: 'a', variation: 1, clauses: [{ attribute: 'path', op: 'startsWith', values: ['/new'] }] },
    { id: 'b', variation: 1, clauses: [{ attribute: 'userAgent', op: 'matches', values: ['(a+)+$'] }] },
    { id: 'c', variation: 1, clauses: [{ attribute: 'host', op: 'in', values: ['a', 'b'] }] },
  ],
};
const reader = createOfflineReader({ flags: { checkout: flag } });
const report = { decided: () => {} };
const origins = {
  stable: { domainName: 'stable.example' },
  canary: { domainName: 'canary.example', host: 'www.example' },
};
const bucket = { bucket: 'pages', region: 'eu-west-1' };
const preview = { publicKeys: ['11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo'], stage: 'prod' };
const shadow = { header: 'x-load-test', value: 'a-secret-of-sixteen' };
const viewer = {
  ids: ['cookie', { cookie: 'user' }, { header: 'x-user' }],
  consent: { cookie: 'consent', includes: 'yes' },
  without: 'address',
} as const;

const rules: readonly Rule[] = [
  {
    when: { path: '/new/*', query: { q: '*a*' } },
    flagKey: 'checkout',
    variations: { canary: { redirect: { to: '/*' } } },
  },
  {
    when: { header: { 'x-user': true }, cookie: { consent: '*yes*' }, host: '*.example', method: ['GET', 'POST'] },
    flagKey: 'checkout',
    variations: { canary: { answer: { status: 200, body: 'a' } } },
  },
  {
    flagKey: 'checkout',
    variations: {
      canary: { origin: 'canary', rewrite: '/v2/*', requestHeaders: { 'x-a': 'b' }, responseHeaders: { 'x-c': 'd' } },
    },
  },
];
const attributes = { plan: { cookie: 'plan' }, lang: { query: 'lang' }, user: { header: 'x-user' } } as const;

/** Each function, in the settings that read or write most. */
const handlers: readonly (readonly [name: string, kind: Kind, handler: Handler])[] = [
  ['viewer-request', 'viewer-request', createViewerRequestHandler(config, reader, report)],
  ['viewer-request with ids and consent', 'viewer-request', createViewerRequestHandler({ ...config, viewer }, reader)],
  [
    'viewer-request for testers',
    'viewer-request',
    createHandlerForTesters({ preview, shadow }, report, (counted, options) =>
      createViewerRequestHandler(config, reader, counted, options),
    ),
  ],
  [
    'viewer-request with rules',
    'viewer-request',
    createViewerRequestHandler({ ...config, rules, attributes, viewer }, reader, report),
  ],
  [
    'origin-request with rules',
    'origin-request',
    createOriginRequestHandler({
      origins,
      defaultVariant: 'stable',
      requestHeaders: headersById(rules, 'requestHeaders'),
    }),
  ],
  [
    'viewer-response with rules',
    'viewer-response',
    createViewerResponseHandler({ responseHeaders: headersById(rules, 'responseHeaders') }),
  ],
  ['origin-request', 'origin-request', createOriginRequestHandler({ origins, defaultVariant: 'stable' })],
  [
    'origin-request in a bucket',
    'origin-request',
    createOriginRequestHandler({
      origins: { stable: bucket, canary: { ...bucket, path: '/v2' } },
      defaultVariant: 'stable',
      fallbacks: ['sorry.example'],
    }),
  ],
  ['viewer-response', 'viewer-response', createViewerResponseHandler({ epoch: '2', cookieDomain: 'example.com' })],
];

let logged: jest.SpyInstance;
beforeEach(() => {
  logged = jest.spyOn(console, 'error').mockImplementation(() => {});
});
afterEach(() => logged.mockRestore());

const events = () => JSON.parse(fixture) as Record<string, Event>;
const ofKind = (kind: Kind) => Object.entries(events()).filter(([name]) => name.startsWith(kind));

/** What functions of a kind may write. */
const OURS: Readonly<Record<Kind, RegExp>> = {
  'viewer-request': /^(x-flag-(variant|viewer|new-viewer|decision|shadow|response)|x-load-test|cookie)$/,
  'origin-request': /^(host|x-a)$/,
  'viewer-response': /^(set-cookie|x-flag-decision|cache-control|x-robots-tag|x-c)$/,
};

/** Names of the headers that are there before or after, and not the same. */
function changed(before: CloudFrontHeaders, after: CloudFrontHeaders): string[] {
  const names = new Set([...Object.keys(before), ...Object.keys(after)]);
  return [...names].filter((name) => JSON.stringify(before[name]) !== JSON.stringify(after[name]));
}

/** Without those that CloudFront does not show to functions. */
function visible(headers: CloudFrontHeaders): CloudFrontHeaders {
  return Object.fromEntries(Object.entries(headers).filter(([name]) => !DISALLOWED.test(name)));
}

/** Runs a handler, and holds its result to what CloudFront accepts of it. */
async function run(handler: Handler, kind: Kind, event: Event) {
  const before = structuredClone(event);
  const result = await handler(event);
  const { cf } = before.Records[0]!;
  const { request, response } = cf as typeof cf & { response?: CloudFrontRequest & { status: string } };
  const isGenerated = kind !== 'viewer-response' && 'status' in result;
  const headers = visible((response ?? request).headers);
  const written = isGenerated ? [] : changed((response ?? request).headers, result.headers);
  expect(written.filter((name) => !OURS[kind].test(name))).toEqual([]);
  expect(
    written.filter((name) => DISALLOWED.test(name) || (READ_ONLY[kind] as readonly string[]).includes(name)),
  ).toEqual([]);
  const seen = { ...result, headers: visible(result.headers) };
  // The local edge has no buckets.
  if (!result.origin?.s3) expect(describeResultProblem(kind, seen, headers, response?.status)).toBeUndefined();
  return result;
}

test.each(handlers)('%s: documented events lead to what CloudFront accepts', async (handlerName, kind, handler) => {
  for (const [name, event] of ofKind(kind)) {
    const { headers, ...rest } = structuredClone(event.Records[0]!.cf.request);
    const result = await run(handler, kind, event);
    if (kind === 'viewer-request') {
      const { uri } = handlerName.includes('rules') ? result : rest;
      expect([name, result]).toEqual([name, { ...rest, uri, headers: expect.objectContaining(headers) }]);
      expect(result.headers['x-flag-decision']).toHaveLength(1);
    } else if (kind === 'viewer-response') {
      expect([name, result.status, result.headers['set-cookie'].length]).toEqual([name, '200', 2]);
    }
  }
});

test('an origin of S3 is left as it is for a bucket, and replaced for a custom origin', async () => {
  for (const [name, kind, handler] of handlers.filter(([, one]) => one === 'origin-request')) {
    const event = events()['origin-request to S3']!;
    const { origin } = structuredClone(event.Records[0]!.cf.request) as { origin?: object };
    const result = await run(handler, kind, event);
    if (name.includes('bucket')) expect(result.origin).toEqual(origin);
    else expect(Object.keys(result.origin)).toEqual(['custom']);
  }
});

test('a function at an event that it is not for returns what CloudFront sent it', async () => {
  for (const [, kind, handler] of handlers)
    for (const [name, event] of Object.entries(events()).filter(([one]) => !one.startsWith(kind)))
      expect([name, (await handler(event)) === sentTo(kind, event)]).toEqual([name, true]);
});

const allForbidden = [
  ...['Connection', 'Expect', 'Keep-Alive', 'Proxy-Authenticate', 'Proxy-Authorization', 'Proxy-Connection', 'Trailer'],
  ...['Upgrade', 'X-Accel-Buffering', 'X-Accel-Charset', 'X-Accel-Limit-Rate', 'X-Accel-Redirect', 'X-Amz-Cf-Id'],
  ...['X-Amzn-Auth', 'X-Amzn-Cf-Billing', 'X-Amzn-Cf-Id', 'X-Amzn-Cf-Xff', 'X-Amzn-ErrorType', 'X-Amzn-Fle-Profile'],
  ...['X-Amzn-Header-Count', 'X-Amzn-Header-Order', 'X-Amzn-Lambda-Integration-Tag', 'X-Amzn-RequestId', 'X-Cache'],
  ...['X-Edge-Location', 'X-Forwarded-Proto', 'X-Real-IP', 'CDN-Loop', 'Content-Length', 'Transfer-Encoding', 'Via'],
  ...['Accept-Encoding', 'Content-Encoding', 'If-Modified-Since', 'If-None-Match', 'If-Range', 'Warning'],
];
const odd: readonly (readonly [what: string, headers: CloudFrontHeaders])[] = [
  [
    'every header that functions may not write',
    pairs(Object.fromEntries(allForbidden.map((name) => [name, 'as it was']))),
  ],
  ['empty values', { accept: [{ key: 'Accept', value: '' }], cookie: [{ key: 'Cookie', value: '' }] }],
  ['a header without values', { accept: [], cookie: [] }],
  ['a header of 50 lines', { 'x-many': Array.from({ length: 50 }, () => ({ key: 'X-Many', value: 'a' })) }],
  ['a value of 10,000 characters', pairs({ 'User-Agent': 'a'.repeat(10_000), 'X-User': 'u'.repeat(10_000) })],
  [
    'values beyond ASCII',
    pairs({ 'User-Agent': 'Ünïcode 😀 \u0080\ud800', 'X-User': 'zoë', Cookie: 'user=zoë; flag-viewer=é' }),
  ],
  [
    'names of Object.prototype',
    JSON.parse('{"__proto__":[{"value":"a"}],"constructor":[{"value":"a"}],"tostring":[]}'),
  ],
  [
    'a thousand cookies',
    pairs({ Cookie: Array.from({ length: 1_000 }, (_, index) => `c${index}=${index}`).join('; ') }),
  ],
  [
    'several cookie headers',
    { cookie: ['flag-viewer=x', 'consent=%', 'user=u1'].map((value) => ({ key: 'Cookie', value })) },
  ],
  ['cookies without values', pairs({ Cookie: 'flag-viewer; =; ;; user=; consent==yes; __Host-flag-preview' })],
  ['a cookie that cannot be decoded', pairs({ Cookie: 'consent=%E0%A4%A; __Host-flag-preview=%%%' })],
];

test.each(odd)('%s are handled by each function', async (_, headers) => {
  for (const [, kind, handler] of handlers) {
    const event = kind === 'viewer-response' ? responseEvent({}) : requestEvent(kind);
    const cf = event.Records[0]!.cf as { request: CloudFrontRequest; response?: CloudFrontRequest };
    cf.request.headers = { ...cf.request.headers, ...structuredClone(headers) };
    if (cf.response) cf.response.headers = { ...cf.response.headers, ...structuredClone(headers) };
    await run(handler, kind, event as Event);
  }
  expect(logged).not.toHaveBeenCalled();
});

test.each([
  ['a query of 8,000 characters', '/', `q=${'a'.repeat(8_000)}`],
  ['a query that cannot be decoded', '/__flag-preview', 't=%E0%A4%A&to=%'],
  ['a query of 2,000 parameters', '/__flag-preview', 't&'.repeat(2_000)],
  ['a path of 8,000 characters', `/${'a'.repeat(8_000)}`, ''],
  ['a path beyond ASCII', '/käse/😀/%F0%9F%98%80/\u0000', ''],
  ['a path with dots', '/../..//%2e%2e/', ''],
])('%s is handled by each function', async (_, uri, querystring) => {
  for (const [, kind, handler] of handlers) {
    const event = kind === 'viewer-response' ? responseEvent({}) : requestEvent(kind);
    Object.assign(event.Records[0]!.cf.request, { uri, querystring });
    await run(handler, kind, event as Event);
  }
  expect(logged).not.toHaveBeenCalled();
});

const throwing = (property: string) =>
  Object.defineProperty({}, property, {
    enumerable: true,
    get() {
      throw new Error('no');
    },
  });
const inRequest = (request: unknown) => ({ Records: [{ cf: { config: {}, request } }] });
const malformed: readonly (readonly [what: string, event: () => unknown])[] = [
  ...[
    undefined,
    null,
    0,
    'event',
    [],
    {},
    { Records: null },
    { Records: [] },
    { Records: [null] },
    { Records: [{}] },
  ].map((event) => [JSON.stringify(event) ?? 'undefined', () => event] as const),
  ...[undefined, null, 7, 'request', [], {}].map(
    (request) => [`the request ${JSON.stringify(request)}`, () => inRequest(request)] as const,
  ),
  ...[null, 7, 'headers', []].map(
    (headers) =>
      [`the headers ${JSON.stringify(headers)}`, () => inRequest({ headers, uri: '/', method: 'GET' })] as const,
  ),
  ...[null, 7, 'a=b', {}, [null], [7], [{}], [{ value: 7 }], [{ value: null }]].map(
    (cookie) =>
      [
        `the cookies ${JSON.stringify(cookie)}`,
        () => inRequest({ headers: { cookie, host: cookie }, uri: '/' }),
      ] as const,
  ),
  ...[null, 7, {}, undefined].map(
    (uri) => [`the path ${JSON.stringify(uri)}`, () => inRequest({ headers: {}, uri, querystring: uri })] as const,
  ),
  ['a preview link without headers', () => inRequest({ uri: '/__flag-preview' })],
  [
    'a request that cannot be changed',
    () => inRequest(Object.freeze({ headers: Object.freeze({}), uri: '/__flag-preview' })),
  ],
  ['records that throw', () => throwing('Records')],
  ['headers that throw', () => inRequest(throwing('headers'))],
  ['a path that throws', () => inRequest(Object.assign(throwing('uri'), { headers: {} }))],
  ['a response without headers', () => ({ Records: [{ cf: { request: {}, response: { status: '200' } } }] })],
  ['a response without a request', () => ({ Records: [{ cf: { response: { status: '200', headers: {} } } }] })],
];

/** What CloudFront sent to a function of this kind. */
function sentTo(kind: Kind, event: unknown): unknown {
  try {
    const { response, request } = Object(Object(event).Records?.[0]?.cf);
    return kind === 'viewer-response' ? (response ?? request) : (request ?? response);
  } catch {
    return undefined;
  }
}

test.each(malformed)('%s: no function fails, and what was sent goes on', async (_, make) => {
  for (const [name, kind, handler] of handlers) {
    const event = make();
    const result = await handler(event);
    // The answer to a preview link.
    if (kind === 'viewer-request' && Object(result).body) expect([name, result.status]).toEqual([name, '200']);
    else expect([name, result ?? undefined]).toEqual([name, sentTo(kind, event) ?? undefined]);
    if (Object(result) === result && !result.body) expect(result === sentTo(kind, event)).toBe(true);
  }
});

test('whatever a viewer sends, a request that a function could not handle has the default variant, not one of the viewer’s', async () => {
  const failing = createViewerRequestHandler(config, {
    variationDetail: () => {
      throw new Error('no');
    },
  });
  const sent = {
    'x-flag-variant': 'canary',
    'x-flag-new-viewer': 'mine',
    'x-flag-viewer': 'mine',
    'x-flag-decision': 'mine',
  };
  const { headers } = await failing(requestEvent('viewer-request', sent));
  const value = (name: string) => headers[name]?.map((one) => one.value);
  expect(value('x-flag-variant')).toEqual(['stable']);
  expect([headers['x-flag-viewer'], headers['x-flag-new-viewer']]).toEqual([undefined, undefined]);
  expect(JSON.stringify(value('x-flag-decision'))).not.toContain('mine');
});

test('no exception escapes a function, whatever value its event is @heavy', async () => {
  // An event of the right shape in which a part is something else.
  const paths = [
    ...['request', 'response', 'config'].map((part) => [part]),
    ...['headers', 'uri', 'querystring', 'clientIp', 'method', 'origin', 'body'].map((part) => ['request', part]),
    ...[
      'host',
      'cookie',
      'user-agent',
      'x-flag-variant',
      'x-flag-new-viewer',
      'x-flag-decision',
      'x-load-test',
    ].flatMap((name) => [
      ['request', 'headers', name],
      ['request', 'headers', name, '0', 'value'],
    ]),
    ...['headers', 'status'].map((part) => ['response', part]),
    ['response', 'headers', 'set-cookie'],
  ];
  const whole = JSON.stringify(responseEvent({ Cookie: 'a=b; flag-viewer=c', 'x-flag-variant': 'canary' }));
  const broken = fc
    .tuple(fc.constantFrom(...paths), fc.anything({ withNullPrototype: true, withBigInt: true }))
    .map(([path, value]) => {
      const event = JSON.parse(whole);
      let at = event.Records[0].cf;
      for (const name of path.slice(0, -1))
        at = at[name] ??= name === '0' ? { key: 'x', value: '' } : name.includes('-') ? [] : {};
      at[path.at(-1)!] = value;
      return event as unknown;
    });
  await fc.assert(
    fc.asyncProperty(
      fc.oneof({ weight: 4, arbitrary: broken }, { weight: 1, arbitrary: fc.anything() }),
      async (event) => {
        for (const [, , handler] of handlers) await handler(event);
      },
    ),
    { numRuns: process.env.LONG ? 20_000 : 300 },
  );
});

test('whatever headers a request has, no function writes one that it may not write @heavy', async () => {
  const name = fc.oneof(
    fc.constantFrom(...allForbidden.map((one) => one.toLowerCase())),
    fc.stringMatching(/^[a-z][a-z0-9-]{0,20}$/),
  );
  const value = fc.oneof(
    fc.string(),
    fc.constantFrom('flag-viewer=6d2f7f3e-3f0a-4b0c-9a51-0d1f1d0c7a11', 'canary', 'consent=yes'),
  );
  const line = value.map((one) => ({ value: one.replace(/[\r\n\0]/g, '') }));
  const headersOf = fc.dictionary(
    fc.oneof(name, fc.constantFrom('cookie', 'x-flag-variant', 'x-user')),
    fc.array(line, { maxLength: 3 }),
  );
  await fc.assert(
    fc.asyncProperty(headersOf, headersOf, async (asked, answered) => {
      for (const [, kind, handler] of handlers) {
        const event = kind === 'viewer-response' ? responseEvent({}) : requestEvent(kind);
        const cf = event.Records[0]!.cf as { request: CloudFrontRequest; response?: CloudFrontRequest };
        Object.assign(cf.request.headers, structuredClone(asked));
        if (cf.response) Object.assign(cf.response.headers, structuredClone(answered));
        await run(handler, kind, event as Event);
      }
    }),
    { numRuns: process.env.LONG ? 5_000 : 100 },
  );
});
