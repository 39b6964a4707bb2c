/**
 * Writes a line unless one with the same key was written a moment ago. Returns whether it did. `more` belongs in the
 * line: how many with its key were suppressed since the last one, if any.
 */
export type PacedLines = (key: string, write: (more: { readonly suppressed?: number }) => void) => boolean;

const SAME_LINE_MS = 60_000;
const MOST_KEYS = 20;
const MOST_CHARACTERS = 200;

/** Stands for all keys that have no place of their own. */
const OTHERS = Symbol('others');

/**
 * At most one line per key in `everyMs`, a minute by default, so that repeated requests cannot fill the log. Keys are compared by their first 200
 * characters, and keys beyond the first twenty in that time count as one.
 */
export function createPacedLines(everyMs = SAME_LINE_MS, now: () => number = () => performance.now()): PacedLines {
  const lines = new Map<string | typeof OTHERS, { readonly writtenAt: number; suppressed: number }>();
  const isOver = (writtenAt: number) => now() - writtenAt >= everyMs;

  /** Where the key is counted. Makes room by forgetting what was written long ago. */
  function placeOf(key: string): string | typeof OTHERS {
    const short = key.slice(0, MOST_CHARACTERS);
    if (lines.has(short) || lines.size < MOST_KEYS) return short;
    for (const [known, { writtenAt }] of lines) if (isOver(writtenAt)) lines.delete(known);
    return lines.size < MOST_KEYS ? short : OTHERS;
  }

  return (key, write) => {
    const place = placeOf(key);
    const last = lines.get(place);
    if (last && !isOver(last.writtenAt)) {
      last.suppressed += 1;
      return false;
    }
    lines.set(place, { writtenAt: now(), suppressed: 0 });
    write(last && last.suppressed > 0 ? { suppressed: last.suppressed } : {});
    return true;
  };
}

/** Of items that are left out. */
interface SkippedItems {
  /** How many. */
  readonly items: number;
  /** Of the first of them. */
  readonly problem: string;
}

/** Writes one line about items that are left out, however many, at most once a minute while the first of them has the same problem. */
export function createSkippedLines(
  write: (fields: SkippedItems & { readonly suppressed?: number }) => void,
): (problems: readonly string[]) => void {
  const paced = createPacedLines();
  return ([first, ...others]) => {
    if (first === undefined) return;
    const problem = first.slice(0, MOST_CHARACTERS);
    paced(problem, (more) => write({ items: 1 + others.length, problem, ...more }));
  };
}

/** Writes a line with this reason, cut to 200 characters, at most once a minute for each. */
export function createReasonLines(
  write: (fields: { readonly reason: string; readonly suppressed?: number }) => void,
  now?: () => number,
): (reason: string) => void {
  const paced = createPacedLines(SAME_LINE_MS, now);
  return (text) => {
    const reason = text.slice(0, MOST_CHARACTERS);
    paced(reason, (more) => write({ reason, ...more }));
  };
}
