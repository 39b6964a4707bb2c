/**
 * A revision: the writer's term (epoch, which increases with every takeover of the lease) and the publication within it (seq).
 * Ordered by epoch, then seq. A rev never refers to two different contents.
 */
export interface Rev {
  readonly epoch: number;
  readonly seq: number;
}

const epochDigits = 18;
const seqDigits = 10;

/**
 * Fixed-width decimal text, `000001760000000000.0000000007`: DynamoDB orders these strings like the revisions, so that
 * conditions can compare them. Accepts integers from 0 to 2^53 - 1 (epoch) and to 10^10 - 1 (seq).
 */
export function formatRev(rev: Rev): string {
  return `${String(rev.epoch).padStart(epochDigits, '0')}.${String(rev.seq).padStart(seqDigits, '0')}`;
}

/** The revision; undefined for anything that `formatRev` does not produce. */
export function parseRev(text: string | undefined): Rev | undefined {
  if (text === undefined || !/^\d{18}\.\d{10}$/.test(text)) return undefined;
  const epoch = Number(text.slice(0, epochDigits));
  return Number.isSafeInteger(epoch) ? { epoch, seq: Number(text.slice(epochDigits + 1)) } : undefined;
}

/** Negative if a is older than b, 0 if they are the same, positive if a is newer. Undefined is older than any revision. */
export function compareRev(a: Rev | undefined, b: Rev | undefined): number {
  if (a === undefined || b === undefined) return Number(a !== undefined) - Number(b !== undefined);
  return a.epoch - b.epoch || a.seq - b.seq;
}
