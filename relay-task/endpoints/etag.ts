/** Validators: RFC 9110 sections 8.8.3 and 13.1.2. */

/** A strong tag; the compressed form is another representation and has another tag. */
export function etagOf(digest: string, encoding: 'identity' | 'gzip'): string {
  return encoding === 'gzip' ? `"${digest}-gzip"` : `"${digest}"`;
}

/**
 * Whether a client that sent this `If-None-Match` holds what one of `digests` stands for: lists, `*`, weak tags, either
 * encoding; and tags without quotes, which ld-relay gave out.
 */
export function heldByClient(ifNoneMatch: string | undefined, digests: () => Iterable<string>): boolean {
  if (ifNoneMatch === undefined) return false;
  const named = new Set<string>();
  for (const [, quoted, bare] of ifNoneMatch.matchAll(/(?:^|,)\s*(?:W\/)?(?:"([^"]*)"|([^",\s]+))\s*(?=,|$)/g)) {
    if (bare === '*') return true;
    named.add((quoted ?? bare ?? '').replace(/-gzip$/, ''));
  }
  if (named.size === 0) return false;
  for (const digest of digests()) {
    if (named.has(digest)) return true;
  }
  return false;
}
