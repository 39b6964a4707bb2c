/** Undefined if there is no JSON: for undefined and, from JavaScript, a BigInt, a cyclic object, or an object whose members throw. */
export function jsonOf(value: unknown): string | undefined {
  try {
    return JSON.stringify(value);
  } catch {
    return undefined;
  }
}
