import type { Counter, FlagSummary, SummaryEvent } from './events.ts';

interface Merged {
  startDate: number;
  endDate: number;
  readonly flags: Map<string, MergedFlag>;
}

interface MergedFlag {
  readonly default?: unknown;
  readonly kinds: Set<string>;
  readonly counters: Map<string, Counter>;
}

/** Where a summary is divided, so that none is larger than what LaunchDarkly's SDKs send. */
const MOST_CHARACTERS = 200_000;

/**
 * Adds up summaries: as few as can say the same. A summary has one fallback for each flag, so flags with another fallback are in another
 * summary; a counter is for one variation, version and value.
 */
export function mergeSummaries(summaries: readonly SummaryEvent[]): SummaryEvent[] {
  const merged: Merged[] = [];
  for (const { startDate, endDate, features } of summaries) {
    for (const [key, flag] of Object.entries(features)) {
      const fallback = JSON.stringify(flag.default);
      const fits = ({ flags }: Merged) => !flags.has(key) || JSON.stringify(flags.get(key)?.default) === fallback;
      let into = merged.find(fits);
      if (!into) {
        into = { startDate, endDate, flags: new Map() };
        merged.push(into);
      }
      into.startDate = Math.min(into.startDate, startDate);
      into.endDate = Math.max(into.endDate, endDate);
      addFlag(into.flags, key, flag);
    }
  }
  return merged.flatMap(summariesOf);
}

function addFlag(flags: Map<string, MergedFlag>, key: string, { contextKinds, counters, ...rest }: FlagSummary): void {
  const { default: fallback } = rest;
  const flag = flags.get(key) ?? { default: fallback, kinds: new Set(), counters: new Map() };
  flags.set(key, flag);
  for (const kind of contextKinds) flag.kinds.add(kind);
  for (const counter of counters) {
    const { variation, version, value } = counter;
    const identity = JSON.stringify([variation, version, value]);
    const known = flag.counters.get(identity);
    flag.counters.set(identity, known ? { ...known, count: known.count + counter.count } : counter);
  }
}

function summariesOf({ startDate, endDate, flags }: Merged): SummaryEvent[] {
  const made: SummaryEvent[] = [];
  let features: [string, FlagSummary][] = [];
  let characters = 0;
  const close = () => {
    if (features.length > 0) made.push({ kind: 'summary', startDate, endDate, features: Object.fromEntries(features) });
    features = [];
    characters = 0;
  };
  for (const [key, { default: fallback, kinds, counters }] of flags) {
    const flag = { default: fallback, contextKinds: [...kinds], counters: [...counters.values()] };
    const more = JSON.stringify(flag).length;
    if (characters + more > MOST_CHARACTERS) close();
    characters += more;
    features.push([key, flag]);
  }
  close();
  return made;
}
