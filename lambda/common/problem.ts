/** One human-readable line. It contains no key, since our error messages never repeat what was sent. */
export function problemOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
