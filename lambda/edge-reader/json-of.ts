/** Undefined for what has no JSON: undefined, and from JavaScript a BigInt, an object inside itself, or what throws when it is asked. */
export function jsonOf(value: unknown): string | undefined {
  try {
    return JSON.stringify(value);
  } catch {
    return undefined;
  }
}
