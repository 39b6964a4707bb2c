/** The distribution: its behaviors, policies and origins. */
import { generateKeyPairSync, sign } from 'node:crypto';
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { Template } from 'aws-cdk-lib/assertions';
import type { Rule } from '../../../lambda/edge-router/config.ts';
import { unsignedPreview } from '../../../lambda/edge-router/preview-token.ts';
import { edgeProblems } from '../../../lib/infrastructure/check-edge.ts';
import { decisionMetricNames, routerConfigs } from '../../../lib/infrastructure/edge-configs.ts';
import { EdgeFunctionsStack } from '../../../lib/infrastructure/edge-functions-stack.ts';
import type { PathBehaviorSettings } from '../../../lib/infrastructure/edge-settings.ts';
import { EdgeStack } from '../../../lib/infrastructure/edge-stack.ts';
import { FlagTable } from '../../../lib/infrastructure/flag-table.ts';
import { readStage } from '../../../lib/infrastructure/parse-stage.ts';
import type { EdgeSettings } from '../../../lib/infrastructure/stage-settings.ts';
import { requestEvent } from '../../lambda/edge-router/events.ts';
import { edgeExamples } from '../../support/edge-examples.ts';
import { runAsLambda } from '../../support/run-as-lambda.ts';
import { createApp } from '../../support/synthesise.ts';

const flagTable = FlagTable.fromExisting('flags', { homeRegion: 'eu-west-1', replicaRegions: [] });
const basis = {
  prefix: 'production',
  flagKey: 'new-site',
  origins: { old: { domainName: 'old.example.com' }, new: { domainName: 'new.example.com', readTimeoutSeconds: 60 } },
  defaultVariant: 'old',
} as const;

test('with shadow traffic, its mark is in the cache key of what the flag routes: an origin may answer it otherwise @heavy', () => {
  const shadow = { header: 'x-load-test', value: 'a-secret-of-sixteen' };
  const { config, policy } = stackOf({
    shadow,
    otherOrigins: { api: { domainName: 'api.example.com' } },
    behaviors: [{ path: '/api/*', origin: 'api' }],
  });
  const keyOf = ({ CachePolicyId }: { CachePolicyId: { Ref: string } }) =>
    policy(CachePolicyId).ParametersInCacheKeyAndForwardedToOrigin.HeadersConfig.Headers;
  expect(keyOf(config.DefaultCacheBehavior)).toEqual(['x-flag-variant', 'x-flag-shadow', 'authorization']);
  expect(keyOf(config.CacheBehaviors[0])).toEqual(['authorization']);
});

test('no origin of a behavior without functions gets the cookie of previews or the secret of shadow traffic @heavy', () => {
  const preview = { publicKeys: ['11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo'] };
  const shadow = { header: 'x-load-test', value: 'a-secret-of-sixteen' };
  const settings = {
    otherOrigins: { api: { domainName: 'api.example.com' } },
    behaviors: [
      { path: '/a/*', origin: 'api' },
      { path: '/b/*', origin: 'api', caching: 'none', forward: 'all' },
      { path: '/c/*', origin: 'api', forward: { cookies: 'all', headers: ['origin'] } },
      { path: '/d/*', origin: 'api', caching: 'none', forward: { headers: ['origin'] } },
    ],
  } as const;
  const sentBy = (edge: Partial<EdgeSettings>) => {
    const { config, policy } = stackOf({ ...settings, ...edge });
    return [config.DefaultCacheBehavior, ...config.CacheBehaviors].map(({ CachePolicyId, OriginRequestPolicyId }) => {
      const { ParametersInCacheKeyAndForwardedToOrigin: key } = Object(policy(CachePolicyId));
      const rules = policy(OriginRequestPolicyId);
      const named = typeof rules === 'string' ? rules : [rules.HeadersConfig, rules.CookiesConfig];
      return [named, key?.CookiesConfig.Cookies];
    });
  };
  const headers = (...Headers: string[]) => ({ HeaderBehavior: 'allExcept', Headers });
  const cookies = (name: string) => ({ CookieBehavior: 'allExcept', Cookies: [name] });
  const ofPreview = '__Host-flag-preview';
  const origin = { HeaderBehavior: 'whitelist', Headers: ['origin'] };
  expect(sentBy({ preview, shadow })).toEqual([
    // The functions take both out of requests.
    [ALL_VIEWER_EXCEPT_HOST_HEADER, ['flag-viewer']],
    [
      [headers('host', 'x-load-test'), cookies(ofPreview)],
      ['flag-viewer', ofPreview],
    ],
    [[headers('x-load-test'), cookies(ofPreview)], undefined],
    [
      [origin, cookies(ofPreview)],
      ['flag-viewer', ofPreview],
    ],
    [[origin, { CookieBehavior: 'none' }], undefined],
  ]);
  expect(sentBy({ preview, cookieSecure: false }).slice(1, 3)).toEqual([
    [
      [headers('host'), cookies('flag-preview')],
      ['flag-viewer', 'flag-preview'],
    ],
    [[{ HeaderBehavior: 'allViewer' }, cookies('flag-preview')], undefined],
  ]);
  expect(sentBy({ shadow }).slice(1, 3)).toEqual([
    [[headers('host', 'x-load-test'), { CookieBehavior: 'all' }], ['flag-viewer']],
    [[headers('x-load-test'), { CookieBehavior: 'all' }], undefined],
  ]);
  expect(sentBy({}).slice(1, 3)).toEqual([
    [ALL_VIEWER_EXCEPT_HOST_HEADER, ['flag-viewer']],
    [ALL_VIEWER, undefined],
  ]);
  const naming = {
    behavior: { cacheKey: { cookies: ['a', ofPreview], headers: ['x-load-test'] } },
    behaviors: [{ path: '/a/*', origin: 'api', forward: { cookies: [ofPreview], headers: ['x-load-test'] } }],
  };
  const { otherOrigins } = settings;
  expect(edgeProblems({ ...basis, otherOrigins, preview, shadow, ...naming }).map(({ message }) => message)).toEqual(
    [
      'behavior.cacheKey.headers[0]="x-load-test"',
      `behavior.cacheKey.cookies[1]="${ofPreview}"`,
      'behaviors[0].forward.headers[0]="x-load-test"',
      `behaviors[0].forward.cookies[0]="${ofPreview}"`,
    ].map((what) => expect.stringContaining(`${what} is invalid: expected it to be removed: what testers send stays`)),
  );
});

test('a stage file may have previews and shadow traffic, whose values are checked', () => {
  const publicKeys = ['11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo'];
  const problemsOf = (edge: object) => edgeProblems({ ...basis, ...edge }).map(({ at }) => at);
  expect(problemsOf({ preview: { publicKeys, maxHours: 48 } })).toEqual([]);
  expect(problemsOf({ preview: { publicKeys: ['x'] }, shadow: { header: 'host:', value: '' } })).toEqual([
    'preview.publicKeys[0]',
    'shadow.header',
    'shadow.value',
  ]);
  const stage = { homeRegion: 'eu-west-1', replicaRegions: [], tableName: 'flags', production: false };
  const read = (more: object) => readStage('shop', { ...stage, edge: { ...basis, ...more } });
  expect(read({ preview: { publicKeys } }).edge?.preview).toEqual({ publicKeys });
  expect(() => read({ preview: { keys: publicKeys } })).toThrow(/edge\.preview\.keys/);
  expect(() => read({ shadow: { header: 'x-load-test' } })).toThrow(/edge\.shadow\.value/);
});

test('the function of a stage accepts preview links of this stage alone @heavy', async () => {
  const { publicKey, privateKey } = generateKeyPairSync('ed25519');
  const app = createApp();
  new EdgeFunctionsStack(app, 'Functions', {
    env: { account: '123456789012', region: 'us-east-1' },
    stage: 'shop',
    flagTable,
    edge: { ...basis, preview: { publicKeys: [String(publicKey.export({ format: 'jwk' }).x)] } },
  });
  app.synth();
  const files = readdirSync(app.outdir)
    .map((name) => join(app.outdir, name, 'index.cjs'))
    .filter((file) => existsSync(file) && readFileSync(file, 'utf8').includes('__flag-preview'));
  expect(files).toHaveLength(1);
  const issuedAt = Math.floor(Date.now() / 1_000);
  const answers = ['shop', 'other'].map(async (stage) => {
    const claims = { flags: { 'new-site': 'new' }, issuedAt, expiresAt: issuedAt + 600, stage, host: 'shop.example' };
    const { message, token } = unsignedPreview(claims);
    const event = requestEvent('viewer-request', { Host: 'shop.example' });
    const querystring = `t=${token(sign(null, message, privateKey))}`;
    Object.assign(event.Records[0]!.cf.request, { uri: '/__flag-preview', querystring });
    return runAsLambda(files[0]!, 'return require(file).handler(input)', event);
  });
  expect(await Promise.all(answers)).toEqual([
    expect.objectContaining({ status: '302' }),
    expect.objectContaining({
      status: '403',
      body: expect.stringContaining('is for another site: shop.example, stage other'),
    }),
  ]);
});

function stackOf(edge: Partial<EdgeSettings>) {
  const env = { account: '123456789012', region: 'us-east-1' };
  const stack = new EdgeStack(createApp(), 'Edge', { env, stage: 'shop', edge: { ...basis, ...edge } });
  const template = Template.fromStack(stack);
  const one = (type: string) => Object.values(template.findResources(type)).map(({ Properties }) => Properties);
  const config = one('AWS::CloudFront::Distribution')[0]!.DistributionConfig;
  /** Resolves a policy that belongs to the stack; others are AWS's own, by id. */
  const policy = (reference: string | { Ref: string } | undefined) => {
    if (typeof reference !== 'object') return reference;
    const resource = template.toJSON().Resources[reference.Ref].Properties;
    return resource.CachePolicyConfig ?? resource.OriginRequestPolicyConfig;
  };
  return { config, one, policy, template };
}

function functionsOf(edge: Partial<EdgeSettings>): Template {
  const env = { account: '123456789012', region: 'us-east-1' };
  const settings = { env, stage: 'shop', flagTable, edge: { ...basis, ...edge } };
  return Template.fromStack(new EdgeFunctionsStack(createApp(), 'Functions', settings));
}

// "Use managed cache policies", "Use managed origin request policies".
const CACHING_DISABLED = '4135ea2d-6df8-44a3-9df3-4b5a84be39ad';
const ALL_VIEWER = '216adef6-5c7f-47e4-b989-5492eafa07d3';
const ALL_VIEWER_EXCEPT_HOST_HEADER = 'b689b0a8-53d0-40ab-baf2-68738e2966ac';

test('a site with log-ins works: its origins get all but Host, nothing is cached that they do not say, and what they get of a person is in the key @heavy', () => {
  const { config, policy } = stackOf({});
  const { DefaultCacheBehavior: behavior } = config;
  expect(behavior).toMatchObject({
    OriginRequestPolicyId: ALL_VIEWER_EXCEPT_HOST_HEADER,
    AllowedMethods: ['GET', 'HEAD', 'OPTIONS', 'PUT', 'PATCH', 'POST', 'DELETE'],
    Compress: true,
    ViewerProtocolPolicy: 'redirect-to-https',
  });
  expect(policy(behavior.CachePolicyId)).toMatchObject({
    MinTTL: 0,
    DefaultTTL: 0,
    ParametersInCacheKeyAndForwardedToOrigin: {
      HeadersConfig: { HeaderBehavior: 'whitelist', Headers: ['x-flag-variant', 'authorization'] },
      // All that origins get, but the router's own.
      CookiesConfig: { CookieBehavior: 'allExcept', Cookies: ['flag-viewer'] },
      QueryStringsConfig: { QueryStringBehavior: 'all' },
      EnableAcceptEncodingGzip: true,
      EnableAcceptEncodingBrotli: true,
    },
  });
});

test('behaviors by path have their own origins, policies and methods, and functions only where the flag routes', () => {
  const { config, one, policy } = stackOf({
    otherOrigins: {
      api: { domainName: 'api.example.com', port: 8443, headers: { 'x-origin-key': 'abc' }, connectionAttempts: 2 },
      assets: { bucket: 'shop-assets', region: 'eu-west-1', path: '/public' },
    },
    behavior: {
      caching: { defaultSeconds: 60, maxSeconds: 600 },
      cacheKey: { headers: ['accept-language'], cookies: ['currency'] },
    },
    behaviors: [
      { path: '/api/*', origin: 'api', caching: 'none', forward: 'all' },
      { path: '/assets/*', origin: 'assets', compress: false },
      {
        path: '/live/*',
        caching: 'none',
        forward: { headers: ['origin'], cookies: ['session'], queryStrings: 'all' },
        methods: 'read',
      },
      {
        path: '/feed/*',
        caching: 'none',
        forward: { headers: ['origin'], cookies: ['session'], queryStrings: 'all' },
        viewerProtocol: 'https-only',
      },
    ],
    defaultRootObject: 'index.html',
  });
  const {
    DefaultCacheBehavior: first,
    CacheBehaviors: [api, assets, live, feed],
    Origins,
  } = config;
  expect(config.DefaultRootObject).toBe('index.html');
  expect([api, assets, live, feed].map(({ PathPattern }) => PathPattern)).toEqual([
    '/api/*',
    '/assets/*',
    '/live/*',
    '/feed/*',
  ]);
  expect(policy(first.CachePolicyId)).toMatchObject({
    DefaultTTL: 60,
    MaxTTL: 600,
    ParametersInCacheKeyAndForwardedToOrigin: {
      HeadersConfig: { Headers: ['x-flag-variant', 'authorization', 'accept-language'] },
      CookiesConfig: { CookieBehavior: 'whitelist', Cookies: ['currency'] },
    },
  });
  expect(api).toMatchObject({ CachePolicyId: CACHING_DISABLED, OriginRequestPolicyId: ALL_VIEWER });
  expect([first, api, assets, live].map(({ LambdaFunctionAssociations: all }) => all?.length ?? 0)).toEqual([
    3, 0, 0, 3,
  ]);

  expect(policy(assets.CachePolicyId)).toMatchObject({
    ParametersInCacheKeyAndForwardedToOrigin: {
      HeadersConfig: { HeaderBehavior: 'none' },
      QueryStringsConfig: { QueryStringBehavior: 'none' },
      EnableAcceptEncodingGzip: false,
    },
  });
  expect(assets).not.toHaveProperty('OriginRequestPolicyId');
  expect(assets.AllowedMethods).toEqual(['GET', 'HEAD', 'OPTIONS']);

  // origin-request needs the variant, which no cache key sends here.
  expect(policy(live.OriginRequestPolicyId)).toMatchObject({
    HeadersConfig: { HeaderBehavior: 'whitelist', Headers: ['x-flag-variant', 'origin'] },
    CookiesConfig: { CookieBehavior: 'whitelist', Cookies: ['session'] },
    QueryStringsConfig: { QueryStringBehavior: 'all' },
  });
  expect([live.AllowedMethods, feed.ViewerProtocolPolicy]).toEqual([['GET', 'HEAD'], 'https-only']);
  expect(feed.OriginRequestPolicyId).toEqual(live.OriginRequestPolicyId);
  expect(one('AWS::CloudFront::OriginRequestPolicy')).toHaveLength(1);

  expect(Origins).toMatchObject([
    // As long as any variant may take: a function cannot set a longer time than the distribution has.
    { DomainName: 'old.example.com', CustomOriginConfig: { OriginReadTimeout: 60, OriginSSLProtocols: ['TLSv1.2'] } },
    {
      DomainName: 'api.example.com',
      ConnectionAttempts: 2,
      CustomOriginConfig: { HTTPSPort: 8443, OriginProtocolPolicy: 'https-only' },
      OriginCustomHeaders: [{ HeaderName: 'x-origin-key', HeaderValue: 'abc' }],
    },
    { OriginPath: '/public', S3OriginConfig: { OriginAccessIdentity: '' }, OriginAccessControlId: expect.anything() },
  ]);
  expect(one('AWS::CloudFront::OriginAccessControl')).toMatchObject([
    {
      OriginAccessControlConfig: {
        OriginAccessControlOriginType: 's3',
        SigningBehavior: 'always',
        SigningProtocol: 'sigv4',
      },
    },
  ]);
});

test('a policy that a distribution uses never changes, wherever a behavior is added @heavy', () => {
  // CloudFront applies a changed policy at once, and the distribution's new behaviors minutes later.
  const account: PathBehaviorSettings = {
    ...{ path: '/account/*', origin: 'api' },
    caching: { defaultSeconds: 60 },
    cacheKey: { cookies: ['session'] },
    forward: { headers: ['origin'] },
  };
  const fixed: PathBehaviorSettings = {
    ...{ path: '/static/*', origin: 'api' },
    caching: { defaultSeconds: 86_400 },
    forward: { headers: ['referer'] },
  };
  const policiesOf = (more: Partial<EdgeSettings>) => {
    const { template, config } = stackOf({ otherOrigins: { api: { domainName: 'api.example.com' } }, ...more });
    const { Resources } = template.toJSON() as { Resources: Record<string, { Type: string; Properties: unknown }> };
    const made = Object.entries(Resources).filter(([, { Type }]) => /::(Cache|OriginRequest)Policy$/.test(Type));
    return { made: Object.fromEntries(made), config };
  };
  const before = policiesOf({ behaviors: [account] });
  const after = policiesOf({ behaviors: [fixed, account], behavior: { cacheKey: { cookies: [] } } });
  const kept = Object.keys(before.made).filter((id) => after.made[id]);
  expect(kept).toHaveLength(2);
  for (const id of kept) expect(after.made[id]).toEqual(before.made[id]);
  const [, second] = after.config.CacheBehaviors;
  expect(second.CachePolicyId).toEqual(before.config.CacheBehaviors[0].CachePolicyId);
  const names = Object.values(after.made).map(
    ({ Properties }) => JSON.stringify(Properties).match(/"Name":"(.*?)"/)?.[1],
  );
  expect(new Set(names).size).toBe(5);
  expect(names.filter((name) => !/^edge-flag-relay-shop_site_[\da-f]{8}$/.test(name!))).toEqual([]);
});

test('the cookies in the key are those that origins get, but the router’s own, unless it names its own @heavy', () => {
  const of = (edge: Partial<EdgeSettings>) => {
    const { config, policy } = stackOf(edge);
    return policy(config.DefaultCacheBehavior.CachePolicyId).ParametersInCacheKeyAndForwardedToOrigin.CookiesConfig;
  };
  expect(of({ cookieName: 'mine' })).toEqual({ CookieBehavior: 'allExcept', Cookies: ['mine'] });
  expect(of({ behavior: { forward: { cookies: ['session'] } } })).toEqual({
    CookieBehavior: 'whitelist',
    Cookies: ['session'],
  });
  expect(of({ behavior: { forward: 'none' } })).toEqual({ CookieBehavior: 'none' });
  expect(of({ behavior: { cacheKey: { cookies: [] } } })).toEqual({ CookieBehavior: 'none' });
});

test('variants may be folders of a private bucket, which the distribution itself reads', () => {
  const bucket = { bucket: 'shop', region: 'eu-west-1' };
  const { config, policy } = stackOf({
    origins: { old: { ...bucket, path: '/v1' }, new: { ...bucket, path: '/v2' } },
  });
  expect(config.Origins).toHaveLength(1);
  expect(config.Origins[0]).toMatchObject({ OriginAccessControlId: expect.anything() });
  expect(config.Origins[0]).not.toHaveProperty('OriginPath');
  expect(JSON.stringify(config.Origins[0].DomainName)).toContain('shop.s3.eu-west-1.');
  const { HeadersConfig } = policy(config.DefaultCacheBehavior.CachePolicyId).ParametersInCacheKeyAndForwardedToOrigin;
  expect(HeadersConfig.Headers).toEqual(['x-flag-variant']);
  expect(config.DefaultCacheBehavior).not.toHaveProperty('OriginRequestPolicyId');
});

test('a fallback makes an origin group, shared by behaviors that have the same', () => {
  const fallback = { origin: 'sorry', statusCodes: [500, 503] };
  const { config } = stackOf({
    otherOrigins: { sorry: { bucket: 'sorry', region: 'eu-west-1' }, api: { domainName: 'api.example.com' } },
    behavior: { fallback },
    behaviors: [
      { path: '/a/*', fallback, methods: 'read' },
      { path: '/api/*', origin: 'api', fallback: { origin: 'sorry' } },
    ],
  });
  const { OriginGroups, DefaultCacheBehavior, CacheBehaviors } = config;
  expect(OriginGroups.Quantity).toBe(2);
  expect(
    OriginGroups.Items.map(
      (one: { FailoverCriteria: { StatusCodes: { Items: number[] } } }) => one.FailoverCriteria.StatusCodes.Items,
    ),
  ).toEqual([
    [500, 503],
    [500, 502, 503, 504],
  ]);
  expect(CacheBehaviors[0].TargetOriginId).toBe(DefaultCacheBehavior.TargetOriginId);
  expect(OriginGroups.Items[0].Id).toBe(DefaultCacheBehavior.TargetOriginId);
  expect(DefaultCacheBehavior.AllowedMethods).toEqual(['GET', 'HEAD', 'OPTIONS']);
});

const api = { api: { domainName: 'api.example.com', headers: { 'x-key': 'a' } } };
const bucket = { site: { bucket: 'site', region: 'eu-west-1' } };
const ten = Array.from({ length: 10 }, (_, index) => `x-${index}`);

test.each<[string, Partial<EdgeSettings>, string]>([
  [
    'an unknown origin',
    { behavior: { origin: 'api' } },
    'behavior.origin="api" is invalid: expected one of otherOrigins: there are none',
  ],
  [
    'an unknown fallback',
    { otherOrigins: api, behaviors: [{ path: '/a', fallback: { origin: 'b' } }] },
    'behaviors[0].fallback.origin="b" is invalid: expected one of otherOrigins: api',
  ],
  ['an origin that no behavior names', { otherOrigins: api }, 'otherOrigins.api: has no effect: no behavior names it'],
  [
    'no behavior that the flag routes',
    { otherOrigins: api, behavior: { origin: 'api' } },
    'behavior: no behavior is routed by the flag',
  ],
  [
    'a port that CloudFront cannot reach',
    { otherOrigins: { api: { domainName: 'a.example', port: 22 } } },
    'otherOrigins.api.port=22 is invalid: expected 80, 443',
  ],
  [
    'a Host header that nobody would set',
    {
      otherOrigins: { api: { domainName: 'a.example', host: 'b.example' } },
      behaviors: [{ path: '/a', origin: 'api' }],
    },
    'otherOrigins.api.host: has no effect',
  ],
  [
    'a path with a query',
    { behaviors: [{ path: '/a=b' }] },
    'behaviors[0].path="/a=b" is invalid: expected a path pattern of at most 255 characters',
  ],
  ['a path that is too long', { behaviors: [{ path: `/${'a'.repeat(255)}` }] }, 'is invalid: expected a path pattern'],
  [
    'a pattern for everything',
    { behaviors: [{ path: '/*' }] },
    'behaviors[0].path="/*" is invalid: expected a pattern for some paths',
  ],
  [
    'the same path twice',
    { behaviors: [{ path: '/a/*' }, { path: 'a/*' }] },
    'behaviors[1].path: is the same as that of behaviors[0]',
  ],
  [
    'too many behaviors',
    { behaviors: Array.from({ length: 75 }, (_, index) => ({ path: `/${index}` })) },
    'behaviors: 75 are too many: a distribution has at most 75',
  ],
  [
    'status codes that do not fail over',
    { otherOrigins: api, behavior: { fallback: { origin: 'api', statusCodes: [200] } } },
    'behavior.fallback.statusCodes=[200] is invalid: expected some of 400, 403',
  ],
  [
    'no status codes',
    { otherOrigins: api, behavior: { fallback: { origin: 'api', statusCodes: [] } } },
    'behavior.fallback.statusCodes=[] is invalid',
  ],
  [
    'all methods and a fallback',
    { otherOrigins: api, behavior: { fallback: { origin: 'api' }, methods: 'all' } },
    'behavior.methods="all" is invalid: expected read or read-and-options',
  ],
  [
    'a fallback that is the origin',
    { otherOrigins: { a: { domainName: 'old.example.com' } }, behavior: { fallback: { origin: 'a' } } },
    'behavior.fallback.origin="a" is invalid: expected another origin than the first',
  ],
  [
    'a cache key without a cache',
    { behavior: { caching: 'none', cacheKey: {} } },
    "behavior.cacheKey: has no effect with caching: 'none'",
  ],
  [
    'a time of 0',
    { behavior: { caching: { defaultSeconds: 0 } } },
    'behavior.caching.defaultSeconds=0 is invalid: expected an integer from 1',
  ],
  [
    'a longest time below the shortest',
    { behavior: { caching: { defaultSeconds: 9, maxSeconds: 5 } } },
    'behavior.caching.maxSeconds=5 is invalid: expected an integer from defaultSeconds=9',
  ],
  [
    'the Cookie header in the key',
    { behavior: { cacheKey: { headers: ['cookie'] } } },
    'behavior.cacheKey.headers[0]="cookie" is invalid: expected names of cookies under cacheKey.cookies',
  ],
  [
    'a header in capitals in the key',
    { behavior: { cacheKey: { headers: ['Origin'] } } },
    'expected a header name in lower case',
  ],
  [
    'a fingerprint in the key',
    { behavior: { cacheKey: { headers: ['cloudfront-viewer-ja4-fingerprint'] } } },
    'no cache policy may contain it',
  ],
  [
    'Accept-Encoding in the key',
    { behavior: { cacheKey: { headers: ['accept-encoding'] } } },
    'expected compress: true instead',
  ],
  [
    'too many headers in the key',
    { behavior: { cacheKey: { headers: ten } } },
    'behavior.cacheKey.headers: 2 too many: a policy names at most 10',
  ],
  [
    'names that are too long',
    {
      behavior: {
        cacheKey: { headers: ['x'.repeat(250), 'y'.repeat(250), 'z'.repeat(250)], cookies: ['c'.repeat(300)] },
      },
    },
    'behavior.cacheKey: names of 1077 characters are too long: a policy has room for 1024',
  ],
  [
    'Authorization by name',
    { behavior: { forward: { headers: ['authorization'] } } },
    'behavior.forward.headers[0]="authorization" is invalid: expected it to be removed',
  ],
  [
    'Cookie by name',
    { behavior: { forward: { headers: ['cookie'] } } },
    'expected names of cookies under forward.cookies instead',
  ],
  [
    'Accept-Encoding by name',
    { behavior: { forward: { headers: ['accept-encoding'] } } },
    'expected compress: true instead',
  ],
  [
    "a header that is an origin's own",
    { otherOrigins: api, behaviors: [{ path: '/a', origin: 'api', forward: { headers: ['x-key'] } }] },
    "expected it to be removed: it is one of an origin's own headers",
  ],
  [
    'too many headers, with the variant',
    { behavior: { caching: 'none', forward: { headers: ten } } },
    'behavior.forward.headers: 1 too many',
  ],
  [
    "the viewer's Host for a bucket",
    { otherOrigins: bucket, behaviors: [{ path: '/a', origin: 'site', forward: 'all' }] },
    'behaviors[0].forward="all" is invalid: expected another value: S3 refuses',
  ],
  [
    'Host by name for a bucket',
    { otherOrigins: bucket, behaviors: [{ path: '/a', origin: 'site', forward: { headers: ['host'] } }] },
    'S3 refuses requests with',
  ],
  [
    'a key that buckets do not have',
    { otherOrigins: bucket, behaviors: [{ path: '/a', origin: 'site', cacheKey: { headers: ['authorization'] } }] },
    'CloudFront cannot cache a bucket by this one',
  ],
  [
    "the viewer's Host, which is not sent",
    { origins: { ...basis.origins, old: { domainName: 'a.example', viewerHost: true } } },
    "origins.old.viewerHost: needs forward: 'all' in behavior",
  ],
  [
    'variants in several buckets',
    { origins: { old: { bucket: 'one', region: 'eu-west-1' }, new: { bucket: 'two', region: 'eu-west-1' } } },
    'origins: one.s3.eu-west-1.amazonaws.com and two.s3.eu-west-1.amazonaws.com',
  ],
  [
    'variants in a bucket and elsewhere',
    { origins: { old: { bucket: 'one', region: 'eu-west-1' }, new: { domainName: 'a.example' } } },
    'origins: variants are either all in a bucket or all custom origins',
  ],
  [
    'a bootstrap that is not there',
    { bootstrapFile: 'no/flags.json' },
    'bootstrapFile="no/flags.json" cannot be used: there is no such file (from /',
  ],
  [
    'a bootstrap that is not JSON',
    { bootstrapFile: 'README.md' },
    'bootstrapFile="README.md" cannot be used: Unexpected',
  ],
  [
    'a bootstrap that is no environment',
    { bootstrapFile: 'package.json' },
    'cannot be used: expected {"flags": {…}, "segments": {…}}, as GET /sdk/latest-all of the relay gives them',
  ],
  [
    'a bootstrap without the flag',
    { bootstrapFile: 'examples/flags.json' },
    'cannot be used: it has no flag new-site; it has canary-checkout, ',
  ],
  [
    'a root object in a folder',
    { defaultRootObject: '/index.html' },
    'defaultRootObject="/index.html" is invalid: expected the name of an object without a slash',
  ],
  [
    "a rule's origin that does not exist",
    { rules: [{ flagKey: 'f', variations: { on: { origin: 'api' } } }] },
    'rules[0].variations.on.origin="api" is invalid: expected one of the origins: old, new',
  ],
  [
    'a rule for paths at which no flags are asked',
    {
      otherOrigins: api,
      behaviors: [{ path: 'api/*', origin: 'api' }],
      rules: [{ when: { path: ['/api/v1/*', '/api/v2'] }, flagKey: 'f', variations: { on: {} } }],
    },
    'rules[0].when.path: is never looked at: behaviors[0] sends these requests to api without asking flags',
  ],
  [
    'a header in the key that rules set',
    {
      behavior: { cacheKey: { headers: ['x-new'] } },
      rules: [{ flagKey: 'f', variations: { on: { requestHeaders: { 'x-new': '1' } } } }],
    },
    'behavior.cacheKey.headers[0]="x-new" is invalid: expected it to be removed: rules set it',
  ],
  [
    'a header by name that rules set',
    {
      behavior: { forward: { headers: ['x-new'] } },
      rules: [{ flagKey: 'f', variations: { on: { requestHeaders: { 'x-new': '1' } } } }],
    },
    'behavior.forward.headers[0]="x-new" is invalid: expected it to be removed: rules set it',
  ],
  [
    'a fallback of an origin without an origin group',
    { origins: { ...basis.origins, new: { domainName: 'new.example.com', fallback: 'old' } } },
    'origins.new.fallback: has no effect: no behavior that flags route has a fallback',
  ],
  [
    'a fallback of an origin beside a bucket',
    {
      origins: { ...basis.origins, new: { domainName: 'new.example.com', fallback: 'old' } },
      otherOrigins: bucket,
      behavior: { fallback: { origin: 'site' } },
    },
    'behavior.fallback.origin="site" is invalid: expected a custom origin: a function cannot turn a bucket',
  ],
  [
    'a fallback that only the router knows',
    {
      otherOrigins: { api: { domainName: 'a.example', fallback: 'old' } },
      behaviors: [{ path: '/a', origin: 'api' }],
    },
    'otherOrigins.api.fallback: has no effect: give the behavior a fallback',
  ],
  ['neither a flag nor rules', { flagKey: undefined }, 'flagKey'],
  [
    'a redirect to http of its own domain name',
    {
      domainNames: ['www.example.com'],
      rules: [{ flagKey: 'f', variations: { on: { redirect: { to: 'http://www.example.com/*' } } } }],
    },
    'viewers would be redirected again and again, from https://www.example.com/x to http://www.example.com/x',
  ],
])('an edge with %s is refused with one message', (_, edge, message) => {
  const said = edgeProblems({ ...basis, ...edge }).map((problem) => problem.message);
  expect(said).toEqual([expect.stringContaining(message)]);
});

test('every edge of docs/edge-router.md is accepted, in a stage file too @heavy', () => {
  const examples = edgeExamples();
  expect(examples).toHaveLength(3);
  for (const edge of examples) {
    expect(edgeProblems(edge)).toEqual([]);
    const stage = { homeRegion: 'eu-west-1', replicaRegions: [], tableName: 'flags', production: false, edge };
    expect(readStage('shop', stage).edge).toEqual(edge);
    expect(() => stackOf(edge)).not.toThrow();
  }
});

test('a behavior may reach some of the paths of a rule', () => {
  const rules: Rule[] = [{ when: { path: ['/api/*', '/page'] }, flagKey: 'f', variations: { on: {} } }];
  const fixed = { path: '/api/*', origin: 'api' };
  for (const behaviors of [[fixed], [{ path: '/api/v2/*' }, fixed]])
    expect(
      edgeProblems({
        ...basis,
        otherOrigins: api,
        behaviors,
        rules: behaviors.length === 1 ? rules : [{ ...rules[0]!, when: { path: '/api/*' } }],
      }),
    ).toEqual([]);
});

test('each function has its part of the rules: origins and their headers are not in viewer-request', () => {
  const rules: Rule[] = [
    {
      flagKey: 'f',
      variations: {
        on: { origin: 'new', requestHeaders: { 'x-in': '1' }, responseHeaders: { 'x-out': '1' } },
        off: { answer: { status: 503, body: 'closed' } },
      },
    },
  ];
  const configs = routerConfigs(
    { ...basis, rules, cookieName: 'mine', viewer: { epoch: '2' } },
    { tableName: 'flags', replicas: { default: ['eu-west-1'] } },
  );
  expect(configs['viewer-request']).toMatchObject({ rules, cookie: { cookieName: 'mine', epoch: '2' } });
  expect(configs['viewer-request']).not.toHaveProperty('origins');
  expect(Object.values(configs['origin-request'].requestHeaders ?? {})).toEqual([{ 'x-in': '1' }]);
  expect(Object.values(configs['viewer-response'].responseHeaders ?? {})).toEqual([{ 'x-out': '1' }]);
  for (const name of ['origin-request', 'viewer-response'] as const)
    expect(JSON.stringify(configs[name])).not.toContain('closed');
  const { 'viewer-request': plain } = routerConfigs(basis, {
    tableName: 'flags',
    replicas: { default: ['eu-west-1'] },
  });
  expect(Object.keys(plain).sort()).toEqual(['defaultVariant', 'flagKey', 'reader', 'variants']);
});

test('the decisions of all flags are metrics, each once', () => {
  const rules: Rule[] = [
    { when: { path: '/a' }, flagKey: 'f', variations: { true: {}, false: {} } },
    { when: { path: '/b' }, flagKey: 'f', variations: { true: {} } },
  ];
  expect(decisionMetricNames({ ...basis, rules })).toEqual([
    ...['f=true', 'f=false', 'f=fallback'],
    ...['new-site=old', 'new-site=new', 'new-site=fallback'],
  ]);
});

test('a stage with a bootstrap has its router built with the flags @heavy', () => {
  const stage = { homeRegion: 'eu-west-1', replicaRegions: [], tableName: 'flags', production: false };
  const edge = { ...basis, flagKey: 'canary-checkout', bootstrapFile: 'examples/flags.json' };
  expect(readStage('shop', { ...stage, edge }).edge?.bootstrapFile).toBe('examples/flags.json');
  const codeOf = (more: Partial<EdgeSettings>) => {
    const functions = functionsOf({ flagKey: 'canary-checkout', ...more }).findResources('AWS::Lambda::Function');
    return Object.values(functions)
      .map(({ Properties }) => Properties.Code.S3Key)
      .join();
  };
  expect(codeOf({ bootstrapFile: 'examples/flags.json' })).not.toBe(codeOf({}));
});

test('the construct refuses what a stage file may not say', () => {
  expect(() => functionsOf({ origins: { old: { domainName: 'old.example.com', port: 22 } } })).toThrow(
    'edge router: origins.old.port=22 is invalid: expected 80, 443 or an integer from 1024 to 65535',
  );
});
