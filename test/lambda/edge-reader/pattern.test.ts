/** Regular expressions: the answers of LaunchDarkly's Node SDK, in bounded time. */
import { beginRequest, createOfflineReader } from '../../../lambda/edge-reader/index.ts';
import { compilePattern } from '../../../lambda/edge-reader/pattern.ts';
import { createViewerRequestHandler } from '../../../lambda/edge-router/index.ts';
import { type OfficialSdk, startOfficialSdk } from '../../lib/evaluation/official-sdk.ts';
import { eventually } from '../../support/eventually.ts';
import { randomFrom } from '../../support/random.ts';
import { PATTERN_TEXTS, randomPatterns } from '../../support/random-patterns.ts';
import { requestEvent } from '../edge-router/events.ts';

const seed = process.env.SEED ?? 'edge patterns';
let sdk: OfficialSdk;
beforeAll(async () => {
  sdk = await startOfficialSdk();
});
afterAll(() => sdk.close());

/** A flag that is `canary` where the path matches. */
const flagOf = (key: string, pattern: string) => ({
  key,
  version: 1,
  on: true,
  salt: 'salt',
  variations: ['stable', 'canary'],
  fallthrough: { variation: 0 },
  offVariation: 0,
  rules: [{ id: 'r', variation: 1, clauses: [{ attribute: 'path', op: 'matches', values: [pattern] }] }],
});
const readerOf = (...patterns: readonly string[]) => {
  const flags = Object.fromEntries(patterns.map((pattern, index) => [`f${index}`, flagOf(`f${index}`, pattern)]));
  return { flags, reader: createOfflineReader({ flags }) };
};
const errorOf = (errorKind: string) => ({ value: 'none', variationIndex: null, reason: { kind: 'ERROR', errorKind } });
const at = (path: string) => ({ kind: 'user', key: 'alice', path });

/** Asks our reader and the SDK about each pattern and text. Returns where they disagree, and how often a text matched. */
async function compare(patterns: readonly string[], texts: readonly string[]) {
  const { flags, reader } = readerOf(...patterns);
  sdk.load(JSON.stringify({ flags, segments: {} }), undefined);
  const differences: unknown[] = [];
  let matched = 0;
  for (const [index, pattern] of patterns.entries())
    for (const text of texts) {
      beginRequest();
      const ours = reader.evaluate(`f${index}`, at(text), 'none').value;
      const theirs = await sdk.call((client) => client.variation(`f${index}`, at(text), 'none'));
      if (ours === 'canary') matched += 1;
      if (theirs.kind !== 'answered' || theirs.answer !== ours) differences.push({ seed, pattern, text, ours, theirs });
    }
  return { differences, matched };
}

test('random patterns match what they match in the Node SDK @heavy', async () => {
  // Longer texts would stop the SDK.
  const texts = PATTERN_TEXTS.filter((text) => text.length < 20);
  const patterns = randomPatterns(process.env.LONG ? 5_000 : 300, randomFrom(seed));
  const { differences, matched } = await compare(patterns, texts);
  expect(differences).toEqual([]);
  expect(matched).toBeGreaterThan(patterns.length);
});

const path = '/shop/de/checkout/step-2/../a/b/c.html';
const agent =
  'Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/126.0.0.0 Safari/537.36';
test('ordinary patterns match what they match in the Node SDK, in long texts too @heavy', async () => {
  const texts = [
    path,
    agent,
    '',
    'a@example.com',
    'Ünïcode/😀/é',
    // Some patterns take the square of it, which must not come near the time limit.
    ...[path, agent, 'é', 'a', ' '].map((one) => one.repeat(60)),
  ];
  const { differences, matched } = await compare(
    [
      ...[
        '^/shop(/[a-z]+)*$',
        '^/shop/(de|at|ch)/.*',
        '(bot|crawl|spider|slurp).*',
        'Chrome/(\\d+)\\.',
        '^(?!.*bot).*$',
      ],
      ...[
        '^[^@]+@(example|test)\\.(com|org)$',
        '^[a-z]{3,20}$',
        '(?<=/)[a-z]+(?=\\.)',
        '(\\w)\\1',
        '.*\\.html$',
        '\\s+$',
      ],
      ...[
        '^(/[^/]+){2,4}/',
        '([a-z]+[-./])*x?',
        '(?:a|b)*c',
        '^$',
        '(?:)*',
        '[^]*\\d{2}',
        '(.)(.)(.)*\\2',
        '\\bSafari\\b.*\\d$',
      ],
      ...[
        '(?<year>\\d+)[._](?<day>\\d+)',
        '(?=.*Mac)(?=.*Chrome).*',
        '(?<!a)/.*',
        '^(?:[\\u0000-\\u00ff]+)*$',
        'é+',
        '(é|ï)+',
      ],
    ],
    texts,
  );
  expect(differences).toEqual([]);
  expect(matched).toBeGreaterThan(50);
});

test.each([
  [`^${'(a|aa)'.repeat(30)}$`, 'a'.repeat(45), '!', false],
  ['(a+)+$', 'a'.repeat(8_000), '!', false],
  ['^(a|a)*$', 'a'.repeat(8_000), '!', false],
  ['(a|aa)+$', 'a'.repeat(8_000), '!', false],
  ['^(a?)*$', 'a'.repeat(8_000), '!', false],
  ['(.*a){12}$', 'a'.repeat(8_000), '!', false],
  ['.*.*.*.*=', 'a'.repeat(8_000), '!', false],
  ['[a-z]*[a-z]*[a-z]*[a-z]*[0-9]', 'a'.repeat(8_000), '!', false],
  ['^(([a-z])+.)+[A-Z]([a-z])+$', 'a'.repeat(8_000), '!', false],
  ['(é+)+$', 'é'.repeat(8_000), '!', false],
  ['(a+)+$', 'a'.repeat(8_000), '', true],
])('%s answers at once for a text made against it', (pattern, text, end, expected) => {
  // Not bounded, each of these takes longer than anybody could wait.
  expect(compilePattern(pattern)!.test(text + end)).toBe(expected);
});

describe('patterns that only a clock can bound', () => {
  const hostile = `${'a'.repeat(60)}!`;
  const sources = ['^(?!x)(a+)+$', '(?<!x)(a+)+$', '(a+)+\\1x$', '(a{1,40}){1,40}$'];
  /** How long a search was given, in ms. */
  function given(source = '^(?!x)(a+)+$'): number {
    try {
      compilePattern(source)?.test(hostile);
    } catch (error) {
      const { message } = error as Error;
      if (message === 'no time') return 0;
      return Number(/timed out after (\d+)ms/.exec(message)?.[1]);
    }
    throw new Error(`${source} answered`);
  }
  beforeEach(beginRequest);

  test('are all given up, however many are asked, within a part of what a viewer function may take @heavy', () => {
    const [first, ...others] = Array.from({ length: 40 }, (_, index) => given(sources[index % sources.length]));
    expect(first).toBe(500);
    expect(others.reduce((sum, ms) => sum + ms, 500)).toBeLessThan(2_000);
  });

  test('give the fallback with EXCEPTION if they take too long, and cost other flags and texts nothing @heavy', async () => {
    const { reader } = readerOf(...sources, '^aaa', '^(?!/b)(/a+)+!$');
    const answers = sources.map((_, index) => reader.evaluate(`f${index}`, at(hostile), 'none'));
    expect(answers).toEqual(sources.map(() => errorOf('EXCEPTION')));
    const long = `${'/aaaaaaaaa'.repeat(300)}!`;
    expect(reader.evaluate('f5', at(long), 'none').value).toBe('canary');
    expect(await reader.allFlagsState(at(hostile))).toMatchObject({ f0: null, f4: 'canary', $valid: true });
  });

  test('have all of their time for each request of the router, whatever came with the one before @heavy', async () => {
    const { reader } = readerOf(...sources);
    const reading = { tableName: 'flags', replicas: { default: ['eu-west-1'] } };
    const rules = sources.map((_, index) => ({ flagKey: `f${index}`, variations: { canary: {}, stable: {} } }));
    const handler = createViewerRequestHandler(
      { reader: reading, rules, variants: ['stable'], defaultVariant: 'stable' },
      reader,
    );
    const decide = async (uri: string) => {
      const event = requestEvent('viewer-request');
      event.Records[0]!.cf.request.uri = uri;
      return (await handler(event)).headers?.['x-flag-decision']?.[0]?.value;
    };
    const failed = sources.map((_, index) => `f${index}=none; reason=ERROR EXCEPTION`).join(', ');
    expect(await decide(hostile)).toBe(failed);
    expect(given()).toBeLessThan(200);
    expect(await decide('/b')).not.toContain('ERROR');
    expect(given()).toBeGreaterThan(400);
  });

  test('get their time back while it passes @heavy', async () => {
    for (let times = 0; times < 12; times += 1) given();
    await eventually(() => expect(given()).toBeGreaterThan(20));
  });
});

test('an invalid pattern never matches', async () => {
  for (const source of ['(', '[', 'a)', '*', 'a{2,1}', '\\']) expect(compilePattern(source)).toBeUndefined();
  const { reader } = readerOf('a)|(b');
  expect(reader.evaluate('f0', at('ab'), 'none').value).toBe('stable');
});
