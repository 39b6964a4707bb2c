import type { CloudFrontHeaders } from 'aws-lambda';
import {
  createOriginRequestHandler,
  createViewerRequestHandler,
  createViewerResponseHandler,
} from '../../../lambda/edge-router/index.ts';
import type { Detail } from '../../../lib/evaluation/index.ts';
import { requestEvent, responseEvent } from './events.ts';

const id = '6d2f7f3e-3f0a-4b0c-9a51-0d1f1d0c7a11';
const uuid = /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/;
const values = (headers: CloudFrontHeaders, name: string) => headers[name]?.map(({ value }) => value);

describe('viewer-request', () => {
  const config = {
    reader: { tableName: 'flags', replicas: { default: ['eu-west-1'] } },
    flagKey: 'checkout',
    variants: ['stable', 'canary'],
    defaultVariant: 'stable',
  };
  const contexts: unknown[] = [];
  const answering = (value: unknown, reason: Detail['reason'] = { kind: 'FALLTHROUGH' }) =>
    createViewerRequestHandler(config, {
      async variationDetail(_key, context) {
        contexts.push(context);
        return { value, variationIndex: 0, reason };
      },
    });

  test('sets the headers for variant, viewer and decision, and changes nothing else', async () => {
    const event = requestEvent('viewer-request', { Cookie: `a=b; flag-viewer=${id}; c=d` });
    const { headers: before, ...rest } = structuredClone(event.Records[0]!.cf.request);
    const { headers, ...same } = await answering('canary')(event);
    expect(same).toEqual(rest);
    expect(headers).toEqual({
      ...before,
      'x-flag-variant': [{ key: 'x-flag-variant', value: 'canary' }],
      'x-flag-viewer': [{ key: 'x-flag-viewer', value: id }],
      'x-flag-decision': [{ key: 'x-flag-decision', value: 'checkout=canary; reason=FALLTHROUGH' }],
    });
    expect(contexts.at(-1)).toEqual({
      kind: 'user',
      key: id,
      anonymous: true,
      ip: '203.0.113.178',
      path: '/picture.jpg',
      host: 'd111111abcdef8.cloudfront.net',
      userAgent: 'curl/7.66.0',
      method: 'GET',
    });
  });

  test.each([
    ['no cookie', {}],
    ['another cookie', { Cookie: `flag-viewerx=${id}; xflag-viewer=${id}` }],
    ['a cookie that is not an id', { Cookie: 'flag-viewer=../../etc/passwd' }],
    ['an id followed by other text', { Cookie: `flag-viewer=${id}x` }],
  ])('gives a new id to a viewer with %s', async (_, headers: Record<string, string>) => {
    const seen = new Set<string>();
    for (let i = 0; i < 3; i += 1) {
      const request = await answering('stable')(requestEvent('viewer-request', headers));
      const [given] = values(request.headers, 'x-flag-viewer')!;
      expect(values(request.headers, 'x-flag-new-viewer')).toEqual([given]);
      expect(given).toMatch(uuid);
      expect(given).not.toBe(id);
      expect(contexts.at(-1)).toMatchObject({ key: given });
      seen.add(given!);
    }
    expect(seen.size).toBe(3);
  });

  test('overwrites headers of the same names that the viewer sent', async () => {
    const names = ['X-Flag-Variant', 'X-Flag-Viewer', 'X-Flag-New-Viewer', 'X-Flag-Decision'];
    const sent = Object.fromEntries(names.map((name) => [name, id]));
    const { headers } = await answering('stable')(requestEvent('viewer-request', sent));
    expect(values(headers, 'x-flag-variant')).toEqual(['stable']);
    expect(values(headers, 'x-flag-viewer')).not.toEqual([id]);
    expect(values(headers, 'x-flag-new-viewer')).not.toEqual([id]);
    const known = await answering('stable')(requestEvent('viewer-request', { ...sent, Cookie: `flag-viewer=${id}` }));
    expect(known.headers['x-flag-new-viewer']).toBeUndefined();
    expect(values(headers, 'x-flag-decision')).toEqual(['checkout=stable; reason=FALLTHROUGH']);
  });

  test('selects the default variant and sets no id when the flag cannot be evaluated', async () => {
    const handler = answering('canary', { kind: 'ERROR', errorKind: 'CLIENT_NOT_READY' });
    const sent = { 'x-flag-viewer': id, 'x-flag-new-viewer': id };
    const { headers } = await handler(requestEvent('viewer-request', sent));
    expect(values(headers, 'x-flag-variant')).toEqual(['stable']);
    expect([headers['x-flag-viewer'], headers['x-flag-new-viewer']]).toEqual([undefined, undefined]);
    expect(values(headers, 'x-flag-decision')).toEqual(['checkout=stable; reason=ERROR CLIENT_NOT_READY']);
  });

  test('keeps a flag value that is not a variant out of the cache key', async () => {
    for (const value of ['beta', 'x'.repeat(9_000), null, { a: 1 }, 'canary\r\nx: y']) {
      const { headers } = await answering(value)(requestEvent('viewer-request'));
      expect(values(headers, 'x-flag-variant')).toEqual(['stable']);
      expect(values(headers, 'x-flag-decision')).toEqual(['checkout=stable; reason=UNKNOWN_VARIANT']);
    }
  });
});

describe('origin-request', () => {
  const handler = createOriginRequestHandler({
    defaultVariant: 'stable',
    origins: {
      stable: { domainName: 'stable.example.com' },
      canary: {
        domainName: 'canary.example.com',
        protocol: 'http',
        port: 8080,
        path: '/v2',
        readTimeoutSeconds: 7,
        host: 'www.example.com',
      },
    },
  });

  test('sends a variant to its origin, with the Host header that the origin expects', async () => {
    const event = requestEvent('origin-request', { 'x-flag-variant': 'canary' });
    const request = await handler(event);
    expect(request.origin).toEqual({
      custom: {
        domainName: 'canary.example.com',
        port: 8080,
        protocol: 'http',
        path: '/v2',
        sslProtocols: ['TLSv1.2'],
        readTimeout: 7,
        keepaliveTimeout: 5,
        customHeaders: {},
      },
    });
    expect(request.headers.host).toEqual([{ key: 'host', value: 'www.example.com' }]);
    expect([request.uri, request.querystring]).toEqual(['/picture.jpg', 'size=large']);
  });

  test.each(['beta', '', 'constructor', undefined])(
    'sends the unknown variant %p to the default origin',
    async (variant) => {
      const request = await handler(
        requestEvent('origin-request', variant === undefined ? {} : { 'x-flag-variant': variant }),
      );
      expect(request.origin?.custom).toMatchObject({ domainName: 'stable.example.com', port: 443, protocol: 'https' });
      expect(values(request.headers, 'host')).toEqual(['stable.example.com']);
    },
  );
});

describe('origin-request, for other kinds of origins', () => {
  test('sends an origin its own headers, which viewers cannot set', async () => {
    const handler = createOriginRequestHandler({
      defaultVariant: 'stable',
      origins: {
        stable: { domainName: 'stable.example.com', headers: { 'x-origin-key': 'abc' } },
        canary: { domainName: 'canary.example.com' },
      },
    });
    const sent = { 'X-Origin-Key': 'guessed', 'X-Other': 'kept' };
    for (const [variant, customHeaders] of [
      ['stable', { 'x-origin-key': [{ key: 'x-origin-key', value: 'abc' }] }],
      ['canary', {}],
    ] as const) {
      const { origin, headers } = await handler(requestEvent('origin-request', { ...sent, 'x-flag-variant': variant }));
      expect(origin?.custom?.customHeaders).toEqual(customHeaders);
      expect([values(headers, 'x-origin-key'), values(headers, 'x-other')]).toEqual([undefined, ['kept']]);
    }
  });

  test('leaves the Host header that the viewer sent to an origin that wants it', async () => {
    const origins = { stable: { domainName: 'stable.example.com', viewerHost: true } };
    const { headers } = await createOriginRequestHandler({ origins, defaultVariant: 'stable' })(
      requestEvent('origin-request', { Host: 'www.example.com' }),
    );
    expect(values(headers, 'host')).toEqual(['www.example.com']);
  });

  test('leaves a bucket as it is and adds the folder of the variant, since it could not sign for another', async () => {
    const bucket = { bucket: 'site', region: 'eu-west-1' };
    const origins = { stable: bucket, canary: { ...bucket, path: '/v2' } };
    const handler = createOriginRequestHandler({ origins, defaultVariant: 'stable' });
    for (const [variant, uri] of [
      ['stable', '/picture.jpg'],
      ['canary', '/v2/picture.jpg'],
      ['beta', '/picture.jpg'],
    ]) {
      const event = requestEvent('origin-request', { 'x-flag-variant': variant! });
      const before = structuredClone(event.Records[0]!.cf.request);
      expect(await handler(event)).toEqual({ ...before, uri });
    }
  });

  test('leaves the second origin of an origin group as it is, so that CloudFront reaches it', async () => {
    const handler = createOriginRequestHandler({
      defaultVariant: 'stable',
      origins: { stable: { domainName: 'stable.example.com' } },
      fallbacks: ['example.org'],
    });
    const event = requestEvent('origin-request', { 'x-flag-variant': 'stable' });
    const before = structuredClone(event.Records[0]!.cf.request);
    expect(await handler(event)).toEqual(before);
    event.Records[0]!.cf.request.origin!.custom!.domainName = 'first.example.org';
    expect((await handler(event)).origin?.custom?.domainName).toBe('stable.example.com');
  });
});

describe('viewer-response', () => {
  test('adds a cookie after the origin’s for a new viewer, and the decision header for every viewer', async () => {
    const handler = createViewerResponseHandler({ cookieMaxAgeSeconds: 60 });
    const event = responseEvent(
      { 'x-flag-new-viewer': id, 'x-flag-decision': 'a=b; reason=OFF' },
      { 'Set-Cookie': 'theirs=1' },
    );
    const { headers, ...rest } = await handler(event);
    expect(rest).toEqual({ status: '200', statusDescription: 'OK' });
    expect(values(headers, 'set-cookie')).toEqual([
      'theirs=1',
      `flag-viewer=${id}; Path=/; Max-Age=60; Secure; HttpOnly; SameSite=Lax`,
    ]);
    expect(values(headers, 'x-flag-decision')).toEqual(['a=b; reason=OFF']);
  });

  test('sets no cookie for a viewer who sent the id or got none', async () => {
    const handler = createViewerResponseHandler({});
    const known = await handler(responseEvent({ Cookie: `flag-viewer=${id}`, 'x-flag-viewer': id }));
    expect(known.headers['set-cookie']).toBeUndefined();
    expect((await handler(responseEvent({}))).headers['set-cookie']).toBeUndefined();
    expect((await handler(responseEvent({ 'x-flag-new-viewer': 'no; id' }))).headers['set-cookie']).toBeUndefined();
  });

  test('does not mark the cookie Secure over plain http', async () => {
    const { headers } = await createViewerResponseHandler({ cookieSecure: false })(
      responseEvent({ 'x-flag-new-viewer': id }),
    );
    expect(values(headers, 'set-cookie')![0]).not.toContain('Secure');
  });
});

test('an event without headers, or with a cookie header without a value, is routed like any other', async () => {
  const reader = { tableName: 'flags', replicas: { default: ['eu-west-1'] } };
  const config = { reader, flagKey: 'checkout', variants: ['stable', 'canary'], defaultVariant: 'stable' };
  const viewerRequest = createViewerRequestHandler(config, {
    variationDetail: async () => ({ value: 'canary', variationIndex: 1, reason: { kind: 'FALLTHROUGH' } }),
  });
  const origins = { stable: { domainName: 'stable.example' }, canary: { domainName: 'canary.example' } };
  const originRequest = createOriginRequestHandler({ origins, defaultVariant: 'stable' });
  const viewerResponse = createViewerResponseHandler({});
  for (const headers of [undefined, {}, { cookie: [{ key: 'Cookie' }] }, { cookie: [{ value: 'flag-viewer' }] }]) {
    const event = requestEvent('viewer-request', {});
    Object.assign(event.Records[0]!.cf.request, { headers: structuredClone(headers) });
    const decided = await viewerRequest(event);
    expect(values(decided.headers, 'x-flag-variant')).toEqual(['canary']);
    const bare = requestEvent('origin-request', {});
    Object.assign(bare.Records[0]!.cf.request, { headers: structuredClone(headers) });
    expect((await originRequest(bare)).origin?.custom?.domainName).toBe('stable.example');
    const answered = responseEvent({}, {});
    Object.assign(answered.Records[0]!.cf.request, { headers: structuredClone(headers) });
    Object.assign(answered.Records[0]!.cf.response, { headers: structuredClone(headers) });
    expect(await viewerResponse(answered)).toMatchObject({ status: expect.any(String) });
  }
});
