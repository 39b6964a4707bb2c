import type { Detail, ErrorKind, Reason } from './model.ts';

/** What a caller gets who must be content with this value; null instead of undefined, as from LaunchDarkly's SDKs. */
export function errorDetail<V = unknown>(errorKind: ErrorKind, value: V = null as V): Detail<V> {
  return { value, variationIndex: null, reason: { kind: 'ERROR', errorKind } };
}

/** The result for malformed data. */
export const MALFORMED = freeze(errorDetail('MALFORMED_FLAG'));

/** The same for a malformed clause and for a cycle of prerequisites, which some evaluators treat differently. */
export const BROKEN = freeze({ ...MALFORMED });

/**
 * The result for a variation index. Results are created when the flag is compiled and shared between calls, so they are
 * frozen, values included.
 */
export function pick(variations: ArrayLike<unknown>, index: unknown, reason: Reason): Detail {
  if (typeof index !== 'number' || !(index >= 0 && index < variations.length)) return MALFORMED;
  return freeze({ value: variations[index], variationIndex: index, reason });
}

/** The off variation. A flag without one has no value; that is not an error. */
export function pickOff(variations: ArrayLike<unknown>, index: unknown, reason: Reason): Detail {
  return typeof index === 'number'
    ? pick(variations, index, reason)
    : freeze({ value: null, variationIndex: null, reason });
}

/** Freezes at every depth, without recursion, since values of flags can nest to any depth. */
function freeze<T>(value: T): T {
  const waiting: unknown[] = [value];
  while (waiting.length > 0) {
    const part = waiting.pop();
    if (typeof part !== 'object' || part === null || Object.isFrozen(part)) continue;
    Object.freeze(part);
    for (const inner of Object.values(part)) waiting.push(inner);
  }
  return value;
}
