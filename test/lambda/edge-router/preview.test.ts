/** Previews and shadow traffic: through the handlers, with links as `npm run preview` makes them. */
import { generateKeyPairSync, type KeyObject, sign } from 'node:crypto';
import type { CloudFrontRequest, CloudFrontResultResponse } from 'aws-lambda';
import fc from 'fast-check';
import { describeResultProblem } from '../../../bin/dev/cloudfront.ts';
import { checkRouterConfig, type RouterConfig } from '../../../lambda/edge-router/check-config.ts';
import {
  createHandlerForTesters,
  createViewerRequestHandler,
  createViewerResponseHandler,
  type PreviewConfig,
  type ShadowSettings,
} from '../../../lambda/edge-router/index.ts';
import { type PreviewToken, unsignedPreview } from '../../../lambda/edge-router/preview-token.ts';
import { requestEvent, responseEvent } from './events.ts';

const newPair = () => {
  const { publicKey, privateKey } = generateKeyPairSync('ed25519');
  return { publicKey: String(publicKey.export({ format: 'jwk' }).x), privateKey };
};
const ours = newPair();
const next = newPair();
const foreign = newPair();

const host = 'shop.example.com';
const now = () => Math.floor(Date.now() / 1_000);

function tokenOf(claims: Partial<PreviewToken> = {}, { privateKey }: { privateKey: KeyObject } = ours): string {
  const whole = { flags: { checkout: 'canary' }, issuedAt: now(), expiresAt: now() + 7_200, stage: 'prod', host };
  const { message, token } = unsignedPreview({ ...whole, ...claims });
  return token(sign(null, message, privateKey));
}

/** Signs any claims, also ones that no tool of ours would. */
function signedBytes(claims: string): string {
  const encoded = Buffer.from(claims).toString('base64url');
  const signature = sign(null, Buffer.from(`edge-flag-relay preview v1.${encoded}`), ours.privateKey);
  return `v1.${encoded}.${signature.toString('base64url')}`;
}

interface Site {
  readonly preview?: PreviewConfig;
  readonly shadow?: ShadowSettings;
  readonly value?: unknown;
}

/** A router whose flag says `stable`, what it asked its reader, and what it counted. */
function siteOf({ preview = { publicKeys: [ours.publicKey], stage: 'prod' }, shadow, value = 'stable' }: Site = {}) {
  const asked: unknown[] = [];
  const counted: unknown[] = [];
  const config = {
    reader: { tableName: 'flags', replicas: { default: ['eu-west-1'] } },
    flagKey: 'checkout',
    variants: ['stable', 'canary'],
    defaultVariant: 'stable',
  };
  const reader = {
    async variationDetail(flagKey: string) {
      asked.push(flagKey);
      return { value, variationIndex: 0, reason: { kind: 'FALLTHROUGH' } as const };
    },
  };
  const report = { decided: (what: unknown) => void counted.push(what) };
  const handler = createHandlerForTesters({ preview, ...(shadow && { shadow }) }, report, (counting, options) =>
    createViewerRequestHandler(config, reader, counting, options),
  );

  async function visit(headers: Record<string, string> = {}, path = '/cart') {
    const event = requestEvent('viewer-request', { Host: host, ...headers });
    const [uri = '', querystring = ''] = path.split(/\?(.*)/s);
    Object.assign(event.Records[0]!.cf.request, { uri, querystring });
    const before = structuredClone(event.Records[0]!.cf.request.headers);
    const result = await handler(event);
    expect(describeResultProblem('viewer-request', result, before)).toBeUndefined();
    return result;
  }
  /** A page: its request as origins get it. */
  const open = async (headers?: Record<string, string>, path?: string) =>
    (await visit(headers, path)) as CloudFrontRequest;
  /** A preview link. */
  const click = async (query: string, headers?: Record<string, string>) => {
    const result = (await visit(headers, `/__flag-preview?${query}`)) as CloudFrontResultResponse;
    return { ...result, header: (name: string) => result.headers?.[name]?.[0]?.value };
  };
  return { asked, counted, open, click };
}

const header = ({ headers }: { headers: CloudFrontRequest['headers'] }, name: string) => headers[name]?.[0]?.value;
const cookieWith = (token: string) => ({ Cookie: `a=b; __Host-flag-preview=${token}; c=d` });

test('a link sets a cookie that lasts as long as the preview, and leads to a page of the site', async () => {
  const { click, asked } = siteOf();
  const token = tokenOf();
  const { status, header: of } = await click(`t=${token}&to=/cart%3Fstep=2`);
  expect([status, of('location'), asked]).toEqual(['302', '/cart?step=2', []]);
  const [, left] = /; Max-Age=(\d+);/.exec(of('set-cookie')!)!;
  expect(of('set-cookie')).toBe(
    `__Host-flag-preview=${token}; Max-Age=${left}; Path=/; HttpOnly; SameSite=Lax; Secure`,
  );
  expect(Number(left)).toBeGreaterThan(7_000);
  expect(Number(left)).toBeLessThanOrEqual(7_200);
  expect([of('cache-control'), of('x-robots-tag'), of('referrer-policy')]).toEqual([
    'no-store',
    'noindex',
    'no-referrer',
  ]);
});

test('with the cookie, the tester gets the previewed value, whatever the flag says and without being counted', async () => {
  const { open, asked, counted } = siteOf();
  const request = await open(cookieWith(tokenOf()));
  expect(header(request, 'x-flag-variant')).toBe('canary');
  expect(header(request, 'x-flag-decision')).toBe('checkout=canary; reason=OVERRIDE');
  expect([asked, counted]).toEqual([[], []]);
  const other = await open({ Cookie: 'a=b' });
  expect([header(other, 'x-flag-decision'), counted.length]).toEqual(['checkout=stable; reason=FALLTHROUGH', 1]);
});

test.each(['beta', 7, { a: 1 }, null])(
  'the value %j, which is no variant, is a preview of the default one, and says so',
  async (previewed) => {
    const { open, asked, counted } = siteOf({ value: 'canary' });
    const request = await open(cookieWith(tokenOf({ flags: { checkout: previewed } })));
    expect(header(request, 'x-flag-variant')).toBe('stable');
    expect(header(request, 'x-flag-decision')).toBe('checkout=stable; reason=OVERRIDE');
    expect([asked, counted]).toEqual([[], []]);
    const event = responseEvent({ 'x-flag-decision': header(request, 'x-flag-decision')! }, {});
    const { headers } = await createViewerResponseHandler({})(event);
    expect([header({ headers }, 'cache-control'), header({ headers }, 'x-robots-tag')]).toEqual([
      ...['private, no-store', 'noindex'],
    ]);
  },
);

test('the cookie is removed from every request before anything else reads it, also from one that cannot be handled', async () => {
  const token = tokenOf();
  const event = requestEvent('viewer-request', { Host: host });
  const { request } = event.Records[0]!.cf;
  request.headers.cookie = [
    { key: 'Cookie', value: `a=b; __Host-flag-preview=${token}; __Host-flag-preview=x` },
    { key: 'Cookie', value: `__Host-flag-preview=${token}` },
  ];
  const seen: unknown[] = [];
  const handler = createHandlerForTesters(
    { preview: { publicKeys: [ours.publicKey] } },
    undefined,
    (_, { overrides }) =>
      async ({ Records }) => {
        const { request } = Records[0]!.cf;
        seen.push(structuredClone(request.headers.cookie), overrides?.(request), overrides?.(request));
        return request;
      },
  );
  await handler(event);
  expect(seen).toEqual([[{ key: 'Cookie', value: 'a=b' }], { checkout: 'canary' }, { checkout: 'canary' }]);
});

test('flags that the preview does not name are decided as always', async () => {
  const { open, counted } = siteOf();
  const request = await open(cookieWith(tokenOf({ flags: { other: 'canary' } })));
  expect(header(request, 'x-flag-decision')).toBe('checkout=stable; reason=FALLTHROUGH');
  expect(counted).toHaveLength(1);
});

test.each([
  ['canary', 'canary'],
  ['stable', 'stable'],
  ['beta', 'beta'],
  [7, 7],
  [{ a: 1 }, { a: 1 }],
  [null, null],
])('for the value %j, CloudFront’s cache sees the request of any viewer who is served it', async (previewed, value) => {
  const id = '6d2f7f3e-3f0a-4b0c-9a51-0d1f1d0c7a11';
  const tester = await siteOf().open({
    Cookie: `a=b; flag-viewer=${id}; __Host-flag-preview=${tokenOf({ flags: { checkout: previewed } })}`,
  });
  const viewer = await siteOf({ value }).open({ Cookie: `a=b; flag-viewer=${id}` });
  // Neither the reason nor the viewer's id is in the key.
  const keyed = ({ headers, ...rest }: CloudFrontRequest) => {
    const { 'x-flag-decision': _reason, 'x-flag-viewer': _id, ...others } = headers;
    return { others, rest };
  };
  expect(keyed(tester)).toEqual(keyed(viewer));
});

test('what a tester gets is stored by no browser and no proxy, and listed by no search engine', async () => {
  const answered = async (decision: string) => {
    const event = responseEvent({ 'x-flag-decision': decision }, { 'Cache-Control': 'public, max-age=60' });
    const { headers } = await createViewerResponseHandler({})(event);
    return [header({ headers }, 'cache-control'), header({ headers }, 'x-robots-tag')];
  };
  expect(await answered('checkout=canary; reason=OVERRIDE')).toEqual(['private, no-store', 'noindex']);
  expect(await answered('a=b; reason=OFF, checkout=canary; reason=OVERRIDE')).toEqual(['private, no-store', 'noindex']);
  expect(await answered('checkout=canary; reason=FALLTHROUGH')).toEqual(['public, max-age=60', undefined]);
});

test('an answer that the function itself makes for a tester is marked as well', async () => {
  const answer = { status: '200', headers: { 'x-flag-decision': [{ value: 'checkout=canary; reason=OVERRIDE' }] } };
  const handler = createHandlerForTesters(
    { preview: { publicKeys: [ours.publicKey] } },
    undefined,
    () => async () => structuredClone(answer),
  );
  const result = (await handler(requestEvent('viewer-request'))) as CloudFrontResultResponse;
  expect(result.headers).toMatchObject({
    'cache-control': [{ value: 'private, no-store' }],
    'x-robots-tag': [{ value: 'noindex' }],
  });
});

const valid = tokenOf();
const hours = (count: number) => now() + count * 3_600;
test.each<[string, string, RegExp]>([
  ['has expired', tokenOf({ expiresAt: now() - 1 }), /expired at \d{4}-\d\d-\d\dT\d\d:\d\dZ\. Ask for a new one/],
  ['is for another stage', tokenOf({ stage: 'dev' }), /is for another site: shop\.example\.com, stage dev\./],
  ['is for another host', tokenOf({ host: 'evil.example' }), /is for another site: evil\.example, stage prod\./],
  ['is valid for too long', tokenOf({ expiresAt: hours(25) }), /valid for longer than this site accepts, 24 hours/],
  ['was made for later', tokenOf({ issuedAt: hours(30), expiresAt: hours(31) }), /longer than this site accepts/],
  ['is signed with another key', tokenOf({}, foreign), /is not valid: it is incomplete, or signed with a key/],
  ['was changed', valid.replace(/\.(.)/, (_, first) => `.${first === 'e' ? 'f' : 'e'}`), /is not valid/],
  ['has another signature', `${valid.slice(0, -86)}${tokenOf({ host: 'b.example' }).slice(-86)}`, /is not valid/],
  ['was cut off', valid.slice(0, -1), /is not valid/],
  ['has no signature', valid.slice(0, -87), /is not valid/],
  ['is empty', '', /is not valid/],
  ['is too long', `v1.${'a'.repeat(8_000)}.${'a'.repeat(86)}`, /is not valid/],
  ['is signed but no JSON', signedBytes('{'), /is not valid/],
  ['is signed but null', signedBytes('null'), /is not valid/],
  [
    'is signed without flags',
    signedBytes(JSON.stringify({ i: now(), e: hours(1), s: 'prod', h: host })),
    /is not valid/,
  ],
  [
    'is signed with too many flags',
    signedBytes(JSON.stringify({ f: Array(9).fill(1), i: now(), e: hours(1), s: 'prod', h: host })),
    /is not valid/,
  ],
  [
    'is signed without an end',
    signedBytes(JSON.stringify({ f: {}, i: now(), e: null, s: 'prod', h: host })),
    /is not valid/,
  ],
])('a link that %s is answered with the reason, and its cookie changes nothing', async (_, token, message) => {
  const { click, open, counted } = siteOf();
  const { status, body, header: of } = await click(`t=${token}`);
  expect([status, of('set-cookie'), of('content-type')]).toEqual(['403', undefined, 'text/plain; charset=utf-8']);
  expect(body).toMatch(message);
  const request = await open(cookieWith(token));
  expect(header(request, 'x-flag-decision')).toBe('checkout=stable; reason=FALLTHROUGH');
  expect([header(request, 'cookie'), counted.length]).toEqual(['a=b; c=d', 1]);
});

test.each([
  ...[
    '//evil.example',
    '/\\evil.example',
    '\\\\evil.example',
    'https://evil.example',
    'javascript:alert(1)',
    'evil',
    '',
  ],
  ...['/\t/evil.example', '/a\r\nset-cookie: x=y', '/ä', `/${'a'.repeat(3_000)}`],
])('a link does not lead to %j', async (to) => {
  const { click } = siteOf();
  for (const query of [`t=${tokenOf()}`, 'off']) {
    const { status, body, header: of } = await click(`${query}&to=${encodeURIComponent(to)}`);
    expect([status, of('location'), of('set-cookie')]).toEqual(['403', undefined, undefined]);
    expect(body).toBe('This preview link leads to another site.\n');
  }
});

test('/__flag-preview says what is previewed until when, and ?off ends it', async () => {
  const { click } = siteOf();
  expect(await click('')).toMatchObject({ status: '200', body: 'No preview is on.\n' });
  const shown = await click('', cookieWith(tokenOf({ flags: { checkout: 'canary', banner: true } })));
  expect(shown.body).toMatch(
    /^A preview is on until [\d-]+T[\d:]+Z:\n {2}checkout = "canary"\n {2}banner = true\nTo end it/,
  );
  const { status, header: of } = await click('off&to=/cart');
  expect([status, of('location')]).toEqual(['302', '/cart']);
  expect(of('set-cookie')).toBe('__Host-flag-preview=; Max-Age=0; Path=/; HttpOnly; SameSite=Lax; Secure');
});

test('while a key is replaced, links of both are accepted', async () => {
  const { open } = siteOf({ preview: { publicKeys: [ours.publicKey, next.publicKey], stage: 'prod' } });
  for (const [pair, reason] of [
    [ours, 'OVERRIDE'],
    [next, 'OVERRIDE'],
    [foreign, 'FALLTHROUGH'],
  ] as const)
    expect(header(await open(cookieWith(tokenOf({}, pair))), 'x-flag-decision')).toContain(`reason=${reason}`);
});

test('a site may allow links for longer, and over plain http the cookie has a name that browsers accept there', async () => {
  const { click, open } = siteOf({ preview: { publicKeys: [ours.publicKey], maxHours: 48, secure: false } });
  const token = tokenOf({ expiresAt: hours(47), stage: 'dev' });
  const { header: of } = await click(`t=${token}`);
  expect(of('set-cookie')).toMatch(/^flag-preview=[^;]+; Max-Age=\d+; Path=\/; HttpOnly; SameSite=Lax$/);
  const request = await open({ Cookie: `flag-preview=${token}` });
  expect([header(request, 'x-flag-variant'), request.headers.cookie]).toEqual(['canary', undefined]);
});

test('whatever a link or a cookie has in it, the answer is one that CloudFront accepts and leads to no other site @heavy', async () => {
  const { click, open } = siteOf();
  const text = fc.oneof(
    fc.string(),
    fc.string({ unit: 'binary' }),
    fc.constantFrom(valid, 'v1..', '%', '__Host-flag-preview='),
  );
  await fc.assert(
    fc.asyncProperty(text, text, fc.boolean(), async (token, to, encoded) => {
      const value = (part: string) => (encoded ? encodeURIComponent(part.toWellFormed()) : part);
      const { header: of } = await click(`t=${value(token)}&to=${value(to)}`);
      if (of('location')) expect(new URL(of('location')!, `https://${host}/a`).host).toBe(host);
      const line = token.replace(/[\r\n\0]/g, '');
      expect(header(await open({ Cookie: `__Host-flag-preview=${line}` }), 'x-flag-decision')).toBeDefined();
    }),
    { numRuns: process.env.LONG ? 5_000 : 100 },
  );
});

describe('shadow traffic', () => {
  const shadow = { header: 'x-shadow-key', value: 'a-secret-of-the-load-tester' };

  test('shadow traffic is decided like any request and marked for the origin, but not counted', async () => {
    const { open, asked, counted } = siteOf({ shadow, value: 'canary' });
    const request = await open({ 'X-Shadow-Key': shadow.value });
    expect(header(request, 'x-flag-decision')).toBe('checkout=canary; reason=FALLTHROUGH');
    expect([header(request, 'x-flag-shadow'), header(request, 'x-shadow-key')]).toEqual(['1', undefined]);
    expect([asked, counted]).toEqual([['checkout'], []]);
  });

  test.each<[string, readonly unknown[], boolean]>([
    ['the secret twice', [shadow.value, shadow.value], true],
    ['something else before it', ['guess', shadow.value], true],
    ['something else after it', [shadow.value, 'guess'], true],
    ['both in one', [`guess, ${shadow.value}`], false],
    ['more than it', [`${shadow.value} `], false],
    ['something else only', ['guess'], false],
    ['nothing', [], false],
  ])('leaves no trace of its secret in a request whose header has %s', async (_, sent, isShadow) => {
    const event = requestEvent('viewer-request', { Host: host });
    const { request } = event.Records[0]!.cf;
    request.headers['x-shadow-key'] = sent.map((value) => ({ key: 'X-Shadow-Key', value })) as never;
    const handler = createHandlerForTesters(
      { shadow },
      undefined,
      () =>
        async ({ Records }) =>
          Records[0]!.cf.request,
    );
    const got = (await handler(event)) as CloudFrontRequest;
    expect([got.headers['x-shadow-key'], header(got, 'x-flag-shadow')]).toEqual([
      undefined,
      isShadow ? '1' : undefined,
    ]);
    expect(JSON.stringify(got)).not.toContain(shadow.value);
  });

  test('a request is not shadow traffic because a viewer says so', async () => {
    const { open, counted } = siteOf({ shadow });
    const guesses: Record<string, string>[] = [{ 'X-Shadow-Key': 'guess' }, { 'X-Flag-Shadow': '1' }, {}];
    for (const sent of guesses) expect(header(await open(sent), 'x-flag-shadow')).toBeUndefined();
    expect(counted).toHaveLength(3);
    // A router without shadow traffic has no use for the mark, and its origins must not believe it.
    const without = siteOf();
    expect(header(await without.open({ 'X-Flag-Shadow': '1' }), 'x-flag-shadow')).toBeUndefined();
    expect(without.counted).toHaveLength(1);
  });

  test('shadow traffic may have a preview', async () => {
    const { open, counted } = siteOf({ shadow });
    const request = await open({ 'X-Shadow-Key': shadow.value, ...cookieWith(tokenOf()) });
    expect([header(request, 'x-flag-variant'), header(request, 'x-flag-shadow')]).toEqual(['canary', '1']);
    expect(counted).toEqual([]);
  });
});

const shadowBy = (name: string, others: object = {}) => ({
  shadow: { header: name, value: 'x'.repeat(16) },
  ...others,
});

test.each([
  // "Disallowed headers" and "Read-only headers".
  ...['Connection', 'X-Edge-Anything', 'X-Cache', 'X-Forwarded-Proto', 'X-Accel-Anything', 'Host', 'Via', 'CDN-Loop'],
  ...['Content-Length', 'Transfer-Encoding', 'Accept-Encoding', 'If-None-Match', 'CloudFront-Viewer-Country'],
  // What browsers, proxies, tracing and frameworks send, and what only answers have.
  ...[
    'Accept',
    'Authorization',
    'Cookie',
    'User-Agent',
    'Referer',
    'Range',
    'Purpose',
    'X-Moz',
    'X-Purpose',
    'Save-Data',
  ],
  ...['X-Forwarded-For', 'True-Client-IP', 'X-Client-IP', 'X-Original-URL', 'X-Rewrite-URL', 'X-HTTP-Method'],
  ...['X-CSRF-Token', 'X-API-Key', 'X-Request-ID', 'X-B3-TraceId', 'B3', 'Traceparent', 'Prefer', 'Last-Event-ID'],
  ...['Set-Cookie', 'Location', 'Vary', 'ETag', 'Age', 'Server', 'Service-Worker', 'Idempotency-Key', 'SOAPAction'],
  ...['x-flag-viewer', 'x-flag-decision', 'x-flag-variant', 'x-flag-mine', 'X-Load-Test', 'x load', '', 7, undefined],
])('the header of shadow traffic is not %j', (name) => {
  const lower = typeof name === 'string' && !name.startsWith('X-Load') ? name.toLowerCase() : name;
  expect(() => checkRouterConfig(shadowBy(lower as string))).toThrow(
    `shadow.header=${JSON.stringify(lower)} is invalid: expected `,
  );
});

test.each(['x-load-test', 'x-shadow', 'load-test', 'x-my-site.shadow'])(
  'the header of shadow traffic may be %s',
  (name) => {
    expect(() => checkRouterConfig(shadowBy(name))).not.toThrow();
  },
);

const key = ours.publicKey;
const READ = 'the router takes it away before';
test.each<[unknown, string]>([
  [{ preview: 'yes' }, 'preview="yes" is invalid: expected { publicKeys: [...] }'],
  [{ preview: {} }, 'preview.publicKeys=undefined is invalid: expected a list of one or two public keys'],
  [{ preview: { publicKeys: [] } }, 'preview.publicKeys=[] is invalid'],
  [{ preview: { publicKeys: [key, key, key] } }, 'expected a list of one or two public keys'],
  [
    { preview: { publicKeys: ['abc'] } },
    'preview.publicKeys[0]="abc" is invalid: expected a public key of 43 characters',
  ],
  [{ preview: { publicKeys: [key, 7] } }, 'preview.publicKeys[1]="…" is invalid'],
  [
    { preview: { publicKeys: [key], maxHours: 0 } },
    'preview.maxHours=0 is invalid: expected an integer from 1 to 720 (h)',
  ],
  [{ preview: { publicKeys: [key], keys: [] } }, 'preview.keys is unknown'],
  [{ shadow: true }, 'shadow=true is invalid: expected { header, value }'],
  [{ shadow: { header: 'Host:', value: 'x'.repeat(16) } }, 'shadow.header="Host:" is invalid'],
  [{ shadow: { header: 'x-flag-shadow', value: 'x'.repeat(16) } }, 'the router writes this one'],
  [shadowBy('x-mine', { variantHeader: 'x-mine' }), 'this one holds the variant'],
  [shadowBy('x-flag-variant'), 'the router writes this one'],
  [
    shadowBy('x-mine', {
      origins: { a: { domainName: 'a.example', headers: { 'x-mine': 'a' } } },
      defaultVariant: 'a',
    }),
    'origins or rules add this one',
  ],
  [
    shadowBy('x-mine', { rules: [{ flagKey: 'f', variations: { on: { requestHeaders: { 'x-mine': 'a' } } } }] }),
    'origins or rules add this one',
  ],
  [
    shadowBy('x-mine', { rules: [{ when: { header: { 'x-mine': true } }, flagKey: 'f', variations: { on: {} } }] }),
    READ,
  ],
  [shadowBy('x-mine', { viewer: { ids: ['cookie', { header: 'x-mine' }] } }), READ],
  [shadowBy('x-mine', { viewer: { consent: { header: 'x-mine' } } }), READ],
  [shadowBy('x-mine', { attributes: { plan: { header: 'x-mine' } } }), READ],
  [
    shadowBy('x-mine', { contexts: { org: { key: { cookie: 'o' }, attributes: { plan: { header: 'x-mine' } } } } }),
    READ,
  ],
  [
    { shadow: { header: 'x-shadow', value: 'short-secret' } },
    'shadow.value is invalid: expected a secret of at least 16',
  ],
])('a router config with %j is refused', (config, message) => {
  expect(() => checkRouterConfig(config as RouterConfig)).toThrow(message);
});

test('no message repeats a private key or a secret', () => {
  const pem = String(ours.privateKey.export({ type: 'pkcs8', format: 'pem' }));
  for (const config of [
    { preview: { publicKeys: [pem] } },
    { shadow: { header: 'x-shadow', value: 'short-secret' } },
  ]) {
    let message = '';
    try {
      checkRouterConfig(config as RouterConfig);
    } catch (error) {
      ({ message } = error as Error);
    }
    expect(message).toMatch(/ is invalid/);
    expect(message).not.toMatch(/PRIVATE|short-secret/);
  }
});

test('a preview has at most 8 flags, and a size that fits into a cookie', () => {
  const flags = (count: number) => Object.fromEntries(Array.from({ length: count }, (_, index) => [`f${index}`, true]));
  expect(tokenOf({ flags: flags(8) }).length).toBeLessThan(400);
  expect(() => tokenOf({ flags: flags(9) })).toThrow('a preview has 1 to 8 flags, not 9');
  expect(() => tokenOf({ flags: {} })).toThrow('a preview has 1 to 8 flags, not 0');
  expect(() => tokenOf({ flags: { a: 'x'.repeat(3_000) } })).toThrow(/too large: \d+ characters of at most 2048/);
});
