/** What a flags file may have and LaunchDarkly's interface could not produce: served, and named. */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { resultOf } from '../../../relay-task/common/slices.ts';
import type { FileRemark } from '../../../relay-task/upstream/file-entry.ts';
import { parseFlagsFile } from '../../../relay-task/upstream/flags-file.ts';
import { exampleFile } from '../../support/example-environment.ts';
import { flagData } from '../../support/items.ts';

function read(text: string, name = 'flags.json') {
  const file = parseFlagsFile(text, name);
  if ('problem' in file) throw new Error(file.problem);
  return { ...file, found: resultOf(file.remarks()) };
}

const linesOf = (remarks: readonly FileRemark[]) =>
  remarks.map(({ kind, key, at, reason }) => `${kind ? `${kind} ${key} ` : ''}${at}: ${reason}`);

/** The remarks on a flag with two variations; the rest of a file may be added. */
function onFlag(changes: object, others: { flags?: object; segments?: object } = {}) {
  const flag = { on: true, variations: ['a', 'b'], fallthrough: { variation: 0 }, ...changes };
  const text = JSON.stringify({ flags: { f: flag, ...others.flags }, segments: others.segments ?? {} });
  const { entries, unreadable, found } = read(text);
  // SDKs accept all of these.
  expect(unreadable).toEqual([]);
  expect(entries.map(({ key }) => key)).toContain('f');
  return linesOf(found).map((line) => line.replace(/^features f /, ''));
}

const clause = { attribute: 'email', op: 'endsWith', values: ['@example.com'] };
const rule = (changes: object) => ({ rules: [{ clauses: [clause], variation: 1, ...changes }] });
const rollout = (...weights: number[]) => ({
  variations: weights.map((weight, index) => ({ variation: index % 2, weight })),
});
const ownDefault = 'so that SDKs answer with their own default';
const rest = 'the last variation gets the rest';

describe('a flag is served, and named in a remark, if', () => {
  test.each<[what: string, changes: object, remark: string]>([
    ['a property is misspelt', { falthrough: {} }, 'falthrough: no SDK reads this property; did you mean fallthrough?'],
    ['a property is unknown', { weight: 1 }, 'weight: no SDK reads this property'],
    [
      "a rule's property is misspelt",
      rule({ clauses: [{ ...clause, negat: true }] }),
      'rules[0].clauses[0].negat: no SDK reads this property; did you mean negate?',
    ],
    [
      "a target's property is misspelt",
      { targets: [{ variation: 0, valeus: [], values: ['u'] }] },
      'targets[0].valeus: no SDK reads this property; did you mean values?',
    ],
    [
      'the property is in another case',
      rule({ trackevents: true }),
      'rules[0].trackevents: no SDK reads this property; did you mean trackEvents?',
    ],
    [
      'a variation does not exist',
      rule({ variation: 7 }),
      `rules[0].variation: there is no variation 7: the flag has 0 to 1, ${ownDefault}`,
    ],
    [
      'the off variation does not exist',
      { offVariation: 2 },
      `offVariation: there is no variation 2: the flag has 0 to 1, ${ownDefault}`,
    ],
    [
      'a variation is negative',
      { fallthrough: { variation: -1 } },
      `fallthrough.variation: there is no variation -1: the flag has 0 to 1, ${ownDefault}`,
    ],
    [
      "a target's variation does not exist",
      { contextTargets: [{ contextKind: 'org', variation: 2, values: ['o'] }] },
      `contextTargets[0].variation: there is no variation 2: the flag has 0 to 1, ${ownDefault}`,
    ],
    [
      'a target has no variation',
      { targets: [{ values: ['u'] }] },
      'targets[0].variation: is missing and counts as 0; write which one is meant',
    ],
    [
      "a rollout's variation does not exist",
      { fallthrough: { rollout: { variations: [{ variation: 5, weight: 100_000 }] } } },
      `fallthrough.rollout.variations[0].variation: there is no variation 5: the flag has 0 to 1, ${ownDefault}`,
    ],
    [
      'weights add up to less',
      { fallthrough: { rollout: rollout(50_000, 40_000) } },
      `fallthrough.rollout.variations: the weights add up to 90000 instead of 100000: ${rest}`,
    ],
    [
      'weights are percentages',
      { fallthrough: { rollout: rollout(60, 40) } },
      `fallthrough.rollout.variations: the weights add up to 100 instead of 100000: ${rest}; 1% is 1000`,
    ],
    [
      'weights add up to more',
      rule({ variation: undefined, rollout: rollout(60_000, 60_000) }),
      'rules[0].rollout.variations: the weights add up to 120000 instead of 100000: what is above it is never reached',
    ],
    [
      'a rollout has no variations',
      rule({ variation: undefined, rollout: { variations: [] } }),
      'rules[0].rollout.variations: is empty: contexts that it matches get the fallback value from the code',
    ],
    [
      'a kind of rollout is misspelt',
      { fallthrough: { rollout: { ...rollout(100_000), kind: 'experimnt' } } },
      'fallthrough.rollout.kind: "experimnt" counts as "rollout"; did you mean experiment?',
    ],
    [
      'a rule gives nothing',
      rule({ variation: undefined }),
      'rules[0]: has neither variation nor rollout: contexts that it matches get the fallback value from the code; add one',
    ],
    [
      'a rule gives two things',
      rule({ rollout: rollout(50_000, 50_000) }),
      'rules[0]: has a variation and a rollout: SDKs use the variation; remove one',
    ],
    [
      'a rule has no clauses',
      rule({ clauses: [] }),
      'rules[0].clauses: the rule has none, so that it matches everybody',
    ],
    [
      'it has no fallthrough',
      { fallthrough: undefined },
      'fallthrough: is missing: contexts that match no target or rule get the fallback value from the code',
    ],
    [
      'an operator does not exist',
      rule({ clauses: [{ ...clause, op: 'endsWithh' }] }),
      'rules[0].clauses[0].op: there is no operator "endsWithh": the clause never matches; did you mean endsWith?',
    ],
    [
      'an operator is a member of every object',
      rule({ clauses: [{ ...clause, op: 'toString' }] }),
      'rules[0].clauses[0].op: there is no operator "toString": the clause never matches',
    ],
    [
      'a clause has no values',
      rule({ clauses: [{ ...clause, values: [] }] }),
      'rules[0].clauses[0].values: there are none: the clause never matches',
    ],
    [
      'a clause has no attribute',
      rule({ clauses: [{ op: 'in', values: ['u'] }] }),
      'rules[0].clauses[0].attribute: is missing: name the attribute that the values are compared with',
    ],
    [
      'a number is a text',
      rule({ clauses: [{ attribute: 'age', op: 'lessThan', values: ['18'] }] }),
      'rules[0].clauses[0].values[0]: lessThan never matches "18": expected a number',
    ],
    [
      'a time is none',
      rule({ clauses: [{ attribute: 'at', op: 'after', values: ['2026-01-31'] }] }),
      'rules[0].clauses[0].values[0]: after never matches "2026-01-31": expected a time such as "2026-01-31T00:00:00Z", or milliseconds since 1970',
    ],
    [
      'a version is none',
      rule({ clauses: [{ attribute: 'v', op: 'semVerEqual', values: ['2.x'] }] }),
      'rules[0].clauses[0].values[0]: semVerEqual never matches "2.x": expected a version such as "2.1.0"',
    ],
    [
      'a kind of context cannot exist',
      rule({ clauses: [{ ...clause, contextKind: 'my org' }] }),
      'rules[0].clauses[0].contextKind: no context is of the kind "my org": expected letters, digits, dots, hyphens and underscores',
    ],
    [
      'a segment does not exist',
      rule({ clauses: [{ op: 'segmentMatch', values: ['beta'] }] }),
      'rules[0].clauses[0].values[0]: there is no segment "beta", so no context is in it',
    ],
    [
      'a prerequisite does not exist',
      { prerequisites: [{ key: 'g', variation: 0 }] },
      'prerequisites[0].key: there is no flag "g", so that the flag counts as off',
    ],
  ])('%s', (_, changes, remark) => expect(onFlag(changes)).toEqual([remark]));

  test('it has no variations', () => {
    expect(onFlag({ variations: [], fallthrough: {}, on: false })).toEqual([
      'variations: the flag has none, so that every SDK answers with its own default',
      'fallthrough: has neither variation nor rollout: contexts that reach it get the fallback value from the code; add one',
    ]);
  });

  test('parts of a rollout are missing', () => {
    const parts = [{ weight: 100_000 }, { variation: 1 }, { variation: 0, weight: 0.5 }, { variation: 0, weight: -1 }];
    expect(onFlag({ fallthrough: { rollout: { variations: parts } } })).toEqual([
      'fallthrough.rollout.variations[0].variation: is missing; write which variation is meant',
      'fallthrough.rollout.variations[1].weight: is missing and counts as 0; 1% is 1000',
      'fallthrough.rollout.variations[2].weight: 0.5 is no weight: expected a whole number from 0 to 100000',
      'fallthrough.rollout.variations[3].weight: -1 is no weight: expected a whole number from 0 to 100000',
      `fallthrough.rollout.variations: the weights add up to 99999.5 instead of 100000: ${rest}`,
    ]);
  });

  test('a kind of context cannot exist, wherever it is named', () => {
    const wrong = expect.stringContaining(': no context is of the kind "multi": expected ');
    const odd = { contextKind: 'multi' };
    const found = onFlag(
      { targets: [{ ...odd, variation: 0, values: [] }], fallthrough: { rollout: { ...odd, ...rollout(100_000) } } },
      {
        segments: { s: { unboundedContextKind: 'multi', rules: [{ rolloutContextKind: 'multi', clauses: [clause] }] } },
      },
    );
    expect(found).toEqual([wrong, wrong, wrong, wrong]);
    expect(found.map((line) => line.split(':')[0])).toEqual([
      'segments s rules[0].rolloutContextKind',
      'segments s unboundedContextKind',
      'targets[0].contextKind',
      'fallthrough.rollout.contextKind',
    ]);
  });

  test('it names others by a similar key, or a variation that they do not have', () => {
    const changes = {
      prerequisites: [
        { key: 'serch', variation: 0 },
        { key: 'search', variation: 2 },
      ],
      ...rule({ clauses: [{ op: 'segmentMatch', values: ['frends', 'friends'] }] }),
    };
    const others = { flags: { search: flagData('search', 1) }, segments: { friends: { included: ['ada'] } } };
    expect(onFlag(changes, others).sort()).toEqual([
      'prerequisites[0].key: there is no flag "serch", so that the flag counts as off; did you mean search?',
      expect.stringMatching(
        /^prerequisites\[1\]\.variation: there is no variation 2: flag search has .*, so that f always counts as off$/,
      ),
      'rules[0].clauses[0].values[0]: there is no segment "frends", so no context is in it; did you mean friends?',
    ]);
  });

  test('prerequisites or segments lead back to it: once for each circle', () => {
    const needs = (...keys: string[]) => ({
      ...{ on: true, variations: [1], fallthrough: { variation: 0 } },
      prerequisites: keys.map((key) => ({ key, variation: 0 })),
    });
    const uses = (...values: string[]) => ({ rules: [{ clauses: [{ op: 'segmentMatch', values }] }] });
    const { found } = read(
      JSON.stringify({
        flags: { a: needs('b', 'd'), b: needs('c'), c: needs('b'), d: needs('d'), e: needs('a') },
        segments: { s: uses('t'), t: uses('s') },
      }),
    );
    const then = 'SDKs answer with their own default; remove one of them';
    expect(linesOf(found)).toEqual([
      `features b prerequisites: the prerequisites of b lead back to it, b → c → b: ${then}`,
      `features d prerequisites: the prerequisites of d lead back to it, d → d: ${then}`,
      `segments s rules: the segments in the rules of s lead back to it, s → t → s: ${then}`,
    ]);
  });

  test('JSON has a key twice, with the line of the second one; YAML refuses it', () => {
    const text = `{
      "flags": {
        "a": { "on": true, "variations": [1], "fallthrough": { "variation": 0 } },
        "b": { "on": true, "variations": [{ "x": 1,
          "\\u0078": 2 }], "fallthrough": { "variation": 0 } },
        "a": { "on": false, "variations": [1], "fallthrough": { "variation": 0 } }
      },
      "flagValues": { "on": "on", "list": [{ "on": 1 }, { "on": 2 }] },
      "flagValues": { "on": "[{,\\"", "off": "\\"on\\":" }
    }`;
    const { found, entries } = read(text);
    expect(linesOf(found)).toEqual([
      'features b variations[0].x: line 5 has this key again: the last one counts; keep one',
      'features a : line 6 has this key again: the last one counts; keep one',
      'flagValues: line 9 has this key again: the last one counts; keep one',
    ]);
    expect(entries.find(({ key }) => key === 'a')?.data.on).toBe(false);
    expect(() => read('flags:\n  a: {}\n  a: {}\n', 'flags.yaml')).toThrow('Map keys must be unique');
  });
});

test('a section that no SDK reads is named', () => {
  expect(linesOf(read('{"flagValues": {}, "segmets": {}, "$schema": "x", "environments": []}').found)).toEqual([
    'segmets: no SDK reads this section; did you mean segments?',
    'environments: no SDK reads this section: expected flags, segments, flagValues',
  ]);
});

test('a segment is read like a flag', () => {
  const segment = {
    ...{ includd: ['ada'], includedContexts: [{ contextKind: 'kind', values: ['x'] }] },
    rules: [{ weight: 100_001, clauses: [{ ...clause, op: 'is' }] }],
  };
  expect(linesOf(read(JSON.stringify({ segments: { s: segment } })).found)).toEqual([
    'segments s includd: no SDK reads this property; did you mean included?',
    'segments s rules[0].clauses[0].op: there is no operator "is": the clause never matches; did you mean in?',
    'segments s rules[0].weight: 100001 is no weight: expected a whole number from 0 to 100000',
    expect.stringMatching(/^segments s includedContexts\[0\]\.contextKind: no context is of the kind "kind": /),
  ]);
});

test("no remark on the examples, on what LaunchDarkly's Go code writes, on notes for people, and on every operator of LaunchDarkly", () => {
  // ldmodel in go-server-sdk-evaluation 3.0: its constants, and what its marshaller writes for a flag without settings.
  const operators =
    'in endsWith startsWith matches contains lessThan lessThanOrEqual greaterThan greaterThanOrEqual semVerEqual semVerLessThan semVerGreaterThan';
  const clauses = operators
    .split(' ')
    .map((op) => ({ attribute: 'x', op, values: [/^(less|greater)/.test(op) ? 1 : '1.0.0'], negate: false }));
  const times = ['before', 'after'].map((op) => ({ attribute: 'x', op, values: [0, '2026-01-31T00:00:00+01:00'] }));
  const segments = [{ attribute: '', op: 'segmentMatch', values: ['s'] }];
  const flag = {
    ...{ key: 'f', on: true, prerequisites: [], targets: [], contextTargets: [], offVariation: null, version: 1 },
    rules: [{ variation: 0, id: '', clauses: [...clauses, ...times, ...segments], trackEvents: false }],
    ...{ fallthrough: { variation: 0 }, variations: [1], clientSide: false, salt: '', trackEvents: false },
    ...{ trackEventsFallthrough: false, debugEventsUntilDate: null, deleted: false, sel: '', _note: 'x', name: 'F' },
  };
  const segment = {
    ...{ key: 's', included: [], excluded: [], includedContexts: [], excludedContexts: [], salt: '', rules: [] },
    ...{ version: 1, generation: null, deleted: false, description: 'nobody' },
  };
  expect(linesOf(read(JSON.stringify({ flags: { f: flag }, segments: { s: segment } })).found)).toEqual([]);
  expect(linesOf(read(readFileSync(exampleFile, 'utf8')).found)).toEqual([]);
  const yaml = readFileSync(join(exampleFile, '../flag-values.yaml'), 'utf8');
  expect(linesOf(read(yaml, 'flag-values.yaml').found)).toEqual([]);
});

test('remarks are few, however large the file is', () => {
  const flags = Object.fromEntries(Array.from({ length: 120 }, (_, at) => [`f${at}`, { on: true, extra: 1 }]));
  expect(read(JSON.stringify({ flags })).found).toHaveLength(100);
});

test('a long chain of prerequisites takes no stack @heavy', () => {
  const last = 19_999;
  const chain = Array.from({ length: last + 1 }, (_, at) => {
    const prerequisites = at < last ? [{ key: `f${at + 1}`, variation: 0 }] : [];
    return [`f${at}`, flagData(`f${at}`, 1, { prerequisites })];
  });
  expect(linesOf(read(JSON.stringify({ flags: Object.fromEntries(chain) })).found)).toEqual([]);
});
