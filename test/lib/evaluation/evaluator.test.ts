import { createHash, createHmac } from 'node:crypto';
import {
  type BigSegmentsStatus,
  bigSegmentRef,
  bucketByHex,
  canonicalKey,
  clientSideAvailability,
  compileFlag,
  compileSegment,
  createEvaluator,
  parseContext,
  secureModeHash,
} from '../../../lib/evaluation/index.ts';
import { evaluatorOf, plain } from './in-memory.ts';

const user = { kind: 'user', key: 'u' };
const variations = ['off', 'on', 'hit'];
const base = { version: 1, on: true, variations, offVariation: 0, fallthrough: { variation: 1 }, salt: 's' };
const matching = (clause: object) => ({ key: 'f', ...base, rules: [{ id: 'r', variation: 2, clauses: [clause] }] });
const hits = (clause: object, context: unknown) =>
  evaluatorOf({ f: matching(clause) }).evaluate('f', context, null).value === 'hit';
const attribute = (op: string, value: unknown, ...values: unknown[]) =>
  hits({ attribute: 'a', op, values }, { ...user, a: value });

/** Expected results: LaunchDarkly's Node SDK. */
describe('the operator', () => {
  test.each([
    ['in', 1, [1.0], true],
    ['in', '1', [1], false],
    ['in', true, [1], false],
    ['in', [3, 1], [1], true],
    ['in', [], [1], false],
    ['in', { b: 1 }, [{ b: 1 }], false],
    ['in', [null], [null], true],
    ['startsWith', 'abc', ['x', 'ab'], true],
    ['startsWith', 'Abc', ['a'], false],
    ['endsWith', 'abc', [''], true],
    ['contains', 'abc', ['bc'], true],
    ['contains', 5, ['5'], false],
    ['matches', 'xaby', ['a.y'], true],
    ['matches', '😀', ['^.$'], false],
    ['matches', 'a', ['(', 'a'], true],
    ['lessThan', 1, [1], false],
    ['lessThanOrEqual', 1, [1], true],
    ['greaterThan', 2, [1], true],
    ['greaterThanOrEqual', 1, ['1'], false],
    ['before', 999, [1000], true],
    ['before', 1000, [1000], false],
    ['after', '1970-01-01T00:00:01.001Z', [1000], true],
    ['after', '2020-01-01T00:00:00+0200', [0], true],
    ['after', '2020-01-01T00:00:00z', [0], false],
    ['after', '2020-01-01', [0], false],
    ['before', '2019-12-31T24:00:00Z', ['2020-01-01T00:00:00.001Z'], true],
    ['semVerEqual', '2', ['2.0.0'], true],
    ['semVerEqual', '2.0.0+b', ['2.0'], true],
    ['semVerEqual', 'v2.0.0', ['2.0.0'], false],
    ['semVerEqual', ' 2.0.0', ['2.0.0'], true],
    ['semVerEqual', ' 2', ['2.0.0'], false],
    ['semVerEqual', '02.0.0', ['2.0.0'], false],
    ['semVerLessThan', '2.0.0-rc.2', ['2.0.0-rc.10'], true],
    ['semVerLessThan', '2.0.0-1', ['2.0.0-a'], true],
    ['semVerLessThan', '2.0.0-rc', ['2.0.0-rc.1'], true],
    ['semVerGreaterThan', '2.0.0', ['2.0.0-rc'], true],
    ['semVerGreaterThan', '10.0.0', ['9.99.99'], true],
    ['unheardOf', 1, [1], false],
  ])('%s %j %j is %s', (op, value, values, expected) => {
    expect(attribute(op, value, ...values)).toBe(expected);
    // An attribute that exists can be negated, whatever its type.
    expect(hits({ attribute: 'a', op, values, negate: true }, { ...user, a: value })).toBe(!expected);
  });

  test('in matches nothing for an absent attribute, negated or not', () => {
    expect([false, true].map((negate) => hits({ attribute: 'a', op: 'in', values: [1], negate }, user))).toEqual([
      false,
      false,
    ]);
  });
});

describe('an attribute reference', () => {
  const context = { ...user, 'a/b': 1, obj: { x: { y: 1 }, list: [1] }, '/obj/x': 1, anonymous: false };
  test.each([
    ['/a~1b', true],
    ['/obj/x/y', true],
    ['/obj/list/0', false],
    ['/obj/toString', false],
    ['/constructor', false],
    ['obj/x', false],
  ])('%s finds a value: %s', (reference, expected) => {
    expect(hits({ contextKind: 'user', attribute: reference, op: 'in', values: [1] }, context)).toBe(expected);
  });

  test('without a context kind is a plain attribute name', () => {
    expect(hits({ attribute: '/obj/x', op: 'in', values: [1] }, context)).toBe(true);
  });

  test('to a missing anonymous gives false, and to kind gives every kind', () => {
    expect(hits({ attribute: 'anonymous', op: 'in', values: [false] }, user)).toBe(true);
    const multi = { kind: 'multi', user: { key: 'u' }, org: { key: 'o' } };
    expect(hits({ attribute: 'kind', op: 'in', values: ['org'] }, multi)).toBe(true);
    expect(hits({ attribute: 'kind', op: 'in', values: ['multi'] }, multi)).toBe(false);
  });
});

describe('a context', () => {
  test.each([
    [undefined],
    ['user'],
    [{ kind: 'kind', key: 'k' }],
    [{ kind: 'org' }],
    [{ kind: 'multi' }],
    [{ kind: 'multi', org: [] }],
    [{ kind: 'multi', org: { key: 1 } }],
    [{ key: null }],
    [{ ...user, _meta: { privateAttributes: 3 } }],
    [{ key: 'k', privateAttributeNames: [1] }],
  ])('%j is invalid', (value) => {
    expect(parseContext(value)).toBeUndefined();
    expect(evaluatorOf({ f: { key: 'f', ...base } }).evaluate('f', value, 7)).toEqual({
      value: 7,
      variationIndex: null,
      reason: { kind: 'ERROR', errorKind: 'USER_NOT_SPECIFIED' },
    });
  });

  test('can be parsed once and evaluated repeatedly', () => {
    const context = parseContext({ kind: 'multi', org: { key: 'o' }, user });
    expect(evaluatorOf({ f: { key: 'f', ...base } }).evaluate('f', context, null)).toMatchObject({ value: 'on' });
  });

  // Published with LaunchDarkly's relay: HMAC-SHA-256 with the SDK key.
  test.each([
    [{ kind: 'user', key: 'alice' }, 'alice', '86b55f259c84a9242e162039a6230fbaff72e3ddad8d5d3dca3f163b636c2199'],
    [{ kind: 'org', key: 'acme' }, 'org:acme', '291ff036bfc8900e1d2a3e8bf29302b1b16b9f4fea5f3e14473a0dc768607e73'],
    [
      { kind: 'multi', user: { key: 'alice' }, org: { key: 'acme:eu%' } },
      'org:acme%3Aeu%25:user:alice',
      'cadefca28d2030a0c3c38a677f9e9d605df97b1984173dad9ce4f35c93a5c699',
    ],
  ])('%j has the canonical key and secure-mode hash that LaunchDarkly gives it', (value, key, hash) => {
    const context = parseContext(value)!;
    expect(canonicalKey(context)).toBe(key);
    expect(
      secureModeHash(
        (sdkKey, message) => createHmac('sha256', sdkKey).update(message).digest('hex'),
        'sdk-00000000-1111-2222-3333-444455556666',
        context,
      ),
    ).toBe(hash);
  });
});

describe('a result, which calls share,', () => {
  test('is deeply frozen', () => {
    const evaluator = evaluatorOf({
      f: { key: 'f', ...base, variations: [{ list: [{ n: 1 }] }], fallthrough: { variation: 0 } },
    });
    const detail = evaluator.evaluate('f', user, null);
    const { list } = detail.value as { list: { n: number }[] };
    expect([detail, detail.reason, detail.value, list, list[0]].every(Object.isFrozen)).toBe(true);
    expect(evaluator.evaluate('f', user, null)).toBe(detail);
  });

  test('is also frozen for a malformed flag', () => {
    const evaluator = evaluatorOf({ f: { key: 'f', ...base, fallthrough: {} } });
    const result = evaluator.evaluateFlag(evaluator.flags.get('f')!, parseContext(user)!);
    expect([result.detail, result.detail.reason].every(Object.isFrozen)).toBe(true);
  });
});

describe('a compiled flag', () => {
  test('gives a result with its direct prerequisites and whether it is an experiment', () => {
    const evaluator = evaluatorOf({
      f: {
        key: 'f',
        ...base,
        prerequisites: [
          { key: 'p', variation: 1 },
          { key: 'none', variation: 0 },
        ],
      },
      p: { key: 'p', ...base, prerequisites: [{ key: 'q', variation: 1 }] },
      q: { key: 'q', ...base },
      e: {
        key: 'e',
        ...base,
        fallthrough: { rollout: { kind: 'experiment', variations: [{ variation: 1, weight: 100_000 }] } },
      },
      t: { key: 't', ...base, trackEventsFallthrough: true },
    });
    const evaluate = (key: string) => evaluator.evaluateFlag(evaluator.flags.get(key)!, parseContext(user)!);
    expect(evaluate('f')).toEqual({
      detail: { value: 'off', variationIndex: 0, reason: { kind: 'PREREQUISITE_FAILED', prerequisiteKey: 'none' } },
      prerequisites: ['p'],
      isExperiment: false,
    });
    expect(evaluate('e')).toMatchObject({ isExperiment: true, detail: { reason: { inExperiment: true } } });
    expect(evaluate('t')).toMatchObject({ isExperiment: true });
  });

  test('lists its prerequisites and segments without duplicates', () => {
    const segmentMatch = (...values: unknown[]) => ({ op: 'segmentMatch', values });
    const flag = compileFlag({
      ...{ key: 'f', ...base },
      prerequisites: [{ key: 'p' }, { key: 'q' }, { key: 'p' }],
      rules: [
        { clauses: [segmentMatch('s', 't')] },
        { clauses: [segmentMatch('s', null), { op: 'in', values: ['x'] }] },
      ],
    });
    expect(flag).toMatchObject({
      key: 'f',
      version: 1,
      deleted: false,
      prerequisiteKeys: ['p', 'q'],
      segmentKeys: ['s', 't'],
    });
    expect(compileSegment({ key: 's', version: 2, rules: [{ clauses: [segmentMatch('u')] }] })).toMatchObject({
      ...{ key: 's', version: 2, deleted: false, unbounded: false, segmentKeys: ['u'] },
    });
  });

  test.each([
    [{}, { usingMobileKey: true, usingEnvironmentId: false }],
    [{ clientSide: true }, { usingMobileKey: true, usingEnvironmentId: true }],
    [
      { clientSide: true, clientSideAvailability: {} },
      { usingMobileKey: false, usingEnvironmentId: false },
    ],
  ])('%j is available to the same clients as in ld-relay: %j', (data, expected) => {
    expect(clientSideAvailability(compileFlag({ key: 'f', ...data }))).toEqual(expected);
  });
});

describe('evaluation with Big Segments', () => {
  const asks = { op: 'segmentMatch', values: ['b1', 'b2'] };
  const big = (key: string) => ({ key, version: 1, unbounded: true, generation: 2 });
  const evaluatorWith = (
    answer: (key: string) => { status: BigSegmentsStatus; membership?: Record<string, boolean> | null },
  ) => {
    const flag = compileFlag(matching(asks));
    const segments = new Map(['b1', 'b2'].map((key) => [key, compileSegment(big(key))]));
    const sha1Hex = (text: string) => createHash('sha1').update(text).digest('hex');
    return createEvaluator({
      flag: () => flag,
      segment: (key) => segments.get(key),
      bucket: bucketByHex(sha1Hex),
      bigSegments: answer,
    });
  };

  test('queries the store once per context key', () => {
    const asked: string[] = [];
    const evaluator = evaluatorWith((key) => {
      asked.push(key);
      return { status: 'STALE', membership: { 'b2.g2': true } };
    });
    expect(evaluator.evaluate('f', user, null)).toMatchObject({ value: 'hit', reason: { bigSegmentsStatus: 'STALE' } });
    expect(asked).toEqual(['u']);
    expect(bigSegmentRef(compileSegment(big('b2')))).toBe('b2.g2');
  });

  test('reports an error of the store as the status STORE_ERROR, not as an exception', () => {
    const evaluator = evaluatorWith(() => {
      throw new Error('out of reach');
    });
    expect(evaluator.evaluate('f', user, null)).toMatchObject({
      value: 'on',
      reason: { bigSegmentsStatus: 'STORE_ERROR' },
    });
  });

  test('reports a segment that refers to itself as malformed, where the Node SDK never returns', () => {
    const rules = [{ clauses: [{ op: 'segmentMatch', values: ['b'] }] }];
    const evaluator = evaluatorOf(
      { f: matching({ op: 'segmentMatch', values: ['b'] }) },
      { b: { ...big('b'), rules } },
    );
    expect(evaluator.evaluate('f', user, null).reason).toEqual({
      ...{ kind: 'ERROR', errorKind: 'MALFORMED_FLAG', bigSegmentsStatus: 'NOT_CONFIGURED' },
    });
  });
});

describe('evaluation of prerequisites', () => {
  const chain = (length: number) =>
    Object.fromEntries(
      Array.from({ length }, (_, i) => [
        `f${i}`,
        { key: `f${i}`, ...base, prerequisites: i + 1 < length ? [{ key: `f${i + 1}`, variation: 1 }] : [] },
      ]),
    );

  test('follows a chain of a thousand flags @heavy', () => {
    expect(evaluatorOf(chain(1000)).evaluate('f0', user, null)).toMatchObject({
      value: 'on',
      reason: { kind: 'FALLTHROUGH' },
    });
  });

  test('follows a chain of 5,000 flags, wherever it begins @heavy', () => {
    const evaluator = evaluatorOf(chain(5_000));
    const state = evaluator.allFlagsState(user, { flags: evaluator.flags.values() });
    for (const key of evaluator.flags.keys()) expect(state[key]).toBe('on');
    expect(state.$flagsState.f0).toEqual({ variation: 1, version: 1, prerequisites: ['f1'] });
    expect(evaluator.evaluate('f0', user, null)).toMatchObject({ value: 'on', reason: { kind: 'FALLTHROUGH' } });
  });

  test('gives MALFORMED_FLAG where more than 20,000 looks at prerequisites are needed, and correct results afterwards @heavy', () => {
    const evaluator = evaluatorOf(chain(25_000));
    expect(evaluator.evaluate('f0', user, 7)).toEqual({
      value: 7,
      variationIndex: null,
      reason: { kind: 'ERROR', errorKind: 'MALFORMED_FLAG' },
    });
    expect(evaluator.evaluate('f24500', user, 7)).toMatchObject({ value: 'on' });
  });

  /** Counts how often the rules of each item are looked at: each names an attribute of its own. */
  function counted(items: readonly string[]) {
    const counts = new Map(items.map((key) => [key, 0]));
    const attributes = Object.fromEntries(
      items.map((key) => [
        `at-${key}`,
        {
          enumerable: true,
          get: () => {
            counts.set(key, counts.get(key)! + 1);
            return 'seen';
          },
        },
      ]),
    );
    const context = Object.defineProperties({ ...user }, attributes);
    const looks = (key: string) => ({ attribute: `at-${key}`, op: 'in', values: ['nothing'] });
    return { counts, context, looks };
  }
  const layers = (count: number) => Array.from({ length: count }, (_, i) => `x${i}`);

  test.each([
    ['in one evaluation', 1],
    ['for all flags of one context', 28],
  ])('of 28 flags that each name the next twice looks at each once, %s', (_name, roots) => {
    const keys = layers(28);
    const { counts, context, looks } = counted(keys);
    const flags = Object.fromEntries(
      keys.map((key, i) => {
        const prerequisites = [1, 1].flatMap(() => (keys[i + 1] ? [{ key: keys[i + 1], variation: 1 }] : []));
        return [key, { key, ...base, prerequisites, rules: [{ variation: 2, clauses: [looks(key)] }] }];
      }),
    );
    const evaluator = evaluatorOf(flags);
    if (roots === 1) {
      expect(evaluator.evaluate('x0', context, 7)).toMatchObject({ value: 'on' });
    } else {
      const state = evaluator.allFlagsState(context, { flags: evaluator.flags.values() });
      expect(keys.map((key) => state[key])).toEqual(keys.map(() => 'on'));
      expect(state.$flagsState.x0).toMatchObject({ prerequisites: ['x1', 'x1'] });
    }
    expect([...counts.values()]).toEqual(keys.map(() => 1));
  });

  test('of 28 segments that each name the next twice looks at each once', () => {
    const keys = layers(28);
    const { counts, context, looks } = counted(keys);
    const segments = Object.fromEntries(
      keys.map((key, i) => {
        const next = keys[i + 1] ? [{ clauses: [{ op: 'segmentMatch', values: [keys[i + 1], keys[i + 1]] }] }] : [];
        return [key, { key, version: 1, rules: [...next, ...next, { clauses: [looks(key)] }] }];
      }),
    );
    const flag = matching({ op: 'segmentMatch', values: ['x0', 'x0'] });
    const evaluator = evaluatorOf({ f: flag }, segments);
    expect(evaluator.evaluate('f', context, 7)).toMatchObject({ value: 'on' });
    // The last one names no segment and has one rule: it is not worth keeping.
    expect([...counts.values()].slice(0, -1)).toEqual(keys.slice(0, -1).map(() => 1));
  });

  test('follows a chain of 5,000 segments @heavy', () => {
    const keys = layers(5_000);
    const segments = Object.fromEntries(
      keys.map((key, i) => {
        const last = { included: ['u'] };
        const other = { rules: [{ clauses: [{ op: 'segmentMatch', values: [keys[i + 1]] }] }] };
        return [key, { key, version: 1, ...(keys[i + 1] ? other : last) }];
      }),
    );
    const evaluator = evaluatorOf({ f: matching({ op: 'segmentMatch', values: ['x0'] }) }, segments);
    expect(evaluator.evaluate('f', user, 7)).toMatchObject({ value: 'hit' });
  });

  test.each([[2], [150], [500]])(
    'gives MALFORMED_FLAG for a cycle of %i flags, also to all that need one',
    (length) => {
      const flags = chain(length + 5);
      const last = `f${length + 4}`;
      const closed = { ...flags, [last]: { key: last, ...base, prerequisites: [{ key: 'f5', variation: 1 }] } };
      const evaluator = evaluatorOf(closed);
      const state = evaluator.allFlagsState(user, { flags: evaluator.flags.values(), withReasons: true });
      for (const key of evaluator.flags.keys())
        expect(state.$flagsState[key]!.reason).toEqual({ kind: 'ERROR', errorKind: 'MALFORMED_FLAG' });
    },
  );

  test('gives MALFORMED_FLAG for a cycle', () => {
    const flags = { a: { key: 'a', ...base, prerequisites: [{ key: 'a', variation: 1 }] } };
    expect(evaluatorOf(flags).evaluate('a', user, 7).reason).toEqual({ kind: 'ERROR', errorKind: 'MALFORMED_FLAG' });
  });
});

describe('evaluation of invalid input', () => {
  test('never throws, whatever the shape of the flag', () => {
    for (const data of [
      null,
      undefined,
      0,
      5,
      '',
      'text',
      true,
      [],
      [null],
      { key: {} },
      { rules: 5 },
      { key: { toString: 1 }, on: true },
    ]) {
      const flag = compileFlag(data);
      const evaluator = createEvaluator({ flag: () => flag, segment: () => compileSegment(data), bucket: () => 0 });
      expect(plain(evaluator.evaluate('f', user, 7))).toMatchObject({ value: 7, variationIndex: null });
      expect(() => evaluator.allFlagsState(user, { flags: [flag] })).not.toThrow();
    }
  });

  test.each([
    { rules: 'x' },
    { rules: [null] },
    { targets: [{ values: 'u' }] },
    { prerequisites: [{ key: 5 }] },
    { fallthrough: { variation: 0, rollout: { bucketBy: 5 } } },
  ])('gives MALFORMED_FLAG for a flag with a part of the wrong type, even when off: %j', (part) => {
    const evaluator = evaluatorOf({ f: { key: 'f', ...base, on: false, ...part } });
    const malformed = { value: 7, variationIndex: null, reason: { kind: 'ERROR', errorKind: 'MALFORMED_FLAG' } };
    expect(evaluator.evaluate('f', user, 7)).toEqual(malformed);
    expect(evaluator.flags.get('f')).toMatchObject({ key: 'f', version: 1, prerequisiteKeys: [], segmentKeys: [] });
  });

  test('gives MALFORMED_FLAG for a segment with a part of the wrong type, but only to flags that reach it', () => {
    const asks = { op: 'segmentMatch', values: ['s'] };
    const never = { attribute: 'key', op: 'in', values: ['nobody'] };
    const rules = (...clauses: object[]) => [{ id: 'r', variation: 2, clauses }];
    const evaluator = evaluatorOf(
      {
        // The clause after the broken one does not hide the error.
        f: { key: 'f', ...base, rules: rules(asks, never) },
        g: { key: 'g', ...base, rules: rules(never, asks) },
      },
      { s: { key: 's', version: 1, included: 'u' } },
    );
    expect(evaluator.evaluate('f', user, 7).reason).toEqual({ kind: 'ERROR', errorKind: 'MALFORMED_FLAG' });
    expect(evaluator.evaluate('g', user, 7).value).toBe('on');
  });

  test('gives EXCEPTION when the store or the hash throws', () => {
    const fail = () => {
      throw new Error('out of reach');
    };
    const flag = compileFlag({
      key: 'f',
      ...base,
      fallthrough: { rollout: { variations: [{ variation: 0, weight: 1 }] } },
    });
    const reason = { kind: 'ERROR', errorKind: 'EXCEPTION' };
    expect(createEvaluator({ flag: fail, segment: fail, bucket: fail }).evaluate('f', user, 7)).toMatchObject({
      value: 7,
      reason,
    });
    expect(createEvaluator({ flag: () => flag, segment: fail, bucket: fail }).evaluate('f', user, 7)).toMatchObject({
      value: 7,
      reason,
    });
  });

  test('treats a flag named __proto__ like any other', () => {
    const evaluator = evaluatorOf(JSON.parse(`{"__proto__":${JSON.stringify({ key: '__proto__', ...base })}}`));
    const state = evaluator.allFlagsState(user, { flags: evaluator.flags.values() });
    expect(Object.getOwnPropertyDescriptor(state, '__proto__')?.value).toBe('on');
    expect(JSON.stringify(state)).toBe(
      '{"__proto__":"on","$flagsState":{"__proto__":{"variation":1,"version":1}},"$valid":true}',
    );
  });
});
