/** When to retry a payload, and when to give up. */
import { backoffMs } from '../common/backoff.ts';
import type { PostAnswer } from './post.ts';
import type { EventTimings } from './timings.ts';

/** `failing` is temporary; `refused` needs someone to act; `too-large` needs a smaller payload; `invalid` another one. */
type Outcome = 'delivered' | 'too-large' | Failure;
export type Failure = 'failing' | 'refused' | 'invalid';

export function judge(answer: PostAnswer): Outcome {
  if (!('status' in answer)) return 'failing';
  const { status } = answer;
  if (status >= 200 && status < 300) return 'delivered';
  if (status === 413) return 'too-large';
  if (status === 400) return 'invalid';
  return status >= 500 || [408, 429].includes(status) ? 'failing' : 'refused';
}

export interface Treatment {
  /** Diagnostics are retried a few times, analytics for a long time. */
  readonly retries: 'few' | 'many';
  /** It is a part of a payload that LaunchDarkly rejected repeatedly: one more rejection is final. */
  readonly isSuspect?: boolean;
}

const FEW_ATTEMPTS = 4;

/** For one payload. */
export function createRetryRules(
  { retries, isSuspect = false }: Treatment,
  timings: EventTimings,
  random: () => number,
) {
  // Twice, as LaunchDarkly's SDKs do: a proxy may have answered the first time.
  const attemptsIfInvalid = isSuspect ? 1 : 2;
  const began = performance.now();
  const failingTimes = { firstMs: timings.firstRetryMs, maxMs: timings.longestRetryMs };
  const refusedTimes = { firstMs: timings.firstRefusedMs, maxMs: timings.longestRefusedMs };
  const count = { failing: 0, refused: 0, invalid: 0 };

  return {
    /** The delay before the next attempt, in ms, or the reason to give up. */
    after(outcome: Failure, answer: PostAnswer): number | 'rejected' | 'refused' | 'expired' {
      count[outcome] += 1;
      if (count.invalid >= attemptsIfInvalid) return 'rejected';
      const isOver =
        performance.now() - began >= timings.keepForMs ||
        (retries === 'few' && count.failing + count.refused + count.invalid >= FEW_ATTEMPTS);
      if (isOver) return outcome === 'refused' ? 'refused' : 'expired';
      if (outcome === 'refused') return backoffMs(count.refused, refusedTimes, random);
      const wishedMs = 'status' in answer ? Math.min(answer.retryAfterMs ?? 0, timings.longestRefusedMs) : 0;
      return Math.max(wishedMs, backoffMs(count.failing + count.invalid, failingTimes, random));
    },
  };
}
