/**
 * What is large is received, read and applied one at a time, over all environments. Sets of flags that arrive together would otherwise all be
 * in memory at once, each in several forms, since they are read in slices.
 */
import type { Budget } from '../common/budget.ts';
import { joinInSlices } from '../common/sliced-json.ts';
import { inSlices } from '../common/slices.ts';
import { createTurnstile } from '../common/turnstile.ts';
import { type Download, FailureError } from './download.ts';

/** Of an event, or of the answer to a poll. */
export const LARGE_BYTES = 256 * 1024;
export const largeOnes = createTurnstile({ maxInside: 1 });

/**
 * Works on an answer that was collected, when it is its turn. It counts as received until the work has ended. Rejects as the work does, or
 * with a FailureError when `signal` was aborted first.
 */
export async function workOnAnswer<T>(
  { chunks }: Download,
  { receivedMemory, signal }: { readonly receivedMemory: Budget | undefined; readonly signal: AbortSignal },
  work: (body: Buffer) => Promise<T>,
): Promise<T> {
  const bytes = chunks.reduce((sum, { length }) => sum + length, 0);
  receivedMemory?.hold(bytes);
  let leave = () => {};
  try {
    if (bytes > LARGE_BYTES) leave = (await largeOnes.enter(signal)) ?? cancelled();
    return await work(await inSlices(joinInSlices(chunks)));
  } finally {
    leave();
    receivedMemory?.release(bytes);
  }
}

function cancelled(): never {
  throw new FailureError({ kind: 'NETWORK_ERROR', message: 'the request was cancelled' });
}
