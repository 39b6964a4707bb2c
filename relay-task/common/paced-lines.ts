/**
 * Writes a line unless one with the same key was written a moment ago. Returns whether it did. `more` belongs into the
 * line: how many with its key were suppressed since the last one, if any.
 */
export type PacedLines = (key: string, write: (more: { readonly suppressed?: number }) => void) => boolean;

/**
 * At most one line per key in `everyMs`, so that nobody fills the log by causing the same trouble again and again. Keys are
 * kept, so there must be few.
 */
export function createPacedLines(everyMs: number, now: () => number = () => performance.now()): PacedLines {
  const lines = new Map<string, { readonly writtenAt: number; suppressed: number }>();
  return (key, write) => {
    const last = lines.get(key);
    if (last && now() - last.writtenAt < everyMs) {
      last.suppressed += 1;
      return false;
    }
    lines.set(key, { writtenAt: now(), suppressed: 0 });
    write(last && last.suppressed > 0 ? { suppressed: last.suppressed } : {});
    return true;
  };
}
