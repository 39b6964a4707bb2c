/** The place for large events, with a clock of the tests' own. */
import { enterLarge } from '../../../relay-task/upstream/large.ts';
import { createPlace } from '../../../relay-task/upstream/large-place.ts';
import { createReceived } from '../../../relay-task/upstream/received-limit.ts';

beforeEach(() => void jest.useFakeTimers());
afterEach(() => void jest.useRealTimers());

function place(arrivedBytes: number, until = 0) {
  return createPlace({
    ...{ placeMs: 1_000, slowness: { until }, received: createReceived(undefined) },
    ...{ arrivedBytes: () => arrivedBytes, onDelay() {} },
  });
}

/** Whether the promise is settled after so long. */
async function settles(promise: Promise<unknown>, ms: number): Promise<boolean> {
  let isSettled = false;
  void promise.then(() => {
    isSettled = true;
  });
  await jest.advanceTimersByTimeAsync(ms);
  return isSettled;
}

test('what was received and dropped keeps the next event waiting in proportion, since its memory is not freed at once', async () => {
  const dropped = place(32_000_000);
  await dropped.enterToReceive(1);
  dropped.close();
  const next = enterLarge({});
  expect(await settles(next, 1_990)).toBe(false);
  expect(await settles(next, 20)).toBe(true);
  (await next)?.();
});

test('an event that arrives slowly is received beside the one that has the place, at 128 KB/s', async () => {
  const leave = await enterLarge({});
  const slow = place(300_000, performance.now() + 60_000);
  expect(slow.enterToReceive(64_000)).toBeUndefined();
  const more = slow.enterToReceive(64_000);
  expect(more && (await settles(more, 490))).toBe(false);
  expect(more && (await settles(more, 20))).toBe(true);
  expect(slow.enterToReceive(64_000)).toBeUndefined();
  leave?.();
  // Nobody waits any more, so it takes the place again.
  await slow.enterToReceive(64_000);
  expect(slow.isTaken).toBe(true);
  slow.leave();
});
