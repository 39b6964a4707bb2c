/** Metrics of an environment that was removed end a while later, when collectors have read its last values. */
import { labelValue } from '../common/client-labels.ts';
import type { Measures } from '../common/measures.ts';

interface ForgottenSeriesOptions {
  readonly measures: Pick<Measures, 'forget'>;
  /** The names that environments have now. */
  names(): Iterable<string>;
  /** 15 minutes: a collector may read every few minutes, and Prometheus itself shows a series for five minutes after its last value. */
  readonly afterMs?: number | undefined;
}

const AFTER_MS = 15 * 60_000;

export function createForgottenSeries({ measures, names, afterMs = AFTER_MS }: ForgottenSeriesOptions) {
  const timers = new Set<NodeJS.Timeout>();
  /** ld-relay's metrics have other characters in the name, so another environment may have the same label. */
  const labelsOf = (name: string) => [name, labelValue(name)];
  return {
    removed(name: string): void {
      const timer = setTimeout(() => {
        timers.delete(timer);
        // It may be here again, or have gone again: then another timer is on its way, and this one does no harm.
        const inUse = new Set([...names()].flatMap(labelsOf));
        const labels = new Set(labelsOf(name).filter((label) => !inUse.has(label)));
        if (labels.size > 0) void measures.forget('env', labels);
      }, afterMs);
      timer.unref();
      timers.add(timer);
    },
    close(): void {
      for (const timer of timers) clearTimeout(timer);
      timers.clear();
    },
  };
}
