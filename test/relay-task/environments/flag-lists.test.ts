import { compileFlag, type Flag, parseContext } from '../../../lib/evaluation/index.ts';
import { createEnvironment } from '../../../relay-task/environments/environment.ts';
import { mayBeSeen } from '../../../relay-task/environments/evaluated.ts';
import { createFlagLists } from '../../../relay-task/environments/flag-lists.ts';
import type { CredentialKind } from '../../../relay-task/ports.ts';
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
])('one flag of 3,000 changes, %s: what the others are is not looked up again', (_, changed, fewer) => {
  const environment = createEnvironment({ name: 'test', log: silentLog, onChange() {} });
  const items = Array.from({ length: 3_000 }, (_, index) =>
    flag(`f${index}`, 1, index % 10 === 0 ? { prerequisites: [{ key: `f${index + 1}`, variation: 0 }] } : {}),
  );
  environment.put(items, [], 0);
  const alice = parseContext({ kind: 'user', key: 'alice' })!;
  const wanted = (audience: CredentialKind) => ({ audience, withReasons: false });
  const begin = () =>
    AUDIENCES.forEach((audience) => void environment.clientView.evaluateInSteps(alice, wanted(audience)).next());
  begin();
  environment.upsert(changed, 0);
  const lookups = jest.spyOn(Map.prototype, 'get');
  const sorts = jest.spyOn(Array.prototype, 'sort');
  begin();
  const counted = [lookups.mock.calls.length, sorts.mock.calls.length];
  lookups.mockRestore();
  sorts.mockRestore();
  // Each audience's first flags are evaluated, too.
  expect(counted).toEqual([expect.any(Number), 0]);
  expect(counted[0]).toBeLessThan(1_000);
  expect(environment.flags('environmentId')).toHaveLength(3_000 - fewer);
});
