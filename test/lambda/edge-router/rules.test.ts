/** Rules: which requests they are for, and what their actions do on the way through the three functions. */
import type { CloudFrontRequestEvent } from 'aws-lambda';
import type { ReaderConfig, ReaderStatus } from '../../../lambda/edge-reader/index.ts';
import {
  createOriginRequestHandler,
  createShownExposures,
  createViewerRequestHandler,
  createViewerResponseHandler,
  type Rule,
  type ViewerRequestConfig,
} from '../../../lambda/edge-router/index.ts';
import { compileWildcards } from '../../../lambda/edge-router/wildcards.ts';
import type { Detail } from '../../../lib/evaluation/index.ts';
import { routerConfigs } from '../../../lib/infrastructure/edge-configs.ts';
import { edgeExamples } from '../../support/edge-examples.ts';
import { pairs, requestEvent, responseEvent } from './events.ts';
import { type Flags, readerOf, type Settings, serve, site, values } from './serve.ts';

const id = '6d2f7f3e-3f0a-4b0c-9a51-0d1f1d0c7a11';

describe('wildcards', () => {
  test.each([
    ['/a', '/a', ''],
    ['/a', '/ab', undefined],
    ['/a', '/', undefined],
    ['*', '', ''],
    ['/shop/*', '/shop/', ''],
    ['/shop/*', '/shop/cart/1', 'cart/1'],
    ['/shop/*', '/Shop/cart', undefined],
    ['/*/edit', '/a/b/edit', 'a/b'],
    ['/*/edit', '/edit', undefined],
    ['/*/x/*', '/a/x/b/x/c', 'b/x/c'],
    ['/?/*', '/ab/c', undefined],
    ['/?/*', '/a/c', 'c'],
    ['*.jpg', '/a.jpg.png', undefined],
    ['*a*', 'bab', 'b'],
    ['/(a+)+$*', '/(a+)+$x', 'x'],
  ])('%s takes %s for %p', (pattern, text, rest) => {
    expect(compileWildcards(pattern)(text)).toBe(rest);
  });

  test('match what the regular expressions of the same patterns match @heavy', () => {
    let seed = 7;
    const random = (below: number) => {
      seed = (seed * 48_271) % 2_147_483_647;
      return seed % below;
    };
    const text = (letters: string, most: number) =>
      Array.from({ length: random(most) }, () => letters[random(letters.length)]).join('');
    const different: string[] = [];
    for (let i = 0; i < 20_000; i += 1) {
      const [pattern, given] = [text('ab*?', 8), text('ab', 10)];
      const source = pattern.replace(/[*?]/g, (one) => (one === '*' ? '.*' : '.'));
      const matches = compileWildcards(pattern)(given) !== undefined;
      if (matches !== new RegExp(`^${source}$`).test(given)) different.push(`${pattern} ${given}`);
    }
    expect(different).toEqual([]);
  });
});

describe('a rule matches requests', () => {
  const isFor = async (when: Rule['when'], sent: Parameters<typeof serve>[2]) => {
    const rules: Rule[] = [{ ...(when && { when }), flagKey: 'f', variations: { on: { origin: 'canary' } } }];
    return (await serve({ rules }, { f: 'on' }, sent)).origin === 'canary.example.com';
  };

  test.each<[Rule['when'], Parameters<typeof serve>[2], Parameters<typeof serve>[2]]>([
    [{ path: '/shop/*' }, { uri: '/shop/a' }, { uri: '/shopping' }],
    [{ path: ['/a', '/b/*'] }, { uri: '/b/c' }, { uri: '/a/b' }],
    [{ path: '/a' }, { uri: '/a', querystring: 'b=c' }, { uri: '/a/' }],
    [{ host: '*.example.com' }, { headers: { Host: 'WWW.example.com' } }, { headers: { Host: 'example.com' } }],
    [{ method: ['GET', 'HEAD'] }, { method: 'HEAD' }, { method: 'POST' }],
    [{ header: { 'x-app': 'ios/*' } }, { headers: { 'X-App': 'ios/17' } }, { headers: { 'X-App': 'android' } }],
    [{ header: { 'x-app': true } }, { headers: { 'X-App': '' } }, {}],
    [{ header: { 'x-app': false } }, {}, { headers: { 'X-App': 'ios' } }],
    [
      { cookie: { plan: ['gold', 'silver'] } },
      { headers: { Cookie: 'a=1; plan=gold' } },
      { headers: { Cookie: 'plan=golden' } },
    ],
    [{ cookie: { plan: false } }, { headers: { Cookie: 'xplan=1' } }, { headers: { Cookie: 'plan=' } }],
    [{ query: { q: 'a b&c' } }, { querystring: 'x=1&q=a+b%26c' }, { querystring: 'q=a' }],
    [{ query: { beta: true } }, { querystring: 'beta' }, { querystring: 'xbeta=1' }],
    [
      { path: '/shop/*', method: 'GET', cookie: { plan: 'gold' } },
      { uri: '/shop/', headers: { Cookie: 'plan=gold' } },
      { uri: '/shop/' },
    ],
    [undefined, { uri: '/anything' }, undefined],
  ])('%j', async (when, yes, no) => {
    expect(await isFor(when, yes)).toBe(true);
    if (no) expect(await isFor(when, no)).toBe(false);
  });

  test('as the viewer sent them, whatever earlier rules have made of them', async () => {
    const rules: Rule[] = [
      { when: { path: '/a' }, flagKey: 'one', variations: { on: { rewrite: '/b' } } },
      { when: { path: '/b' }, flagKey: 'two', variations: { on: { origin: 'canary' } } },
      { when: { path: '/a' }, flagKey: 'three', variations: { on: { origin: 'beta' } } },
    ];
    const { asked, key, origin } = await serve({ rules }, { one: 'on', two: 'on', three: 'on' }, { uri: '/a' });
    expect({ asked, uri: key?.uri, origin }).toEqual({
      asked: ['one', 'three'],
      uri: '/b',
      origin: 'beta.example.com',
    });
  });
});

describe('an action', () => {
  const action = (variation: Rule['variations'][string], when?: Rule['when']): Settings => ({
    rules: [{ ...(when && { when }), flagKey: 'f', variations: { on: variation, off: {} } }],
  });

  test('an action chooses an origin', async () => {
    expect(await serve(action({ origin: 'canary' }), { f: 'on' })).toMatchObject({
      origin: 'canary.example.com',
      key: { variant: 'canary' },
      decision: 'f=on; reason=FALLTHROUGH',
    });
    expect(await serve(action({ origin: 'canary' }), { f: 'off' })).toMatchObject({
      origin: 'stable.example.com',
      key: { variant: 'stable' },
      decision: 'f=off; reason=FALLTHROUGH',
    });
  });

  test('an action chooses an origin and its fallback, which is used when CloudFront calls again because the first has failed', async () => {
    const again = { fallbacks: ['sorry.example.com'] };
    expect(await serve(action({ origin: 'beta' }), { f: 'on' }, {}, again)).toMatchObject({
      origin: 'stable.example.com',
      forwarded: { headers: { host: [{ value: 'stable.example.com' }] } },
    });
    expect(await serve(action({ origin: 'canary' }), { f: 'on' }, {}, again)).toMatchObject({
      origin: 'sorry.example.com',
    });
  });

  test('rewrites the path, and with it the cache key, but not the query', async () => {
    const settings = action({ rewrite: '/v2/shop/*' }, { path: '/shop/*' });
    const sent = { uri: '/shop/a%20b/c', querystring: 'x=1' };
    const { key, forwarded } = await serve(settings, { f: 'on' }, sent);
    expect(key).toEqual({ variant: 'stable', uri: '/v2/shop/a%20b/c', query: 'x=1' });
    expect(forwarded).toMatchObject({ uri: '/v2/shop/a%20b/c', querystring: 'x=1' });
    const whole = await serve(action({ rewrite: '/de/*' }), { f: 'on' }, { uri: '/a/b' });
    expect(whole.key?.uri).toBe('/de/a/b');
    expect((await serve(action({ rewrite: '/index.html' }), { f: 'on' }, { uri: '/a' })).key?.uri).toBe('/index.html');
  });

  test('leaves a path that would become too long as it is', async () => {
    const length = async (characters: number) => {
      const uri = `/${'a'.repeat(characters - 1)}`;
      return (await serve(action({ rewrite: '/long/*' }), { f: 'on' }, { uri, querystring: 'x=1' })).key?.uri.length;
    };
    expect([await length(8_183), await length(8_184)]).toEqual([8_188, 8_184]);
  });

  test.each<[object, string, string, string]>([
    [{ to: '/new/*' }, '/old/a', 'x=1&y', '/new/a?x=1&y'],
    [{ to: '/new/*', query: 'drop' }, '/old/a', 'x=1', '/new/a'],
    [{ to: 'https://www.example.org/shop/*?from=old' }, '/old/a', 'x=1', 'https://www.example.org/shop/a?from=old&x=1'],
    [{ to: '/new' }, '/old/a', '', '/new'],
    // Not to another site.
    [{ to: '/*' }, '/old//evil.example/', '', '/evil.example/'],
    [{ to: '/*' }, '/old/\\evil.example/', '', '/evil.example/'],
    // Nothing that would end the header.
    [{ to: '/*' }, '/old/ä\r\nx: y', 'q=\u{1f600}', '/%c3%a4%0d%0ax:%20y?q=%f0%9f%98%80'],
    // What `replace` gives a meaning.
    [{ to: '/new/*' }, "/old/$&$'", '', "/new/$&$'"],
  ])('redirects with %j from %s?%s to %s', async (redirect, uri, querystring, location) => {
    const settings = action({ redirect: redirect as { to: string } }, { path: '/old/*' });
    const { answer, decision } = await serve(settings, { f: 'on' }, { uri, querystring });
    expect(answer).toMatchObject({ status: '302', headers: { 'cache-control': [{ value: 'no-store' }] } });
    expect([values(answer.headers, 'location'), decision]).toEqual([[location], 'f=on; reason=FALLTHROUGH']);
  });

  test('an action redirects no page to itself, and none to an address that is too long', async () => {
    const settings = action({ redirect: { to: '/sorry', status: 307 } });
    expect(await serve(settings, { f: 'on' }, { uri: '/a' })).toMatchObject({ answer: { status: '307' } });
    expect(await serve(settings, { f: 'on' }, { uri: '/sorry' })).toMatchObject({ origin: 'stable.example.com' });
    const absolute = action({ redirect: { to: 'https://www.example.com/sorry' } });
    const there = { uri: '/sorry', querystring: 'a=b', headers: { Host: 'www.example.com' } };
    expect(await serve(absolute, { f: 'on' }, there)).toMatchObject({ origin: 'stable.example.com' });
    const long = action({ redirect: { to: '/long/*' } }, { path: '/a/*' });
    const uri = `/a/${'b'.repeat(8_187)}`;
    expect(await serve(long, { f: 'on' }, { uri })).toMatchObject({ origin: 'stable.example.com' });
  });

  test('an action answers without an origin', async () => {
    const answer = action({ answer: { status: 503, body: 'Back soon.' }, responseHeaders: { 'retry-after': '60' } });
    expect((await serve(answer, { f: 'on' })).answer).toMatchObject({
      status: '503',
      body: 'Back soon.',
      headers: {
        'content-type': [{ value: 'text/plain; charset=utf-8' }],
        'cache-control': [{ value: 'no-store' }],
        'retry-after': [{ value: '60' }],
        'x-flag-decision': [{ value: 'f=on; reason=FALLTHROUGH' }],
      },
    });
    const html = action({
      answer: { status: 200, body: '<p>' },
      responseHeaders: { 'content-type': 'text/html', 'cache-control': 'max-age=5' },
    });
    expect((await serve(html, { f: 'on' })).answer.headers).toMatchObject({
      'content-type': [{ value: 'text/html' }],
      'cache-control': [{ value: 'max-age=5' }],
    });
    const empty = (await serve(action({ answer: { status: 204 } }), { f: 'on' })).answer;
    expect(empty).not.toHaveProperty('body');
  });

  test('an action that answers or redirects sets the cookie of a new viewer itself, because viewer-response does not run', async () => {
    const settings = {
      ...action({ redirect: { to: '/new' }, responseHeaders: { 'set-cookie': 'seen=1' } }),
      viewer: { epoch: '2' },
      cookieName: 'mine',
      cookieDomain: 'example.com',
    };
    const { answer, contexts } = await serve(settings, { f: 'on' });
    const { key } = contexts[0] as { key: string };
    expect(values(answer.headers, 'set-cookie')).toEqual([
      'seen=1',
      `mine=2.${key}; Path=/; Max-Age=34560000; Domain=example.com; Secure; HttpOnly; SameSite=Lax`,
    ]);
    const known = await serve(settings, { f: 'on' }, { headers: { Cookie: `mine=2.${id}` } });
    expect(values(known.answer.headers, 'set-cookie')).toEqual(['seen=1']);
  });

  test('an action sends origins headers that viewers cannot send, with a cache key of their own', async () => {
    const settings = action({ requestHeaders: { 'x-new-search': 'yes', 'x-mode': 'fast' } });
    const sent = { headers: { 'X-New-Search': 'guessed', 'X-Mode': 'guessed', 'X-Other': 'kept' } };
    const on = await serve(settings, { f: 'on' }, sent);
    const off = await serve(settings, { f: 'off' }, sent);
    expect(on.forwarded?.headers).toMatchObject({ 'x-new-search': [{ value: 'yes' }], 'x-mode': [{ value: 'fast' }] });
    expect(off.forwarded?.headers).not.toHaveProperty('x-new-search');
    expect(off.forwarded?.headers).toMatchObject({ 'x-other': [{ value: 'kept' }] });
    expect([on.key?.variant, off.key?.variant]).toEqual([expect.stringMatching(/^stable,[0-9a-f]{8}$/), 'stable']);
    // An answer that is cached under an earlier configuration is not used for another one.
    const later = await serve(action({ requestHeaders: { 'x-new-search': 'no' } }), { f: 'on' });
    expect(later.key?.variant).not.toBe(on.key?.variant);
  });

  test('an action sets headers of the response, which are not in the cache key', async () => {
    const settings = action({ responseHeaders: { 'x-powered-by': 'us', 'x-new': '1', 'set-cookie': 'ab=on' } });
    const on = await serve(settings, { f: 'on' });
    const off = await serve(settings, { f: 'off' }, { headers: { 'x-flag-response': Object.keys(on)[0]! } });
    expect(on.answer.headers).toMatchObject({ 'x-powered-by': [{ value: 'us' }], 'x-new': [{ value: '1' }] });
    expect(values(on.answer.headers, 'set-cookie')?.slice(0, 2)).toEqual(['theirs=1', 'ab=on']);
    expect(off.answer.headers).toMatchObject({ 'x-powered-by': [{ value: 'origin' }] });
    expect(off.answer.headers).not.toHaveProperty('x-new');
    expect(on.key).toEqual(off.key);
  });

  test('the action of a flag whose value is true, a number or a text is found under that value', async () => {
    const rules = (name: string): Settings => ({
      rules: [{ flagKey: 'f', variations: { [name]: { origin: 'canary' } } }],
    });
    for (const value of [true, false, 7, 1.5, 'on'])
      expect((await serve(rules(String(value)), { f: value })).origin).toBe('canary.example.com');
    for (const value of [null, {}, [], ['on'], 'constructor'])
      expect((await serve(rules('on'), { f: value })).decision).toMatch(/^f=(none; reason=UNKNOWN_VARIANT|on; )/);
  });
});

describe('several rules', () => {
  const both: Rule[] = [
    {
      when: { path: '/checkout/*' },
      flagKey: 'checkout',
      variations: { new: { origin: 'canary', responseHeaders: { 'x-a': '1', 'x-b': '1' } }, old: {} },
    },
    {
      flagKey: 'search',
      variations: {
        true: { origin: 'beta', requestHeaders: { 'x-search': '2' }, responseHeaders: { 'x-b': '2', 'x-c': '2' } },
        false: {},
      },
      otherwise: 'false',
    },
  ];

  test('several rules may apply: the first origin is used, headers accumulate, and of one name the first is used', async () => {
    const { origin, answer, forwarded, decision, key } = await serve(
      { rules: both },
      { checkout: 'new', search: true },
      { uri: '/checkout/1' },
    );
    expect(origin).toBe('canary.example.com');
    expect(['x-a', 'x-b', 'x-c'].map((name) => values(answer.headers, name)?.[0])).toEqual(['1', '1', '2']);
    expect(values(forwarded?.headers, 'x-search')).toEqual(['2']);
    expect(decision).toBe('checkout=new; reason=FALLTHROUGH, search=true; reason=FALLTHROUGH');
    expect(key?.variant).toMatch(/^canary,[0-9a-f]{8}$/);
  });

  test('of several rules that add the same header to requests, the first one is used', async () => {
    const adding = (flagKey: string): Rule => ({
      flagKey,
      variations: { on: { requestHeaders: { 'x-by': flagKey } } },
    });
    for (const keys of [
      ['one', 'two'],
      ['two', 'one'],
    ]) {
      const { forwarded } = await serve({ rules: keys.map(adding) }, { one: 'on', two: 'on' });
      expect(values(forwarded?.headers, 'x-by')).toEqual([keys[0]]);
    }
  });

  test('a rule leaves the origin to the next one if its variation chooses none', async () => {
    const flags = { checkout: 'old', search: true };
    expect((await serve({ rules: both }, flags, { uri: '/checkout/1' })).origin).toBe('beta.example.com');
  });

  test('rules come before the flag of the simple form, which is not evaluated when they have made its choice', async () => {
    const settings = { rules: both, flagKey: 'site' };
    const decided = await serve(settings, { checkout: 'new', site: 'beta' }, { uri: '/checkout/1' });
    expect([decided.origin, decided.asked]).toEqual(['canary.example.com', ['checkout', 'search']]);
    const other = await serve(settings, { site: 'canary' }, { uri: '/' });
    expect([other.origin, other.asked]).toEqual(['canary.example.com', ['search', 'site']]);
    expect(other.decision).toBe('search=false; reason=ERROR FLAG_NOT_FOUND, site=canary; reason=FALLTHROUGH');
  });

  test('no rule after the first answer or redirect is evaluated', async () => {
    const rules: Rule[] = [
      { flagKey: 'one', variations: { on: { origin: 'canary', responseHeaders: { 'x-one': '1' } } } },
      { flagKey: 'two', variations: { on: { answer: { status: 200, body: 'two' } }, off: {} } },
      { flagKey: 'three', variations: { on: { redirect: { to: '/three' } } } },
    ];
    const { answer, asked } = await serve({ rules }, { one: 'on', two: 'on', three: 'on' });
    expect(answer).toMatchObject({ status: '200', body: 'two', headers: { 'x-one': [{ value: '1' }] } });
    expect(asked).toEqual(['one', 'two']);
    const next = await serve({ rules }, { one: 'on', two: 'off', three: 'on' });
    expect(values(next.answer.headers, 'location')).toEqual(['/three']);
  });

  test('a flag of several rules is evaluated once', async () => {
    const rules: Rule[] = [
      { when: { path: '/a/*' }, flagKey: 'f', variations: { on: { origin: 'canary' } } },
      { flagKey: 'f', variations: { on: { responseHeaders: { 'x-on': '1' } } } },
    ];
    const { asked, decision, origin, answer } = await serve({ rules }, { f: 'on' }, { uri: '/a/b' });
    expect([asked, decision, origin, values(answer.headers, 'x-on')]).toEqual([
      ['f'],
      'f=on; reason=FALLTHROUGH',
      'canary.example.com',
      ['1'],
    ]);
  });

  test('without a variation, for an unknown value or a failure, do what `otherwise` names, or nothing', async () => {
    const rule = { flagKey: 'f', variations: { new: { origin: 'canary' }, old: { origin: 'beta' } } };
    const off = { value: undefined, variationIndex: null, reason: { kind: 'OFF' } };
    const failed = { value: 'new', variationIndex: null, reason: { kind: 'ERROR', errorKind: 'CLIENT_NOT_READY' } };
    for (const [value, why] of [
      ['strange', 'UNKNOWN_VARIANT'],
      [off, 'OFF'],
      [failed, 'ERROR CLIENT_NOT_READY'],
    ] as const) {
      const told = await serve({ rules: [{ ...rule, otherwise: 'old' }] }, { f: value });
      expect([told.origin, told.decision]).toEqual(['beta.example.com', `f=old; reason=${why}`]);
      const untold = await serve({ rules: [rule] }, { f: value });
      expect([untold.origin, untold.decision]).toEqual(['stable.example.com', `f=none; reason=${why}`]);
    }
    // A variation of this name is one like any other.
    const named = { flagKey: 'f', variations: { none: { origin: 'canary' } } };
    expect((await serve({ rules: [named] }, { f: 'strange' })).origin).toBe('stable.example.com');
    expect((await serve({ rules: [named] }, { f: 'none' })).origin).toBe('canary.example.com');
    const nobody = { rules: [{ ...rule, otherwise: 'old' }], viewer: { without: 'default-variant' as const } };
    const { asked, decision } = await serve(nobody, { f: 'new' });
    expect([asked, decision]).toEqual([[], 'f=old; reason=NO_VIEWER_ID']);
  });

  test('no id is stored when no rule matches the request, or no flag could be evaluated', async () => {
    const stored = async (flags: Flags, uri: string) =>
      values((await serve({ rules: both.slice(0, 1) }, flags, { uri })).answer.headers, 'set-cookie')?.length;
    expect(await stored({ checkout: 'new' }, '/checkout/1')).toBe(2);
    expect(await stored({}, '/checkout/1')).toBe(1);
    expect(await stored({ checkout: 'new' }, '/')).toBe(1);
    const { decision, asked } = await serve({ rules: both.slice(0, 1) }, {}, { uri: '/' });
    expect([decision, asked]).toEqual(['none', []]);
  });

  test('all rules of a request are decided from one revision, however often another one arrives', async () => {
    const rules: Rule[] = ['one', 'two', 'three'].map((flagKey) => ({
      flagKey,
      variations: { 1: { responseHeaders: { [`x-${flagKey}`]: '1' } }, 2: {}, 3: {}, 4: {} },
    }));
    for (const arriving of [[], ['one'], ['two'], ['two', 'three'], ['one', 'two', 'three']]) {
      let revision = 1;
      const detail = (): Detail => ({ value: revision, variationIndex: 0, reason: { kind: 'FALLTHROUGH' } });
      const reader = {
        async variationDetail(flagKey: string) {
          await new Promise(setImmediate);
          if (arriving.includes(flagKey)) revision += 1;
          return detail();
        },
        evaluate: detail,
        status: () => ({ rev: String(revision) }) as never,
      };
      const { defaultVariant } = site;
      const reading = { tableName: 'f', replicas: { default: ['r'] } };
      const config = { defaultVariant, reader: reading, variants: ['stable'], rules };
      const { headers } = await createViewerRequestHandler(
        config as ViewerRequestConfig,
        reader,
      )(requestEvent('viewer-request'));
      const seen = [...values(headers, 'x-flag-decision')![0]!.matchAll(/=(\d)/g)].map(([, one]) => one);
      expect([arriving, seen.length, new Set(seen).size]).toEqual([arriving, 3, 1]);
    }
  });

  test('a request does not wait again for a newer revision that could not be read', async () => {
    const rules: Rule[] = ['one', 'two', 'three'].map((flagKey) => ({ flagKey, variations: { 1: {} } }));
    let asked = 0;
    const notReady: Detail = {
      value: 1,
      variationIndex: null,
      reason: { kind: 'ERROR', errorKind: 'CLIENT_NOT_READY' },
    };
    const reader = {
      async variationDetail(): Promise<Detail> {
        asked += 1;
        return asked > 3 ? notReady : { value: 1, variationIndex: 0, reason: { kind: 'FALLTHROUGH' } };
      },
      evaluate: () => notReady,
      status: () => ({ rev: String(asked) }) as never,
    };
    const reading = { tableName: 'flags', replicas: { default: ['eu-west-1'] } };
    const config = { defaultVariant: 'stable', reader: reading, variants: ['stable'], rules };
    const { headers } = await createViewerRequestHandler(config, reader)(requestEvent('viewer-request'));
    expect(values(headers, 'x-flag-decision')![0]!.match(/CLIENT_NOT_READY/g)).toHaveLength(3);
    expect(asked).toBe(4);
  });

  test('rules use the values of overrides instead of the reader, and the decision header says so', async () => {
    const overrides = { checkout: 'new', unknown: 1 };
    const { asked, decision, origin, answer } = await serve(
      { rules: both.slice(0, 1) },
      { checkout: 'old' },
      { uri: '/checkout/1' },
      { overrides },
    );
    expect([asked, decision, origin]).toEqual([[], 'checkout=new; reason=OVERRIDE', 'canary.example.com']);
    // The origin and the cache see what any viewer of this variation sends.
    expect(values(answer.headers, 'set-cookie')).toEqual(['theirs=1', expect.stringMatching(/^flag-viewer=/)]);
    const wrong = await serve(
      { rules: both.slice(0, 1) },
      {},
      { uri: '/checkout/1' },
      { overrides: { checkout: 'x' } },
    );
    expect(wrong.decision).toBe('checkout=none; reason=OVERRIDE');
  });
});

test('the example of docs/edge-router.md does what the page says', async () => {
  const example = edgeExamples().find(({ rules }) => rules)!;
  const ask = (flags: Flags, uri: string, headers: Record<string, string> = {}) =>
    serve(example, flags, { uri, headers: { Host: 'www.example.com', ...headers } });

  const moved = await ask({ 'shop-moved': true }, '/old-shop/shoes');
  expect(values(moved.answer.headers, 'location')).toEqual(['https://shop.example.com/shoes']);
  const stayed = await ask({ 'shop-moved': false, 'new-site': 'canary' }, '/old-shop/shoes');
  expect(stayed).toMatchObject({ origin: 'canary.example.com', asked: ['shop-moved', 'new-site'] });

  const canary = await ask({ 'canary-checkout': 'canary' }, '/checkout');
  expect(canary).toMatchObject({ origin: 'canary.example.com', asked: ['canary-checkout'] });
  expect(values(canary.answer.headers, 'x-robots-tag')).toEqual(['noindex']);
  expect(await ask({ 'canary-checkout': 'closed' }, '/checkout/pay')).toMatchObject({
    answer: { status: '503', body: 'Back in a moment.', headers: { 'retry-after': [{ value: '60' }] } },
  });
  expect(await ask({ 'canary-checkout': 'strange' }, '/checkout')).toMatchObject({
    origin: 'stable.example.com',
    asked: ['canary-checkout'],
  });

  const flags = { 'new-search': true, 'new-site': 'stable' };
  const found = await ask(flags, '/search/shoes', { Cookie: 'session=1; plan=gold', 'X-Organization': 'acme' });
  expect(found).toMatchObject({ key: { uri: '/search-v2/shoes' }, asked: ['new-search', 'new-site'] });
  expect(values(found.forwarded?.headers, 'x-new-search')).toEqual(['yes']);
  expect(found.contexts[0]).toMatchObject({ user: { plan: 'gold' }, organization: { key: 'acme' } });
  expect(await ask(flags, '/search/shoes')).toMatchObject({ key: { uri: '/search/shoes' }, asked: ['new-site'] });
});

test('what was decided counts once, also if another revision arrives and it is decided again', async () => {
  const counted: [string, unknown][] = [];
  const exposures = createShownExposures(({ flagKey, detail }) => void counted.push([flagKey, detail.value]));
  let revision = 0;
  const made = (flagKey: string, context: unknown): Detail => {
    const detail = { value: revision > 2 ? 'on' : 'off', variationIndex: 0, reason: { kind: 'FALLTHROUGH' } } as const;
    exposures.observe({ flagKey, context, detail, fallback: null, withReason: true, flag: undefined, met: undefined });
    return detail;
  };
  const reader = {
    async variationDetail(flagKey: string, context: unknown) {
      revision += 1;
      return made(flagKey, context);
    },
    evaluate(flagKey: string, context: unknown) {
      revision = 3;
      return made(flagKey, context);
    },
    status: () => ({ rev: String(revision) }) as ReaderStatus,
  };
  const rules: Rule[] = ['a', 'b', 'a'].map((flagKey, index) => ({
    ...(index === 2 && { when: { path: '*' } }),
    flagKey,
    variations: { on: {} },
  }));
  const config = { reader: {} as ReaderConfig, rules, variants: ['stable'], defaultVariant: 'stable' };
  const handler = createViewerRequestHandler(config, reader, undefined, { exposures });
  await handler(requestEvent('viewer-request'));
  expect(counted).toEqual([
    ['a', 'on'],
    ['b', 'on'],
  ]);
});

test('flags of the bootstrap and flags of a table without revisions are not mixed in one request', async () => {
  let source = 'held';
  const detail = (): Detail => ({ value: source, variationIndex: 0, reason: { kind: 'FALLTHROUGH' } });
  const reader = {
    async variationDetail() {
      const answer = detail();
      // The table is read between the first flag and the second.
      await Promise.resolve().then(() => {
        source = 'official';
      });
      return answer;
    },
    evaluate: detail,
    status: () => ({ source }) as ReaderStatus,
  };
  // The first status that is looked at is the one of the first answer.
  const asked = jest.spyOn(reader, 'status').mockImplementationOnce(() => ({ source: 'held' }) as ReaderStatus);
  const rules = ['a', 'b'].map((flagKey) => ({ flagKey, variations: { held: {}, official: {} } }));
  const config = { reader: {} as ReaderConfig, rules, variants: ['stable'], defaultVariant: 'stable' };
  const { headers } = await createViewerRequestHandler(config, reader)(requestEvent('viewer-request'));
  expect(headers?.['x-flag-decision']?.[0]?.value).toBe(
    'a=official; reason=FALLTHROUGH, b=official; reason=FALLTHROUGH',
  );
  expect(asked).toHaveBeenCalled();
});

describe('the context', () => {
  const rules: Rule[] = [{ flagKey: 'f', variations: { on: {} } }];
  const contextOf = async (settings: Settings, sent: Parameters<typeof serve>[2]) =>
    (await serve({ rules, ...settings }, { f: 'on' }, sent)).contexts[0];

  test('the context has the attributes of the request, those named in settings, and further kinds', async () => {
    const settings: Settings = {
      attributes: { plan: { cookie: 'plan' }, beta: { query: 'beta' }, locale: { header: 'accept-language' } },
      contexts: { organization: { key: { header: 'x-org' }, attributes: { tier: { cookie: 'tier' } } } },
    };
    const headers = {
      Cookie: `flag-viewer=${id}; plan=gold; tier=2`,
      'Accept-Language': 'de-CH,de;q=0.9',
      'X-Org': 'acme',
    };
    const viewer = {
      key: id,
      anonymous: true,
      ip: '203.0.113.178',
      path: '/a',
      host: 'd111111abcdef8.cloudfront.net',
      userAgent: 'curl/7.66.0',
      method: 'GET',
      language: 'de-CH',
      plan: 'gold',
      beta: 'yes & no',
      locale: 'de-CH,de;q=0.9',
    };
    expect(await contextOf(settings, { uri: '/a', querystring: 'beta=yes+%26+no', headers })).toEqual({
      kind: 'multi',
      user: viewer,
      organization: { key: 'acme', tier: '2' },
    });
    const { 'X-Org': _, ...without } = headers;
    expect(await contextOf(settings, { uri: '/a', querystring: 'beta=yes+%26+no', headers: without })).toEqual({
      kind: 'user',
      ...viewer,
    });
  });

  test('the context lacks what the request lacks, and what is too long', async () => {
    const settings: Settings = { attributes: { plan: { cookie: 'plan' }, beta: { query: 'beta' } } };
    const sent = { querystring: `beta=${'x'.repeat(1_025)}` };
    const context = await contextOf(settings, sent);
    expect(context).not.toHaveProperty('plan');
    expect(context).not.toHaveProperty('beta');
    expect(context).toMatchObject({ language: undefined });
  });
});

describe('an unexpected event', () => {
  const rules: Rule[] = [
    {
      when: { path: '/a/*', host: '*', cookie: { a: '*' }, query: { b: '*' }, header: { c: '*' } },
      flagKey: 'f',
      variations: { on: { redirect: { to: '/b/*' } } },
    },
    {
      flagKey: 'g',
      variations: { on: { rewrite: '/c/*', requestHeaders: { 'x-g': '1' }, responseHeaders: { 'x-g': '1' } } },
    },
  ];
  const configs = routerConfigs(
    { ...site, rules, attributes: { a: { cookie: 'a' } } },
    { tableName: 'flags', replicas: { default: ['eu-west-1'] } },
  );
  const handlers = [
    createViewerRequestHandler(configs['viewer-request'], readerOf({ f: 'on', g: 'on' })),
    createOriginRequestHandler(configs['origin-request']),
    createViewerResponseHandler(configs['viewer-response']),
  ] as ((event: unknown) => Promise<unknown>)[];
  let logged: jest.SpyInstance;
  beforeEach(() => {
    logged = jest.spyOn(console, 'error').mockImplementation(() => {});
  });
  afterEach(() => logged.mockRestore());

  const odd = [undefined, null, 7, '', 'x', [], {}, [null], [{}], [{ value: null }], { a: 1 }];
  test.each(['headers', 'uri', 'querystring', 'method', 'clientIp', 'origin'])('with odd %s goes on', async (name) => {
    for (const value of odd) {
      for (const handler of handlers) {
        const event = responseEvent({ Cookie: 'a=1', C: '1' }) as unknown as CloudFrontRequestEvent;
        Object.assign(event.Records[0]!.cf.request, { uri: '/a/b', querystring: 'b=1', [name]: value });
        expect(await handler(event)).toBeInstanceOf(Object);
      }
    }
  });

  test('with odd values of headers goes on', async () => {
    for (const name of ['cookie', 'host', 'c', 'x-flag-variant', 'x-flag-response', 'x-flag-new-viewer', 'set-cookie'])
      for (const value of odd)
        for (const handler of handlers) {
          const event = responseEvent({ Cookie: 'a=1' });
          Object.assign(event.Records[0]!.cf.request.headers, { [name]: value });
          Object.assign(event.Records[0]!.cf.response.headers, { [name]: value });
          expect(await handler(event)).toBeInstanceOf(Object);
        }
  });

  test('without a request goes on, and frozen ones too', async () => {
    for (const event of [undefined, null, {}, { Records: [] }, { Records: [{}] }, { Records: [{ cf: {} }] }])
      for (const handler of handlers) await expect(handler(event)).resolves.toBeUndefined();
    const event = requestEvent('viewer-request');
    const { request } = event.Records[0]!.cf;
    Object.freeze(request.headers);
    expect(await handlers[0]!(event)).toBe(Object.freeze(request));
  });

  test('gets the default origin and no id if a reader or an override throws, which is logged once a minute', async () => {
    const failing = () => Promise.reject(new Error('no such thing'));
    const throwing = () => {
      throw new Error('no such thing');
    };
    for (const [reader, overrides] of [
      [{ variationDetail: failing }, undefined],
      [{ variationDetail: throwing }, undefined],
      [readerOf({}), throwing],
    ] as const) {
      logged.mockClear();
      const told: unknown[] = [];
      const handler = createViewerRequestHandler(
        configs['viewer-request'],
        reader,
        { decided: (what) => void told.push(what) },
        overrides && { overrides },
      );
      for (let i = 0; i < 3; i += 1) {
        const event = requestEvent('viewer-request', { 'x-flag-variant': 'canary', 'x-flag-new-viewer': id });
        const { headers } = await handler(event);
        expect(values(headers, 'x-flag-variant')).toEqual(['stable']);
        expect(values(headers, 'x-flag-decision')).toEqual(['none; reason=ERROR EXCEPTION']);
        expect(headers).not.toHaveProperty('x-flag-new-viewer');
      }
      const failed = { flagKey: 'none', variation: 'none', why: 'EXCEPTION', ms: 0 };
      expect(told).toEqual([failed, failed, failed]);
      expect(logged.mock.calls).toEqual([[expect.stringContaining('passed on'), expect.any(Error)]]);
    }
  });

  test('an event of the documented kind is served without a line in the log', async () => {
    const event = requestEvent('viewer-request', { Cookie: 'a=1', C: '1' });
    Object.assign(event.Records[0]!.cf.request, {
      uri: '/a/b',
      querystring: 'b=1',
      headers: { ...event.Records[0]!.cf.request.headers, ...pairs({}) },
    });
    expect(await handlers[0]!(event)).toMatchObject({ status: '302' });
    expect(logged).not.toHaveBeenCalled();
  });
});
