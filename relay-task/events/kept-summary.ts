/** A summary whose counts survive the process: each body's own counts are in the spool, as a summary of their own, until all were sent. */
import type { Keeping } from './keeping.ts';
import { RELAY } from './parcel.ts';
import type { Kept } from './spool-index.ts';
import { createSummary, type Summary } from './summary.ts';

/** Above this, and twice what they take together, the counts of single bodies are replaced by those of all. */
const BODIES_BYTES = 64 * 1024;
const UNLIMITED = { pin: () => true, unpin() {} };

export function createKeptSummary(summary: Summary, keeping: Pick<Keeping, 'keep' | 'settle'>): Summary {
  const body = createSummary(Number.POSITIVE_INFINITY, UNLIMITED);
  let kept: Kept[] = [];
  let keptBytes = 0;
  let togetherBytes = 0;

  function keep(texts: readonly string[]): void {
    for (const text of texts) {
      const bytes = Buffer.from(text);
      kept.push(...(keeping.keep({ bytes, events: 1, sender: RELAY }) ?? []));
      keptBytes += bytes.length;
    }
  }

  function replace(): void {
    const before = kept;
    kept = [];
    keptBytes = 0;
    keep(summary.texts());
    togetherBytes = keptBytes;
    keeping.settle(before);
  }

  return {
    get size() {
      return summary.size;
    },
    get bytes() {
      return summary.bytes;
    },
    add(evaluation, sender) {
      const result = summary.add(evaluation, sender);
      if (result === 'counted') body.add(evaluation, sender);
      return result;
    },
    texts: summary.texts,
    bodyEnds() {
      keep(body.take().events);
      if (keptBytes > Math.max(BODIES_BYTES, 2 * togetherBytes)) replace();
    },
    take() {
      const taken = { ...summary.take(), kept };
      kept = [];
      keptBytes = 0;
      togetherBytes = 0;
      return taken;
    },
  };
}
