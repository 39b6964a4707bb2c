import { writeFileSync } from 'node:fs';
import { PATIENCE_MS, turnsOfLoop } from './eventually.ts';

/**
 * Writes a file in parts, each once its watcher has seen the one before, and ends when the last one has settled. How long a write takes
 * does not count, since it needs `fakeTimers`.
 */
export async function writeSlowly(
  path: string,
  parts: readonly (string | Uint8Array)[],
  { settleMs, isRead }: { settleMs: number; isRead(): boolean },
): Promise<void> {
  // One timer is the watcher's interval. With a second one it waits for the file to settle.
  const isSettling = () => jest.getTimerCount() > 1;
  for (const part of parts) {
    writeFileSync(path, part);
    jest.advanceTimersByTime(settleMs);
    for (const until = performance.now() + PATIENCE_MS; !isSettling(); await turnsOfLoop(1)) {
      if (isRead()) throw new Error(`${path} was read before it was complete`);
      if (performance.now() > until) throw new Error(`the watcher did not see ${path} change`);
    }
  }
  jest.advanceTimersByTime(settleMs);
}

/** Timers only: files are read in real turns of the event loop. End it with `jest.useRealTimers` once the last part has settled. */
export function fakeTimers(): void {
  jest.useFakeTimers({
    doNotFake: ['Date', 'performance', 'hrtime', 'nextTick', 'setImmediate', 'clearImmediate', 'queueMicrotask'],
  });
}
