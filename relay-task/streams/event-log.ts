/**
 * Framed events in one append-only log that all connections share. A connection's position is a number, so neither a burst
 * nor a slow client needs a queue.
 */
import { PIECE_BYTES } from './framing.ts';

/** Slow clients are at different positions; beyond this many, pieces are not shared. */
const SHARED_PIECES = 64;

export type EventLog = ReturnType<typeof createEventLog>;

export function createEventLog(limits: { readonly messages: number; readonly bytes: number }) {
  /** `end`: bytes appended up to and including the event. */
  let events: { readonly bytes: Buffer; readonly end: number }[] = [];
  let base = 0;
  let written = 0;
  const pieces = new Map<number, { bytes: Buffer; next: number }>();

  const startOf = (index: number) => {
    const event = events[index];
    return event ? event.end - event.bytes.length : written;
  };
  const trim = () => {
    const held = written - startOf(0);
    if (events.length <= limits.messages && held <= limits.bytes) return;
    let cut = 0;
    while (
      cut < events.length &&
      (events.length - cut > limits.messages / 2 || written - startOf(cut) > limits.bytes / 2)
    )
      cut++;
    events = events.slice(cut);
    base += cut;
  };
  return {
    /** The number of the oldest event held. A connection whose next event is older needs a snapshot. */
    get base() {
      return base;
    },
    /** The number of the next event. */
    get head() {
      return base + events.length;
    },
    append(bytes: Buffer): void {
      pieces.clear();
      written += bytes.length;
      events.push({ bytes, end: written });
      trim();
    },
    /** Drops everything and skips one number, so that every connection needs a snapshot. */
    reset(): void {
      pieces.clear();
      base += events.length + 1;
      events = [];
    },
    /** The events from `from` on, up to `PIECE_BYTES` or one event, made once for all connections at that position. */
    piece(from: number): { readonly bytes: Buffer; readonly next: number } {
      const shared = pieces.get(from);
      if (shared) return shared;
      const rest = events.slice(from - base);
      const start = startOf(from - base);
      const tooFar = rest.findIndex(({ end }, index) => index > 0 && end - start > PIECE_BYTES);
      const parts = (tooFar < 0 ? rest : rest.slice(0, tooFar)).map(({ bytes }) => bytes);
      const [first] = parts;
      const bytes = parts.length === 1 && first ? first : Buffer.concat(parts);
      const piece = { bytes, next: from + parts.length };
      if (pieces.size < SHARED_PIECES) pieces.set(from, piece);
      return piece;
    },
  };
}
