/** Validators: RFC 9110 sections 8.8.3 and 13.1.2. */
import type { Encoding } from './encoding.ts';

/** A strong tag; each compressed form is another representation and has another tag. */
export function etagOf(digest: string, encoding: Encoding): string {
  return encoding === 'identity' ? `"${digest}"` : `"${digest}-${encoding}"`;
}

/**
 * Whether a client that sent this `If-None-Match` holds what one of `digests` stands for: lists, `*`, weak tags, any
 * encoding; and tags without quotes, which ld-relay gave out.
 */
export function heldByClient(ifNoneMatch: string | undefined, digests: () => Iterable<string>): boolean {
  if (ifNoneMatch === undefined) return false;
  const named = new Set<string>();
  for (const [, quoted, bare] of ifNoneMatch.matchAll(/(?:^|,)\s*(?:W\/)?(?:"([^"]*)"|([^",\s]+))\s*(?=,|$)/g)) {
    if (bare === '*') return true;
    named.add((quoted ?? bare ?? '').replace(/-(?:gzip|br)$/, ''));
  }
  if (named.size === 0) return false;
  for (const digest of digests()) {
    if (named.has(digest)) return true;
  }
  return false;
}

/** The encoding of the representation that a client holds, by the tag it sent. */
export function heldEncoding(ifNoneMatch: string | undefined, digest: string): Encoding {
  return (['br', 'gzip'] as const).find((encoding) => ifNoneMatch?.includes(`${digest}-${encoding}"`)) ?? 'identity';
}
