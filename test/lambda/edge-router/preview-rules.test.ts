/** Previews of a site with rules: several flags, redirects and answers of the function itself. */
import { generateKeyPairSync, sign } from 'node:crypto';
import type { CloudFrontRequest, CloudFrontResultResponse } from 'aws-lambda';
import { describeResultProblem } from '../../../bin/dev/cloudfront.ts';
import { createHandlerForTesters, createViewerRequestHandler, type Rule } from '../../../lambda/edge-router/index.ts';
import { unsignedPreview } from '../../../lambda/edge-router/preview-token.ts';
import { requestEvent } from './events.ts';

const { publicKey, privateKey } = generateKeyPairSync('ed25519');
const preview = { publicKeys: [String(publicKey.export({ format: 'jwk' }).x)], stage: 'prod' };
const host = 'shop.example.com';

const rules: Rule[] = [
  { when: { path: '/old/*' }, flagKey: 'move', variations: { yes: { redirect: { to: '/new/*', status: 301 } } } },
  { when: { path: '/ping' }, flagKey: 'ping', variations: { pong: { answer: { status: 200, body: 'pong' } } } },
  { flagKey: 'site', variations: { new: { origin: 'canary' }, old: { origin: 'stable' } }, otherwise: 'old' },
  { flagKey: 'banner', variations: { true: { requestHeaders: { 'x-banner': 'on' } } } },
];

/** Sends a request with a preview of these flags to a site whose flags have these values. */
async function open(previewed: Readonly<Record<string, unknown>> | undefined, uri: string, flags = {}) {
  const counted: unknown[] = [];
  const values: Readonly<Record<string, unknown>> = { site: 'old', banner: false, move: 'no', ping: 'no', ...flags };
  const reader = {
    variationDetail: async (flagKey: string) => ({
      value: values[flagKey],
      variationIndex: 0,
      reason: { kind: 'FALLTHROUGH' } as const,
    }),
    evaluate: (flagKey: string) => ({
      value: values[flagKey],
      variationIndex: 0,
      reason: { kind: 'FALLTHROUGH' } as const,
    }),
  };
  const report = { decided: ({ flagKey }: { flagKey: string }) => void counted.push(flagKey) };
  const config = {
    reader: { tableName: 'flags', replicas: { default: ['eu-west-1'] } },
    rules,
    variants: ['stable', 'canary'],
    defaultVariant: 'stable',
  };
  const handler = createHandlerForTesters({ preview }, report, (counting, options) =>
    createViewerRequestHandler(config, reader, counting, options),
  );
  const now = Math.floor(Date.now() / 1_000);
  const headers: Record<string, string> = { Host: host };
  if (previewed) {
    const claims = { flags: previewed, issuedAt: now, expiresAt: now + 60, stage: 'prod', host };
    const { message, token } = unsignedPreview(claims);
    headers.Cookie = `__Host-flag-preview=${token(sign(null, message, privateKey))}`;
  }
  const event = requestEvent('viewer-request', headers);
  event.Records[0]!.cf.request.uri = uri;
  const before = structuredClone(event.Records[0]!.cf.request.headers);
  const result = await handler(event);
  expect(describeResultProblem('viewer-request', result, before)).toBeUndefined();
  const value = (name: string) => (result.headers as CloudFrontRequest['headers'])[name]?.[0]?.value;
  return { result: result as CloudFrontResultResponse & { readonly uri?: string }, value, counted };
}

test('several flags are previewed, and the others are decided and counted as always', async () => {
  const { value, counted } = await open({ site: 'new' }, '/cart');
  expect(value('x-flag-decision')).toMatch(/^site=new; reason=OVERRIDE, banner=\S+; reason=/);
  expect(counted).toEqual(['banner']);
  const both = await open({ site: 'new', banner: true }, '/cart');
  expect(both.value('x-flag-decision')).toBe('site=new; reason=OVERRIDE, banner=true; reason=OVERRIDE');
  expect(both.counted).toEqual([]);
});

test('a previewed value without a variation is that of `otherwise`, or of none, and a preview all the same', async () => {
  const { value, counted } = await open({ site: 'no such value', banner: 'no such value' }, '/cart');
  const decision = value('x-flag-decision');
  expect(decision?.match(/reason=\S+/g)).toEqual(['reason=OVERRIDE,', 'reason=OVERRIDE']);
  expect(counted).toEqual([]);
});

test.each([
  [{ site: 'new', banner: true }],
  [{ site: 'old' }],
  [{ site: 'a value without a variation' }],
  [{ banner: 'a value without a variation' }],
  [{ site: 7, banner: null }],
  [{ unknown: 'flag' }],
])('for %j, the cache key’s header is that of any viewer who is served the same', async (flags) => {
  const tester = await open(flags, '/cart');
  const viewer = await open(undefined, '/cart', flags);
  expect(tester.value('x-flag-variant')).toBe(viewer.value('x-flag-variant'));
});

test('a redirect or an answer that a tester gets from the function is stored by nobody', async () => {
  const redirect = await open({ move: 'yes' }, '/old/page');
  expect([redirect.result.status, redirect.value('location')]).toEqual(['301', '/new/page?size=large']);
  const answer = await open({ ping: 'pong' }, '/ping');
  expect([answer.result.status, answer.result.body]).toEqual(['200', 'pong']);
  for (const { value } of [redirect, answer])
    expect([value('cache-control'), value('x-robots-tag')]).toEqual(['private, no-store', 'noindex']);
  const ordinary = await open(undefined, '/old/page', { move: 'yes' });
  expect(ordinary.value('x-robots-tag')).toBeUndefined();
});
