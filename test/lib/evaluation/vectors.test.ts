import { createHash, createHmac } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { gunzipSync } from 'node:zlib';
import type { LDContext } from '@launchdarkly/node-server-sdk';
import { bucketByHex, canonicalKey, parseContext, secureModeHash, sha1Bucket } from '../../../lib/evaluation/index.ts';
import { parseReference } from '../../../lib/evaluation/reference.ts';
import { type BigSegmentsFixture, evaluatorOf, type Items, plain, sha1Hex } from './in-memory.ts';
import { startOfficialSdk } from './official-sdk.ts';

interface Vector {
  readonly id: string;
  readonly flags: Items;
  readonly segments?: Items;
  readonly flagKey: string;
  readonly context: unknown;
  readonly default: unknown;
  readonly bigSegments?: BigSegmentsFixture;
  readonly expect: unknown;
}

const folder = join(__dirname, '../../fixtures/evaluation');
const load = <T>(name: string): T[] => JSON.parse(readFileSync(join(folder, name), 'utf8'));

/** The vectors with a different answer, with both answers: a readable failure for thousands of cases. */
function failures(vectors: readonly Vector[]): unknown[] {
  return vectors.flatMap((vector) => {
    const evaluator = evaluatorOf(vector.flags, vector.segments, vector.bigSegments);
    const actual = plain(evaluator.evaluate(vector.flagKey, vector.context, vector.default));
    return vector.expect === null || JSON.stringify(sorted(actual)) === JSON.stringify(sorted(vector.expect))
      ? []
      : [{ id: vector.id, actual, expected: vector.expect }];
  });
}

function sorted(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(sorted);
  if (typeof value !== 'object' || value === null) return value;
  return Object.fromEntries(
    Object.entries(value)
      .sort(([a], [b]) => (a < b ? -1 : 1))
      .map(([k, v]) => [k, sorted(v)]),
  );
}

/** The vectors were recorded on Node 20. On later versions the SDK itself gives different answers for these. */
const dependsOnNode = new Set(['re (?i:..)']);

test('the evaluator gives the Node SDK’s answers in all 504 curated cases that do not depend on the version of Node @heavy', () => {
  const vectors = load<Vector>('evaluation-curated.json');
  expect(vectors).toHaveLength(504);
  const fixed = vectors.filter(({ id }) => !dependsOnNode.has(id));
  expect(fixed).toHaveLength(504 - dependsOnNode.size);
  expect(failures(fixed)).toEqual([]);
});

test.each([...dependsOnNode])(
  'the evaluator gives the answer of the Node SDK on this version of Node for: %s',
  async (id) => {
    const vector = load<Vector>('evaluation-curated.json').find((one) => one.id === id);
    if (!vector) throw new Error(`no vector ${id}`);
    const { flags, segments = {}, flagKey, context } = vector;
    const sdk = await startOfficialSdk();
    try {
      sdk.load(JSON.stringify({ flags, segments }), undefined);
      const outcome = await sdk.call((client) => client.variationDetail(flagKey, context as LDContext, vector.default));
      if (outcome.kind !== 'answered') throw new Error(`the SDK did not answer: ${outcome.kind}`);
      expect(failures([{ ...vector, expect: plain(outcome.answer) }])).toEqual([]);
    } finally {
      sdk.close();
    }
  },
);

/** The ordinary run uses every tenth case. */
const every = process.env.LONG ? 1 : 10;

test('the evaluator gives the Node SDK’s answers in the recorded random cases @heavy', () => {
  const lines = gunzipSync(readFileSync(join(folder, 'fuzz.ndjson.gz')))
    .toString('utf8')
    .trim()
    .split('\n');
  expect(lines).toHaveLength(6000);
  const chosen = lines.filter((_, index) => index % every === 0);
  expect(failures(chosen.map((line) => JSON.parse(line)))).toEqual([]);
});

describe('the vectors of typed methods', () => {
  const vectors = load<Vector & { valueType: 'bool' | 'int' | 'double' | 'string' | 'any' }>('typed-variation.json');
  test('there are 47 vectors of typed methods', () => void expect(vectors).toHaveLength(47));
  test.each(vectors)('give the recorded answer: $id', ({ valueType, expect: expected, ...vector }) => {
    const evaluator = evaluatorOf(vector.flags, vector.segments);
    const args = [vector.flagKey, vector.context, vector.default as never] as const;
    const methods = {
      bool: evaluator.boolVariation,
      int: evaluator.numberVariation,
      double: evaluator.numberVariation,
      string: evaluator.stringVariation,
      any: evaluator.jsonVariation,
    };
    expect(plain(methods[valueType](...args))).toEqual(expected);
  });
});

describe('the vectors of all flags', () => {
  const vectors = load<Vector & { options: object }>('all-flags.json');
  test('there are 26 vectors of all flags', () => void expect(vectors).toHaveLength(26));
  test.each(vectors)(
    'give the recorded state: $id $options',
    ({ flags, segments, context, options, expect: expected }) => {
      const evaluator = evaluatorOf(flags, segments);
      expect(plain(evaluator.allFlagsState(context, { flags: evaluator.flags.values(), ...options }))).toEqual(
        expected,
      );
    },
  );
});

describe('the vectors of contexts', () => {
  interface ContextVector {
    readonly context: unknown;
    readonly valid: boolean;
    readonly kinds: readonly string[];
    readonly fullyQualifiedKey: string;
    readonly secureModeHash: { readonly sdkKey: string; readonly hash: string };
  }
  const vectors = load<ContextVector>('contexts.json');
  const hmac = (key: string, message: string) => createHmac('sha256', key).update(message).digest('hex');
  test('there are 35 vectors of contexts', () => void expect(vectors).toHaveLength(35));
  test.each(vectors)('give the recorded kinds, key and hash: %j', (vector) => {
    const context = parseContext(vector.context);
    expect(context !== undefined).toBe(vector.valid);
    if (context === undefined) return;
    expect(context.kinds).toEqual(vector.kinds);
    expect(canonicalKey(context)).toBe(vector.fullyQualifiedKey);
    expect(secureModeHash(hmac, vector.secureModeHash.sdkKey, context)).toBe(vector.secureModeHash.hash);
  });
});

describe('the vectors of attribute references', () => {
  const vectors = load<{ ref: string; literal: boolean; nodeComponents: string[] | null }>('attribute-references.json');
  test('there are 78 vectors of attribute references', () => void expect(vectors).toHaveLength(78));
  test.each(vectors)('give the recorded components: $ref literal: $literal', ({ ref, literal, nodeComponents }) => {
    expect(parseReference(ref, literal) ?? null).toEqual(nodeComponents);
  });
});

describe('the vectors of buckets', () => {
  interface BucketVector {
    readonly keyOfFlagOrSegment: string;
    readonly salt: string;
    readonly seed: number | null;
    readonly bucketByValue: unknown;
    readonly hashInput: string;
    readonly sha1: string;
    readonly bucket: number;
  }
  const vectors = load<BucketVector>('bucket-values.json');
  test('there are 40 vectors of buckets', () => void expect(vectors).toHaveLength(40));
  test.each(vectors)(
    'give the recorded bucket: $hashInput',
    ({ keyOfFlagOrSegment, salt, seed, bucketByValue, hashInput, sha1, bucket }) => {
      const prefix = seed ? `${seed}.` : `${keyOfFlagOrSegment}.${salt}.`;
      const value = String(bucketByValue);
      expect(prefix + value).toBe(hashInput);
      expect(sha1Hex(hashInput)).toBe(sha1);
      expect(bucketByHex(sha1Hex)(prefix, value)).toBe(bucket);
      expect(sha1Bucket(prefix, value)).toBe(bucket);
    },
  );
});

test('Big Segment stores hash context keys with SHA-256 in base64', () => {
  const vectors = load<{ contextKey: string; base64Sha256: string }>('big-segment-hashes.json');
  expect(vectors).toHaveLength(8);
  for (const { contextKey, base64Sha256 } of vectors) {
    expect(createHash('sha256').update(contextKey).digest('base64')).toBe(base64Sha256);
  }
});
