/**
 * What rules may say. Source of the limits: Amazon CloudFront Developer Guide, "Restrictions on all edge functions", "Restrictions on
 * Lambda@Edge", "Quotas", "Generate HTTP responses in request triggers".
 */
import { checkRouterConfig, type RouterConfig, routerProblems } from '../../../lambda/edge-router/check-config.ts';
import type { Action, From, Rule } from '../../../lambda/edge-router/config.ts';
import { countExecuted } from '../../support/executed.ts';

/** The error; `accepted` if there is none. */
function messageOf(config: object): string {
  const site = {
    origins: {
      stable: { domainName: 'a.example.com' },
      canary: { domainName: 'b.example.com', headers: { 'x-key': 'k' } },
    },
    defaultVariant: 'stable',
  };
  try {
    checkRouterConfig({ ...site, ...config } as RouterConfig);
    return 'accepted';
  } catch (error) {
    return (error as Error).message.replace('edge router: ', '');
  }
}

const rule = (more: object) => ({ flagKey: 'f', variations: { on: { origin: 'canary' } }, ...more });
const withRule = (more: object) => messageOf({ rules: [rule(more)] });
const withAction = (action: unknown, when?: object) => withRule({ ...(when && { when }), variations: { on: action } });
const at = 'rules[0].variations.on';

test.each<[object, string]>([
  [{ whn: {} }, 'rules[0].whn is unknown: expected one of when, flagKey, variations, otherwise'],
  [{ flagKey: undefined }, 'rules[0].flagKey=null is invalid: expected a flag key'],
  [{ flagKey: 'a b' }, 'rules[0].flagKey="a b" is invalid: expected a flag key'],
  [{ variations: {} }, 'rules[0].variations={} is invalid: expected an object of 1 to 100 actions'],
  [{ variations: ['on'] }, 'rules[0].variations=["on"] is invalid'],
  [{ variations: { 'a b': {} } }, 'rules[0].variations.a b: is invalid: expected a value of 1 to 64 characters'],
  [{ variations: { 'a\r\nb': {} } }, 'is invalid: expected a value of 1 to 64 characters'],
  [{ otherwise: 'off' }, 'rules[0].otherwise="off" is invalid: expected one of the variations: on'],
  [{ when: 'path' }, 'rules[0].when="path" is invalid: expected an object'],
  [
    { when: { paths: '/a' } },
    'rules[0].when.paths is unknown: expected one of path, host, method, header, cookie, query',
  ],
  [{ when: { path: 'a/*' } }, 'rules[0].when.path="a/*" is invalid: expected a path pattern'],
  [{ when: { path: '/a b' } }, 'rules[0].when.path="/a b" is invalid'],
  [{ when: { path: '/ä' } }, 'percent-encoded'],
  [{ when: { path: '/a#b' } }, 'rules[0].when.path="/a#b" is invalid'],
  [{ when: { path: `/${'a'.repeat(255)}` } }, 'is invalid: expected a path pattern of at most 255 characters'],
  [{ when: { path: [] } }, 'rules[0].when.path=[] is invalid: expected 1 to 50 patterns'],
  [{ when: { path: ['/a', 7] } }, 'rules[0].when.path[1]=7 is invalid: expected a path pattern'],
  [
    { when: { host: 'WWW.example.com' } },
    'rules[0].when.host="WWW.example.com" is invalid: expected a host name in lower case',
  ],
  [{ when: { host: 'https://a.example' } }, 'rules[0].when.host="https://a.example" is invalid'],
  [
    { when: { method: 'get' } },
    'rules[0].when.method="get" is invalid: expected GET, HEAD, OPTIONS, PUT, POST, PATCH, DELETE',
  ],
  [{ when: { method: ['GET', 'TRACE'] } }, 'rules[0].when.method[1]="TRACE" is invalid'],
  [{ when: { header: { 'X-App': '*' } } }, 'rules[0].when.header.X-App: expected a header name in lower case'],
  [{ when: { header: { 'cloudfront-viewer-country': 'DE' } } }, 'CloudFront adds this one after viewer-request'],
  [{ when: { header: { cookie: '*' } } }, 'expected the name of a cookie instead'],
  [{ when: { header: { 'x-flag-viewer': true } } }, 'the router writes this one'],
  [{ when: { header: { 'x-flag-variant': 'canary' } } }, 'the router writes this one'],
  [{ when: { header: { 'x-a': 1 } } }, 'rules[0].when.header.x-a=1 is invalid: expected a pattern'],
  [{ when: { header: { 'x-a': null } } }, 'rules[0].when.header.x-a=null is invalid: expected a pattern'],
  [{ when: { cookie: { 'a;b': '*' } } }, 'rules[0].when.cookie.a;b: expected the name of a cookie'],
  [{ when: { cookie: 'a=b' } }, 'rules[0].when.cookie="a=b" is invalid: expected an object of patterns by name'],
  [{ when: { query: { '': '*' } } }, 'expected the name of a query parameter'],
  [
    { when: { cookie: Object.fromEntries(Array.from({ length: 51 }, (_, n) => [`c${n}`, true])) } },
    'rules[0].when.cookie: 51 names are too many: expected at most 50',
  ],
])('a rule with %j is refused', (more, message) => {
  expect(withRule(more)).toContain(message);
});

test.each<[unknown, object | undefined, string]>([
  ['canary', undefined, `${at}="canary" is invalid: expected an object: {} does nothing`],
  [{ orgin: 'canary' }, undefined, `${at}.orgin is unknown: expected one of origin, rewrite, redirect, answer, `],
  [{ origin: 'beta' }, undefined, `${at}.origin="beta" is invalid: expected one of the origins: stable, canary`],
  [{ rewrite: 'a' }, undefined, `${at}.rewrite="a" is invalid: expected a URL-encoded path`],
  [{ rewrite: '//a' }, undefined, `${at}.rewrite="//a" is invalid`],
  [{ rewrite: '/a b' }, undefined, `${at}.rewrite="/a b" is invalid`],
  [{ rewrite: '/a?b=c' }, undefined, 'without a query'],
  [{ rewrite: '/a%zz' }, undefined, `${at}.rewrite="/a%zz" is invalid`],
  [{ rewrite: `/${'a'.repeat(1_024)}` }, undefined, 'of at most 1024 characters'],
  [{ rewrite: '/*/a/*' }, undefined, `${at}.rewrite="/*/a/*" is invalid: expected at most one *`],
  [{ rewrite: '/b/*' }, { path: ['/a/*', '/a'] }, 'expected no *, or one in each path of the rule: /a has none'],
  [{ redirect: '/a' }, undefined, `${at}.redirect="/a" is invalid: expected { to: path or address }`],
  [{ redirect: {} }, undefined, `${at}.redirect.to=null is invalid`],
  [{ redirect: { to: '//evil.example/' } }, undefined, `${at}.redirect.to="//evil.example/" is invalid`],
  [{ redirect: { to: 'https://a.example' } }, undefined, 'an address with https:// and a path'],
  [{ redirect: { to: 'https://*/a' } }, undefined, `${at}.redirect.to="https://*/a" is invalid`],
  [{ redirect: { to: 'javascript:alert(1)' } }, undefined, `${at}.redirect.to="javascript:alert(1)" is invalid`],
  [{ redirect: { to: '/a\r\nx: y' } }, undefined, `${at}.redirect.to="/a\\r\\nx: y" is invalid`],
  [{ redirect: { to: '/a#b' } }, undefined, 'without a fragment'],
  // Browsers and CloudFront take them for other addresses, which a rule may lead back from.
  [{ rewrite: '/b/../a' }, undefined, 'without /./ and /../'],
  [{ rewrite: '/a/.' }, undefined, 'without /./ and /../'],
  [{ redirect: { to: '/b/../a/*' } }, undefined, '/./, /../ and a default port'],
  [{ redirect: { to: '/%2e/a/*' } }, undefined, '/./, /../ and a default port'],
  [{ redirect: { to: '/b/.%2E?c=d' } }, undefined, '/./, /../ and a default port'],
  [{ redirect: { to: 'https://www.example.com:443/a' } }, undefined, '/./, /../ and a default port'],
  [{ redirect: { to: 'http://www.example.com:80/a' } }, undefined, '/./, /../ and a default port'],
  [{ redirect: { to: `/${'a'.repeat(2_048)}` } }, undefined, 'of at most 2048 characters'],
  [{ redirect: { to: '/b', status: 304 } }, undefined, `${at}.redirect.status=304 is invalid: expected 301, 302`],
  [{ redirect: { to: '/b', query: 'yes' } }, undefined, `${at}.redirect.query="yes" is invalid: expected keep or drop`],
  [{ redirect: { to: '/b', permanent: true } }, undefined, `${at}.redirect.permanent is unknown`],
  // Viewers would be sent round in circles.
  [{ redirect: { to: '/de/*' } }, undefined, 'viewers would be redirected again and again'],
  [{ redirect: { to: '/a/b/*' } }, { path: '/a/*' }, 'viewers would be redirected again and again'],
  [{ redirect: { to: '/a/b?from=a' } }, { path: '/a/*' }, 'viewers would be redirected again and again'],
  [{ redirect: { to: 'https://www.example.com/b/*' } }, { host: '*.example.com' }, 'again and again'],
  [{ answer: 'x' }, undefined, `${at}.answer="x" is invalid: expected { status, body }`],
  [{ answer: {} }, undefined, `${at}.answer.status=null is invalid: expected an integer from 200 to 599`],
  [{ answer: { status: 100 } }, undefined, `${at}.answer.status=100 is invalid`],
  [{ answer: { status: 600 } }, undefined, `${at}.answer.status=600 is invalid`],
  [{ answer: { status: '200' } }, undefined, `${at}.answer.status="200" is invalid`],
  [{ answer: { status: 204, body: '' } }, undefined, `${at}.answer.body: an answer 204 must have none`],
  [{ answer: { status: 200, body: {} } }, undefined, `${at}.answer.body={} is invalid: expected a string`],
  [{ answer: { status: 200, headers: {} } }, undefined, `${at}.answer.headers is unknown`],
  [{ answer: { status: 200 }, origin: 'canary' }, undefined, `${at}.origin: has no effect beside answer`],
  [{ answer: { status: 200 }, redirect: { to: '/b' } }, undefined, `${at}.answer: has no effect beside redirect`],
  [{ redirect: { to: '/b' }, requestHeaders: { 'x-a': '1' } }, undefined, `${at}.requestHeaders: has no effect beside`],
  [{ requestHeaders: {} }, undefined, `${at}.requestHeaders: 0 headers of 0 characters: expected 1 to 30`],
  [
    { requestHeaders: { 'X-A': '1' } },
    undefined,
    `${at}.requestHeaders: header "X-A" is invalid: expected a header name in lower case`,
  ],
  [
    { requestHeaders: { 'x-a': 'secret\r\n' } },
    undefined,
    `${at}.requestHeaders: the value of header "x-a" is invalid`,
  ],
  [{ requestHeaders: { 'x-a': 'b'.repeat(1_784) } }, undefined, 'expected 1 to 1783 visible ASCII characters'],
  [{ requestHeaders: { 'x-key': '1' } }, undefined, 'this one is one of an origin’s own headers'],
  [{ requestHeaders: { 'x-flag-variant': '1' } }, undefined, 'this one holds the variant'],
  [{ requestHeaders: { 'x-flag-response': '1' } }, undefined, 'the router uses this one'],
  [{ requestHeaders: { host: 'a' } }, undefined, 'this one is read-only for edge functions'],
  [{ requestHeaders: { 'accept-language': 'de' } }, undefined, 'the router would overwrite what viewers'],
  [{ requestHeaders: { 'x-real-ip': '1' } }, undefined, 'CloudFront forbids edge functions to set this one'],
  [{ responseHeaders: { 'x-flag-decision': '1' } }, undefined, 'the router uses this one'],
  [{ responseHeaders: { location: '/' } }, undefined, 'expected a redirect instead'],
])('the action %j of a rule with %j is refused', (action, when, message) => {
  const said = withAction(action, when);
  expect(said).toContain(message);
  expect(said).not.toContain('secret');
});

test.each([
  // "Restrictions on all edge functions": disallowed headers, and those that are read-only in viewer-response.
  ...['connection', 'expect', 'keep-alive', 'proxy-authenticate', 'proxy-authorization', 'proxy-connection', 'trailer'],
  ...['upgrade', 'x-accel-buffering', 'x-accel-charset', 'x-accel-limit-rate', 'x-accel-redirect', 'x-amz-cf-id'],
  ...['x-amzn-auth', 'x-amzn-cf-billing', 'x-amzn-requestid', 'x-cache', 'x-edge-location', 'x-forwarded-proto'],
  ...['x-real-ip', 'content-encoding', 'content-length', 'transfer-encoding', 'warning', 'via'],
  'cloudfront-viewer-country',
])('a rule cannot set the header %s of a response', (name) => {
  expect(withAction({ responseHeaders: { [name]: '1' } })).toMatch(
    `${at}.responseHeaders: header "${name}" is invalid: expected another name`,
  );
});

test.each<[object, object | undefined]>(
  (
    [
      [{}],
      [
        {
          origin: 'canary',
          rewrite: '/v2/*',
          requestHeaders: { 'x-a': '1' },
          responseHeaders: { 'cache-control': 'no-store' },
        },
      ],
      [{ rewrite: "/a%20b/~c!$&'()+,;=:@/*" }, { path: ['/a/*', '*.html'] }],
      [{ redirect: { to: 'https://www.example.com:8443/*?from=old&x=%20' } }],
      [{ redirect: { to: '/new/*', status: 308, query: 'drop' } }, { path: '/old/*' }],
      [{ redirect: { to: '/sorry' } }],
      [{ redirect: { to: 'https://example.com/*' } }, { host: 'www.example.com' }],
      [{ answer: { status: 503, body: 'ä' }, responseHeaders: { 'content-type': 'text/html', 'set-cookie': 'a=1' } }],
      [{ answer: { status: 204 } }],
    ] as [object, object?][]
  ).map(([action, when]) => [action, when]),
)('the action %j of a rule with %j is accepted', (action, when) => {
  expect(withAction(action, when)).toBe('accepted');
});

test('an answer has at most 40 KB, with its headers and those of the router', () => {
  const answer = (characters: number, letter = 'a') =>
    withAction({ answer: { status: 200, body: letter.repeat(characters) } });
  expect(answer(39_000)).toBe('accepted');
  expect(answer(40_000)).toMatch(
    /^rules\[0\]\.variations\.on\.answer: has 41\d{3} bytes with its headers: expected at most 40960, which a viewer-request function may answer with \(CloudFront, "Quotas on Lambda@Edge"\)\. Serve it from an origin/,
  );
  // Bytes, not characters.
  expect(answer(20_000, 'ä')).toMatch(/has 41\d{3} bytes/);
});

test.each<[object, string]>([
  [{ rules: [rule({ when: { header: { 'x-arm': 'canary' } } })] }, 'rules[0].when.header.x-arm: '],
  [{ viewer: { ids: [{ header: 'x-arm' }], without: 'address' } }, 'viewer.ids[0].header="x-arm" is invalid: '],
  [{ viewer: { consent: { header: 'x-arm' } } }, 'viewer.consent.header="x-arm" is invalid: '],
  [{ attributes: { arm: { header: 'x-arm' } } }, 'attributes.arm.header="x-arm" is invalid: '],
  [{ contexts: { org: { key: { header: 'x-arm' } } } }, 'contexts.org.key.header="x-arm" is invalid: '],
  [
    { contexts: { org: { key: { cookie: 'a' }, attributes: { arm: { header: 'x-arm' } } } } },
    'contexts.org.attributes.arm.header="x-arm" is invalid: ',
  ],
])('nothing is read from the header that holds the variant, whatever its name: %j', (more, at) => {
  const variantHeader = { variantHeader: 'x-arm' };
  expect(messageOf({ flagKey: 'site', ...variantHeader, ...more })).toBe(
    `${at}expected another header (the router writes this one)`,
  );
  expect(messageOf({ flagKey: 'site', ...more })).toBe('accepted');
});

/** Headers of about so many characters. */
const headers = (n: number, characters: number) =>
  Object.fromEntries(
    Array.from({ length: Math.ceil(characters / 1_700) }, (_, i) => [
      `x-h${n}-${i}`,
      'a'.repeat(Math.min(1_700, characters)),
    ]),
  );
const adding = (n: number, kind: string, characters: number, more: object = {}) =>
  rule({ flagKey: `f${n}`, variations: { on: { [kind]: headers(n, characters) } }, ...more });
const MOST =
  /expected at most 10240 \(CloudFront, "Quotas on headers"\)\. Shorten them, or narrow when, so that fewer rules match together$/;

describe.each([
  ['responseHeaders', 'responses get'],
  ['requestHeaders', 'requests to origins get'],
])('%s of several rules', (kind, what) => {
  const refused = (rules: object[]) => {
    const said = messageOf({ rules });
    expect(said).toMatch(MOST);
    return said;
  };

  test('count together if one request can match the rules, and all of them are named', () => {
    expect(refused([adding(0, kind, 5_000), adding(1, kind, 5_000, { when: { path: '/a/*' } })])).toMatch(
      new RegExp(
        `^rules\\[1\\]\\.variations\\.on\\.${kind}: ${what} 10\\d{3} characters of headers, with x-flag-decision, if rules\\[0\\] and rules\\[1\\] match together`,
      ),
    );
    expect(
      refused([adding(0, kind, 3_400), rule({ flagKey: 'g' }), adding(2, kind, 3_400), adding(3, kind, 3_400)]),
    ).toContain('if rules[0], rules[1], rules[2] and rules[3] match together');
    expect(messageOf({ rules: [adding(0, kind, 3_400), adding(1, kind, 3_400)] })).toBe('accepted');
  });

  test.each<[string, object, object]>([
    ['path', { path: ['/a/*', '/b'] }, { path: ['/c/*', '/c?'] }],
    ['path', { path: '/a*z' }, { path: '/a*y' }],
    ['host', { host: 'a.example.com' }, { host: '*.example.org' }],
    ['method', { method: ['GET', 'HEAD'] }, { method: 'POST' }],
    ['header', { header: { 'x-a': true } }, { header: { 'x-a': false } }],
    ['cookie', { cookie: { a: ['1', '2*'] } }, { cookie: { a: '3*' } }],
    ['query', { query: { a: '1' } }, { query: { a: false } }],
  ])('do not count together if no request matches both, by %s: %j, %j', (_, one, two) => {
    const rules = [adding(0, kind, 8_500, { when: one }), adding(1, kind, 8_500, { when: two })];
    expect(messageOf({ rules })).toBe('accepted');
  });

  test.each<[object, object]>([
    [{ path: '/a/*' }, { path: '/*/b' }],
    [{ path: '/a?' }, { path: '/?b' }],
    [{ path: '*' }, {}],
    [{ cookie: { a: true } }, { cookie: { a: '1' } }],
    [{ cookie: { a: '1' } }, { cookie: { b: false } }],
    [{ host: '*.example.com' }, { host: 'www.*' }],
  ])('count together with %j and %j', (one, two) => {
    refused([adding(0, kind, 8_500, { when: one }), adding(1, kind, 8_500, { when: two })]);
  });

  test('do not count together if one flag would need two values', () => {
    const on = (name: string, n: number, more: object = {}) => ({
      flagKey: 'f',
      when: { path: n === 0 ? '/*' : '/a/*' },
      variations: { on: {}, off: {}, [name]: { [kind]: headers(n, 8_500) } },
      ...more,
    });
    expect(messageOf({ rules: [on('on', 0), on('off', 1)] })).toBe('accepted');
    refused([on('on', 0), on('on', 1)]);
    // Of a flag that cannot be evaluated.
    refused([on('on', 0, { otherwise: 'on' }), on('off', 1, { otherwise: 'off' })]);
  });

  test.each<[string, object[]]>([
    [
      'by a header',
      [
        ['a', 'b'],
        ['b', 'c'],
        ['c', 'a'],
      ].map((values) => ({ header: { 'x-c': values } })),
    ],
    [
      'by method',
      [
        ['GET', 'POST'],
        ['POST', 'PUT'],
        ['PUT', 'GET'],
      ].map((method) => ({ method })),
    ],
    ['by path', ['/a?*', '/?b*', ['/a', '/xb', '/ay']].map((path) => ({ path }))],
  ])('do not count together if no request matches all three, but each two, %s: %j', (_, whens) => {
    const rules = whens.map((when, n) => adding(n, kind, 3_400, { when }));
    expect(messageOf({ rules })).toBe('accepted');
    refused(rules.map((one) => ({ ...one, when: whens[0] })).map((one, n) => ({ ...one, flagKey: `f${n}` })));
  });

  test('do not count after a rule that answers all of their requests', () => {
    const answers = rule({
      flagKey: 'g',
      when: { path: '/a/*' },
      variations: { on: { answer: { status: 200 } } },
      otherwise: 'on',
    });
    const one = adding(1, kind, 5_000, { when: { path: ['/a/*', '/b'] } });
    const two = adding(2, kind, 5_000, { when: { path: ['/a/c', '/c'] } });
    expect(messageOf({ rules: [answers, one, two] })).toBe('accepted');
    refused([one, two]);
    refused([{ ...answers, otherwise: undefined }, one, two]);
  });

  test('count once for each name, of which the first one is set', () => {
    const rules = [0, 1, 2, 3].map((n) =>
      rule({ flagKey: `f${n}`, variations: { on: { [kind]: headers(0, 5_000) } } }),
    );
    expect(messageOf({ rules })).toBe('accepted');
  });

  test('of pages that have nothing in common do not add up, beside those of every page @heavy', () => {
    const pages = Array.from({ length: 40 }, (_, n) =>
      adding(n, kind, 5_000, { when: { path: [`/${n}`, `/${n}/*`] } }),
    );
    expect(messageOf({ rules: [adding(40, kind, 3_400), ...pages] })).toBe('accepted');
    refused([adding(40, kind, 3_400), ...pages, adding(41, kind, 3_400, { when: { path: '/7/*' } })]);
  });
});

test('each cookie that rules set counts', () => {
  const cookie = (n: number) =>
    rule({ flagKey: `f${n}`, variations: { on: { responseHeaders: { 'set-cookie': `c${n}=${'a'.repeat(1_700)}` } } } });
  expect(messageOf({ rules: [0, 1, 2].map(cookie) })).toBe('accepted');
  expect(messageOf({ rules: [0, 1, 2, 3, 4, 5, 6].map(cookie) })).toMatch(MOST);
});

test('what the header with the decisions says of rules that match together counts, once for each flag @heavy', () => {
  const rules = (count: number, key: (n: number) => string) =>
    Array.from({ length: count }, (_, n) => ({
      flagKey: key(n),
      when: { path: `/${'?'.repeat(n)}*` },
      variations: { on: {} },
    }));
  const long = (n: number) => `${'k'.repeat(200)}${n}`;
  expect(messageOf({ rules: rules(30, long) })).toBe('accepted');
  const said = messageOf({ rules: rules(60, long) });
  expect(said.split('\n')[0]).toMatch(/^2 problems:$/);
  expect(said).toMatch(
    /rules\[59\]\.flagKey: responses get 1\d{4} characters of headers, with x-flag-decision, if rules\[0\], rules\[1\], rules\[2\], rules\[3\], rules\[4\] and 55 others match together/,
  );
  expect(messageOf({ rules: rules(60, () => 'f') })).toBe('accepted');
});

test.each([
  ['answer', { answer: { status: 200, body: 'a'.repeat(30_000) } }],
  // Its address may have 8,192 characters. Many short headers are much longer in the format of functions.
  ['redirect', { redirect: { to: '/elsewhere' } }],
])('the headers of the rules before it count for the %s of a rule, if both match @heavy', (what, action) => {
  const short = (n: number) => Object.fromEntries(Array.from({ length: 30 }, (_, i) => [`x${n}-${i}`, '1']));
  const before = (when: (n: number) => object) =>
    Array.from({ length: 34 }, (_, n) =>
      rule({ flagKey: `f${n}`, when: when(n), variations: { on: { responseHeaders: short(n) } } }),
    );
  const last = rule({ flagKey: 'last', variations: { on: action } });
  expect(messageOf({ rules: [last] })).toBe('accepted');
  expect(messageOf({ rules: [...before((n) => ({ path: `/${n}/*` })), last] })).toBe('accepted');
  expect(messageOf({ rules: [...before((n) => ({ cookie: { [`c${n}`]: true } })), last] })).toMatch(
    new RegExp(
      `rules\\[34\\]\\.variations\\.on\\.${what}: has \\d{5} bytes with its headers and those of rules\\[\\d+\\], .* and \\d+ others: expected at most 40960`,
    ),
  );
});

test('the headers of rules after an answer, which are not tried, do not count for it', () => {
  const ended = rule({
    when: { path: '/a' },
    variations: { on: { answer: { status: 200, body: 'a'.repeat(36_000) } } },
  });
  expect(messageOf({ rules: [ended, adding(1, 'responseHeaders', 8_500)] })).toBe('accepted');
  expect(messageOf({ rules: [adding(1, 'responseHeaders', 8_500), ended] })).toContain('rules[1].variations.on.answer');
});

const leads = (
  when: object | undefined,
  to: string,
  more: { flagKey?: string; value?: string; also?: object; redirect?: object } = {},
) => ({
  ...(when && { when }),
  flagKey: more.flagKey ?? 'f',
  variations: { [more.value ?? 'on']: { redirect: { to, ...more.redirect }, ...more.also } },
});
const other = { flagKey: 'g' };
const sets = (cookie: string) => ({ also: { responseHeaders: { 'set-cookie': cookie } } });

test.each<[string, object[], string]>([
  [
    'over two rules',
    [leads({ path: '/a/*' }, '/b/*'), leads({ path: '/b/*' }, '/a/*', other)],
    'rules[0].variations.on.redirect.to="/b/*" is invalid: viewers would be redirected again and again, from /a/x to /b/x (rules[0].variations.on.redirect), to /a/x (rules[1].variations.on.redirect): expected a page from which no redirect leads back. Narrow when, or change to',
  ],
  [
    'over three rules, behind others',
    [
      rule({ flagKey: 'h', when: { path: '/c' } }),
      leads({ path: '/a' }, '/b'),
      leads({ path: '/b' }, '/c', other),
      leads({ path: '/c' }, '/a', { flagKey: 'i' }),
    ],
    'from /a to /b (rules[1].variations.on.redirect), to /c (rules[2].variations.on.redirect), to /a (rules[3].variations.on.redirect)',
  ],
  [
    'over two rules for one value of a flag',
    [leads({ path: '/a' }, '/b'), leads({ path: '/b' }, '/a')],
    'again and again, from /a to /b',
  ],
  [
    'by what a value without a variation does',
    [{ ...leads({ path: '/a' }, '/b'), otherwise: 'on' }, leads({ path: '/b' }, '/a', { value: 'off' })],
    'again and again, from /a to /b',
  ],
  [
    'that begins on a page of the second rule',
    [leads({ path: '/a/*' }, '/c/*'), leads({ path: '/*/b' }, '/a/b', other)],
    'from /a/b to /c/b',
  ],
  [
    'under a cookie',
    [leads({ path: '/*', cookie: { lang: 'de' } }, '/de/*')],
    'again and again, from /x to /de/x (rules[0].variations.on.redirect):',
  ],
  ['under a header', [leads({ path: '/*', header: { 'user-agent': '*Mobile*' } }, '/m/*')], 'again and again'],
  [
    'under conditions that one viewer fulfils',
    [
      leads({ path: '/a', cookie: { x: true } }, '/b'),
      leads({ path: '/b', cookie: { x: '1*', y: false } }, '/a', other),
    ],
    'again and again',
  ],
  ['for a parameter that is kept', [leads({ path: '/*', query: { lang: 'de' } }, '/de/*')], 'again and again'],
  [
    'for a parameter that the target has',
    [leads({ path: '/*', query: { lang: 'de' } }, '/de/*?lang=de', { redirect: { query: 'drop' } })],
    'again and again',
  ],
  ['to the same page, with a longer query each time', [leads({ path: '/a' }, '/a?from=a')], 'from /a to /a?from=a'],
  ['for a method', [leads({ path: '/*', method: ['GET', 'HEAD'] }, '/x/*')], 'again and again'],
  [
    'for a method that the redirect keeps',
    [leads({ path: '/*', method: 'POST' }, '/x/*', { redirect: { status: 307 } })],
    'again and again',
  ],
  [
    'to http, from which CloudFront redirects to https',
    [leads({ host: 'www.example.com' }, 'http://www.example.com/*')],
    'rules[0].variations.on.redirect.to="http://www.example.com/*" is invalid: viewers would be redirected again and again, from https://www.example.com/x to http://www.example.com/x (rules[0].variations.on.redirect), and by CloudFront from http:// to https://: expected a page from which no redirect leads back. Write https://, or narrow when',
  ],
  [
    'to http, of one of several hosts',
    [leads({ host: ['a.example.com', '*.example.org'], path: '/a' }, 'http://shop.example.org/a')],
    'Write https://',
  ],
  [
    'to http, of a host that another rule is for',
    [rule({ flagKey: 'h', when: { host: 'a.example.com' } }), leads({ path: '/a' }, 'http://a.example.com/a')],
    'Write https://',
  ],
  [
    'over two hosts',
    [
      leads({ host: 'a.example.com' }, 'https://b.example.com/*'),
      leads({ host: 'b.example.com' }, 'https://a.example.com/*', other),
    ],
    'from https://a.example.com/x to https://b.example.com/x (rules[0].variations.on.redirect), to https://a.example.com/x (rules[1].variations.on.redirect)',
  ],
])('a circle of redirects %s is refused: %j', (_, rules, message) => {
  const said = messageOf({ rules });
  expect(said).toContain(message);
  expect(said).not.toContain('problems');
});

test.each<[string, object[], string]>([
  [
    'through paths that two patterns share',
    [leads({ path: '/products/*.html' }, '/shop/*.html'), leads({ path: '/shop/sale/*' }, '/products/sale/*', other)],
    'from /products/sale/x.html to /shop/sale/x.html',
  ],
  [
    'through paths that three patterns share',
    [
      leads({ path: '/a/*.html' }, '/b/*.html'),
      leads({ path: '/b/c*' }, '/d/c*', other),
      leads({ path: '/d/*d.html' }, '/a/*d.html', { flagKey: 'h' }),
    ],
    'from /a/cxd.html to /b/cxd.html',
  ],
  [
    'by which a cookie gets the value that leads back',
    [
      leads({ path: '/a', cookie: { v: 'x' } }, '/b', sets('v=y')),
      leads({ path: '/b', cookie: { v: 'y' } }, '/a', { ...other, ...sets('v=x; Path=/') }),
    ],
    'from /a to /b',
  ],
  [
    'after a cookie was set',
    [leads({ path: '/a' }, '/b', sets('v=1; Max-Age=60')), leads({ path: '/b', cookie: { v: '1' } }, '/a', other)],
    'from /a to /b',
  ],
  [
    'after a cookie was deleted',
    [
      leads({ path: '/a' }, '/b', sets('v=; expires=Thu, 01 Jan 1970 00:00:00 GMT; path=/')),
      leads({ path: '/b', cookie: { v: false } }, '/a', other),
    ],
    'from /a to /b',
  ],
  [
    'over hosts, after a cookie of both was set',
    [
      leads({ host: 'a.example.com', path: '/' }, 'https://b.example.com/', sets('v=1; Domain=example.com; Path=/')),
      leads({ host: 'b.example.com', cookie: { v: '1' } }, 'https://a.example.com/', other),
    ],
    'from https://a.example.com/ to https://b.example.com/',
  ],
  [
    'on a host that two patterns share',
    [leads({ host: '*.example.com', path: '/a' }, '/b'), leads({ host: 'www.*', path: '/b' }, '/a', other)],
    'from https://www.example.com/a to /b',
  ],
])('a circle of redirects %s is refused: %j', (_, rules, message) => {
  expect(messageOf({ rules })).toContain(message);
});

const answered = (when: object, more: object = {}) => ({
  ...rule({ flagKey: 'z', when, variations: { on: { answer: { status: 410 } } }, otherwise: 'on' }),
  ...more,
});

test.each<[string, object[]]>([
  [
    'for viewers of whom none fulfils all conditions',
    [['/a', '/b', ['p', 'q']] as const, ['/b', '/c', ['q', 'r']] as const, ['/c', '/a', ['r', 'p']] as const].map(
      ([path, to, values], n) => leads({ path, header: { 'x-c': values } }, to, { flagKey: `f${n}` }),
    ),
  ],
  [
    'for viewers whom an earlier rule answers',
    [
      answered({ path: '/a', cookie: { x: true } }),
      leads({ path: '/a' }, '/b'),
      leads({ path: '/b', cookie: { x: '1' } }, '/a', other),
    ],
  ],
  [
    'for a value of the flag with which an earlier rule answers',
    [
      answered({ path: ['/a', '/c'] }, { flagKey: 'f', otherwise: undefined }),
      leads({ path: '/a' }, '/b'),
      leads({ path: '/b' }, '/a', other),
    ],
  ],
  [
    'that a cookie of the first redirect ends',
    [
      answered({ path: '/b', cookie: { seen: true } }),
      leads({ path: '/a' }, '/b', { also: { responseHeaders: { 'set-cookie': 'seen=1' } } }),
      leads({ path: '/b' }, '/a', other),
    ],
  ],
])('redirects that would go on only %s are accepted: %j', (_, rules) => {
  expect(messageOf({ rules })).toBe('accepted');
});

test('the domain names of a stage say which redirects stay on the site', () => {
  const rules = [leads({ path: '/a' }, 'http://www.example.com/a')];
  const problems = (more: object) =>
    routerProblems({ variants: ['stable'], defaultVariant: 'stable', rules, ...more } as RouterConfig);
  expect(problems({})).toEqual([]);
  expect(problems({ domainNames: ['example.com'] })).toEqual([]);
  for (const name of ['www.example.com', '*.example.com'])
    expect(problems({ domainNames: [name] })).toEqual([
      expect.objectContaining({ message: expect.stringContaining('again and again, from ') }),
    ]);
});

test.each<[string, object[]]>([
  [
    'a flag that sends viewers to and fro by its value',
    [leads({ path: '/old' }, '/new'), leads({ path: '/new' }, '/old', { value: 'off' })],
  ],
  [
    'a page that an earlier rule answers',
    [
      {
        ...rule({ flagKey: 'h', when: { path: '/b' }, variations: { on: { answer: { status: 410 } } } }),
        otherwise: 'on',
      },
      leads({ path: '/a' }, '/b'),
      leads({ path: ['/b', '/c'] }, '/a', other),
    ],
  ],
  [
    'cookies that exclude each other',
    [leads({ path: '/a', cookie: { x: true } }, '/b'), leads({ path: '/b', cookie: { x: false } }, '/a', other)],
  ],
  [
    'a cookie that the redirect sets',
    [
      leads({ path: '/*', cookie: { seen: false } }, '/welcome/*', {
        also: { responseHeaders: { 'set-cookie': 'seen=1' } },
      }),
    ],
  ],
  [
    'a cookie that the redirect deletes',
    [
      leads({ path: '/app/*', cookie: { legacy: true } }, '/migrate', sets('legacy=; Max-Age=0')),
      leads({ path: '/migrate' }, '/app/'),
    ],
  ],
  [
    'a cookie that the redirect deletes, of one rule',
    [
      leads({ path: '/app/*', cookie: { legacy: true } }, '/app/*?cleaned=1', {
        ...sets('legacy=; Max-Age=0; Path=/'),
        redirect: { query: 'drop' },
      }),
    ],
  ],
  [
    'a cookie that the redirect deletes, with a longer query',
    [leads({ path: '/app/*', cookie: { legacy: true } }, '/app/*?cleaned=1', sets('legacy=; Max-Age=0'))],
  ],
  [
    'a cookie that gets another value',
    [leads({ path: '/a', cookie: { v: '1' } }, '/b', sets('v=2')), leads({ path: '/b', cookie: { v: '1' } }, '/a')],
  ],
  [
    'a session that ends in the past',
    [
      leads({ path: '/account', cookie: { session: 'v1.*' } }, '/logout'),
      leads({ path: '/logout' }, '/account', {
        ...other,
        ...sets('session=v1.0; Path=/; Expires=Thu, 01 Jan 1970 00:00:00 GMT'),
      }),
    ],
  ],
  [
    'a cookie that is set for a part of the site, or for one host',
    [
      leads({ path: '/a/x' }, '/b', sets('v=1')),
      leads({ path: '/b', cookie: { v: '1' } }, '/a/x', other),
      leads({ host: 'a.example.com', path: '/c' }, 'https://b.example.com/c', { flagKey: 'h', ...sets('w=1; Path=/') }),
      leads({ host: 'b.example.com', path: '/c', cookie: { w: '1' } }, 'https://a.example.com/c', { flagKey: 'i' }),
    ],
  ],
  [
    "the router's own cookie, which a redirect sets",
    [leads({ path: '/*', cookie: { 'flag-viewer': false } }, '/welcome/*')],
  ],
  [
    'headers that exclude each other',
    [
      leads({ path: '/a/*', header: { 'x-a': '1' } }, '/b/*'),
      leads({ path: '/b/*', header: { 'x-a': '2' } }, '/a/*', other),
    ],
  ],
  [
    'a parameter that is dropped',
    [leads({ path: '/*', query: { lang: 'de' } }, '/de/*', { redirect: { query: 'drop' } })],
  ],
  ['a parameter that the target sets', [leads({ path: '/*', query: { lang: false } }, '/*?lang=de')]],
  [
    'the same page with the query that was wanted',
    [leads({ path: '/a' }, '/a?from=a', { redirect: { query: 'drop' } })],
  ],
  ['a POST that becomes a GET', [leads({ path: '/*', method: 'POST' }, '/done/*', { redirect: { status: 303 } })]],
  ['a prefix that is taken away', [leads({ path: '/old/*' }, '/*')]],
  ['another site by http', [leads({ path: '/a' }, 'http://legacy.example.com/a')]],
  ['another site of a rule for every host', [leads({ host: '*', path: '/a' }, 'http://legacy.example.com/a')]],
  [
    'a chain that ends',
    [leads({ path: '/a' }, '/b'), leads({ path: '/b' }, '/c', other), leads({ path: '/c' }, '/d', { flagKey: 'h' })],
  ],
  ['http to https of one host', [leads({ host: 'www.example.com' }, 'https://www.example.com/*')]],
])('redirects without a circle are accepted: %s: %j', (_, rules) => {
  expect(messageOf({ rules })).toBe('accepted');
});

const ofVariations = (rules: number, variations: number, to: (n: number, i: number) => string) =>
  Array.from({ length: rules }, (_, n) =>
    rule({
      flagKey: `f${n}`,
      when: { path: `/p${n}/*` },
      variations: Object.fromEntries(
        Array.from({ length: variations }, (_, i) => [`v${i}`, { redirect: { to: to(n, i) } }]),
      ),
    }),
  );

test('of very many circles, ten are reported @heavy', () => {
  const said = messageOf({ rules: ofVariations(15, 20, (n, i) => `/p${(n + i + 1) % 15}/*?k=${i}`) });
  expect(said.split('\n')[0]).toBe('10 problems:');
});

test('rules whose redirects are too many to be followed are named @heavy', () => {
  const said = messageOf({ rules: ofVariations(60, 60, (n, i) => `/p${n + i + 1}/*`) });
  expect(said).toMatch(
    /^rules: there is too much to follow, so that it is unknown whether redirects of rules\[0\], .* and \d+ others lead back to where they began: expected fewer paths, hosts and variations that redirect, or narrower when$/,
  );
});

test('what the checks do is bounded, for as many rules, variations and patterns as there may be @heavy', async () => {
  const many = (count: number, text: (n: number) => string) => Array.from({ length: count }, (_, n) => text(n));
  const large = (n: number, kind: string) => ({ [kind]: headers(n, 1_000) });
  const ofPaths = (count: number, paths: number, path: (n: number, i: number) => string) =>
    Array.from({ length: count }, (_, n) =>
      rule({
        flagKey: `f${n}`,
        when: { path: many(paths, (i) => path(n, i)) },
        variations: { on: { ...large(n, 'requestHeaders'), ...large(n, 'responseHeaders') }, off: {} },
      }),
    );
  const checked = (rules: object[]) => () => void routerProblems({ rules } as RouterConfig);
  const tests: [string, () => void][] = [
    ['patterns that differ at their ends', checked(ofPaths(30, 20, (n, i) => `*/section-${n}/articles/${i}.html`))],
    ['patterns with many intersections', checked(ofPaths(20, 10, (n, i) => `*${'ab'.repeat(20)}${n}*/${i}*`))],
    [
      'long texts beside long patterns',
      checked(ofPaths(12, 50, (n, i) => (n % 2 ? `/${'a'.repeat(200)}${n}-${i}` : `/*${'a'.repeat(100)}*${i}?`))),
    ],
    [
      'many variations with answers',
      checked(
        Array.from({ length: 30 }, (_, n) =>
          rule({
            flagKey: `f${n}`,
            when: { cookie: { [`c${n}`]: true } },
            variations: Object.fromEntries(
              many(30, (i) => `v${i}`).map((name, i) => [
                name,
                i % 2
                  ? { answer: { status: 200, body: 'a'.repeat(30_000) }, ...large(n, 'responseHeaders') }
                  : large(n * 100 + i, 'responseHeaders'),
              ]),
            ),
          }),
        ),
      ),
    ],
    [
      'redirects that lead to each other',
      checked(
        Array.from({ length: 30 }, (_, n) =>
          leads({ path: ['/*', `*/${n}*`], cookie: { [`c${n}`]: `*${n}*` } }, `/${n}/*`, { flagKey: `f${n}` }),
        ),
      ),
    ],
    [
      'redirects of many variations, in circles',
      checked(ofVariations(15, 20, (n, i) => `/p${(n + i + 1) % 15}/*?k=${i}`)),
    ],
    ['redirects of many variations, that end', checked(ofVariations(40, 40, (n, i) => `/p${n + i + 1}/*`))],
    [
      'rules that may cover each other',
      checked(
        Array.from({ length: 30 }, (_, n) =>
          rule({
            flagKey: `f${n}`,
            when: { path: many(50, (i) => `/*${'a'.repeat(100)}${i}*${n}*`) },
            variations: { on: { answer: { status: 200 } } },
            otherwise: 'on',
          }),
        ),
      ),
    ],
  ];
  const counts = await countExecuted(
    /edge-router\/(check-|wildcards)/,
    tests.map(([, work]) => work),
  );
  const found = tests.map(([name], index) => ({ name, count: counts[index] ?? 0 }));
  expect(found.filter(({ count }) => count > 200_000_000)).toEqual([]);
});

test('many redirects are checked in bounded time @heavy', () => {
  const all = (n: number) =>
    Array.from({ length: n }, (_, i) =>
      leads({ path: '/*', cookie: { [`c${i}`]: true } }, `/${i}/*`, { flagKey: `f${i}`, redirect: { query: 'drop' } }),
    );
  expect(messageOf({ rules: all(100) })).toContain('again and again');
  const many = (text: string) => Array.from({ length: 50 }, (_, i) => `${text}${i}`);
  const wide = Array.from({ length: 30 }, (_, i) =>
    leads({ path: many(`/${i}/*/`), host: many(`h${i}-`), cookie: { [`c${i}`]: true } }, '/home', { flagKey: `f${i}` }),
  );
  expect(messageOf({ rules: wide })).toBe('accepted');
});

test.each<[object[], string]>([
  [
    [
      rule({ variations: { on: { answer: { status: 200 } } }, otherwise: 'on' }),
      rule({ flagKey: 'g', when: { path: '/a' } }),
    ],
    'rules[1]: is never reached, because rules[0] answers all of its requests: move it up, or narrow rules[0].when',
  ],
  [
    [
      rule({ when: { path: ['/b', '/a/*'] }, variations: { on: { answer: { status: 200 } } }, otherwise: 'on' }),
      rule({ flagKey: 'g', when: { path: '/a/b/*', method: 'GET' } }),
    ],
    'rules[1]: is never reached',
  ],
  [
    [rule({ otherwise: 'on' }), rule({ flagKey: 'g' })],
    'rules[1]: has no effect, because earlier rules always choose origin for its requests',
  ],
  [
    [
      rule({ otherwise: 'on' }),
      rule({ flagKey: 'g', variations: { on: { rewrite: '/a' } }, otherwise: 'on' }),
      rule({ flagKey: 'h', variations: { on: { rewrite: '/b', origin: 'canary' } } }),
    ],
    'rules[2]: has no effect, because earlier rules always choose',
  ],
  [
    [rule({ when: { path: '/a' } }), rule({ when: { path: '/a' }, variations: { on: { rewrite: '/b' } } })],
    'rules[1]: is for the flag f and the same requests as rules[0]: put all that a variation does into one rule',
  ],
])('of the rules %j one is refused', (rules, message) => {
  expect(messageOf({ rules })).toContain(message);
});

test.each<object[][]>([
  // Without `otherwise`, a value may be unknown.
  [[rule({}), rule({ flagKey: 'g' })]],
  // One variation leaves it to the next rule.
  [[rule({ variations: { on: { origin: 'canary' }, off: {} }, otherwise: 'off' }), rule({ flagKey: 'g' })]],
  // Not all requests.
  [[rule({ when: { path: '/a/*' }, otherwise: 'on' }), rule({ flagKey: 'g', when: { path: '/*' } })]],
  [[rule({ when: { path: '/a?' }, otherwise: 'on' }), rule({ flagKey: 'g', when: { path: '/a*' } })]],
  [[rule({ when: { cookie: { a: '1' } }, otherwise: 'on' }), rule({ flagKey: 'g' })]],
  // The page that a redirect leads to is the next rule's.
  [
    [
      rule({ variations: { on: { redirect: { to: '/a' } } }, otherwise: 'on' }),
      rule({ flagKey: 'g', when: { path: '/a' } }),
    ],
  ],
  // Headers add up.
  [[rule({ otherwise: 'on' }), rule({ flagKey: 'g', variations: { on: { responseHeaders: { 'x-a': '1' } } } })]],
  [[rule({ when: { path: '/a' } }), rule({ when: { path: '/b' } })]],
])('the rules %j are accepted', (rules) => {
  expect(messageOf({ rules })).toBe('accepted');
});

test('rules may stand beside the flag of the simple form, or alone, but not decide all that it could', () => {
  expect(messageOf({ rules: [rule({})], flagKey: 'site' })).toBe('accepted');
  expect(messageOf({ variants: ['stable', 'canary'], rules: [rule({})] })).toBe('accepted');
  expect(messageOf({ variants: ['stable', 'canary'] })).toContain('flagKey=undefined is invalid: expected a flag key');
  expect(messageOf({ rules: [rule({ otherwise: 'on' })], flagKey: 'site' })).toContain(
    'flagKey: has no effect, because rules[0] decides every request',
  );
  expect(messageOf({ rules: {} })).toContain('rules={} is invalid: expected a list of rules');
  expect(messageOf({ rules: Array.from({ length: 101 }, () => rule({})) })).toContain('rules: 101 are too many');
});

test('all problems of all rules are reported at once, each on a line of its own', () => {
  const rules = [rule({ flagKey: '' }), rule({ variations: { on: { origin: 'beta', rewrite: 'a' } } })];
  const [first, ...others] = messageOf({ rules }).split('\n');
  expect(first).toBe('3 problems:');
  expect(others.map((line) => line.slice(0, 10))).toEqual(['  rules[0]', '  rules[1]', '  rules[1]']);
});

test.each<[object, string]>([
  [
    { attributes: { plan: 'plan' } },
    'attributes.plan="plan" is invalid: expected { cookie: name } or { header: name } or { query: name }',
  ],
  [{ attributes: { plan: { cookie: 'a', query: 'b' } } }, 'attributes.plan={"cookie":"a","query":"b"} is invalid'],
  [{ attributes: { key: { cookie: 'a' } } }, 'attributes.key: is not a valid name'],
  [{ attributes: { 'a b': { cookie: 'a' } } }, 'attributes.a b: is not a valid name'],
  [
    { attributes: { country: { header: 'cloudfront-viewer-country' } } },
    'CloudFront adds this one after viewer-request',
  ],
  [{ attributes: ['plan'] }, 'attributes=["plan"] is invalid: expected an object of places by attribute'],
  [{ contexts: { user: { key: { cookie: 'a' } } } }, 'contexts.user: is not a valid kind'],
  [{ contexts: { multi: { key: { cookie: 'a' } } } }, 'contexts.multi: is not a valid kind'],
  [{ contexts: { org: {} } }, 'contexts.org={} is invalid: expected { key: { cookie: name } }'],
  [
    { contexts: { org: { key: { cookie: 'a' }, name: 'x' } } },
    'contexts.org.name is unknown: expected one of key, attributes',
  ],
  [{ contexts: { org: { key: { cookie: 'a' }, attributes: { b: 1 } } } }, 'contexts.org.attributes.b=1 is invalid'],
])('%j is refused', (config, message) => {
  expect(messageOf({ flagKey: 'f', ...config })).toContain(message);
});

test.each<[object, string]>([
  [{ fallback: 'beta' }, 'origins.stable.fallback="beta" is invalid: expected another of the origins: canary'],
  [{ fallback: 'stable' }, 'origins.stable.fallback="stable" is invalid: expected another of the origins: canary'],
])('an origin with %j is refused', (more, message) => {
  const origins = { stable: { domainName: 'a.example.com', ...more }, canary: { domainName: 'b.example.com' } };
  expect(messageOf({ origins })).toContain(message);
});

test('the compiler refuses what would have no effect', () => {
  const to = '/b';
  const wrong: (Action | Rule | From)[] = [
    // @ts-expect-error a redirect never reaches an origin
    { origin: 'canary', redirect: { to } },
    // @ts-expect-error nor does an answer
    { rewrite: '/a', answer: { status: 200 } },
    // @ts-expect-error one or the other
    { redirect: { to }, answer: { status: 200 } },
    // @ts-expect-error no such status
    { redirect: { to, status: 304 } },
    // @ts-expect-error no such action
    { orgin: 'canary' },
    // @ts-expect-error a rule needs a flag
    { variations: { on: {} } },
    // @ts-expect-error no such condition
    { when: { paths: '/a' }, flagKey: 'f', variations: {} },
  ];
  expect(wrong).toHaveLength(7);
});
