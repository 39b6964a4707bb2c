import { createStoreState } from '../../../relay-task/store/store-state.ts';
import { createLogRecorder } from '../../support/logs.ts';

function start({ serves = true } = {}) {
  const { log, shown } = createLogRecorder();
  let time = 0;
  const state = createStoreState({
    clock: { wall: () => time, now: () => time },
    log,
    where: { database: 'redis' },
    describe: (error) => (error as Error).message,
    serves: () => serves,
  });
  const at = (ms: number, part: Parameters<typeof state.report>[0], reason?: string) => {
    time = ms;
    state.report(part, reason === undefined ? undefined : new Error(reason));
  };
  /** Without what is the same in all lines. */
  const lines = () =>
    shown.splice(0).map((line) => line.replace(/"database":"redis",?|,"runbook":"operations.md#store-down"/g, ''));
  return { ...state, at, lines };
}

test('a database that is down has one line, whatever parts of the store need it, and one when it works again', () => {
  const { at, lines, read } = start();
  at(1, 'write', 'refused');
  at(2, 'read', 'refused');
  at(3, 'lease', 'refused');
  at(4, 'write', 'refused');
  expect(lines()).toEqual([
    'WARN The store fails; still serving from memory, retrying {"part":"write","reason":"refused"}',
  ]);
  expect(read()).toEqual({ state: 'INTERRUPTED', stateSince: 1, lastError: { time: 4, message: 'refused' } });
  at(5, 'lease');
  expect(lines()).toEqual([]);
  at(240_001, 'write');
  expect(lines()).toEqual(['INFO The store works again after 4 min {"afterMs":240000}']);
  expect(read()).toEqual({ state: 'VALID', stateSince: 240_001, lastError: { time: 4, message: 'refused' } });
});

test('another reason of another part has a line of its own', () => {
  const { at, lines } = start({ serves: false });
  at(1, 'read', 'refused');
  at(2, 'write', 'not allowed');
  expect(lines()).toEqual([
    'WARN The store fails; there are no flags yet, retrying {"part":"read","reason":"refused"}',
    'WARN The store fails; there are no flags yet, retrying {"part":"write","reason":"not allowed"}',
  ]);
});

test('the next outage has a line again, for the same reason', () => {
  const { at, lines } = start();
  for (const round of [1, 2]) {
    at(round, 'write', 'refused');
    at(round, 'write');
    expect(lines()).toEqual([
      expect.stringMatching(/^WARN The store fails/),
      'INFO The store works again after 0 ms {"afterMs":0}',
    ]);
  }
});
