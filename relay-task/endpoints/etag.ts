/** Validators: RFC 9110 sections 8.8.3 and 13.1.2. */
import type { Encoding } from './encoding.ts';

/** A strong tag; each encoding is a representation of its own with its own tag. */
export function etagOf(digest: string, encoding: Encoding): string {
  return encoding === 'identity' ? `"${digest}"` : `"${digest}-${encoding}"`;
}

/**
 * Whether this `If-None-Match` names one of `digests`, in any encoding. Accepts lists, `*`, weak tags, and tags without
 * quotes, which ld-relay sends.
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

/** The encoding of the representation that the client holds, from the tag it sent. */
export function heldEncoding(ifNoneMatch: string | undefined, digest: string): Encoding {
  return (['br', 'gzip'] as const).find((encoding) => ifNoneMatch?.includes(`${digest}-${encoding}"`)) ?? 'identity';
}
