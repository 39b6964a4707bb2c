/** The events between two lines of exposures, and how much of a line they take. */
import { EXPOSURES_MARK } from './exposures-line.ts';
import { jsonOf } from './json-of.ts';

/** The most bytes in a line: with the JSON log format, Lambda puts it into JSON as a string, which is still below 256 KB. */
const MOST_BYTES = 120_000;
/** Of a line besides events and counters. */
const FRAME_BYTES = 300;
/** What a counter or a flag takes besides its texts: names, numbers and punctuation. */
const COUNTER_BYTES = 100;

/** What a summary says of an evaluation. */
interface Summarised {
  readonly flagKey: string;
  /** Undefined: there is no such flag. */
  readonly version: number | undefined;
  readonly variation: number | undefined;
  readonly value: unknown;
  readonly fallback: unknown;
  readonly contextKinds: readonly string[];
  /** Unix ms. */
  readonly at: number;
}

interface Batch {
  /** Adds a full event. A full line is written at once. */
  send(event: object): void;
  /** Counts an evaluation, with the value and the fallback that come first. */
  count(one: Summarised): void;
  lose(what: 'evaluations' | 'events'): void;
  /** Writes what there is. */
  flush(): void;
}

interface Counter {
  readonly text: string;
  count: number;
}

interface FlagSummary {
  readonly head: string;
  readonly kinds: Set<string>;
  /** By variation and version. */
  readonly counters: Map<string, Counter>;
}

export function createBatch(write: (line: string) => void): Batch {
  let events: string[] = [];
  let flags = new Map<string, FlagSummary>();
  let bytes = 0;
  let [startDate, endDate] = [0, 0];
  let lost = { evaluations: 0, events: 0 };

  function flush() {
    if (bytes === 0 && lost.evaluations + lost.events === 0) return;
    const all = flags.size > 0 ? [...events, summaryText(startDate, endDate, flags)] : events;
    const told = lost.evaluations + lost.events > 0 ? `,"lost":${JSON.stringify(lost)}` : '';
    const line = `{"${EXPOSURES_MARK}":1,"events":[${all.join(',')}]${told}}`;
    events = [];
    flags = new Map();
    [bytes, startDate, endDate] = [0, 0, 0];
    lost = { evaluations: 0, events: 0 };
    try {
      write(line);
    } catch (error) {
      console.error('edge reader: a line with exposures could not be written and is lost', error);
    }
  }

  /** False: it does not even fit into an empty line. */
  function makeRoom(more: number): boolean {
    if (more > MOST_BYTES - FRAME_BYTES) return false;
    if (bytes + more > MOST_BYTES - FRAME_BYTES) flush();
    bytes += more;
    return true;
  }

  function counterFor({ flagKey, version, variation, value, fallback, contextKinds }: Summarised): Counter | undefined {
    const identity = `${variation ?? ''}:${version ?? ''}`;
    const known = flags.get(flagKey);
    const counter = known?.counters.get(identity);
    if (counter && contextKinds.every((kind) => known?.kinds.has(kind))) return counter;
    const head = `${JSON.stringify(flagKey)}:{${member('default', jsonOf(fallback))}`;
    const text = [
      member('value', jsonOf(value)),
      member('variation', jsonOf(variation)),
      version === undefined ? '"unknown":true,' : member('version', jsonOf(version)),
    ].join('');
    if (!makeRoom(Buffer.byteLength(head + text + contextKinds) + COUNTER_BYTES)) return undefined;
    // Making room may have written what was known.
    const summary = flags.get(flagKey) ?? { head, kinds: new Set(), counters: new Map<string, Counter>() };
    const made = summary.counters.get(identity) ?? { text, count: 0 };
    for (const kind of contextKinds) summary.kinds.add(kind);
    summary.counters.set(identity, made);
    flags.set(flagKey, summary);
    return made;
  }

  return {
    send(event) {
      const text = jsonOf(event);
      if (text !== undefined && makeRoom(Buffer.byteLength(text) + 1)) events.push(text);
      else lost.events += 1;
    },
    count(one) {
      const counter = counterFor(one);
      if (!counter) {
        lost.evaluations += 1;
        return;
      }
      counter.count += 1;
      startDate = startDate === 0 ? one.at : Math.min(startDate, one.at);
      endDate = Math.max(endDate, one.at);
    },
    lose(what) {
      lost[what] += 1;
    },
    flush,
  };
}

function summaryText(startDate: number, endDate: number, flags: ReadonlyMap<string, FlagSummary>): string {
  const features = Array.from(flags.values(), ({ head, kinds, counters }) => {
    const texts = Array.from(counters.values(), ({ text, count }) => `{${text}"count":${count}}`);
    return `${head}"contextKinds":${JSON.stringify([...kinds])},"counters":[${texts.join(',')}]}`;
  });
  return `{"kind":"summary","startDate":${startDate},"endDate":${endDate},"features":{${features.join(',')}}}`;
}

function member(name: string, text: string | undefined): string {
  return text === undefined ? '' : `"${name}":${text},`;
}
