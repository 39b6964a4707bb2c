import { createAutoConfigState } from '../../../relay-task/environments/auto-config-state.ts';
import {
  type EnvironmentRecord,
  environmentJson,
  parseEnvironmentRecord,
} from '../../../relay-task/environments/environment-record.ts';
import { createVersionedTable } from '../../../relay-task/environments/versioned-table.ts';
import { randomFrom } from '../../support/random.ts';

function recordOf(data: unknown, id = 'e1'): EnvironmentRecord {
  const record = parseEnvironmentRecord(data, id);
  if ('problem' in record) throw new Error(record.problem);
  return record;
}

const problemOf = (data: unknown, id = 'e1') => {
  const record = parseEnvironmentRecord(data, id);
  return 'problem' in record ? record.problem : undefined;
};

test('the JSON of a record gives the same record @heavy', () => {
  const random = randomFrom('records');
  const perhaps = (name: string, ...values: unknown[]) => {
    const at = Math.floor(random() * (values.length + 1));
    return at < values.length ? { [name]: values[at] } : {};
  };
  for (let round = 0; round < 500; round++) {
    const data = {
      envId: 'e1',
      ...perhaps('version', 0, 7),
      ...perhaps('secureMode', true, false),
      ...perhaps('defaultTtl', 0, 5),
      ...perhaps('envKey', 'prod'),
      ...perhaps('envName', 'Production'),
      ...perhaps('projKey', 'shop'),
      ...perhaps('projName', 'Shop'),
      ...perhaps('sdkKey', { value: 'sdk-1' }, { value: 'sdk-1', expiring: { value: 'sdk-0', timestamp: 5 } }, {}),
      ...perhaps('sdkKeys', [{ value: 'sdk-1' }, { value: 'sdk-0', expiry: 5 }], []),
      ...perhaps('mobKey', 'mob-1', ''),
      ...perhaps('mobileKeys', [{ value: 'mob-1', expiry: 9 }], []),
    };
    if (problemOf(data) !== undefined) continue;
    const record = recordOf(data);
    const stored = JSON.parse(JSON.stringify(environmentJson(record)));
    expect({ data, record: recordOf(stored) }).toEqual({ data, record });
  }
});

test('what else LaunchDarkly sends of an environment is not stored, whatever its depth', () => {
  let deep: unknown = 1;
  for (let level = 0; level < 50_000; level++) deep = [deep];
  const state = createAutoConfigState();
  const record = recordOf({ envId: 'e1', sdkKey: { value: 'sdk-1', deep }, deep });
  const applied = state.apply({ kind: 'environment', id: 'e1', record }, 0);
  while (!applied.next().done);
  const serialized = state.serialize();
  let step = serialized.next();
  while (!step.done) step = serialized.next();
  expect(JSON.parse(step.value)).toMatchObject({
    environments: [['e1', { envId: 'e1', sdkKey: { value: 'sdk-1' } }, { sdkKey: 'sdk-1' }]],
  });
  const restored = createAutoConfigState().restore(step.value);
  let done = restored.next();
  while (!done.done) done = restored.next();
  expect(done.value).toBe(true);
});

test('problems of an environment are described briefly, however many there are @heavy', () => {
  const sdkKeys = Array.from({ length: 100_000 }, () => ({ value: 1 }));
  expect(problemOf({ envId: 'e1', sdkKey: { value: 'a' }, sdkKeys })).toBe(
    'each of sdkKeys must have a value and, if it ends, an expiry in ms: 100000 do not',
  );
  const id = 'x'.repeat(100_000);
  expect(problemOf({ envId: id }, id)).toBe('the ID must have at most 256 characters, not 100000');
  expect(problemOf({ envId: id })!.length).toBeLessThan(200);
});

test('deletions of unknown IDs are remembered up to a number, and those of known ones always', () => {
  const table = createVersionedTable<string>();
  table.upsert('known', 1, () => 'here');
  expect(table.remove('known', 5)).toBe(true);
  for (let i = 0; i < 1_001; i++) expect(table.remove(`unknown-${i}`, 5)).toBe(false);
  const isTaken = (id: string) => table.upsert(id, 4, () => 'late');
  expect(['known', 'unknown-0', 'unknown-1', 'unknown-1000'].map(isTaken)).toEqual([false, true, false, false]);
  expect(table.upsert('unknown-1', 6, () => 'new')).toBe(true);
});
