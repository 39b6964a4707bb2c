/** A report that also compares variations by the requests that they decided about, and counts what became of chains' headers. */
import type { Detail } from '../../lib/evaluation/index.ts';
import type { ReaderStatus } from './freshness.ts';
import {
  createReport,
  FALLBACK,
  type MadeWith,
  MOST_VARIATIONS,
  type Report,
  type ReportOptions,
  type ReportOutput,
  variationName,
} from './report.ts';
import type { Surroundings } from './surroundings.ts';

export interface Handled {
  readonly flagKey: string;
  readonly detail: Pick<Detail, 'value' | 'variationIndex'>;
  /** How long the request took. */
  readonly ms: number;
  readonly failed: boolean;
}

export interface ChainReport extends Report {
  /** To be called when a request has ended, for each flag that was decided in it. */
  handled(what: Handled): void;
  /** Counts a header that was used or not, and revisions that were not reached in time. */
  chained(how: string): void;
}

/** Embedded metric format: at most 100 values of a metric. */
const MOST_TIMES = 100;

/** Another service's data are as old as it says. */
const ELSEWHERE: MadeWith = { source: undefined, state: 'ready', ageMs: undefined };

interface Requests {
  requests: number;
  errors: number;
  /** The latest ones, in ms. */
  readonly times: number[];
}

/**
 * `createReport`, with `<flag>=<variation>:requests`, `:errors` and `:ms` as metrics of each flag that is named, and `chains` by outcome in
 * the line.
 */
export function createChainReport(
  options: ReportOptions,
  status: () => ReaderStatus,
  output: Partial<Pick<Surroundings, 'now'>> & Omit<ReportOutput, 'extra'> = {},
): ChainReport {
  let requests = new Map<string, Requests>();
  let chains = new Map<string, number>();

  function extra() {
    const metrics = Object.fromEntries(
      Array.from(requests, ([name, { requests, errors, times }]) => [
        [`${name}:requests`, [requests, 'Count']] as const,
        [`${name}:errors`, [errors, 'Count']] as const,
        [`${name}:ms`, [times, 'Milliseconds']] as const,
      ]).flat(),
    );
    const fields = chains.size > 0 ? { chains: Object.fromEntries(chains) } : {};
    [requests, chains] = [new Map(), new Map()];
    return { metrics, fields };
  }

  const report = createReport(options, status, { ...output, extra });

  return {
    ...report,
    onDecision: (decision) => report.onDecision(decision, decision.elsewhere ? ELSEWHERE : undefined),
    chained: (how) => void chains.set(how, (chains.get(how) ?? 0) + 1),
    handled({ flagKey, detail: { value, variationIndex }, ms, failed }) {
      if (!options.flags?.includes(flagKey)) return;
      const name = `${flagKey}=${variationIndex === null ? FALLBACK : variationName(value, variationIndex)}`;
      const known = requests.get(name);
      if (!known && requests.size >= MOST_VARIATIONS) return;
      const one = known ?? { requests: 0, errors: 0, times: [] };
      one.times[one.requests % MOST_TIMES] = Math.round(ms);
      one.requests += 1;
      one.errors += Number(failed);
      requests.set(name, one);
    },
  };
}
