import { PIECE_BYTES } from './framing.ts';

/**
 * Framed events in one append-only log that all readers share. A reader's place in it is a number, so neither a burst nor
 * a slow reader makes a queue anywhere.
 */
export interface EventLog {
  /** The number of the oldest event held. A reader whose next event is older has to start again from a snapshot. */
  readonly base: number;
  /** The number that the next event will have. */
  readonly head: number;
  append(event: Buffer): void;
  /** Forgets everything and counts one event that nobody can get: every reader has to start again from a snapshot. */
  reset(): void;
  /** Bytes from event `from` (not below `base`) to the head. */
  bytesFrom(from: number): number;
  /** The bytes of the events from `from` on, up to `PIECE_BYTES` or one event, made once for all readers at the same place. */
  piece(from: number): { readonly bytes: Buffer; readonly next: number };
}

/** Slow readers stand at different places; beyond this many, a piece is made for its reader alone. */
const SHARED_PIECES = 64;

export function createEventLog(limits: { readonly messages: number; readonly bytes: number }): EventLog {
  let events: Buffer[] = [];
  /** ends[i]: bytes appended since the beginning of time up to and with events[i]. */
  let ends: number[] = [];
  let base = 0;
  let written = 0;
  const pieces = new Map<number, { bytes: Buffer; next: number }>();

  const startOf = (index: number) => (index < ends.length ? ends[index]! - events[index]!.length : written);
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
    ends = ends.slice(cut);
    base += cut;
  };
  return {
    get base() {
      return base;
    },
    get head() {
      return base + events.length;
    },
    append(event) {
      pieces.clear();
      events.push(event);
      written += event.length;
      ends.push(written);
      trim();
    },
    reset() {
      pieces.clear();
      base += events.length + 1;
      events = [];
      ends = [];
    },
    bytesFrom: (from) => written - startOf(from - base),
    piece(from) {
      const shared = pieces.get(from);
      if (shared) return shared;
      const start = startOf(from - base);
      let to = from + 1;
      while (to < base + events.length && ends[to - base]! - start <= PIECE_BYTES) to++;
      const bytes = to === from + 1 ? events[from - base]! : Buffer.concat(events.slice(from - base, to - base));
      const piece = { bytes, next: to };
      if (pieces.size < SHARED_PIECES) pieces.set(from, piece);
      return piece;
    },
  };
}
