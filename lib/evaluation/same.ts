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

/** Deep equality of JSON values; ignores the order of an object's fields. */
function equal(a: unknown, b: unknown): boolean {
  if (a === b) return true;
  if (Array.isArray(a)) return Array.isArray(b) && a.length === b.length && a.every((part, i) => equal(part, b[i]));
  if (!isFields(a) || !isFields(b)) return false;
  const names = Object.keys(a);
  return (
    names.length === Object.keys(b).length && names.every((name) => Object.hasOwn(b, name) && equal(a[name], b[name]))
  );
}
