/** The place that a stream's large event takes among those of all environments. */
import { sleep } from '../common/pause.ts';
import { enterLarge, isPlaceFree, LARGE_BYTES, type LargeWait } from './large.ts';
import type { Received } from './received-limit.ts';

/** What is remembered of a stream's slowness across its connections. */
export interface Slowness {
  /** Until then, as `performance.now()`, its large events are received without a place. */
  until: number;
}

export interface PlaceTimes extends Pick<LargeWait, 'delayMs'> {
  /** How long a large event may keep those of other streams waiting for each 256 KiB of it, five times at most; 1 s. */
  readonly placeMs?: number;
}

export interface PlaceOptions extends PlaceTimes {
  readonly slowness: Slowness;
  readonly received: Received;
  /** Bytes of the event so far. */
  arrivedBytes(): number;
  /** Why the event is late; undefined: it no longer is. */
  onDelay(reason: string | undefined): void;
}

/** How often an event that is arriving may keep the place for another `placeMs`. */
const MOST_TURNS = 5;
/** Each event that loses the place halves the time of the next one, so that many slow ones in a row cost little. */
const LEAST_PATIENCE = 0.1;
let patience = 1;
const SLOW_FOR_MS = 60_000;
/** How fast data is received beside the event that has the place, in bytes per ms: 128 KB/s. TCP holds back many that would fill the memory. */
const BESIDE_PACE = 128;
/** How fast data may be received and dropped, in bytes per ms: 16 MB/s. Endless large events would otherwise fill the memory. */
const DROPPED_PACE = 16_000;
const SLOW = 'it arrives slowly, and others no longer wait for it';

/**
 * An event that arrives slowly loses the place, so that other environments need not wait for its sender. It is received beside the others,
 * within the memory for that, and takes the place again once it is complete.
 */
export function createPlace(options: PlaceOptions) {
  const { placeMs = 1_000, slowness, received, arrivedBytes, onDelay } = options;
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
    /** For one that is arriving, before this many more bytes are taken. Undefined: take them now. */
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
    /** It is complete, and keeps its place until it has been handled. */
    complete(): void {
      clearTimeout(turn);
      if (leaveTurnstile) patience = 1;
    },
    leave,
    /** The connection is over. What it received of an unfinished event is not collected at once, so the next one waits in proportion. */
    close(): void {
      over.abort();
      clearTimeout(turn);
      if (leaveTurnstile) setTimeout(leave, arrivedBytes() / DROPPED_PACE).unref();
    },
  };
}
