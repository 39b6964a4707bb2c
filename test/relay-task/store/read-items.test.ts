import type { Table } from '../../../relay-task/store/dynamodb-client.ts';
import { readItems } from '../../../relay-task/store/read-items.ts';
import { silentLog } from '../../support/logs.ts';
import { countSlicedTurns } from '../../support/sliced-turns.ts';
import { flag } from './items.ts';

test("rows of LaunchDarkly's layout are read in slices, and invalid ones are logged together", async () => {
  const row = (key: string, item: string) => ({ namespace: { S: 'features' }, key: { S: key }, item: { S: item } });
  const rows = Array.from({ length: 100 }, (_, index) => row(`broken-${index}`, '[]'));
  const table: Partial<Table> = {
    get: async ({ key }) => (key === '$inited' ? row(key, '') : undefined),
    getMany: async (keys) => keys.map(() => undefined),
    query: async (namespace) => (namespace === 'features' ? [...rows, row('a', flag('a', 1).json)] : []),
  };
  const told: (readonly string[])[] = [];
  const counted = countSlicedTurns();
  const before = counted.turns;
  const set = await readItems({
    ...{ table: table as Table, prefix: '', log: silentLog, take() {} },
    tellSkipped: (problems) => told.push(problems),
  });
  const turns = counted.turns - before;
  counted.stop();
  expect(set?.items.map(({ key }) => key)).toEqual(['a']);
  expect(told.map((problems) => [problems.length, problems[0]])).toEqual([
    [100, 'features "broken-0": `item` is not a JSON object'],
  ]);
  expect(turns).toBeGreaterThan(90);
});
