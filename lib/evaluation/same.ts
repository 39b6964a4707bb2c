import { completeFlag, completeSegment, type Fields, isFields } from './complete.ts';

/**
 * Whether two flags are equivalent for evaluators and SDKs. Ignores unknown fields, the order of fields and the difference
 * between an absent field and its default, since ld-relay rewrites flags. Tombstones are compared by version only.
 */
export function sameFlag(a: unknown, b: unknown): boolean {
  return same(a, b, completeFlag);
}

/** The same as `sameFlag`, for segments. */
export function sameSegment(a: unknown, b: unknown): boolean {
  return same(a, b, completeSegment);
}

function same(a: unknown, b: unknown, complete: (data: Fields) => Fields): boolean {
  if (a === b) return true;
  if (!isFields(a) || !isFields(b)) return equal(a, b);
  if (a.deleted === true && b.deleted === true) return a.version === b.version;
  return equal(complete(a), complete(b));
}

/** Deep equality of JSON values; ignores the order of an object's fields. Without recursion: values nest as deep as their sender likes. */
function equal(first: unknown, second: unknown): boolean {
  const waiting: unknown[] = [first, second];
  while (waiting.length > 0) {
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
