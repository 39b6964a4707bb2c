import { createHash } from 'node:crypto';
import type { LaunchDarklyEvent, SummaryEvent } from './events.ts';
import { mergeSummaries } from './merge.ts';

/** The body of one request to the relay. */
export interface Payload {
  /** Which relay and LaunchDarkly count once. */
  readonly id: string;
  /** JSON: a list of events. */
  readonly body: string;
}

export interface Payloads {
  readonly payloads: Payload[];
  /** Evaluations that are counted with another fallback than they had: see `mergeSummaries`. */
  readonly folded: number;
}

/** One invocation of a function takes 6 MB, in which quotes of this text are escaped. */
const MOST_BYTES = 1_000_000;
/** Half of what a relay queues for a key by default is when it begins to send (EVENTS_CAPACITY). */
const MOST_EVENTS = 400;

/**
 * Divides events into payloads, summaries added up. The same sources in the same order make the same payloads with the same ids, so that an
 * invocation that is repeated counts nothing twice. `sources`: the ids of the log events.
 */
export function payloadsOf(sources: readonly string[], events: readonly LaunchDarklyEvent[]): Payloads {
  const isSummary = (event: LaunchDarklyEvent): event is SummaryEvent => event.kind === 'summary';
  const { summaries, folded } = mergeSummaries(events.filter(isSummary));
  const all = [...events.filter((event) => !isSummary(event)), ...summaries];
  const bodies: string[] = [];
  let texts: string[] = [];
  let bytes = 0;
  const close = () => {
    if (texts.length > 0) bodies.push(`[${texts.join(',')}]`);
    texts = [];
    bytes = 0;
  };
  for (const event of all) {
    const text = JSON.stringify(event);
    const more = Buffer.byteLength(text) + 1;
    if (bytes + more > MOST_BYTES || texts.length === MOST_EVENTS) close();
    bytes += more;
    texts.push(text);
  }
  close();
  return { payloads: bodies.map((body, index) => ({ id: idOf([...sources, String(index)]), body })), folded };
}

/** A UUID (version 8, RFC 9562) from the SHA-256 of these texts. */
function idOf(texts: readonly string[]): string {
  const hex = createHash('sha256').update(JSON.stringify(texts)).digest('hex');
  return `${hex.slice(0, 8)}-${hex.slice(8, 12)}-8${hex.slice(13, 16)}-a${hex.slice(17, 20)}-${hex.slice(20, 32)}`;
}
