/** Deletes the key that a Map or Set has had longest if it has more than `most`, and returns that key. Call it after every insertion. */
export function forgetOldest(entries: Map<string, unknown> | Set<string>, most: number): string | undefined {
  const [oldest] = entries.keys();
  if (entries.size <= most || oldest === undefined) return undefined;
  entries.delete(oldest);
  return oldest;
}
