/** The place that a stream's large event takes among those of all environments. */
import { sleep } from '../common/pause.ts';
import { enterLarge, isPlaceFree, LARGE_BYTES, type LargeWait } from './large.ts';
import type { Received } from './received-limit.ts';

/** A stream's memory of its slowness, over its connections. */
export interface Slowness {
  /** As `performance.now()`: until then its large events take no place while they arrive. */
  until: number;
}

export interface PlaceOptions extends Pick<LargeWait, 'delayMs'> {
  /** For how long it keeps others waiting for its next 256 KiB. */
  readonly placeMs: number;
  readonly slowness: Slowness;
  readonly received: Received;
  /** Bytes of the event so far. */
  arrivedBytes(): number;
  /** Why the event comes late; undefined: it no longer does. */
  onDelay(reason: string | undefined): void;
}

/** How often an event that arrives may keep the place for a further `placeMs`. */
const MOST_TURNS = 5;
/** After each event that lost the place the next one has half the time, so that many slow ones in a row cost little. */
const LEAST_PATIENCE = 0.1;
let patience = 1;
const SLOW_FOR_MS = 60_000;
/** What is received beside the one that has the place, in bytes per ms: 128 KB/s. Many that would fill the memory are held back by TCP. */
const BESIDE_PACE = 128;
/** What may be received and dropped, in bytes per ms: 16 MB/s. Endless large events would otherwise fill the memory. */
const DROPPED_PACE = 16_000;
const SLOW = 'it arrives slowly, and others no longer wait for it';

/**
 * An event that arrives slowly loses the place, so that those of other environments need not wait for what its sender does. It is
 * received beside them, within the memory for that, and takes the place again once it is complete.
 */
export function createPlace(options: PlaceOptions) {
  const { placeMs, slowness, received, arrivedBytes, onDelay } = options;
  const over = new AbortController();
  let leaveTurnstile: (() => void) | undefined;
  let turn: NodeJS.Timeout | undefined;
  /** As `performance.now()`: when the next bytes may be received beside others. */
  let besideAt = 0;

  function leave(): void {
    clearTimeout(turn);
    leaveTurnstile?.();
    leaveTurnstile = undefined;
  }

  async function enter(): Promise<void> {
    const { delayMs } = options;
    received.setWaiting(true);
    leaveTurnstile = await enterLarge({ signal: over.signal, delayMs, onDelay });
    received.setWaiting(false);
    if (over.signal.aborted) leave();
  }

  async function enterAndWatch(): Promise<undefined> {
    await enter();
    if (leaveTurnstile) watch(1);
  }

  function watch(turns: number): void {
    const before = arrivedBytes();
    const ms = placeMs * patience;
    const enough = LARGE_BYTES * patience;
    turn = setTimeout(() => {
      const came = arrivedBytes() - before;
      if (came >= enough && turns < MOST_TURNS) return watch(turns + 1);
      patience = Math.max(LEAST_PATIENCE, patience / 2);
      leave();
      slowness.until = performance.now() + SLOW_FOR_MS;
      onDelay(SLOW);
    }, ms);
  }

  return {
    get isTaken() {
      return leaveTurnstile !== undefined;
    },
    /** For an event that is complete. */
    enter,
    /** For one that arrives, before so many more bytes are taken. Undefined: take them now. */
    enterToReceive(bytes: number): Promise<undefined> | undefined {
      if (leaveTurnstile) return undefined;
      if (performance.now() >= slowness.until || isPlaceFree()) return enterAndWatch();
      const now = performance.now();
      if (now >= besideAt) {
        besideAt = now + bytes / BESIDE_PACE;
        return undefined;
      }
      return sleep(besideAt - now, over.signal).then(() => undefined);
    },
    /** It is complete, and keeps its place until it was handled. */
    complete(): void {
      clearTimeout(turn);
      if (leaveTurnstile) patience = 1;
    },
    leave,
    /** The connection is over. What it had received of an event is not collected at once, so the next one waits that long. */
    close(): void {
      over.abort();
      clearTimeout(turn);
      if (leaveTurnstile) setTimeout(leave, arrivedBytes() / DROPPED_PACE).unref();
    },
  };
}
