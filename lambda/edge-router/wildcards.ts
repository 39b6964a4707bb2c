/** CloudFront's path patterns: `*` stands for any text, `?` for one character. */

/**
 * Returns what the last `*` stands for, or the empty string if the pattern has none; undefined if the text does not match. Not a regular
 * expression, whose time could grow with a power of the text's length.
 */
export function compileWildcards(pattern: string): (text: string) => string | undefined {
  const parts = pattern.split('*');
  const [first = '', last = ''] = [parts[0], parts.at(-1)];
  if (parts.length === 1) return (text) => (text.length === first.length && fits(first, text, 0) ? '' : undefined);
  const between = parts.slice(1, -1);
  return (text) => {
    const end = text.length - last.length;
    if (first.length > end || !fits(first, text, 0) || !fits(last, text, end)) return undefined;
    let at = first.length;
    // The earliest place of each part leaves the most for those after it.
    for (const part of between) {
      while (at + part.length <= end && !fits(part, text, at)) at += 1;
      at += part.length;
      if (at > end) return undefined;
    }
    return text.slice(at, end);
  };
}

function fits(part: string, text: string, at: number): boolean {
  for (let i = 0; i < part.length; i += 1) if (part[i] !== '?' && part[i] !== text[at + i]) return false;
  return true;
}
