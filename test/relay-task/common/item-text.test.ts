import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { KINDS, type Kind } from '../../../lib/flag-table/index.ts';
import {
  completeTextInSlices,
  isComplete,
  normalText,
  normalTextInSlices,
} from '../../../relay-task/common/item-text.ts';
import { resultOf } from '../../../relay-task/common/slices.ts';
import { createTombstone } from '../../../relay-task/common/tombstone.ts';

interface Vector {
  readonly kind: Kind;
  readonly from: Record<string, unknown>;
  readonly to: string;
}
const vectors: readonly Vector[] = JSON.parse(
  readFileSync(join(import.meta.dirname, '../../fixtures/items/go-sdk-evaluation.json'), 'utf8'),
);

const clause = { attribute: 'plan', op: 'in', values: ['gold'], negate: false };
/** Complete: what LaunchDarkly's Go code would write of it, with everything that it knows. */
const flag = {
  key: 'f',
  on: true,
  prerequisites: [{ key: 'p', variation: 1 }],
  targets: [{ variation: 0, values: ['a'] }],
  contextTargets: [{ contextKind: 'org', variation: 1, values: ['b'] }],
  rules: [
    { variation: 1, id: 'r', clauses: [clause], trackEvents: false },
    {
      rollout: { kind: 'experiment', contextKind: 'org', variations: [{ variation: 0, weight: 100_000 }], seed: 61 },
      id: 's',
      clauses: [{ contextKind: 'org', ...clause }],
      trackEvents: true,
    },
  ],
  fallthrough: { rollout: { variations: [{ variation: 0, weight: 100_000, untracked: true }], bucketBy: 'key' } },
  offVariation: 0,
  variations: [{ deep: [null] }, null],
  clientSideAvailability: { usingMobileKey: true, usingEnvironmentId: true },
  clientSide: true,
  salt: 's',
  trackEvents: false,
  trackEventsFallthrough: false,
  debugEventsUntilDate: null,
  version: 7,
  deleted: false,
  migration: { checkRatio: 2 },
  samplingRatio: 3,
  excludeFromSummaries: true,
};
const segment = {
  key: 's',
  included: ['a'],
  excluded: [],
  includedContexts: [{ contextKind: 'org', values: ['x'] }],
  excludedContexts: [{ values: [] }],
  salt: 'salt',
  rules: [{ id: 'r', clauses: [clause], weight: 5, bucketBy: 'key', rolloutContextKind: 'org' }],
  unbounded: true,
  unboundedContextKind: 'org',
  version: 1,
  generation: 4,
  deleted: false,
};
const items: [Kind, Record<string, unknown>][] = [
  ['features', flag],
  ['segments', segment],
];

type Path = readonly (string | number)[];

/** The paths of all members of objects, at every depth. */
function memberPaths(value: unknown, path: Path = []): Path[] {
  if (Array.isArray(value)) return value.flatMap((part, index) => memberPaths(part, [...path, index]));
  if (typeof value !== 'object' || value === null) return [];
  return Object.entries(value).flatMap(([name, part]) => [[...path, name], ...memberPaths(part, [...path, name])]);
}

/** A copy of `data` in which the member at `path` is `value`; undefined: it is missing. */
function changed(data: unknown, path: Path, value: unknown): Record<string, unknown> {
  const copy = structuredClone(data) as Record<string | number, unknown>;
  let parent = copy;
  for (const name of path.slice(0, -1)) parent = parent[name] as typeof parent;
  if (value === undefined) delete parent[path.at(-1)!];
  else parent[path.at(-1)!] = value;
  return copy;
}

const completeText = (kind: Kind, data: unknown, text: string): string =>
  resultOf(completeTextInSlices(kind, data, text));
const complete = (kind: Kind, data: unknown): string => completeText(kind, data, JSON.stringify(data));
/** Missing or null is the same as this to LaunchDarkly's Go code, which omits them. */
const optional =
  /^(variation|rollout|contextKind|id|kind|seed|untracked|bucketBy|clientSideAvailability|migration|checkRatio|samplingRatio|excludeFromSummaries|weight|rolloutContextKind|unbounded|unboundedContextKind)$/;
const insideVariations = ([first]: Path) => first === 'variations';
/** Fields that are optional in one place and have a default in another. */
const isOptional = (kind: Kind, path: Path): boolean => {
  const [name, parent] = [String(path.at(-1)), String(path.at(-3) ?? '')];
  if (name === 'variation') return !['prerequisites', 'targets', 'contextTargets', 'variations'].includes(parent);
  if (name === 'weight') return kind === 'segments';
  if (name === 'id') return kind === 'features';
  return optional.test(name);
};

test.each(vectors.map(({ kind, from, to }) => [kind, JSON.stringify(from), to] as const))(
  "the normal form of %s %s is what LaunchDarkly's Go code writes",
  (kind, from, to) => {
    // Through JSON.parse, since numbers and strings may be written in several ways; the order of fields counts.
    expect(JSON.stringify(JSON.parse(normalText(kind, from)))).toBe(JSON.stringify(JSON.parse(to)));
    expect(isComplete(kind, JSON.parse(to))).toBe(true);
    expect(completeText(kind, JSON.parse(to), to)).toBe(to);
  },
);

test('a complete item keeps its text whatever the order of its fields and its white space', () => {
  for (const [kind, data] of items) {
    expect(normalText(kind, JSON.stringify(data))).toBe(JSON.stringify(data));
    const reversed = JSON.stringify(Object.fromEntries(Object.entries(data).reverse()), null, 2);
    expect(completeText(kind, JSON.parse(reversed), reversed)).toBe(reversed);
  }
});

test('the normal form does not depend on the order of fields or of unknown fields', () => {
  const reversed = (value: unknown): unknown => {
    if (Array.isArray(value)) return value.map(reversed);
    if (typeof value !== 'object' || value === null) return value;
    const entries = Object.entries(value).map(([name, part]) => [name, name === 'variations' ? part : reversed(part)]);
    return Object.fromEntries(entries.reverse());
  };
  for (const [kind, data] of items) {
    const later = { ...data, later: 1, also: { b: 1, a: 2 }, rules: [{ clauses: [{ ...clause, later: 2, also: 3 }] }] };
    const text = normalText(kind, JSON.stringify(later));
    const other = JSON.stringify({ ...(reversed(later) as object), also: later.also });
    expect(other).not.toBe(JSON.stringify(later));
    expect(normalText(kind, other)).toBe(text);
  }
});

describe.each(items)('of an item in %s', (kind, data) => {
  const paths = memberPaths(data).filter((path) => !insideVariations(path));
  // A rollout without variations is left out as a whole.
  const fields = paths.filter((path) => !isOptional(kind, path) && !/rollout,variations$/.test(path.join()));
  const optionals = paths.filter((path) => isOptional(kind, path));

  test('every missing field that SDKs may demand is noticed and filled in, at every depth', () => {
    expect(fields.length).toBeGreaterThan(15);
    for (const path of fields) {
      const text = complete(kind, changed(data, path, undefined));
      expect([path, text === JSON.stringify(changed(data, path, undefined))]).toEqual([path, false]);
      const filled = JSON.parse(text);
      expect([path, isComplete(kind, filled)]).toEqual([path, true]);
      // Nothing else changed, but for the old field that mirrors a new one.
      const value = path.reduce<unknown>((parent, name) => (parent as Record<string | number, unknown>)[name], filled);
      const mirror = path.at(-1) === 'usingEnvironmentId' && { clientSide: false };
      expect(filled).toEqual({ ...changed(data, path, value), ...mirror });
    }
  });

  test('an optional field may be missing, and null is left out', () => {
    expect(optionals.length).toBeGreaterThan(4);
    for (const path of optionals) {
      const without = changed(data, path, undefined);
      expect([path, complete(kind, without)]).toEqual([path, JSON.stringify(without)]);
      const mirrored = path.at(-1) === 'clientSideAvailability' ? { ...without, clientSide: true } : without;
      expect([path, JSON.parse(complete(kind, changed(data, path, null)))]).toEqual([path, mirrored]);
    }
  });
});

test('null stays where SDKs know it, and becomes the default elsewhere', () => {
  const nulls = { ...flag, offVariation: null, debugEventsUntilDate: null };
  expect(complete('features', nulls)).toBe(JSON.stringify(nulls));
  expect(JSON.parse(complete('features', { ...flag, rules: null, on: null, fallthrough: null, salt: null }))).toEqual({
    ...{ ...flag, rules: [], on: false, fallthrough: {}, salt: '' },
  });
});

test('numbers, strings and unknown fields keep their bytes when an item is completed', () => {
  const text =
    '{ "key":"f","version":1e0, "later":{"big": 12345678901234567890, "x":[1.0 ,-0]},"variations":[1.50, {"b":1,"a":"\\u00e9"}],' +
    ' "rules":[{"clauses":[{"attribute":"n","op":"in","values":[1e2],"future":0.10}],"__proto__":{"on":1.0}}]}';
  expect(completeText('features', JSON.parse(text), text)).toBe(
    '{"key":"f","on":false,"prerequisites":[],"targets":[],"contextTargets":[],"rules":[{"clauses":[{"attribute":"n","op":"in",' +
      '"values":[1e2],"negate":false,"future":0.10}],"trackEvents":false,"__proto__":{"on":1.0}}],"fallthrough":{},' +
      '"offVariation":null,"variations":[1.50, {"b":1,"a":"\\u00e9"}],"clientSide":false,"salt":"","trackEvents":false,' +
      '"trackEventsFallthrough":false,"debugEventsUntilDate":null,"version":1e0,"deleted":false,' +
      '"later":{"big": 12345678901234567890, "x":[1.0 ,-0]}}',
  );
});

test('the old clientSide, if missing, mirrors clientSideAvailability', () => {
  for (const usingEnvironmentId of [true, false]) {
    const { clientSide: _, ...data } = {
      ...flag,
      clientSideAvailability: { usingMobileKey: true, usingEnvironmentId },
    };
    expect(JSON.parse(complete('features', data))).toEqual({ ...data, clientSide: usingEnvironmentId });
  }
  const { clientSideAvailability: _, clientSide: __, ...old } = flag;
  expect(JSON.parse(complete('features', old))).toEqual({ ...old, clientSide: false });
});

test('a value nested 200,000 levels deep is read', () => {
  const deep = '['.repeat(200_000) + ']'.repeat(200_000);
  expect(normalText('features', `{"key":"f","variations":[${deep}],"version":1}`)).toContain(`"variations":[${deep}],`);
});

test("a tombstone is LaunchDarkly's Go code's, byte for byte, with the item's own key", () => {
  // Written by MarshalFeatureFlag and MarshalSegment of an item with nothing but a key, a version and `deleted`.
  expect(createTombstone('features', 'gone', 5)).toEqual({
    kind: 'features',
    key: 'gone',
    version: 5,
    deleted: true,
    json:
      '{"key":"gone","on":false,"prerequisites":[],"targets":[],"contextTargets":[],"rules":[],"fallthrough":{},' +
      '"offVariation":null,"variations":[],"clientSide":false,"salt":"","trackEvents":false,"trackEventsFallthrough":false,' +
      '"debugEventsUntilDate":null,"version":5,"deleted":true}',
  });
  expect(createTombstone('segments', 'a"b', 9).json).toBe(
    '{"key":"a\\"b","included":[],"excluded":[],"includedContexts":[],"excludedContexts":[],"salt":"","rules":[],' +
      '"version":9,"generation":null,"deleted":true}',
  );
});

test.each(['a', "$&$1$'", '1234567890123', '"\\u0001"', '\u0001', '"key":"x"', '日本語', '\n'])(
  'a tombstone with the key %j is what its short form would be completed to',
  (key) => {
    for (const kind of KINDS)
      for (const version of [0, 7, 1234567890123])
        expect(createTombstone(kind, key, version).json).toBe(
          normalText(kind, JSON.stringify({ key, version, deleted: true })),
        );
  },
);
test('an object with very many unknown fields is sorted and written in slices, equal in every byte @heavy', () => {
  const names = Array.from({ length: 20_000 }, (_, at) => `${(at * 7_919) % 20_000}-é\ud83d\ude00"`);
  const data = { ...segment, ...Object.fromEntries(names.map((name) => [name, 1])) };
  const sort = jest.spyOn(Array.prototype, 'sort');
  const work = normalTextInSlices('segments', JSON.stringify(data));
  let steps = 1;
  let step = work.next();
  for (; !step.done; step = work.next()) steps += 1;
  const longest = Math.max(...sort.mock.contexts.map((list) => (list as unknown[]).length));
  sort.mockRestore();
  const sorted = [...names].sort().map((name) => `${JSON.stringify(name)}:1`);
  expect(step.value).toBe(`${JSON.stringify(segment).slice(0, -1)},${sorted.join(',')}}`);
  expect(longest).toBeLessThan(1_001);
  expect(steps).toBeGreaterThan(100);
});

test('a large rollout without variations is left out, as a small one is', () => {
  const more = Object.fromEntries(Array.from({ length: 3_000 }, (_, at) => [`n${at}`, 1]));
  const withRollout = (rollout: object) =>
    normalText('features', JSON.stringify({ ...flag, fallthrough: { variation: 0, rollout } }));
  const none = normalText('features', JSON.stringify({ ...flag, fallthrough: { variation: 0 } }));
  expect(withRollout({ variations: [], ...more })).toBe(none);
  expect(withRollout({ variations: [] })).toBe(none);
  expect(withRollout({ variations: [{ variation: 0, weight: 1 }], ...more })).not.toBe(none);
});
