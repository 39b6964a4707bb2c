import { parseContext, parseGoContext } from '../../../lib/evaluation/index.ts';
import type { Item } from '../../../lib/flag-table/index.ts';
import { resultOf } from '../../../relay-task/common/slices.ts';
import { createEnvironment } from '../../../relay-task/environments/environment.ts';
import type { BigSegments, CredentialKind, Memberships } from '../../../relay-task/ports.ts';
import { turnsOfLoop, until } from '../../support/eventually.ts';
import { flag, segment, tombstone } from '../../support/items.ts';
import { createLogRecorder } from '../../support/logs.ts';
import { countSlicedTurns } from '../../support/sliced-turns.ts';

const alice = parseContext({ kind: 'user', key: 'alice' })!;
const HIDDEN = { clientSideAvailability: { usingMobileKey: false, usingEnvironmentId: false }, clientSide: false };

function start(items: readonly Item[], bigSegments?: BigSegments) {
  const refreshed: string[][] = [];
  const { log, lines } = createLogRecorder();
  const environment = createEnvironment({
    name: 'test',
    log,
    onChange() {},
    bigSegments,
    onRefresh: (keys) => void refreshed.push([...keys]),
  });
  environment.put(items, [], 0);
  const one = (
    key: string,
    audience: CredentialKind = 'sdkKey',
    withReasons = false,
    context = alice,
    memberships?: Memberships,
  ) => environment.clientView.evaluateOne(key, context, { audience, withReasons }, memberships)?.json;
  const keys = (audience: CredentialKind) =>
    resultOf(environment.clientView.evaluateInSteps(alice, { audience, withReasons: false })).map(({ key }) => key);
  return { environment, one, keys, refreshed, lines };
}

describe('an evaluated flag', () => {
  test('has the fields of evalx in their order and flagVersion, and omits what is false or empty', () => {
    const { one } = start([flag('banner', 7, { variations: ['red', 'blue'], fallthrough: { variation: 1 } })]);
    expect(one('banner')).toBe('{"value":"blue","variation":1,"version":7,"flagVersion":7}');
    expect(one('banner', 'sdkKey', true)).toBe(
      '{"value":"blue","variation":1,"version":7,"flagVersion":7,"reason":{"kind":"FALLTHROUGH"}}',
    );
  });

  test('shows tracking, debugging, experiment and prerequisites, and then the reason unasked', () => {
    const { one } = start([
      flag('first', 1),
      flag('checkout', 31, {
        trackEvents: true,
        debugEventsUntilDate: 1_700_000_000_000,
        prerequisites: [{ key: 'first', variation: 0 }],
        rules: [{ id: 'r', clauses: [], variation: 1, trackEvents: true }],
      }),
    ]);
    expect(one('checkout')).toBe(
      '{"value":false,"variation":1,"version":31,"flagVersion":31,"trackEvents":true,"trackReason":true,' +
        '"reason":{"kind":"RULE_MATCH","ruleIndex":0,"ruleId":"r"},"debugEventsUntilDate":1700000000000,"prerequisites":["first"]}',
    );
  });

  test('is JSON, whatever its numbers are', () => {
    const item = flag('f', 3, { debugEventsUntilDate: 5 });
    const { one } = start([{ ...item, json: item.json.replace(':5,', ':1e400,') }]);
    expect(JSON.parse(one('f')!)).toMatchObject({ value: true, version: 3 });
  });

  test('without a value has null as its value and variation', () => {
    const { one } = start([flag('off', 2, { on: false, offVariation: null })]);
    expect(one('off')).toBe('{"value":null,"variation":null,"version":2,"flagVersion":2}');
  });

  test('lists the prerequisites evaluated up to the first that fails, if the audience may see them', () => {
    const { one } = start([
      flag('hidden', 1, HIDDEN),
      flag('open', 1),
      flag('fails', 1, { on: false }),
      flag('late', 1),
      flag('user', 1, {
        prerequisites: ['hidden', 'open', 'fails', 'late'].map((key) => ({ key, variation: 0 })),
      }),
    ]);
    const named = (audience: CredentialKind) => JSON.parse(one('user', audience)!).prerequisites;
    expect(named('sdkKey')).toEqual(['hidden', 'open', 'fails']);
    expect(named('environmentId')).toEqual(['open', 'fails']);
    expect(named('mobileKey')).toEqual(['open', 'fails']);
  });

  test('is one shared object for all contexts with the same answer until the flag changes', () => {
    const { environment } = start([flag('a', 1)]);
    const options = { audience: 'sdkKey', withReasons: false } as const;
    const answers = ['x', 'y'].map((key) =>
      environment.clientView.evaluateOne('a', parseContext({ kind: 'user', key })!, options),
    );
    expect(answers[0]).toBeDefined();
    expect(answers[0]).toBe(answers[1]);
    environment.upsert(flag('a', 2), 0);
    expect(environment.clientView.evaluateOne('a', alice, options)).toMatchObject({ key: 'a', version: 2 });
  });
});

describe('an audience of flags', () => {
  const items = [
    flag('both', 1),
    flag('mobile', 1, { clientSideAvailability: { usingMobileKey: true, usingEnvironmentId: false } }),
    flag('browser', 1, { clientSideAvailability: { usingMobileKey: false, usingEnvironmentId: true } }),
    flag('old', 1, { clientSideAvailability: undefined, clientSide: true }),
    flag('older', 1, { clientSideAvailability: undefined, clientSide: undefined }),
    flag('none', 1, HIDDEN),
    tombstone('features', 'gone', 3),
  ];

  test.each([
    ['sdkKey', ['both', 'browser', 'mobile', 'none', 'old', 'older']],
    ['mobileKey', ['both', 'mobile', 'old', 'older']],
    ['environmentId', ['both', 'browser', 'old']],
  ] as const)('(%s) gets its flags sorted by key, without tombstones', (audience, expected) => {
    const { environment, keys, one } = start(items);
    expect(keys(audience)).toEqual(expected);
    expect(Array.from(environment.flags(audience), ({ key }) => key)).toEqual(expected);
    for (const { key } of items)
      expect(one(key, audience) !== undefined).toBe((expected as readonly string[]).includes(key));
  });

  test('gains and loses a flag with its availability', () => {
    const { environment, keys } = start([flag('a', 1), flag('b', 1)]);
    environment.upsert(flag('a', 2, HIDDEN), 0);
    expect(keys('environmentId')).toEqual(['b']);
    environment.upsert(flag('a', 3), 0);
    expect(keys('environmentId')).toEqual(['a', 'b']);
  });
});

describe('the flags affected by a change', () => {
  const uses = (key: string, version = 1, extra = {}) =>
    flag(key, version, {
      rules: [{ id: key, variation: 1, clauses: [{ op: 'segmentMatch', attribute: '', values: ['inner'] }] }],
      ...extra,
    });
  const items = [
    segment('inner', 1, { rules: [{ clauses: [{ op: 'segmentMatch', attribute: '', values: ['core'] }] }] }),
    segment('core', 1),
    uses('direct'),
    flag('above', 1, { prerequisites: [{ key: 'direct', variation: 0 }] }),
    flag('top', 1, { prerequisites: [{ key: 'above', variation: 0 }] }),
    flag('alone', 1),
  ];
  const affected = ({ environment }: ReturnType<typeof start>, ...changed: Item[]) =>
    [...environment.affected(changed).flagKeys].sort();

  test('include every flag that depends on it through segments and prerequisites, and no other', () => {
    const started = start(items);
    expect(affected(started, segment('core', 2))).toEqual(['above', 'direct', 'top']);
    expect(affected(started, flag('above', 2))).toEqual(['above', 'top']);
    expect(affected(started, flag('alone', 2))).toEqual(['alone']);
    expect(affected(started, segment('unused', 1))).toEqual([]);
    expect(affected(started, flag('new', 1), segment('inner', 2))).toEqual(['above', 'direct', 'new', 'top']);
  });

  test('follow the current items, not earlier ones', () => {
    const started = start(items);
    const core = segment('core', 2);
    affected(started, core);
    started.environment.upsert(flag('direct', 2), 0);
    expect(affected(started, core)).toEqual([]);
    started.environment.upsert(uses('alone', 2), 0);
    expect(affected(started, core)).toEqual(['alone']);
    started.environment.upsert(tombstone('features', 'alone', 3), 0);
    expect(affected(started, core)).toEqual([]);
  });

  test('include each flag of a cycle once', () => {
    const circle = ['a', 'b', 'c'].map((key, i) =>
      flag(key, 1, { prerequisites: [{ key: ['b', 'c', 'a'][i], variation: 0 }] }),
    );
    expect(affected(start(circle), flag('a', 2))).toEqual(['a', 'b', 'c']);
  });
});

describe('Big Segments in an evaluation', () => {
  const loads: string[][] = [];
  const members = new Map<string, boolean>();
  const bigSegments: BigSegments = {
    async load(keys) {
      loads.push([...keys]);
      return new Map(keys.map((key) => [key, { status: 'HEALTHY', membership: { 'big.g2': members.get(key) } }]));
    },
    status: () => undefined,
  };
  const big = segment('big', 1, { unbounded: true, generation: 2, unboundedContextKind: 'organization' });
  const beta = flag('beta', 1, {
    rules: [{ id: 'r', variation: 1, clauses: [{ op: 'segmentMatch', attribute: '', values: ['big'] }] }],
  });
  const both = parseContext({ kind: 'multi', user: { key: 'u' }, organization: { key: 'acme' } })!;
  beforeEach(() => {
    loads.length = 0;
    members.clear();
  });

  test('are loaded for the context kinds that they use, before evaluating', async () => {
    const { environment, one } = start([big, beta], bigSegments);
    expect(environment.hasBigSegments).toBe(true);
    const out = await environment.clientView.prepare(both);
    expect(loads).toEqual([['acme']]);
    expect(one('beta', 'sdkKey', true, both, out)).toBe(
      '{"value":true,"variation":0,"version":1,"flagVersion":1,"reason":{"kind":"FALLTHROUGH","bigSegmentsStatus":"HEALTHY"}}',
    );
    members.set('acme', true);
    const inside = await environment.clientView.prepare(both);
    expect(one('beta', 'sdkKey', false, both, inside)).toBe(
      '{"value":false,"variation":1,"version":1,"flagVersion":1}',
    );
    // Another evaluation keeps what it was told.
    expect(one('beta', 'sdkKey', false, both, out)).toBe('{"value":true,"variation":0,"version":1,"flagVersion":1}');
  });

  test('are missing if they were loaded before another kind of context had a Big Segment', async () => {
    const { environment } = start([big, beta], bigSegments);
    const { clientView } = environment;
    expect(clientView.isPrepared(both, undefined)).toBe(false);
    expect(clientView.isPrepared(alice, undefined)).toBe(true);
    const memberships = await clientView.prepare(both);
    expect(clientView.isPrepared(both, memberships)).toBe(true);
    environment.upsert(segment('large', 1, { unbounded: true, generation: 1 }), 0);
    expect(clientView.isPrepared(both, memberships)).toBe(false);
    expect(clientView.isPrepared(both, await clientView.prepare(both))).toBe(true);
  });

  test('are no longer used once the flags come from another environment, which has other members', async () => {
    let source = 'first';
    const sources = new WeakMap<object, string>();
    const moving: BigSegments = {
      ...bigSegments,
      async load(keys) {
        const loaded = await bigSegments.load(keys);
        sources.set(loaded ?? {}, source);
        return loaded;
      },
      isPresent: (memberships) => sources.get(memberships) === source,
    };
    const { environment, one } = start([big, beta], moving);
    const { clientView } = environment;
    members.set('acme', true);
    const memberships = await clientView.prepare(both);
    expect(one('beta', 'sdkKey', false, both, memberships)).toContain('"value":false');
    source = 'second';
    expect(clientView.isPrepared(both, memberships)).toBe(false);
    expect(clientView.isPrepared(alice, undefined)).toBe(true);
    expect(one('beta', 'sdkKey', true, both, memberships)).toBe(
      '{"value":true,"variation":0,"version":1,"flagVersion":1,"reason":{"kind":"FALLTHROUGH","bigSegmentsStatus":"STORE_ERROR"}}',
    );
    expect(clientView.isPrepared(both, await clientView.prepare(both))).toBe(true);
  });

  test('cost nothing if there are none or the context lacks their kind', () => {
    const without = start([segment('small', 1), beta], bigSegments);
    expect(without.environment.hasBigSegments).toBe(false);
    expect(without.environment.clientView.prepare(both)).toBeUndefined();
    expect(start([big, beta], bigSegments).environment.clientView.prepare(alice)).toBeUndefined();
    expect(start([big, beta]).environment.clientView.prepare(both)).toBeUndefined();
    expect(loads).toEqual([]);
  });

  test('refresh the flags that depend on them when they change, and nothing if none does', () => {
    const above = flag('above', 1, { prerequisites: [{ key: 'beta', variation: 0 }] });
    const asked = start([big, beta, above, flag('other', 1)], bigSegments);
    asked.environment.bigSegmentsChanged();
    expect(asked.refreshed.map((keys) => [...keys].sort())).toEqual([['above', 'beta']]);
    expect(asked.environment.affected([beta]).bigSegments).toBe(true);
    expect(asked.environment.affected([flag('other', 2)]).bigSegments).toBe(false);
    const unasked = start([big, flag('other', 1)], bigSegments);
    unasked.environment.bigSegmentsChanged();
    expect(unasked.refreshed).toEqual([]);
  });
});

/** A flag that is true for contexts that satisfy the clauses. */
const ruled = (key: string, ...clauses: object[]) =>
  flag(key, 1, {
    variations: [false, true],
    rules: [{ clauses, variation: 1 }],
    fallthrough: { variation: 0 },
  });
const matching = (...values: string[]) => ({ attribute: 'email', op: 'matches', values });
const withEmail = (email: string) => parseGoContext({ kind: 'user', key: 'a', email })!;

test.each([
  ['(?i)@example\\.com$', 'A@EXAMPLE.COM', true],
  ['^(?P<name>\\pL+)@', 'anna@x', true],
  ['\\Aa.*z\\z', 'a@z', true],
  ['[[:digit:]]', 'a1', true],
  ['(?=a)a', 'a', false],
  ['(a)\\1', 'aa', false],
])('the relay matches patterns as RE2 does: %s in %s is %s', (pattern, email, expected) => {
  const { one } = start([ruled('f', matching(pattern))]);
  expect(JSON.parse(one('f', 'sdkKey', false, withEmail(email))!).value).toBe(expected);
});

test('a segment rule’s percentage by another kind does not contain contexts without the kind', () => {
  const rules = [{ id: 'r', clauses: [], weight: 1000, rolloutContextKind: 'org' }];
  const { one } = start([segment('s', 1, { rules }), ruled('f', { op: 'segmentMatch', values: ['s'] })]);
  expect(JSON.parse(one('f')!).value).toBe(false);
});

test.each([
  ['itself', [['f', 'f']]],
  [
    'a flag that needs it',
    [
      ['f', 'g'],
      ['g', 'f'],
    ],
  ],
])('a flag that needs %s lists no prerequisites, since a client-side SDK would follow them forever', (_, needs) => {
  const flags = needs.map(([key, other]) => flag(key!, 1, { prerequisites: [{ key: other, variation: 0 }] }));
  const { one } = start(flags);
  expect(one('f', 'sdkKey', true)).toBe(
    '{"value":null,"variation":null,"version":1,"flagVersion":1,"reason":{"kind":"ERROR","errorKind":"MALFORMED_FLAG"}}',
  );
});

test('a pattern that RE2 refuses is named once in the log with the number of the others, and in the status until the flag has another', () => {
  const { environment, one, lines } = start([ruled('f', matching('(?=a)', '@good$', '('))]);
  expect(environment.refusedPatterns()).toEqual([]);
  expect(JSON.parse(one('f', 'sdkKey', false, withEmail('a@good'))!).value).toBe(true);
  one('f');
  const refused = ['(?=a)', '('].map((pattern) => ({ kind: 'features', key: 'f', pattern }));
  expect(environment.refusedPatterns()).toEqual(refused);
  const logged = [
    `A regular expression is invalid and never matches ${JSON.stringify({ environment: 'test', ...refused[0], more: 1, runbook: 'operations.md#refused-patterns' })}`,
  ];
  expect(lines).toEqual(logged);
  environment.upsert({ ...ruled('f', matching('@good$')), version: 2 }, 0);
  one('f');
  expect(environment.refusedPatterns()).toEqual([]);
  expect(lines).toEqual(logged);
});

test.each([
  [1, 1],
  [5_000, 40],
])('40 flags that compare versions with a list of %i are evaluated in %i steps or one more @heavy', (length, most) => {
  const clause = { contextKind: 'user', attribute: 'list', op: 'semVerLessThan', values: ['1.0.0'] };
  const flags = Array.from({ length: 40 }, (_, i) =>
    flag(`f${i}`, 1, { rules: [{ id: 'r', variation: 1, clauses: [clause] }] }),
  );
  const { environment } = start(flags);
  const context = parseGoContext({ kind: 'user', key: 'u', list: Array.from({ length }, (_, i) => `2.0.${i}`) })!;
  const wanted = { audience: 'sdkKey', withReasons: false } as const;
  const steps = environment.clientView.evaluateInSteps(context, wanted, undefined);
  let pauses = 0;
  while (!steps.next().done) pauses++;
  expect(pauses).toBe(most);
});

test('a long pattern that RE2 refuses is cut in the log and in the status', () => {
  const { environment, one } = start([ruled('f', matching(`(?=${'a'.repeat(1_000)})`))]);
  one('f', 'sdkKey', false, withEmail('a@good'));
  expect(environment.refusedPatterns()).toEqual([{ kind: 'features', key: 'f', pattern: `(?=${'a'.repeat(297)}` }]);
});

test('of many patterns that RE2 refuses ten of an item and a hundred in all are kept, and each item is one line in the log', () => {
  const many = (key: string, version: number) => ({
    ...ruled(key, matching(...Array.from({ length: 50 }, (_, index) => `(${index}`))),
    version,
  });
  const { environment, keys, lines } = start(Array.from({ length: 30 }, (_, index) => many(`f${index}`, 1)));
  keys('sdkKey');
  const counts = () => {
    const byKey = new Map<string, number>();
    for (const { key } of environment.refusedPatterns()) byKey.set(key, (byKey.get(key) ?? 0) + 1);
    return [...byKey.values()];
  };
  expect(counts()).toEqual(Array.from({ length: 10 }, () => 10));
  expect(lines).toHaveLength(30);
  expect(lines[0]).toContain('"pattern":"(0","more":49,');
  // Those of a flag that was replaced make room.
  environment.upsert({ ...ruled('f0', matching('@good$')), version: 2 }, 0);
  environment.upsert(many('f1', 2), 0);
  environment.upsert(many('f2', 2), 0);
  keys('sdkKey');
  expect(environment.refusedPatterns()).toHaveLength(90);
  environment.upsert(many('f29', 2), 0);
  keys('sdkKey');
  expect(counts()).toEqual(Array.from({ length: 10 }, () => 10));
});

test('many flags that were not needed yet are compiled in slices, once for all that wait @heavy', async () => {
  const flags = Array.from({ length: 2_000 }, (_, i) => ruled(`f${i}`, matching('(?=a)')));
  const { environment, keys, lines } = start(flags);
  const { clientView } = environment;
  let turns = 0;
  const count = () => {
    turns += 1;
    turning = setImmediate(count);
  };
  let turning = setImmediate(count);
  const compiling = clientView.compile();
  expect(clientView.compile()).toBe(compiling);
  expect(lines.length).toBeLessThan(2_000);
  await compiling;
  clearImmediate(turning);
  expect(turns).toBeGreaterThan(1);
  expect(lines).toHaveLength(2_000);
  expect(clientView.compile()).toBeUndefined();
  expect(keys('environmentId')).toHaveLength(2_000);
  // One that changes is compiled with the evaluation.
  environment.upsert({ ...ruled('f1', matching('(?=a)')), version: 2 }, 0);
  expect(clientView.compile()).toBeUndefined();
});

test.each<[string, Item]>([
  ['flag', ruled('f', matching(...Array.from({ length: 300 }, (_, i) => `^(a|b${i})@(?=x)`), '@good$'))],
  [
    'segment',
    segment('s', 1, {
      rules: [{ clauses: [matching(...Array.from({ length: 300 }, (_, i) => `^(a|b${i})@(?=x)`), '@good$')] }],
    }),
  ],
])('the patterns of one %s are compiled one by one, whenever it arrives', async (_, large) => {
  const { environment, one } = start([
    ruled('f', { attribute: '', op: 'segmentMatch', values: ['s'] }),
    segment('s', 1),
    flag('other', 1),
  ]);
  const { clientView } = environment;
  expect(one('f', 'sdkKey', false, withEmail('u@good'))).toContain('"value":false');
  environment.upsert({ ...large, version: 2 }, 0);
  const sliced = countSlicedTurns();
  try {
    await clientView.compile();
    expect(sliced.turns).toBeGreaterThan(100);
  } finally {
    sliced.stop();
  }
  expect(clientView.compile()).toBeUndefined();
  expect(one('f', 'sdkKey', false, withEmail('u@good'))).toContain('"value":true');
  expect(environment.refusedPatterns()).toHaveLength(10);
});

const offOn = { variations: [false, true] };
const everyone = Array.from({ length: 20_000 }, (_, at) => `u${at}`);
const manyRules = everyone.slice(0, 5_000).map((key) => ({
  ...{ id: key, variation: 1, trackEvents: false },
  clauses: [{ contextKind: 'user', attribute: 'key', op: 'in', values: [key], negate: false }],
}));

test.each<[string, readonly Item[], string]>([
  ['flag with thousands of rules', [flag('f', 2, { rules: manyRules, ...offOn })], 'u4999'],
  [
    'flag with a long list of keys',
    [flag('f', 2, { targets: [{ variation: 1, values: everyone }], ...offOn })],
    'u19999',
  ],
  [
    'segment with a long list of keys',
    [ruled('f', { attribute: '', op: 'segmentMatch', values: ['s'] }), segment('s', 2, { included: everyone })],
    'u19999',
  ],
])('one %s is compiled over many turns of the event loop, and is evaluated as ever', async (_, items, key) => {
  const { environment, one } = start(items);
  const sliced = countSlicedTurns();
  try {
    await environment.clientView.compile();
    expect(sliced.turns).toBeGreaterThan(25);
  } finally {
    sliced.stop();
  }
  const answer = (user: string) =>
    JSON.parse(one('f', 'sdkKey', false, parseContext({ kind: 'user', key: user })!) ?? '{}').value;
  expect([answer(key), answer('nobody')]).toEqual([true, false]);
});

test('a flag that is replaced, or needed at once, while it is compiled is the present one @heavy', async () => {
  const { environment, one } = start([flag('f', 1, { rules: manyRules }), flag('g', 1, { rules: manyRules })]);
  const compiling = environment.clientView.compile();
  expect(JSON.parse(one('g') ?? '{}')).toMatchObject({ version: 1 });
  await new Promise((resolve) => setImmediate(resolve));
  environment.upsert(flag('f', 2, { rules: manyRules, variations: ['new', 'newer'] }), 0);
  await compiling;
  expect(environment.clientView.compile()).toBeUndefined();
  expect(JSON.parse(one('f') ?? '{}')).toMatchObject({ value: 'new', version: 2 });
});

test.each<[string, unknown]>([
  ['objects with names of their own', everyone.map((name) => ({ [name]: 1 }))],
  ['many names', Object.fromEntries(everyone.map((name) => [name, [name]]))],
  ['a long text', 'é"'.repeat(20_000)],
])('a large value of %s is neither frozen nor written as JSON in one turn @heavy', async (_, value) => {
  const { environment, one } = start([flag('f', 1, { variations: ['small', value], fallthrough: { variation: 1 } })]);
  const frozen = jest.spyOn(Object, 'freeze');
  const written = jest.spyOn(JSON, 'stringify');
  await environment.clientView.compile();
  const json = one('f') ?? '';
  const texts = written.mock.results.map((result) => `${result.value}`.length);
  written.mockRestore();
  const count = frozen.mock.calls.length;
  frozen.mockRestore();
  expect([count < 100, Math.max(0, ...texts) < 1_000]).toEqual([true, true]);
  expect(JSON.parse(json)).toEqual({ value, variation: 1, version: 1, flagVersion: 1 });
});

const digits = '9'.repeat(309);
test.each(['small', 'large'])('a number in a %s value that no double holds is null for clients', async (size) => {
  const numbers = `[1e999,-1E+400,{"a":2e308,"1e999":[1e999]},${digits},${digits}.5,"1e999","\\"1e999",1e308,1e5,0.1,true,false,null]`;
  const value = `{"numbers":${numbers},"text":"${'x'.repeat(size === 'large' ? 20_000 : 20)}"}`;
  const data = flag('f', 1, { variations: ['small', 'VALUE'], fallthrough: { variation: 1 } });
  const { environment, one } = start([{ ...data, json: data.json.replace('"VALUE"', value) }]);
  await environment.clientView.compile();
  // What `JSON.stringify` makes of it.
  const expected: unknown[] = [null, null, { a: null, '1e999': [null] }, null, null];
  expected.push(...['1e999', '"1e999', 1e308, 1e5, 0.1, true, false, null]);
  expect(JSON.parse(one('f') ?? '').value.numbers).toEqual(expected);
});

/** A flag that is replaced in every turn of the event loop, until `stop`, which returns its last version. */
function changing(environment: ReturnType<typeof start>['environment'], make: (version: number) => Item, from: number) {
  let version = from;
  let timer = setImmediate(change);
  function change(): void {
    version += 1;
    environment.upsert(make(version), 0);
    timer = setImmediate(change);
  }
  return {
    stop(): number {
      clearImmediate(timer);
      return version;
    },
  };
}

test.each<[string, (version: number) => Item]>([
  [
    'flag',
    (version) => flag('f', version, { variations: [false, true], targets: [{ variation: 1, values: everyone }] }),
  ],
  ['segment', (version) => segment('s', version, { included: everyone })],
])(
  'a large %s that changes faster than it is compiled counts in an earlier version, and streams hear of each @heavy',
  async (_, make) => {
    const user = ruled('f', { attribute: '', op: 'segmentMatch', values: ['s'] });
    const { environment, one, refreshed } = start([user, make(1), flag('other', 1)]);
    const { clientView } = environment;
    await clientView.compile();
    expect(environment.affected([flag('other', 1)]).flagKeys).toEqual(['other']);
    const parsed = jest.spyOn(JSON, 'parse');
    const steady = changing(environment, make, 1);
    await turnsOfLoop(2);
    await clientView.compile();
    expect(clientView.isBehind).toBe(true);
    // Others need not wait for it.
    expect(clientView.compile()).toBeUndefined();
    environment.upsert(flag('other', 2), 0);
    expect(JSON.parse(one('other') ?? '{}')).toMatchObject({ version: 2 });
    expect(one('f', 'sdkKey', false, parseContext({ kind: 'user', key: 'u19999' })!)).toContain('"value":true');
    await until('a second time', () => refreshed.length >= 2);
    const last = steady.stop();
    await until('the last version', () => !clientView.isBehind);
    const longest = Math.max(...parsed.mock.calls.map(([text]) => text.length));
    parsed.mockRestore();
    expect(longest).toBeLessThan(20_000);
    expect(refreshed.every((keys) => keys.includes('f'))).toBe(true);
    const present = make(last).kind === 'features' ? environment.flag('f') : environment.segment('s');
    expect(present?.version).toBe(last);
  },
);

test.each<[string, (version: number, values: readonly string[]) => Item]>([
  ['flag', (version, values) => flag('f', version, { ...offOn, targets: [{ variation: 1, values }] })],
  ['segment', (version, included) => segment('s', version, { included })],
])(
  'a large %s that was replaced is never compiled in one turn: it counts as before until it is compiled',
  async (_, make) => {
    const user = ruled('f', { attribute: '', op: 'segmentMatch', values: ['s'] });
    const { environment, one, refreshed } = start([user, make(1, everyone)]);
    const { clientView } = environment;
    await clientView.compile();
    const known = parseContext({ kind: 'user', key: 'u19999' })!;
    const present = () => JSON.parse(one('f', 'sdkKey', false, known) ?? '{}').value;
    const before = present();
    const parsed = jest.spyOn(JSON, 'parse');
    environment.upsert(make(2, everyone.slice(0, 10_000)), 0);
    const meanwhile = present();
    expect(clientView.isBehind).toBe(true);
    const longest = Math.max(0, ...parsed.mock.calls.map(([text]) => text.length));
    parsed.mockRestore();
    expect(longest).toBeLessThan(20_000);
    await clientView.compile();
    expect([before, meanwhile, present()]).toEqual([true, true, false]);
    expect(clientView.isBehind).toBe(false);
    // They hear of the change itself.
    expect(refreshed).toEqual([]);
  },
);

test("a large flag of a whole set, which may be another environment's, does not count as before", async () => {
  const make = (version: number, variations: readonly string[]) =>
    flag('f', version, { variations, targets: [{ variation: 1, values: everyone }] });
  const { environment, one } = start([make(1, ['ours', 'other'])]);
  await environment.clientView.compile();
  environment.put([make(2, ['theirs', 'other'])], [], 0);
  expect(environment.clientView.isBehind).toBe(false);
  expect(JSON.parse(one('f') ?? '{}')).toMatchObject({ value: 'theirs', version: 2 });
});

test("a whole set, which may be another environment's, ends what counts in an earlier version @heavy", async () => {
  const make = (version: number) => flag('f', version, { targets: [{ variation: 1, values: everyone }], ...offOn });
  const { environment, one } = start([make(1)]);
  const { clientView } = environment;
  await clientView.compile();
  const steady = changing(environment, make, 1);
  await turnsOfLoop(2);
  await clientView.compile();
  const last = steady.stop();
  expect(clientView.isBehind).toBe(true);
  const other = flag('f', last + 1, { rules: manyRules, variations: ['theirs', 'others'] });
  environment.put([other], [], 0);
  expect(clientView.isBehind).toBe(false);
  expect(JSON.parse(one('f') ?? '{}')).toMatchObject({ value: 'theirs', version: last + 1 });
});

test('streams hear of changed Big Segments once everything large is compiled, also the first time @heavy', async () => {
  const bigSegments: BigSegments = { load: async () => undefined, status: () => undefined };
  const user = ruled('f', { attribute: '', op: 'segmentMatch', values: ['s'] });
  const large = flag('large', 1, { rules: manyRules });
  const { environment, refreshed } = start(
    [user, large, segment('s', 1, { unbounded: true, generation: 1 })],
    bigSegments,
  );
  const sliced = countSlicedTurns();
  try {
    environment.bigSegmentsChanged();
    expect(refreshed).toEqual([]);
    await environment.clientView.compile();
    expect(sliced.turns).toBeGreaterThan(15);
  } finally {
    sliced.stop();
  }
  expect(refreshed).toEqual([['f']]);
});
