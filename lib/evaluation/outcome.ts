import type { Detail, ErrorKind, Reason } from './model.ts';

export function errorDetail(errorKind: ErrorKind, value: unknown = null): Detail {
  return { value, variationIndex: null, reason: { kind: 'ERROR', errorKind } };
}

/** The answer for data that means nothing. */
export const MALFORMED = freeze(errorDetail('MALFORMED_FLAG'));

/**
 * The variation of this index. Answers are made with the flag and shared by every call, so they are frozen with the value in
 * them: no caller can change what the next one gets.
 */
export function pick(variations: ArrayLike<unknown>, index: unknown, reason: Reason): Detail {
  if (typeof index !== 'number' || !(index >= 0 && index < variations.length)) return MALFORMED;
  return freeze({ value: variations[index], variationIndex: index, reason });
}

/** The off variation; a flag without one has no value, which is no error. */
export function pickOff(variations: ArrayLike<unknown>, index: unknown, reason: Reason): Detail {
  return typeof index === 'number'
    ? pick(variations, index, reason)
    : freeze({ value: null, variationIndex: null, reason });
}

/** To its depths. */
function freeze<T>(value: T): T {
  if (typeof value === 'object' && value !== null && !Object.isFrozen(value)) {
    Object.freeze(value);
    Object.values(value).forEach(freeze);
  }
  return value;
}
