import type { CloudFrontRequest } from 'aws-lambda';
import type { Observation, Observe } from '../edge-reader/index.ts';
import type { Given } from './engine.ts';
import { headerValue, SHADOW_HEADER } from './headers.ts';

export interface ShownExposures {
  /** To be told of each evaluation that the router's reader makes. */
  readonly observe: Observe;
  /** Counts what was decided for a request, if somebody gets to see it. `given`: the details that it was decided by, by flag key. */
  count(request: CloudFrontRequest, context: object, given: ReadonlyMap<string, Given>): void;
}

/**
 * Tells `evaluated` of the evaluations that requests were decided by, and of no other: a flag may be evaluated several times for a request,
 * and what is evaluated once more to be counted may come out otherwise.
 */
export function createShownExposures(evaluated: Observe): ShownExposures {
  /** The last one of each flag, by the request's context. */
  const made = new WeakMap<object, Map<string, Observation>>();
  return {
    observe(one) {
      const { context } = one;
      if (typeof context !== 'object' || context === null) return;
      const flags = made.get(context) ?? new Map<string, Observation>();
      made.set(context, flags.set(one.flagKey, one));
    },
    count(request, context, given) {
      if (!isShown(request)) return;
      for (const [flagKey, detail] of given) {
        const one = made.get(context)?.get(flagKey);
        // It is another one if the flag could not be evaluated the last time.
        if (one?.detail === detail) evaluated(one);
      }
    },
  };
}

/**
 * Whether somebody gets to see what is decided for this request. HEAD and OPTIONS show nothing, and what a browser fetches in advance may
 * never be shown; no user sees shadow traffic. Source: "Sec-Purpose" in the Fetch Standard, and the headers that browsers sent before it.
 */
function isShown({ method, headers }: Pick<CloudFrontRequest, 'method' | 'headers'>): boolean {
  if (method === 'HEAD' || method === 'OPTIONS') return false;
  if (headerValue(headers, SHADOW_HEADER) !== undefined) return false;
  return !ADVANCE.some((name) => /\b(prefetch|prerender|preview)\b/i.test(headerValue(headers, name) ?? ''));
}

const ADVANCE = ['sec-purpose', 'purpose', 'x-purpose', 'x-moz'];
