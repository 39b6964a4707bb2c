/** Counts evaluations per flag and variation between two payloads, as in the `summary` events of LaunchDarkly's SDKs. */
import { detach } from '../common/json-text.ts';
import { createShares } from '../common/shares.ts';
import type { SenderMemory } from './sender-memory.ts';
import type { Kept } from './spool-index.ts';

interface Evaluation {
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
  /** The memory that they hold. */
  readonly bytes: number;
  /** `counted`, or the limit that prevented a new counter. */
  add(evaluation: Evaluation, sender: string): 'counted' | 'capacity' | 'memory';
  /** What belongs to one body was added. */
  bodyEnds(): void;
  /** The JSON of events, none if nothing was counted. */
  texts(): readonly string[];
  /** Returns the same and resets the counters. Their memory stays held until `release`. `kept`: where each event is in the spool. */
  take(): { readonly events: readonly string[]; readonly kept?: readonly (readonly Kept[])[]; release(): void };
}

interface Counter extends Pick<Evaluation, 'version' | 'variation' | 'value'> {
  count: number;
}

interface FlagSummary {
  readonly fallback: string | undefined;
  readonly contextKinds: Set<string>;
  readonly counters: Map<string, Counter>;
}

const TIMES = 4;
/** Estimated memory of a counter besides its texts. */
const COUNTER_BYTES = 256;
/** Real applications have fewer kinds of contexts, with shorter names, but a sender may invent any. */
const MOST_KINDS = 100;
const LONGEST_KIND = 256;
/** An event is closed at this size; only a single larger counter makes it larger. */
const EVENT_CHARACTERS = 256 * 1024;

/**
 * `capacity`: counters that one sender may begin; a quarter more for all together. A counter is never dropped for another one, since it
 * counts for all senders, so one sender may begin at most four times as many as are free.
 */
export function createSummary(capacity: number, memory: Pick<SenderMemory, 'pin' | 'unpin'>): Summary {
  const together = Math.max(capacity, (capacity - 1) * (1 + 1 / TIMES));
  const createPlaces = () => createShares((taken) => together - taken, TIMES);
  let flags = new Map<string, FlagSummary>();
  let places = createPlaces();
  /** Bytes by sender. */
  let held = new Map<string, number>();
  let bytes = 0;
  let startDate = Number.POSITIVE_INFINITY;
  let endDate = 0;

  function reserve(sender: string, more: number): boolean {
    if (!memory.pin(sender, more)) return false;
    held.set(sender, (held.get(sender) ?? 0) + more);
    bytes += more;
    return true;
  }

  function texts(): string[] {
    const start = `{"kind":"summary","startDate":${startDate},"endDate":${endDate},"features":{`;
    return featuresOf(flags).map((features) => `${start}${features}}}`);
  }

  return {
    get size() {
      return places.taken;
    },
    get bytes() {
      return bytes;
    },
    add({ flagKey, version, variation, value, fallback, contextKinds, creationDate }, sender) {
      const flag = flags.get(flagKey) ?? { fallback: kept(fallback), contextKinds: new Set(), counters: new Map() };
      const identity = `${variation ?? ''}:${version ?? ''}`;
      const known = flag.counters.get(identity);
      const counter = known ?? { version, variation, value: kept(value), count: 0 };
      if (!known) {
        if (!places.fits([sender])) return 'capacity';
        const texts = 2 * flagKey.length + (value?.length ?? 0) + (fallback?.length ?? 0);
        if (!reserve(sender, texts + COUNTER_BYTES)) return 'memory';
        places.take([sender]);
        flag.counters.set(identity, counter);
        flags.set(flagKey, flag);
      }
      for (const kind of contextKinds) {
        if (flag.contextKinds.has(kind)) continue;
        const isListed = flag.contextKinds.size < MOST_KINDS && kind.length <= LONGEST_KIND;
        if (isListed && reserve(sender, kind.length + COUNTER_BYTES)) flag.contextKinds.add(kind);
      }
      counter.count += 1;
      startDate = Math.min(startDate, creationDate);
      endDate = Math.max(endDate, creationDate);
      return 'counted';
    },
    bodyEnds() {},
    texts,
    take() {
      const events = texts();
      const holdings = held;
      flags = new Map();
      places = createPlaces();
      held = new Map();
      bytes = 0;
      startDate = Number.POSITIVE_INFINITY;
      endDate = 0;
      return {
        events,
        release() {
          for (const [sender, reserved] of holdings) memory.unpin(sender, reserved);
        },
      };
    },
  };
}

/** The members of `features` of each event. A flag with large values may be in several of them, with other counters. */
function featuresOf(flags: ReadonlyMap<string, FlagSummary>): string[] {
  const events: string[] = [];
  let features: string[] = [];
  let characters = 0;
  const close = () => {
    if (features.length > 0) events.push(features.join(','));
    features = [];
    characters = 0;
  };
  for (const [key, { fallback, contextKinds, counters }] of flags) {
    const known = fallback === undefined ? '' : `"default":${fallback},`;
    const head = `${JSON.stringify(key)}:{${known}"contextKinds":${JSON.stringify([...contextKinds])},"counters":[`;
    let texts: string[] = [];
    const closeFlag = () => {
      if (texts.length > 0) features.push(`${head}${texts.join(',')}]}`);
      texts = [];
    };
    for (const counter of counters.values()) {
      const text = counterText(counter);
      const more = text.length + (texts.length === 0 ? head.length : 0);
      if (characters > 0 && characters + more > EVENT_CHARACTERS) {
        closeFlag();
        close();
      }
      characters += text.length + (texts.length === 0 ? head.length : 0);
      texts.push(text);
    }
    closeFlag();
  }
  close();
  return events;
}

function counterText({ version, variation, value, count }: Counter): string {
  const parts = [
    ...(variation === undefined ? [] : [`"variation":${variation}`]),
    version === undefined ? '"unknown":true' : `"version":${version}`,
    ...(value === undefined ? [] : [`"value":${value}`]),
    `"count":${count}`,
  ];
  return `{${parts.join(',')}}`;
}

/** One counter would otherwise keep a whole request body in memory. */
function kept(text: string | undefined): string | undefined {
  return text === undefined ? undefined : detach(text);
}
