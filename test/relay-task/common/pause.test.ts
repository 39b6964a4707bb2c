import { createPause, sleep, within } from '../../../relay-task/common/pause.ts';

describe('with fake timers,', () => {
  beforeEach(() => jest.useFakeTimers());
  afterEach(() => jest.useRealTimers());

  /** Whether a promise has been resolved by now. */
  async function isDone(promise: Promise<void>): Promise<boolean> {
    let done = false;
    void promise.then(() => {
      done = true;
    });
    await Promise.resolve();
    await Promise.resolve();
    return done;
  }

  test('a sleep lasts exactly as long as requested', async () => {
    const asleep = sleep(1_000);
    jest.advanceTimersByTime(999);
    expect(await isDone(asleep)).toBe(false);
    jest.advanceTimersByTime(1);
    expect(await isDone(asleep)).toBe(true);
  });

  test('an aborted signal ends a sleep, or keeps it from starting, and leaves no timer', async () => {
    const controller = new AbortController();
    const asleep = sleep(1_000, controller.signal);
    controller.abort();
    expect(await isDone(asleep)).toBe(true);
    expect(await isDone(sleep(1_000, controller.signal))).toBe(true);
    expect(jest.getTimerCount()).toBe(0);
  });

  test('work with a time limit gives its result, or undefined once the time is up, and leaves no timer', async () => {
    expect(await within(1_000, Promise.resolve('done'))).toBe('done');
    await expect(within(1_000, Promise.reject(new Error('failed')))).rejects.toThrow('failed');
    expect(jest.getTimerCount()).toBe(0);
    const late = within(1_000, new Promise(() => {}));
    jest.advanceTimersByTime(1_000);
    expect(await late).toBeUndefined();
    expect(jest.getTimerCount()).toBe(0);
  });

  test('a pause lasts until its time is up', async () => {
    const pause = createPause();
    const waiting = pause.wait(1_000);
    jest.advanceTimersByTime(999);
    expect(await isDone(waiting)).toBe(false);
    jest.advanceTimersByTime(1);
    expect(await isDone(waiting)).toBe(true);
  });

  test('a pause without a time limit lasts until it is woken', async () => {
    const pause = createPause();
    const waiting = pause.wait(Infinity);
    expect(jest.getTimerCount()).toBe(0);
    expect(await isDone(waiting)).toBe(false);
    pause.wake();
    expect(await isDone(waiting)).toBe(true);
  });

  test('a wake before the wait ends that wait and no other', async () => {
    const pause = createPause();
    pause.wake();
    pause.wake();
    expect(await isDone(pause.wait(1_000))).toBe(true);
    expect(await isDone(pause.wait(1_000))).toBe(false);
  });
});
