/**
 * A Redis Cluster keeps keys with the same hash tag on one node: the text between the first `{` and the next `}`, if there is any.
 * https://redis.io/docs/latest/operate/oss_and_stack/reference/cluster-spec/#hash-tags
 */
export function hasHashTag(prefix: string): boolean {
  return /^[^{]*\{[^}]+\}/.test(prefix);
}

/** The prefix with all of it as the hash tag, unless a part of it is one. Braces in unusual places leave it without one. */
export function withHashTag(prefix: string): string {
  return hasHashTag(prefix) ? prefix : `{${prefix}}`;
}
