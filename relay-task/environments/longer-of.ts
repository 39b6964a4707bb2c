/** The one of two that is valid for longer; of equals, the first. Without `expiresAt` (Unix ms) there is no end. */
export function longerOf<T extends { readonly expiresAt?: number | undefined }>(a: T | undefined, b: T): T {
  if (a === undefined) return b;
  return (a.expiresAt ?? Number.POSITIVE_INFINITY) >= (b.expiresAt ?? Number.POSITIVE_INFINITY) ? a : b;
}
