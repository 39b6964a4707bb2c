/**
 * Large data is received, read and applied one at a time, over all environments. Sets of flags that arrive together would otherwise be in
 * memory together, each in several forms, since they are read in slices. What arrives slowly is received beside the others
 * (`large-place.ts`).
 */
import type { Budget } from '../common/budget.ts';
import { createReasonLines } from '../common/paced-lines.ts';
import { joinInSlices } from '../common/sliced-json.ts';
import { inSlices } from '../common/slices.ts';
import { createTurnstile } from '../common/turnstile.ts';
import type { Log } from '../ports.ts';
import { type Download, FailureError } from './download.ts';

/** Of an event, or of the answer to a poll. */
export const LARGE_BYTES = 256 * 1024;
const largeOnes = createTurnstile({ maxInside: 1 });
let inside = 0;

export interface LargeWait {
  readonly signal?: AbortSignal | undefined;
  /** A longer wait is reported; 5 s. */
  readonly delayMs?: number | undefined;
  /** `reason`: why it waits; undefined: it no longer does. */
  onDelay?(reason: string | undefined): void;
}

/** Whether no one holds the place. */
export function isPlaceFree(): boolean {
  return inside === 0;
}

/** Resolves with a function that leaves again when it is its turn, or with undefined if `signal` was aborted first. */
export async function enterLarge({ signal, delayMs = 5_000, onDelay }: LargeWait): Promise<(() => void) | undefined> {
  const tell = () => onDelay?.(`it has waited for ${delayMs} ms for large events and answers of other environments`);
  const timer = setTimeout(tell, delayMs);
  try {
    const leave = await largeOnes.enter(signal);
    if (!leave) return undefined;
    inside += 1;
    return () => {
      inside -= 1;
      leave();
    };
  } finally {
    clearTimeout(timer);
    onDelay?.(undefined);
  }
}

/** Reports each delay once. Log messages begin with `name`. */
export function createDelays({ name, log, onDelay }: Pick<LargeWait, 'onDelay'> & { name: string; log: Log }) {
  const warn = createReasonLines((fields) =>
    log.warn(`${name}: a large event or answer is delayed`, { ...fields, runbook: 'operations.md#large-events' }),
  );
  let told: string | undefined;
  return {
    /** `reason`: undefined when it is no longer delayed. */
    tell(reason: string | undefined): void {
      if (reason === told) return;
      told = reason;
      if (reason !== undefined) warn(reason);
      onDelay?.(reason);
    },
  };
}

/**
 * Works on a collected answer when it is its turn. The answer counts as received until the work has ended. Rejects as the work does, or with
 * a FailureError if `signal` was aborted first.
 */
export async function workOnAnswer<T>(
  { chunks }: Download,
  {
    receivedMemory,
    ...wait
  }: LargeWait & { readonly receivedMemory: Budget | undefined; readonly signal: AbortSignal },
  work: (body: Buffer) => Promise<T>,
): Promise<T> {
  const bytes = chunks.reduce((sum, { length }) => sum + length, 0);
  receivedMemory?.hold(bytes);
  let leave = () => {};
  try {
    if (bytes > LARGE_BYTES) leave = (await enterLarge(wait)) ?? cancelled();
    return await work(await inSlices(joinInSlices(chunks)));
  } finally {
    leave();
    receivedMemory?.release(bytes);
  }
}

function cancelled(): never {
  throw new FailureError({ kind: 'NETWORK_ERROR', message: 'the request was cancelled' });
}
