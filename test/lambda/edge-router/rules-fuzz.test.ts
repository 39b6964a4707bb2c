/**
 * Random rules, right and wrong ones: what is accepted at build never makes CloudFront answer 502, and sends viewers to no other site.
 * `SEED=<text>` makes others.
 */
import { checkRouterConfig, type RouterConfig } from '../../../lambda/edge-router/check-config.ts';
import type { Rule } from '../../../lambda/edge-router/index.ts';
import { randomFrom } from '../../support/random.ts';
import { serve, site, values } from './serve.ts';

const seed = process.env.SEED ?? 'rules';
const random = randomFrom(seed);
const below = (count: number) => Math.floor(random() * count);
const chance = (share: number) => random() < share;
const pick = <T>(choices: readonly T[]) => choices[below(choices.length)] as T;

const headerNames = [
  ...['x-a', 'x-b', 'X-A', 'x a', '', 'host', 'cookie', 'via', 'connection', 'content-length', 'content-encoding'],
  ...['x-amz-cf-id', 'x-edge-a', 'x-real-ip', 'x-forwarded-proto', 'x-forwarded-for', 'transfer-encoding', 'warning'],
  ...[
    'cdn-loop',
    'accept-encoding',
    'if-none-match',
    'x-flag-variant',
    'x-flag-response',
    'cache-control',
    'set-cookie',
  ],
  ...[
    'content-type',
    'location',
    'cloudfront-viewer-country',
    'x-accel-a',
    'proxy-connection',
    'x-cache',
    'client-cert',
  ],
];
const texts = ['1', '', ' ', 'a\r\nb: c', 'ä', 'v'.repeat(1_783), 'v'.repeat(1_784), 'a;b', '\u0000', '*', '$1'];
const paths = [
  '/',
  '/a',
  '/a/*',
  '/*',
  '*',
  '/a/*/b',
  '//a',
  'a',
  '/a b',
  '/ä',
  '/a?b',
  '/a#b',
  '/%41',
  '/%zz',
  '/a/b/*',
];
const targets = [
  ...[
    ...paths,
    '/b/*',
    '/b?c=d',
    '/b/*?c=*',
    'https://www.example.com/*',
    'https://www.example.com',
    'http://a.b:80/c',
  ],
  ...['//evil.example/*', 'https://evil.example\\@a/', 'javascript:1', '/\\evil.example', `/${'a'.repeat(2_040)}/*`],
];
const statuses = [200, 204, 205, 302, 304, 404, 599, 600, 199, 100, '200', null];
const headers = () =>
  Object.fromEntries(
    Array.from({ length: 1 + below(2) }, () =>
      chance(0.7) ? [pick(['x-a', 'x-b', 'x-c']), '1'] : [pick(headerNames), pick(texts)],
    ),
  );
const action = () => ({
  ...(chance(0.3) && { origin: pick(['stable', 'canary', 'beta', 'nowhere']) }),
  ...(chance(0.3) && { rewrite: pick(targets) }),
  ...(chance(0.3) && { requestHeaders: headers() }),
  ...(chance(0.3) && { responseHeaders: headers() }),
  ...(chance(0.2) && {
    redirect: {
      to: pick(targets),
      ...(chance(0.3) && { status: pick([301, 302, 307, 200, 304]) }),
      ...(chance(0.3) && { query: pick(['keep', 'drop', 'no']) }),
    },
  }),
  ...(chance(0.2) && {
    answer: {
      status: pick(statuses),
      ...(chance(0.5) && { body: pick(['', 'ä', 'a'.repeat(39_000), 'a'.repeat(40_500)]) }),
    },
  }),
});
const rule = () => ({
  ...(chance(0.5) && { when: chance(0.7) ? { path: pick(paths) } : {} }),
  flagKey: pick(['f', 'g', 'h', 'a b']),
  variations: { on: action(), off: chance(0.5) ? {} : action() },
  ...(chance(0.3) && { otherwise: pick(['on', 'off', 'other']) }),
});
const uris = [
  '/',
  '/a',
  '/a/b',
  '/a//evil.example/',
  '/a/\\evil.example',
  '/a/%41',
  '/a/\u{1f600}',
  `/a/${'b'.repeat(8_080)}`,
];
const queries = ['', 'a=b', 'a=%zz&&=', 'c=d&c=d', '?', 'q='.repeat(50)];

test(`any rules that are accepted give results that CloudFront accepts (seed ${seed})`, async () => {
  const wanted = process.env.LONG ? 10_000 : 500;
  const seen: Record<string, number> = { accepted: 0, answered: 0, redirected: 0, rewritten: 0, added: 0 };
  for (let tries = 0; seen.accepted! < wanted && tries < wanted * 100; tries += 1) {
    const rules = Array.from({ length: 1 + below(3) }, rule) as unknown as Rule[];
    try {
      checkRouterConfig({ ...site, rules } as RouterConfig);
    } catch {
      continue;
    }
    seen.accepted! += 1;
    const sent = { uri: pick(uris), querystring: pick(queries), headers: { 'X-A': 'theirs' } };
    const flags = { f: pick(['on', 'off', 'x']), g: pick(['on', 'off']), h: 'on' };
    const said = JSON.stringify({ rules, sent: sent.uri.slice(0, 50), flags }).slice(0, 2_000);
    // `serve` throws for what CloudFront would not accept.
    const result = await serve({ rules }, flags, sent).catch((error: Error) => {
      throw new Error(`${error.message}: ${said}`);
    });
    const location = values(result.answer.headers, 'location')?.[0];
    if (location !== undefined) {
      // Relative to this site, or to the one that the rule names.
      const { hostname } = new URL(location, 'https://here.example');
      expect([said, ['here.example', 'www.example.com', 'a.b'].includes(hostname)]).toEqual([said, true]);
      seen.redirected! += 1;
    } else if (result.key === undefined) seen.answered! += 1;
    else {
      if (result.key.uri !== sent.uri) seen.rewritten! += 1;
      if (result.key.variant!.includes(',')) seen.added! += 1;
    }
  }
  for (const [what, times] of Object.entries(seen)) expect([what, times > 0]).toEqual([what, true]);
});
