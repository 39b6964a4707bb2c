import type { Counter, FlagSummary, SummaryEvent } from './events.ts';

export interface Summaries {
  readonly summaries: SummaryEvent[];
  /** How many evaluations had another fallback than the first `MOST_FALLBACKS` of their flag, and are in the summary of the last of these. */
  readonly folded: number;
}

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
/** How many fallbacks of one flag are told apart: each adds a summary. */
export const MOST_FALLBACKS = 100;

/**
 * Adds up summaries: as few as can say the same. A summary has one fallback for each flag, so flags with another fallback are in another
 * summary; a counter is for one variation, version and value. What has one fallback too many is counted as LaunchDarkly's SDKs do in any
 * case: with the fallback, and for a variation and version with the value, that came before.
 */
export function mergeSummaries(summaries: readonly SummaryEvent[]): Summaries {
  const merged: Merged[] = [];
  /** By flag and the text of the fallback: which of the merged ones has it. The first fallback of each flag is in the first one, and so on. */
  const places = new Map<string, Map<string | undefined, number>>();
  let folded = 0;
  for (const { startDate, endDate, features } of summaries) {
    for (const [key, flag] of Object.entries(features)) {
      const ofFlag = places.get(key) ?? new Map<string | undefined, number>();
      places.set(key, ofFlag);
      const fallback = JSON.stringify(flag.default);
      const known = ofFlag.get(fallback);
      const isFolded = known === undefined && ofFlag.size === MOST_FALLBACKS;
      const place = known ?? Math.min(ofFlag.size, MOST_FALLBACKS - 1);
      if (isFolded) folded += flag.counters.reduce((sum, { count }) => sum + count, 0);
      else ofFlag.set(fallback, place);
      const into = merged[place] ?? { startDate, endDate, flags: new Map() };
      merged[place] = into;
      into.startDate = Math.min(into.startDate, startDate);
      into.endDate = Math.max(into.endDate, endDate);
      addFlag(into.flags, key, flag, isFolded);
    }
  }
  return { summaries: merged.flatMap(summariesOf), folded };
}

function addFlag(flags: Map<string, MergedFlag>, key: string, summary: FlagSummary, isFolded: boolean): void {
  const { contextKinds, counters, ...rest } = summary;
  const { default: fallback } = rest;
  const flag = flags.get(key) ?? { default: fallback, kinds: new Set(), counters: new Map() };
  flags.set(key, flag);
  for (const kind of contextKinds) flag.kinds.add(kind);
  for (const counter of counters) {
    const { variation, version, value } = counter;
    const identity = JSON.stringify([variation, version, isFolded ? 'of any value' : [value]]);
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
