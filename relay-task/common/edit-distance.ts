const MOST_EDITS = 2;

/** The name most like `word`, without regard to case; undefined if none is close enough to be what was meant. */
export function nearest(word: string, names: readonly string[]): string | undefined {
  const [best] = names
    // The distance is at least this difference.
    .filter((name) => Math.abs(name.length - word.length) <= MOST_EDITS)
    .map((name) => ({ name, distance: editDistance(word.toLowerCase(), name.toLowerCase()) }))
    .sort((a, b) => a.distance - b.distance);
  // Swapping two letters counts as two edits; within two edits every three-letter word is close to any other.
  return best && best.distance <= (word.length > 3 ? MOST_EDITS : 1) ? best.name : undefined;
}

/** Levenshtein distance: the least number of letters to insert, delete or replace. */
export function editDistance(a: string, b: string): number {
  let row = Array.from({ length: b.length + 1 }, (_, index) => index);
  for (const [i, letter] of a.split('').entries()) {
    let diagonal = i;
    let left = i + 1;
    row = row.map((above, j) => {
      if (j > 0) left = Math.min(above + 1, left + 1, diagonal + (letter === b[j - 1] ? 0 : 1));
      diagonal = above;
      return left;
    });
  }
  return row.at(-1) ?? 0;
}
