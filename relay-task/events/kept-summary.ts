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

  const keep = (text: string) => keeping.keep({ bytes: Buffer.from(text), events: 1, sender: RELAY });

  /** Keeps these instead of what is kept now. Undefined: there is no room for all of them, so everything stays as it is. */
  function keepInstead(texts: readonly string[]): (readonly Kept[])[] | undefined {
    const instead: (readonly Kept[])[] = [];
    for (const text of texts) {
      const one = keep(text);
      if (!one) {
        keeping.settle(instead.flat());
        return undefined;
      }
      instead.push(one);
    }
    keeping.settle(kept);
    return instead;
  }

  function replace(): void {
    const texts = summary.texts();
    const instead = keepInstead(texts);
    if (instead) {
      kept = instead.flat();
      keptBytes = texts.reduce((sum, text) => sum + Buffer.byteLength(text), 0);
    }
    // Without room it is tried again when there is twice as much to gain.
    togetherBytes = keptBytes;
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
      for (const text of body.take().events) {
        kept.push(...(keep(text) ?? []));
        keptBytes += Buffer.byteLength(text);
      }
      if (keptBytes > Math.max(BODIES_BYTES, 2 * togetherBytes)) replace();
    },
    take() {
      const taken = summary.take();
      // Each event may be delivered without the others.
      const each = taken.events.length > 1 ? keepInstead(taken.events) : undefined;
      const all = kept;
      kept = [];
      keptBytes = 0;
      togetherBytes = 0;
      return { ...taken, kept: each ?? taken.events.map((_, index) => (index === taken.events.length - 1 ? all : [])) };
    },
  };
}
