import type { ItemView } from '../../../relay-task/ports.ts';
import type { Known, Ledger } from '../../../relay-task/store/ledger.ts';
import { createPlanner } from '../../../relay-task/store/planner.ts';
import { createMemory } from '../../support/memory.ts';
import { createFakeDatabase } from './fake-database.ts';
import { listenToLog, quickReplica } from './open-replicas.ts';

/** A planner over a database with any number of live rows that memory does not know. */
function createOverRows() {
  const view: ItemView = createMemory();
  const get = (id: string): Known => ({
    ...{ kind: 'features', key: id.slice('features/'.length), token: 't', version: 1 },
    ...{ deleted: false, isShort: false, staleFor: undefined, item: undefined },
  });
  const clock = { now: () => now, sleep: async () => {} };
  let now = 0;
  const log = listenToLog();
  const planner = createPlanner({
    ...{
      database: createFakeDatabase(),
      ledger: { get } as Partial<Ledger> as Ledger,
      where: {},
      log,
      timings: quickReplica,
    },
    graves: { view, isSpent: () => false, look() {} },
    clock: clock as never,
  });
  return {
    planner,
    log,
    passes(ms: number) {
      now += ms;
    },
  };
}

test('any number of rows that memory does not know waits for the second look @heavy', () => {
  const { planner } = createOverRows();
  // More than a function takes as arguments.
  for (let index = 0; index < 200_000; index += 1) {
    planner.plan({ kind: 'features', key: `x${index}`, mode: 'newer' });
  }
  expect(planner.nextLookAt()).toBe(quickReplica.secondLookMs);
});

test('rows that memory overrules are logged in one line, however many', () => {
  const { planner, log, passes } = createOverRows();
  for (let index = 0; index < 100; index += 1) planner.plan({ kind: 'features', key: `x${index}`, mode: 'newer' });
  passes(quickReplica.secondLookMs);
  const again = planner.lookAgain();
  expect(again.map(planner.plan)).toHaveLength(100);
  expect(log.lines).toEqual([
    'warn: Items in the store are not what LaunchDarkly sent; replacing them {"items":100,"item":"features/x0","runbook":"operations.md#store-differs"}',
  ]);
});
