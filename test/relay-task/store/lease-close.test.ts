import type { Table } from '../../../relay-task/store/dynamodb-client.ts';
import { startLease } from '../../../relay-task/store/lease.ts';
import { defaultTimings, systemClock } from '../../../relay-task/store/timings.ts';
import { silentLog } from '../../support/logs.ts';

beforeEach(() => jest.useFakeTimers());
afterEach(() => jest.useRealTimers());

test('closing a store that does not hold the lease leaves no timer, which would keep the process running', async () => {
  const table: Pick<Table, 'get'> = { get: async () => undefined };
  const lease = startLease({
    table: table as Table,
    prefix: 'env',
    owner: 'task',
    clock: systemClock,
    timings: defaultTimings,
    log: silentLog,
    checkedAt: () => undefined,
    onChange() {},
    onOutcome() {},
    quiesce: async () => {},
  });
  await lease.close();
  expect(jest.getTimerCount()).toBe(0);
});
