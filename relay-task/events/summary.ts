/** How often each flag answered what, between two payloads; equal to the `summary` event of LaunchDarkly's own SDKs. */
import type { Budget } from './budget.ts';

export interface Evaluation {
  readonly flagKey: string;
  /** Undefined: there is no such flag. */
  readonly version?: number | undefined;
  readonly variation?: number | undefined;
  /** JSON texts. */
  readonly value?: string | undefined;
  readonly fallback?: string | undefined;
  readonly contextKinds: readonly string[];
  /** Unix ms. */
  readonly creationDate: number;
}

export interface Summary {
  /** Counters held. */
  readonly size: number;
  /** What they hold of the budget. Whoever takes the summary gives it back. */
  readonly reservedBytes: number;
  /** `counted`, or why there is no room for another counter. */
  add(evaluation: Evaluation): 'counted' | 'capacity' | 'memory';
  /** The event's JSON; the counters begin anew. */
  take(): string;
}

interface Counter extends Pick<Evaluation, 'version' | 'variation' | 'value'> {
  count: number;
}

interface FlagSummary {
  readonly fallback: string | undefined;
  readonly contextKinds: Set<string>;
  readonly counters: Map<string, Counter>;
}

/** What a counter costs beside its texts, roughly. */
const COUNTER_BYTES = 256;

export function createSummary(capacity: number, budget: Budget): Summary {
  let flags = new Map<string, FlagSummary>();
  let size = 0;
  let reservedBytes = 0;
  let startDate = Number.POSITIVE_INFINITY;
  let endDate = 0;

  function reserve(bytes: number): boolean {
    if (!budget.reserve(bytes)) return false;
    reservedBytes += bytes;
    return true;
  }

  return {
    get size() {
      return size;
    },
    get reservedBytes() {
      return reservedBytes;
    },
    add({ flagKey, version, variation, value, fallback, contextKinds, creationDate }) {
      const flag = flags.get(flagKey) ?? { fallback: detach(fallback), contextKinds: new Set(), counters: new Map() };
      const identity = `${variation ?? ''}:${version ?? ''}`;
      const known = flag.counters.get(identity);
      if (!known) {
        if (size >= capacity) return 'capacity';
        const texts = 2 * flagKey.length + (value?.length ?? 0) + (fallback?.length ?? 0);
        if (!reserve(texts + COUNTER_BYTES)) return 'memory';
        flag.counters.set(identity, { version, variation, value: detach(value), count: 0 });
        flags.set(flagKey, flag);
        size += 1;
      }
      for (const kind of contextKinds) {
        if (!flag.contextKinds.has(kind) && reserve(kind.length + COUNTER_BYTES)) flag.contextKinds.add(kind);
      }
      (known ?? flag.counters.get(identity)!).count += 1;
      startDate = Math.min(startDate, creationDate);
      endDate = Math.max(endDate, creationDate);
      return 'counted';
    },
    take() {
      const features = [...flags].map(([key, flag]) => `${JSON.stringify(key)}:${flagText(flag)}`);
      const text = `{"kind":"summary","startDate":${startDate},"endDate":${endDate},"features":{${features.join(',')}}}`;
      flags = new Map();
      size = 0;
      reservedBytes = 0;
      startDate = Number.POSITIVE_INFINITY;
      endDate = 0;
      return text;
    },
  };
}

function flagText({ fallback, contextKinds, counters }: FlagSummary): string {
  const counterTexts = Array.from(counters.values(), ({ version, variation, value, count }) => {
    const parts = [
      ...(variation === undefined ? [] : [`"variation":${variation}`]),
      version === undefined ? '"unknown":true' : `"version":${version}`,
      ...(value === undefined ? [] : [`"value":${value}`]),
      `"count":${count}`,
    ];
    return `{${parts.join(',')}}`;
  });
  const start = fallback === undefined ? '' : `"default":${fallback},`;
  return `{${start}"contextKinds":${JSON.stringify([...contextKinds])},"counters":[${counterTexts.join(',')}]}`;
}

/**
 * The same text in memory of its own. V8's slices point into the text they came from, so that one counter would keep
 * the whole body of a request alive.
 */
function detach(text: string | undefined): string | undefined {
  return text === undefined ? undefined : ` ${text}`.slice(1);
}
