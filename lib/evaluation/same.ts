import { completeFlagInSteps, completeSegmentInSteps, type Fields, isFields } from './complete.ts';

/**
 * Whether two flags are equivalent for evaluators and SDKs, in steps of less than a millisecond. Ignores unknown fields, the order of
 * fields and the difference between an absent field and its default, since ld-relay rewrites flags. Tombstones are compared by version
 * only.
 */
export function sameFlagInSteps(a: unknown, b: unknown): Generator<void, boolean> {
  return same(a, b, completeFlagInSteps);
}

/** The same for segments. */
export function sameSegmentInSteps(a: unknown, b: unknown): Generator<void, boolean> {
  return same(a, b, completeSegmentInSteps);
}

function* same(a: unknown, b: unknown, complete: (data: Fields) => Generator<void, Fields>): Generator<void, boolean> {
  if (a === b) return true;
  if (!isFields(a) || !isFields(b)) return yield* equal(a, b);
  if (a.deleted === true && b.deleted === true) return a.version === b.version;
  return yield* equal(yield* complete(a), yield* complete(b));
}

/** How many values are compared between two yields. */
const AT_ONCE = 1_000;

/** Deep equality of JSON values; ignores the order of an object's fields. Without recursion: values nest as deep as their sender likes. */
function* equal(first: unknown, second: unknown): Generator<void, boolean> {
  const waiting: unknown[] = [first, second];
  for (let compared = 1; waiting.length > 0; compared += 1) {
    if (compared % AT_ONCE === 0) yield;
    const b = waiting.pop();
    const a = waiting.pop();
    if (a === b) continue;
    if (Array.isArray(a)) {
      if (!Array.isArray(b) || a.length !== b.length) return false;
      for (let i = 0; i < a.length; i++) waiting.push(a[i], b[i]);
      continue;
    }
    if (!isFields(a) || !isFields(b)) return false;
    const names = Object.keys(a);
    if (names.length !== Object.keys(b).length) return false;
    for (const name of names) {
      if (!Object.hasOwn(b, name)) return false;
      waiting.push(a[name], b[name]);
    }
  }
  return true;
}
