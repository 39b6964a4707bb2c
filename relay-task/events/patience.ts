/** When to retry a payload, and when to give up. */
import { backoffMs } from '../common/backoff.ts';
import type { PostAnswer } from './post.ts';
import type { EventTimings } from './timings.ts';

/** `failing` is temporary; `refused` needs someone to act; `too-large` needs a smaller payload. */
export type Outcome = 'delivered' | 'too-large' | 'failing' | 'refused';

export function judge(answer: PostAnswer): Outcome {
  if (!('status' in answer)) return 'failing';
  const { status } = answer;
  if (status >= 200 && status < 300) return 'delivered';
  if (status === 413) return 'too-large';
  return status >= 500 || [400, 408, 429].includes(status) ? 'failing' : 'refused';
}

export interface Patience {
  /** The delay before the next attempt, in ms, or the reason to give up. */
  after(outcome: 'failing' | 'refused', answer: PostAnswer): number | 'rejected' | 'refused' | 'expired';
}

const FEW_ATTEMPTS = 4;

/** For one payload. `little`: a few attempts only. */
export function createPatience(amount: 'little' | 'much', timings: EventTimings, random: () => number): Patience {
  const began = performance.now();
  const failingTimes = { firstMs: timings.firstRetryMs, maxMs: timings.longestRetryMs };
  const refusedTimes = { firstMs: timings.firstRefusedMs, maxMs: timings.longestRefusedMs };
  const count = { failing: 0, refused: 0, rejected: 0 };

  return {
    after(outcome, answer) {
      count[outcome] += 1;
      if ('status' in answer && answer.status === 400) count.rejected += 1;
      // LaunchDarkly keeps rejecting these bytes; do not block the payloads behind them.
      if (count.rejected >= FEW_ATTEMPTS) return 'rejected';
      const isOver =
        performance.now() - began >= timings.keepForMs ||
        (amount === 'little' && count.failing + count.refused >= FEW_ATTEMPTS);
      if (isOver) return outcome === 'refused' ? 'refused' : 'expired';
      if (outcome === 'refused') return backoffMs(count.refused, refusedTimes, random);
      const wishedMs = 'status' in answer ? Math.min(answer.retryAfterMs ?? 0, timings.longestRefusedMs) : 0;
      return Math.max(wishedMs, backoffMs(count.failing, failingTimes, random));
    },
  };
}
