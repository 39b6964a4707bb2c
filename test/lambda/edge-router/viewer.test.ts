/** Who a viewer is to the flag: from which request which key, and what is stored. */
import { createHash } from 'node:crypto';
import { init, type LDClient } from '@launchdarkly/node-server-sdk';
import { TestData } from '@launchdarkly/node-server-sdk/integrations';
import type { ViewerSettings } from '../../../lambda/edge-router/config.ts';
import { createViewerRequestHandler, createViewerResponseHandler } from '../../../lambda/edge-router/index.ts';
import { addressId } from '../../../lambda/edge-router/viewer.ts';
import { evaluatorOf } from '../../lib/evaluation/in-memory.ts';
import { silentLog } from '../../support/logs.ts';
import { requestEvent, responseEvent } from './events.ts';

const flag = {
  key: 'checkout',
  version: 1,
  on: true,
  salt: 'salt',
  variations: ['stable', 'canary'],
  fallthrough: {
    rollout: {
      variations: [
        { variation: 0, weight: 50_000 },
        { variation: 1, weight: 50_000 },
      ],
    },
  },
};
const { evaluate } = evaluatorOf({ checkout: flag });

interface Request {
  readonly cookie?: string;
  readonly headers?: Record<string, string>;
  readonly address?: string;
}

/** What one request leads to: headers of viewer-request, and the cookie of viewer-response. */
async function visit(viewer: ViewerSettings | undefined, { cookie, headers = {}, address }: Request = {}) {
  const handler = createViewerRequestHandler(
    {
      reader: { tableName: 'flags', replicas: { default: ['eu-west-1'] } },
      flagKey: 'checkout',
      variants: ['stable', 'canary'],
      defaultVariant: 'stable',
      ...(viewer && { viewer }),
    },
    { variationDetail: async (key, context, fallback) => evaluate(key, context as never, fallback) as never },
  );
  const event = requestEvent('viewer-request', { ...(cookie && { Cookie: cookie }), ...headers });
  if (address) Object.assign(event.Records[0]!.cf.request, { clientIp: address });
  const { headers: decided } = await handler(event);
  const value = (name: string) => decided[name]?.[0]?.value;
  const flags = Object.fromEntries(
    Object.keys(decided)
      .filter((name) => name.startsWith('x-flag-'))
      .map((name) => [name, value(name)!]),
  );
  const answered = await createViewerResponseHandler(viewer?.epoch ? { epoch: viewer.epoch } : {})(
    responseEvent(flags),
  );
  return {
    variant: value('x-flag-variant')!,
    id: value('x-flag-viewer'),
    decision: value('x-flag-decision')!,
    set: answered.headers['set-cookie']?.[0]?.value.split(';')[0],
  };
}

/** The variants of a viewer who never sends the cookie back, over 40 requests. */
async function variantsWithoutCookies(viewer: ViewerSettings | undefined, request?: Request): Promise<Set<string>> {
  const met = new Set<string>();
  for (let visits = 0; visits < 40; visits += 1) met.add((await visit(viewer, request)).variant);
  return met;
}

const uuid = '6d2f7f3e-3f0a-4b0c-9a51-0d1f1d0c7a11';

describe('a viewer who refuses cookies', () => {
  test('by default gets another id, and another variant, with each request', async () => {
    expect([...(await variantsWithoutCookies(undefined))].sort()).toEqual(['canary', 'stable']);
  });

  test('gets the default variant where the flag only decides for viewers who are known', async () => {
    expect(await variantsWithoutCookies({ without: 'default-variant' })).toEqual(new Set(['stable']));
    const first = await visit({ without: 'default-variant' });
    expect([first.id, first.decision]).toEqual([undefined, 'checkout=stable; reason=NO_VIEWER_ID']);
    // The flag decides from the next request on.
    const next = await visit({ without: 'default-variant' }, { cookie: first.set! });
    expect([`flag-viewer=${next.id}`, next.set]).toEqual([first.set, undefined]);
    expect(next.decision).toMatch(/reason=FALLTHROUGH$/);
  });

  test('keeps the variant of the address where that is hashed', async () => {
    for (const address of ['203.0.113.7', '203.0.113.8', '203.0.113.9', '2001:db8::1'])
      expect((await variantsWithoutCookies({ without: 'address' }, { address })).size).toBe(1);
    const first = await visit({ without: 'address' }, { address: '203.0.113.7' });
    // The cookie keeps the variant when the address changes.
    expect(first.set).toBe(`flag-viewer=${first.id}`);
    const moved = await visit({ without: 'address' }, { address: '198.51.100.1', cookie: first.set! });
    expect([moved.id, moved.set]).toEqual([first.id, undefined]);
    expect(
      (await visit({ ids: [], without: 'address' }, { address: '203.0.113.7', cookie: first.set! })).set,
    ).toBeUndefined();
  });

  test('gets a share of the requests where each is decided by itself, and no cookie', async () => {
    const settings = { without: 'per-request' } as const;
    expect((await variantsWithoutCookies(settings, { cookie: `flag-viewer=${uuid}` })).size).toBe(2);
    expect((await visit(settings)).set).toBeUndefined();
  });
});

describe('an address', () => {
  test('becomes a UUID of version 8, from its SHA-256 with the epoch', () => {
    const hex = createHash('sha256').update('b 203.0.113.7').digest('hex');
    const id = addressId('203.0.113.7', 'b')!;
    expect(id).toMatch(/^[0-9a-f]{8}-[0-9a-f]{4}-8[0-9a-f]{3}-a[0-9a-f]{3}-[0-9a-f]{12}$/);
    expect(id.slice(0, 8) + id.slice(9, 13)).toBe(hex.slice(0, 12));
    expect(addressId('203.0.113.7')).not.toBe(id);
    expect(addressId('')).toBeUndefined();
  });

  test.each([
    ['2001:db8:1:2:3:4:5:6', '2001:db8:1:2:ffff::1', true],
    ['2001:0DB8:0001:0002::1', '2001:db8:1:2::2', true],
    ['2001:db8::1', '2001:db8:0:0:9::', true],
    ['2001:db8:0:1::1', '2001:db8:0:2::1', false],
    ['::1', '::2', true],
    ['::ffff:203.0.113.7', '203.0.113.7', true],
    ['203.0.113.7', '203.0.113.8', false],
  ])('%s and %s count as one viewer: %p', (one, other, same) => {
    expect(addressId(one) === addressId(other)).toBe(same);
  });
});

describe("an id of the site's own", () => {
  const settings: ViewerSettings = { ids: [{ header: 'x-user-id' }, { cookie: 'user' }, 'cookie'] };

  test('is the key as it was sent, from the first place that has one, and is never stored', async () => {
    const everywhere = { headers: { 'X-User-Id': 'alice@example.com' }, cookie: `user=bob; flag-viewer=${uuid}` };
    expect(await visit(settings, everywhere)).toMatchObject({ id: 'alice@example.com', set: undefined });
    expect(await visit(settings, { cookie: everywhere.cookie })).toMatchObject({ id: 'bob', set: undefined });
    // A UUID of the site's is no id of the router's.
    expect(await visit(settings, { cookie: `user=${uuid}` })).toMatchObject({ id: uuid, set: undefined });
    expect(await visit(settings, { cookie: `flag-viewer=${uuid}` })).toMatchObject({ id: uuid, set: undefined });
    const unknown = await visit(settings);
    expect(unknown.set).toBe(`flag-viewer=${unknown.id}`);
  });

  test.each(['', 'a b', 'ä', `${'x'.repeat(257)}`])('does not count if it cannot be a header: %j', async (value) => {
    const { id } = await visit(settings, { headers: { 'X-User-Id': value } });
    expect(id).toMatch(/^[0-9a-f-]{36}$/);
  });

  test('may have an equals sign, and belongs to the cookie of exactly that name', async () => {
    expect(await visit(settings, { cookie: 'xuser=a; user=YWxpY2U=; user=b' })).toMatchObject({ id: 'YWxpY2U=' });
  });
});

describe('without consent', () => {
  const consent = { cookie: 'OptanonConsent', includes: 'C0002:1' };
  const given = 'OptanonConsent=groups%3DC0001%3A1%2CC0002%3A1';
  const refused = 'OptanonConsent=groups%3DC0001%3A1%2CC0002%3A0';

  test.each([undefined, 'a=b', refused, 'OptanonConsent=%zz'])(
    '(cookies %j) no cookie is set or read, and viewers get the default variant',
    async (cookies) => {
      const cookie = [cookies, `flag-viewer=${uuid}`].filter(Boolean).join('; ');
      for (const request of [{ cookie }, cookies ? { cookie: cookies } : {}])
        expect(await visit({ consent }, request)).toEqual({
          variant: 'stable',
          id: undefined,
          decision: 'checkout=stable; reason=NO_VIEWER_ID',
          set: undefined,
        });
      expect(await visit({ consent, without: 'address' }, { cookie })).toMatchObject({
        id: addressId('203.0.113.178'),
        set: undefined,
      });
    },
  );

  test('that was given, the cookie is set and read', async () => {
    const first = await visit({ consent }, { cookie: given });
    expect(first.set).toBe(`flag-viewer=${first.id}`);
    expect(await visit({ consent }, { cookie: `${given}; ${first.set}` })).toMatchObject({
      id: first.id,
      set: undefined,
    });
  });

  test('by a header, any value counts', async () => {
    const byHeader = { consent: { header: 'x-consent' } };
    expect((await visit(byHeader, { headers: { 'X-Consent': 'yes' } })).set).toMatch(/^flag-viewer=/);
    expect((await visit(byHeader)).set).toBeUndefined();
  });
});

test('a new epoch reassigns viewers: cookies of another one are ignored, and hashes of addresses differ', async () => {
  const first = await visit({ epoch: 'a' });
  expect(first.set).toBe(`flag-viewer=a.${first.id}`);
  expect(await visit({ epoch: 'a' }, { cookie: first.set! })).toMatchObject({ id: first.id, set: undefined });
  for (const epoch of ['b', 'aa', undefined]) {
    const again = await visit(epoch === undefined ? {} : { epoch }, { cookie: first.set! });
    expect(again.id).not.toBe(first.id);
    expect(again.set).toBe(`flag-viewer=${epoch === undefined ? '' : `${epoch}.`}${again.id}`);
  }
  const of = async (epoch: string) => (await visit({ without: 'address', epoch })).id;
  expect(await of('a')).not.toBe(await of('b'));
});

test.each([
  [{}, 'Path=/; Max-Age=34560000; Secure; HttpOnly; SameSite=Lax'],
  [
    {
      cookieDomain: 'example.com',
      cookiePath: '/shop',
      cookieSameSite: 'None',
      cookieHttpOnly: false,
      cookieMaxAgeSeconds: 60,
    },
    'Path=/shop; Max-Age=60; Domain=example.com; Secure; SameSite=None',
  ],
  [{ cookieSecure: false, cookieSameSite: 'Strict' }, 'Path=/; Max-Age=34560000; HttpOnly; SameSite=Strict'],
] as const)('with %j the cookie has the attributes %s', async (config, attributes) => {
  const { headers } = await createViewerResponseHandler(config)(responseEvent({ 'x-flag-new-viewer': uuid }));
  expect(headers['set-cookie']![0]!.value).toBe(`flag-viewer=${uuid}; ${attributes}`);
});

describe("the variant is the one of LaunchDarkly's Node SDK for the same key", () => {
  let sdk: LDClient;
  beforeAll(async () => {
    const data = new TestData();
    data.usePreconfiguredFlag(flag);
    sdk = init('sdk-test', {
      updateProcessor: data.getFactory(),
      sendEvents: false,
      diagnosticOptOut: true,
      logger: silentLog,
    });
    await sdk.waitForInitialization({ timeout: 60 });
  });
  afterAll(() => sdk.close());

  test.each<[string, ViewerSettings, (index: number) => Request, (index: number) => string]>([
    ['a cookie', {}, (index) => ({ cookie: `flag-viewer=${idOf(index)}` }), idOf],
    [
      'an address',
      { without: 'address' },
      (index) => ({ address: `203.0.113.${index}` }),
      (index) => addressId(`203.0.113.${index}`)!,
    ],
    [
      "a site's header",
      { ids: ['cookie', { header: 'x-user-id' }] },
      (index) => ({ headers: { 'X-User-Id': `user-${index}` } }),
      (index) => `user-${index}`,
    ],
    [
      "a site's cookie",
      { ids: ['cookie', { cookie: 'user' }] },
      (index) => ({ cookie: `user=user-${index}` }),
      (index) => `user-${index}`,
    ],
  ])('by %s', async (_, settings, requestOf, keyOf) => {
    const met = new Set<string>();
    for (let index = 0; index < 100; index += 1) {
      const { variant, id } = await visit(settings, requestOf(index));
      expect(id).toBe(keyOf(index));
      expect([index, variant]).toEqual([
        index,
        await sdk.variation('checkout', { kind: 'user', key: keyOf(index) }, 'none'),
      ]);
      met.add(variant);
    }
    expect(met.size).toBe(2);
  });

  function idOf(index: number): string {
    return `6d2f7f3e-3f0a-4b0c-9a51-${index.toString(16).padStart(12, '0')}`;
  }
});
