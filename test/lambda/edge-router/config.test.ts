/**
 * What the router's configuration may say. Source of the rules: Amazon CloudFront Developer Guide, "Lambda@Edge event structure"
 * (request event fields, origin), "Restrictions on all edge functions" (headers), "Add custom headers to origin requests",
 * "Request and response behavior for custom origins", "Quotas".
 */
import { checkRouterConfig, type RouterConfig } from '../../../lambda/edge-router/check-config.ts';
import {
  createHandlerForTesters,
  createOriginRequestHandler,
  createViewerRequestHandler,
  createViewerResponseHandler,
} from '../../../lambda/edge-router/index.ts';

/** The error; `accepted` if there is none. */
function messageOf(config: unknown): string {
  try {
    checkRouterConfig(config as RouterConfig);
    return 'accepted';
  } catch (error) {
    return (error as Error).message.replace('edge router: ', '');
  }
}

const withOrigin = (origin: object) => ({
  origins: { canary: { domainName: 'canary.example.com', ...origin } },
  defaultVariant: 'canary',
});

describe('a custom origin', () => {
  test.each<[string, readonly unknown[], readonly unknown[], string]>([
    [
      'port',
      [80, 443, 1024, 8080, 65_535],
      [22, 0, -1, 81, 442, 444, 1023, 65_536, 8080.5, '443', Number.NaN, null],
      'expected 80, 443 or an integer from 1024 to 65535 (CloudFront connects to no other port)',
    ],
    [
      'readTimeoutSeconds',
      [1, 30, 120],
      [0, -1, 121, 1e6, 1.5, '30', null, Number.POSITIVE_INFINITY],
      'expected an integer from 1 to 120 (s)',
    ],
    [
      'keepaliveTimeoutSeconds',
      [1, 5, 120],
      [0, -1, 121, 1e6, 2.5, '5', null],
      'expected an integer from 1 to 120 (s)',
    ],
    ['connectionAttempts', [1, 2, 3], [0, 4, 1.5, '3'], 'expected an integer from 1 to 3'],
    ['connectionTimeoutSeconds', [1, 10], [0, 11, 0.5, '10'], 'expected an integer from 1 to 10 (s)'],
    ['protocol', ['http', 'https'], ['', 'HTTPS', 'https-only', 'match-viewer', 'ftp', 1], 'expected http or https'],
    [
      'domainName',
      ['example.com', 'localhost', 'a-b.example.co.uk', 'xn--bcher-kva.example', `${'a'.repeat(63)}.example`],
      [
        '',
        'https://example.com',
        'example.com:443',
        'example.com/v2',
        'Example.com',
        '10.0.0.1',
        '::1',
        '-a.example',
        'a..example',
        'example.com.',
        `${'a'.repeat(64)}.example`,
        `${'a.'.repeat(130)}example`,
        'a b.example',
        'a.example\r\nx: y',
        'a.example\n',
        7,
        null,
      ],
      'expected a lower-case host name of at most 253 characters, without a port, not an IP address',
    ],
    [
      'host',
      ['www.example.com', 'www.example.com:8443', '127.0.0.1:80'],
      ['', 'www.example.com\r\nx-evil: 1', 'www.example.com\n', 'a b', 'https://a.example', 'a:99999', 'a:b', 5],
      'expected a lower-case host name on one line, with or without a port',
    ],
    [
      'path',
      ['/v2', '/a/b', '/a%20b', `/${'a'.repeat(254)}`],
      ['', '/', 'v2', '/v2/', '/a b', '/a?b', '/a#b', '/ä', '/a%zz', '/a\r\nb', `/${'a'.repeat(255)}`, 2],
      'expected a URL-encoded path of at most 255 characters that starts with a slash and does not end with one',
    ],
    ['viewerHost', [true, false], ['yes', 1], 'expected true or false'],
  ])('may have these values of %s and no others', (name, right, wrong, wanted) => {
    for (const value of right) expect([value, messageOf(withOrigin({ [name]: value }))]).toEqual([value, 'accepted']);
    for (const value of wrong) {
      const said = messageOf(withOrigin({ [name]: value }));
      expect(said).toContain(`origins.canary.${name}=${JSON.stringify(value)} is invalid: ${wanted}`);
    }
  });

  test.each([
    // "Custom headers that CloudFront can't add to origin requests", all of it.
    ...['Cache-Control', 'Connection', 'Content-Length', 'Cookie', 'Host', 'If-Match', 'If-Modified-Since'],
    ...['If-None-Match', 'If-Range', 'If-Unmodified-Since', 'Max-Forwards', 'Pragma', 'Proxy-Authenticate'],
    ...['Proxy-Authorization', 'Proxy-Connection', 'Range', 'Request-Range', 'TE', 'Trailer', 'Transfer-Encoding'],
    ...['Upgrade', 'Via', 'X-Amz-Anything', 'X-Edge-Anything', 'X-Real-Ip'],
    // The router's own, names that are none, and names in capitals.
    ...['x-flag-variant', 'x-flag-viewer', 'x-flag-decision', 'a b', '', 'x:y', 'x\r\ny', 'ä'],
  ])('cannot have the header %j', (name) => {
    const said = messageOf(withOrigin({ headers: { [name.toLowerCase()]: 'secret-value' } }));
    expect(said).toMatch(/^origins\.canary\.headers: header .* is invalid: expected /s);
    expect(said).not.toContain('secret-value');
  });

  test('has headers within the quotas, whose values are never repeated', () => {
    const many = (count: number, value: string) =>
      Object.fromEntries(Array.from({ length: count }, (_, index) => [`x-${index}`, value]));
    for (const headers of [{}, { 'x-origin-key': 'abc', authorization: 'Basic YTpi' }, many(30, 'a')])
      expect(messageOf(withOrigin({ headers }))).toBe('accepted');
    expect(messageOf(withOrigin({ headers: { 'X-Key': 'a' } }))).toMatch(
      /header "X-Key" is invalid: expected a header name in lower case/,
    );
    for (const value of ['', ' a', 'a ', 'a\r\nb', 'ä', 'a\0', 'secret'.repeat(300), 7, null]) {
      const said = messageOf(withOrigin({ headers: { 'x-key': value } }));
      expect(said).toBe(
        'origins.canary.headers: the value of header "x-key" is invalid: expected 1 to 1783 visible ASCII characters on one line',
      );
    }
    expect(messageOf(withOrigin({ headers: many(31, 'a') }))).toMatch(/31 headers of \d+ characters are too many/);
    expect(messageOf(withOrigin({ headers: many(10, 'a'.repeat(1_100)) }))).toMatch(/at most 30, of 10240 characters/);
    expect(messageOf({ ...withOrigin({ headers: { 'x-mine': 'a' } }), variantHeader: 'x-mine' })).toMatch(
      /holds the variant/,
    );
  });

  test('has no properties that mean nothing', () => {
    expect(messageOf(withOrigin({ prot: 443 }))).toMatch(
      /^origins\.canary\.prot is unknown: expected one of domainName, /,
    );
    expect(messageOf(withOrigin({ host: 'a.example', viewerHost: true }))).toMatch(
      /expected nothing beside viewerHost/,
    );
    expect(messageOf({ origins: { a: 'a.example' }, defaultVariant: 'a' })).toMatch(
      /^origins\.a="a\.example" is invalid/,
    );
    expect(messageOf({ origins: ['a.example'], defaultVariant: 'a' })).toMatch(/origins=\["a\.example"\] is invalid/);
  });
});

test.each([
  ['bucket', ['site', 'my-site-2'], ['', 'ab', 'My-site', 'my.site', '-a-b', 'a-', `a${'b'.repeat(63)}`, 'a/b', 5]],
  ['region', ['eu-west-1', 'us-east-1'], ['', 'Ireland', 'eu-west', 5, undefined]],
  ['path', ['/v2', undefined], ['v2', '/v2/', '']],
])('an origin in a bucket may have these values of %s and no others', (name, right, wrong) => {
  const origin = (value: unknown) => ({
    origins: { a: { bucket: 'site', region: 'eu-west-1', [name]: value } },
    defaultVariant: 'a',
  });
  for (const value of right) expect([value, messageOf(origin(value))]).toEqual([value, 'accepted']);
  for (const value of wrong)
    expect(messageOf(origin(value))).toMatch(new RegExp(`^origins\\.a\\.${name}=.* is invalid: expected `));
});

describe('the header of the variant', () => {
  test.each([
    // "Disallowed headers", all of it.
    ...['Connection', 'Expect', 'Keep-Alive', 'Proxy-Authenticate', 'Proxy-Authorization', 'Proxy-Connection'],
    ...['Trailer', 'Upgrade', 'X-Accel-Buffering', 'X-Accel-Charset', 'X-Accel-Limit-Rate', 'X-Accel-Redirect'],
    ...['X-Amz-Cf-Anything', 'X-Amzn-Auth', 'X-Amzn-Cf-Billing', 'X-Amzn-Cf-Id', 'X-Amzn-Cf-Xff', 'X-Amzn-Errortype'],
    ...['X-Amzn-Fle-Profile', 'X-Amzn-Header-Count', 'X-Amzn-Header-Order', 'X-Amzn-Lambda-Integration-Tag'],
    ...['X-Amzn-RequestId', 'X-Cache', 'X-Edge-Anything', 'X-Forwarded-Proto', 'X-Real-IP'],
    ...['CloudFront-Viewer-Cert-PEM', 'Client-Cert', 'Client-Cert-Chain'],
  ])('is not %s, which edge functions must not add', (name) => {
    expect(messageOf({ variantHeader: name.toLowerCase() })).toBe(
      `variantHeader="${name.toLowerCase()}" is invalid: expected a name of your own, such as x-flag-variant (CloudFront forbids edge functions to set this one)`,
    );
  });

  test.each([
    ...['CDN-Loop', 'Content-Length', 'Host', 'Transfer-Encoding', 'Via'],
    ...['Accept-Encoding', 'If-Modified-Since', 'If-None-Match', 'If-Range', 'If-Unmodified-Since'],
  ])('is not %s, which is read-only at viewer-request or origin-request', (name) => {
    expect(messageOf({ variantHeader: name.toLowerCase() })).toContain('(this one is read-only for edge functions)');
  });

  test.each([
    // The table of "HTTP request headers and CloudFront behavior", as far as it is not above.
    ...['Accept', 'Accept-Charset', 'Accept-Language', 'Authorization', 'Cache-Control', 'CloudFront-Forwarded-Proto'],
    ...['CloudFront-Is-Mobile-Viewer', 'CloudFront-Viewer-Country', 'Content-MD5', 'Content-Type', 'Cookie', 'Date'],
    ...[
      'From',
      'If-Match',
      'Max-Forwards',
      'Origin',
      'Pragma',
      'Range',
      'Referer',
      'Request-Range',
      'TE',
      'User-Agent',
    ],
    ...['Warning', 'X-Forwarded-For', 'X-HTTP-Method-Override'],
    // What browsers and proxies send.
    ...['Sec-Fetch-Site', 'Access-Control-Request-Method', 'X-Forwarded-Host', 'Forwarded', 'Traceparent'],
  ])('is not %s, which viewers or CloudFront send', (name) => {
    expect(messageOf({ variantHeader: name.toLowerCase() })).toContain('(the router would overwrite what viewers');
  });

  test.each(['', 'X-Variant', 'a b', 'x:y', 'x\r\ny', 'ä', 'x'.repeat(65), 7, 'x-flag-viewer', 'x-flag-decision'])(
    'is not %j',
    (name) => {
      expect(messageOf({ variantHeader: name })).toMatch(/^variantHeader=.* is invalid: expected /);
    },
  );

  test.each(['x-flag-variant', 'x-variant', 'variant', 'x-my-site.variant'])('may be %s', (name) => {
    expect(messageOf({ variantHeader: name })).toBe('accepted');
  });
});

test.each<[object, string]>([
  [{ variants: [], defaultVariant: 'a', flagKey: 'f' }, 'variants=[] is invalid: expected at least one variant'],
  [{ origins: {}, defaultVariant: 'a' }, 'origins=[] is invalid: expected at least one variant'],
  [{ variants: ['a b'], defaultVariant: 'a b', flagKey: 'f' }, 'variant "a b" is invalid: expected 1 to 64 characters'],
  [{ variants: ['a\r\nb'], defaultVariant: 'a', flagKey: 'f' }, 'variant "a\\r\\nb" is invalid'],
  [{ variants: ['a', 'b'], defaultVariant: 'c', flagKey: 'f' }, 'defaultVariant="c" is invalid: expected one of a, b'],
  [{ variants: ['a'], defaultVariant: 'a' }, 'flagKey=undefined is invalid: expected a flag key'],
  [{ flagKey: '' }, 'flagKey="" is invalid: expected a flag key'],
  [{ flagKey: 'x'.repeat(257) }, 'is invalid: expected a flag key'],
  [{ cookieName: 'a;b' }, 'cookieName="a;b" is invalid: expected 1 to 64 characters'],
  [{ cookieName: 'a\r\nb' }, 'cookieName="a\\r\\nb" is invalid'],
  [
    { cookieName: 'flag-preview' },
    'cookieName="flag-preview" is invalid: expected another name (preview links use this cookie)',
  ],
  [{ cookieName: '__Host-flag-preview' }, 'cookieName="__Host-flag-preview" is invalid: expected another name'],
  [{ viewer: { ids: ['cookie', { cookie: '__Host-flag-preview' }] } }, 'preview links use this cookie'],
  [{ viewer: { consent: { cookie: 'flag-preview' } } }, 'preview links use this cookie'],
  [{ attributes: { plan: { cookie: 'flag-preview' } } }, 'preview links use this cookie'],
  [
    { rules: [{ when: { cookie: { 'flag-preview': true } }, flagKey: 'f', variations: { a: {} } }] },
    'preview links use',
  ],
  [
    { attributes: { ip: { header: 'x-ip' } } },
    'attributes.ip={"header":"x-ip"} is invalid: expected another name (the router itself gives viewers their ip)',
  ],
  ...['path', 'host', 'userAgent', 'method', 'language'].map((name): [object, string] => [
    { attributes: { [name]: { cookie: 'a' } } },
    `attributes.${name}={"cookie":"a"} is invalid: expected another name`,
  ]),
  [{ cookie: { cookieNam: 'a' } }, 'cookie.cookieNam is unknown: expected one of cookieName, cookieMaxAgeSeconds, '],
  [{ cookie: { cookieMaxAgeSeconds: 0 } }, 'cookie.cookieMaxAgeSeconds=0 is invalid'],
  [{ cookie: { cookieName: 'flag-preview' } }, 'cookie.cookieName="flag-preview" is invalid'],
  [{ cookie: 'flag' }, 'cookie="flag" is invalid: expected an object'],
  [{ epoch: 'a b' }, 'epoch="a b" is invalid: expected 1 to 16 characters'],
  [{ atributes: {} }, 'atributes is unknown: expected one of reader, rules, flagKey, '],
  [{ cookieMaxAgeSeconds: 0 }, 'cookieMaxAgeSeconds=0 is invalid: expected an integer from 1 to 34560000 (s)'],
  [{ cookieMaxAgeSeconds: 1e9 }, 'cookieMaxAgeSeconds=1000000000 is invalid'],
  [{ cookieSecure: 'no' }, 'cookieSecure="no" is invalid: expected true or false'],
  [{ cookieSameSite: 'lax' }, 'cookieSameSite="lax" is invalid: expected Lax, Strict or None'],
  [
    { cookieSameSite: 'None', cookieSecure: false },
    'cookieSameSite="None" is invalid: expected Lax or Strict, or cookieSecure',
  ],
  [
    { cookieDomain: '.example.com' },
    'cookieDomain=".example.com" is invalid: expected a lower-case domain name without a leading dot',
  ],
  [{ cookieDomain: 'localhost' }, 'cookieDomain="localhost" is invalid'],
  [{ cookieDomain: 'a.example; Secure' }, 'cookieDomain="a.example; Secure" is invalid'],
  [{ cookieDomain: '10.0.0.1' }, 'cookieDomain="10.0.0.1" is invalid'],
  [
    { cookiePath: 'shop' },
    'cookiePath="shop" is invalid: expected a path of at most 255 characters that starts with a slash',
  ],
  [{ cookiePath: '/a;b' }, 'cookiePath="/a;b" is invalid'],
  [{ cookiePath: '/a\r\nb' }, 'cookiePath="/a\\r\\nb" is invalid'],
  [{ cookieHttpOnly: 1 }, 'cookieHttpOnly=1 is invalid: expected true or false'],
  [
    { cookieName: '__Host-id', cookieDomain: 'example.com' },
    'cookieName="__Host-id" is invalid: expected another name, or cookieSecure, the path / and no cookieDomain',
  ],
  [{ cookieName: '__Host-id', cookiePath: '/shop' }, 'browsers refuse __Host- otherwise'],
  [{ cookieName: '__Secure-id', cookieSecure: false }, 'browsers refuse __Secure- otherwise'],
  [{ viewer: 'address' }, 'viewer="address" is invalid: expected an object'],
  [{ viewer: { id: 'x' } }, 'viewer.id is unknown: expected one of ids, without, consent, epoch'],
  [{ viewer: { ids: 'cookie' } }, 'viewer.ids="cookie" is invalid: expected a list of at most 8 places'],
  [{ viewer: { ids: ['header'] } }, 'viewer.ids[0]="header" is invalid: expected { cookie: name } or { header: name }'],
  [
    { viewer: { ids: ['cookie', { cookie: 'a', header: 'b' }] } },
    'viewer.ids[1]={"cookie":"a","header":"b"} is invalid',
  ],
  [
    { viewer: { ids: ['cookie', { cookie: 'a;b' }] } },
    'viewer.ids[1].cookie="a;b" is invalid: expected the name of a cookie',
  ],
  [
    { viewer: { ids: ['cookie', { header: 'X-User' }] } },
    'viewer.ids[1].header="X-User" is invalid: expected a header name in lower case',
  ],
  [{ viewer: { ids: ['cookie', { header: 'x-real-ip' }] } }, 'CloudFront does not show this one to edge functions'],
  [{ viewer: { ids: ['cookie', { header: 'client-cert' }] } }, 'CloudFront does not show this one to edge functions'],
  [
    { viewer: { ids: ['cookie', { header: 'cloudfront-viewer-ja4-fingerprint' }] } },
    'CloudFront adds this one after viewer-request',
  ],
  [{ viewer: { ids: ['cookie', { header: 'x-flag-viewer' }] } }, 'the router writes this one'],
  [
    { viewer: { without: 'random' } },
    'viewer.without="random" is invalid: expected one of new-id, default-variant, address, per-request',
  ],
  [
    { viewer: { ids: [{ cookie: 'user' }] } },
    'viewer.without="new-id" is invalid: expected another value, or \'cookie\' among viewer.ids',
  ],
  [{ viewer: { consent: 'cookie-consent' } }, 'viewer.consent="cookie-consent" is invalid: expected { cookie: name }'],
  [{ viewer: { consent: { cookie: 'c', includes: '' } } }, 'viewer.consent.includes="" is invalid'],
  [
    { viewer: { ids: [], without: 'address', consent: { cookie: 'c' } } },
    "expected 'cookie' among viewer.ids, or no consent",
  ],
  [{ viewer: { epoch: 'a b' } }, 'viewer.epoch="a b" is invalid: expected 1 to 16 characters'],
  [
    { viewer: { ids: [{ cookie: 'user' }], without: 'default-variant', epoch: '2' } },
    "expected 'cookie' among viewer.ids, or without: 'address'",
  ],
  [{ exposures: true }, 'exposures=true is invalid: expected an object'],
  [
    { exposures: { interval: 5 } },
    'exposures.interval is unknown: expected one of everyMs, indexEvents, allAttributesPrivate, privateAttributes',
  ],
  [{ exposures: { everyMs: 10 } }, 'exposures.everyMs=10 is invalid'],
  [{ exposures: { indexEvents: 'no' } }, 'exposures.indexEvents="no" is invalid: expected true or false'],
  [{ exposures: { privateAttributes: 'ip' } }, 'exposures.privateAttributes="ip" is invalid: expected a list'],
])('a router config with %j is refused', (config, message) => {
  expect(messageOf(config)).toContain(message);
});

test.each([
  { cookieName: '__Host-id', cookieSameSite: 'Strict', cookieHttpOnly: false },
  { cookieName: 'id', cookieDomain: 'example.com', cookiePath: '/shop', cookieSameSite: 'None' },
  { viewer: {} },
  {
    viewer: {
      ids: ['cookie', { cookie: 'user' }, { header: 'x-user-id' }],
      consent: { cookie: 'c', includes: 'C0002:1' },
      epoch: '2',
    },
  },
  { viewer: { ids: [], without: 'per-request' } },
  { viewer: { ids: [], without: 'address', epoch: 'b' } },
])('a router config with %j is accepted', (config) => {
  expect(messageOf(config)).toBe('accepted');
});

describe.each([
  ['viewer-request', { variants: ['a'], defaultVariant: 'a', flagKey: 'f' }, { origins: {} }],
  ['origin-request', { origins: { a: { domainName: 'a.example' } }, defaultVariant: 'a' }, { flagKey: 'f' }],
  ['viewer-response', { cookieName: 'id' }, { variantHeader: 'x-variant' }],
] as const)('the configuration of %s', (which, right, ofOthers) => {
  const reader = { tableName: 'flags', replicas: { default: ['eu-west-1'] } };
  const starts = {
    'viewer-request': (config: object) =>
      createViewerRequestHandler({ reader, ...config } as never, { variationDetail: () => Promise.reject() }),
    'origin-request': (config: object) => createOriginRequestHandler(config as never),
    'viewer-response': (config: object) => createViewerResponseHandler(config as never),
  };
  const wrong: [object, string][] = [
    [{ defaultVarient: 'a' }, 'edge router: defaultVarient is unknown: expected one of '],
    [ofOthers, `edge router: ${Object.keys(ofOthers)[0]} is unknown: expected one of `],
    [{ variantHeader: 'host', cookieName: 'flag-preview' }, 'is '],
  ];

  test.each(wrong)('with %j is refused when it is built, and when the function starts', (more, message) => {
    expect(() => checkRouterConfig({ ...right, ...more } as RouterConfig, which)).toThrow(message);
    expect(() => starts[which]({ ...right, ...more })).toThrow(message);
  });

  test('is otherwise accepted', () => {
    checkRouterConfig(right as RouterConfig, which);
    starts[which](right);
  });
});

test('previews and shadow traffic are checked when a function starts, too', () => {
  const start = (config: object) => () => createHandlerForTesters(config, undefined, () => () => Promise.reject());
  expect(start({ preview: { publicKeys: [] } })).toThrow('preview.publicKeys=[] is invalid');
  expect(start({ shadow: { header: 'host', value: 'x'.repeat(16) } })).toThrow('shadow.header="host" is invalid');
  expect(start({ shadwo: {} })).toThrow('shadwo is unknown');
});

test('all errors of a router config are in one message', () => {
  const wrong = { variants: ['a b'], defaultVariant: 'c', flagKey: '', variantHeader: 'host', cookieName: 'a;b' };
  expect(messageOf(wrong).split('\n')).toEqual(['5 problems:', ...Array(5).fill(expect.stringMatching(/^ {2}\S/))]);
});
