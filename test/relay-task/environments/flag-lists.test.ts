import { compileFlag, type Flag } from '../../../lib/evaluation/index.ts';
import { createEnvironment } from '../../../relay-task/environments/environment.ts';
import { mayBeSeen } from '../../../relay-task/environments/evaluated.ts';
import { createFlagLists } from '../../../relay-task/environments/flag-lists.ts';
import { flag, tombstone } from '../../support/items.ts';
import { silentLog } from '../../support/logs.ts';
import { randomFrom } from '../../support/random.ts';

const AUDIENCES = ['sdkKey', 'mobileKey', 'environmentId'] as const;

const isSame = (a: readonly Flag[], b: readonly Flag[]) => a.length === b.length && a.every((one, at) => one === b[at]);

function createFlags() {
  const items = new Map<string, Flag>();
  const lists = createFlagLists({ keys: () => items.keys(), flag: (key) => items.get(key), mayBeSeen });
  const set = (data: { readonly key: string; readonly json: string }) => {
    items.set(data.key, compileFlag(JSON.parse(data.json)));
    lists.changed(data.key);
  };
  return { items, lists, set };
}

test.each([
  [1, 40],
  [20, 10],
  [300, 5],
])('after %i random changes at a time, the lists are those that would be made anew', (changes, times) => {
  const random = randomFrom(`flag lists ${changes}`);
  const int = (below: number) => Math.floor(random() * below);
  const { items, lists, set } = createFlags();
  const key = () => `f${int(400)}`;
  const shown: { readonly list: readonly Flag[]; readonly copy: readonly Flag[] }[] = [];
  const change = (version: number) => {
    if (int(8) === 0) return set(tombstone('features', key(), version));
    const needs = Array.from({ length: Math.max(0, int(5) - 2) }, () => ({ key: key(), variation: 0 }));
    const [usingMobileKey, usingEnvironmentId] = [int(2) === 0, int(2) === 0];
    set(flag(key(), version, { prerequisites: needs, clientSideAvailability: { usingMobileKey, usingEnvironmentId } }));
  };
  for (let version = 1; version <= times; version++) {
    for (let i = 0; i < changes; i++) change(version);
    const sorted = [...items.keys()].sort().flatMap((name) => items.get(name) ?? []);
    for (const audience of AUDIENCES) {
      const list = lists.flags(audience);
      expect(
        isSame(
          list,
          sorted.filter((one) => mayBeSeen(one, audience)),
        ),
      ).toBe(true);
      shown.push({ list, copy: [...list] });
    }
    const named = new Set(sorted.flatMap(({ prerequisiteKeys }) => prerequisiteKeys));
    const expected = [...named].flatMap((name) => items.get(name) ?? []);
    const held = lists.prerequisites();
    expect([held.size, expected.filter((one) => held.has(one)).length]).toEqual([expected.length, expected.length]);
  }
  // Those that were returned before are what they were.
  expect(shown.every(({ list, copy }) => isSame(list, copy))).toBe(true);
});

test.each([
  ['a value', flag('f7', 2), 0],
  [
    'who may see it',
    flag('f7', 2, { clientSideAvailability: { usingMobileKey: false, usingEnvironmentId: false } }),
    1,
  ],
  ['its prerequisites', flag('f7', 2, { prerequisites: [{ key: 'f3', variation: 0 }] }), 0],
  ['that it is gone', tombstone('features', 'f7', 2), 1],
])('one flag of 3,000 changes, %s: what the others are is not looked up again @heavy', (_, changed, fewer) => {
  const environment = createEnvironment({ name: 'test', log: silentLog, onChange() {} });
  const items = Array.from({ length: 3_000 }, (_, index) =>
    flag(`f${index}`, 1, index % 10 === 0 ? { prerequisites: [{ key: `f${index + 1}`, variation: 0 }] } : {}),
  );
  environment.put(items, [], 0);
  const begin = () => {
    for (const audience of AUDIENCES) environment.flags(audience);
  };
  begin();
  environment.upsert(changed, 0);
  const lookups = jest.spyOn(Map.prototype, 'get');
  const sorts = jest.spyOn(Array.prototype, 'sort');
  begin();
  const counted = lookups.mock.calls.length;
  const longest = Math.max(0, ...sorts.mock.contexts.map((list) => (list as unknown[]).length));
  lookups.mockRestore();
  sorts.mockRestore();
  expect(longest).toBeLessThan(10);
  expect(counted).toBeLessThan(1_000);
  expect(environment.flags('environmentId')).toHaveLength(3_000 - fewer);
});

test('lists follow any number of changes in steps, and those that come in between @heavy', () => {
  const items = new Map<string, Flag>();
  let looks = 0;
  const lists = createFlagLists({
    keys: () => items.keys(),
    flag(key) {
      looks += 1;
      return items.get(key);
    },
    mayBeSeen,
  });
  const set = (at: number, version: number) => {
    const needs = at % 3 === 0 ? [{ key: `f${at + 1}`, variation: 0 }] : [];
    items.set(`f${at}`, compileFlag(JSON.parse(flag(`f${at}`, version, { prerequisites: needs }).json)));
    lists.changed(`f${at}`);
  };
  for (let at = 0; at < 2_000; at++) set(at, 1);
  const most = (version: number) => {
    let [largest, before] = [0, looks];
    for (const _ of lists.follow('sdkKey')) {
      largest = Math.max(largest, looks - before);
      before = looks;
      // A change between two steps.
      if (version === 2 && items.get('f7')?.version !== 3) set(7, 3);
    }
    return Math.max(largest, looks - before);
  };
  expect(most(1)).toBeLessThan(500);
  for (let at = 0; at < 2_000; at++) set(at, 2);
  expect(most(2)).toBeLessThan(500);
  const after = looks;
  const sorted = [...items.keys()].sort().map((key) => items.get(key)!);
  expect(isSame(lists.flags('sdkKey'), sorted)).toBe(true);
  expect(lists.prerequisites().size).toBe(sorted.filter(({ key }) => Number(key.slice(1)) % 3 === 1).length);
  // Nothing is left to be done.
  expect(looks).toBe(after);
});
