/** Counts evaluations per flag and variation between two payloads, as in the `summary` event of LaunchDarkly's SDKs. */
import type { Budget } from '../common/budget.ts';

export interface Evaluation {
  readonly flagKey: string;
  /** Undefined: unknown flag. */
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
  /** Number of counters. */
  readonly size: number;
  /** Reserved from the budget. The caller of `take` must release it. */
  readonly reservedBytes: number;
  /** `counted`, or the limit that prevented a new counter. */
  add(evaluation: Evaluation): 'counted' | 'capacity' | 'memory';
  /** Returns the event's JSON and resets the counters. */
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

/** Estimated memory of a counter besides its texts. */
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
 * Copies the text. V8's slices reference the string they were cut from, so one counter would keep a whole request body
 * in memory.
 */
function detach(text: string | undefined): string | undefined {
  return text === undefined ? undefined : ` ${text}`.slice(1);
}
