/** The memory that the events of one credential take, and how its senders share it. */
import type { Budget } from '../common/budget.ts';
import { createShares } from '../common/shares.ts';
import { createHolders, type Holders, type Sender } from './holders.ts';

export interface SenderMemory {
  /** What waits, in bytes. */
  readonly waiting: Holders;
  /**
   * For events that will wait. If necessary, drops events of senders who hold more than this one would then. `besides`: bytes that this
   * sender holds and that are not in `waiting`. False: there is no room, and nothing was reserved.
   */
  reserve(sender: Sender, bytes: number, besides?: number): boolean;
  /** Without dropping anything. */
  reserveFree(bytes: number): boolean;
  /**
   * For events from the spool, which others need not make room for: at most a half of what is free. With nothing else to hold, one payload may
   * be larger.
   */
  reserveSpare(bytes: number): boolean;
  release(bytes: number): void;
  /**
   * The same for what is never dropped for others: it takes a quarter at most, and one sender at most four times what is free of it. Release
   * it with `unpin`.
   */
  pin(sender: string, bytes: number): boolean;
  unpin(sender: string, bytes: number): void;
  /**
   * How much of what waits may be taken to be sent. `isOnly`: nothing else of this queue is being sent. A quarter of all is for anyone;
   * queues of which nothing else is being sent get parts of another quarter, so that a few queues that hang do not stop the others. The rest
   * stays, so that events of others find something to replace.
   */
  departing(isOnly: boolean): Departing;
  /** It no longer waits, and is being sent until it lands. */
  depart(bytes: number): void;
  /** Releases it. */
  land(bytes: number): void;
}

export interface Departing {
  readonly maxBytes: number;
  /** One batch may be larger than that. */
  readonly anyBatch: boolean;
}

interface SenderMemoryOptions {
  readonly budget: Budget;
  /** Drops the newest waiting events of this sender, at least one and about this many bytes; returns how many were released. */
  readonly drop: (sender: Sender, bytes: number) => number;
}

const PINNED_PART = 1 / 4;
const PINNED_TIMES = 4;
/**
 * A large event takes at least this part of its size from one sender at once, even if others hold as much: dropping single events
 * would take long.
 */
const STEP = 1 / 64;
const DEPARTED_PART = 1 / 4;
const DEPARTED_PART_OF_ONLY_ONES = 1 / 4;
/** Of what is left for them, one gets this part, … */
const ONLY_ONES_PART = 1 / 4;
/** … and if nothing is left, this part of all: there are at most 64 queues. */
const LEAST_PART = 1 / 512;

export function createSenderMemory({ budget, drop }: SenderMemoryOptions): SenderMemory {
  const waiting = createHolders();
  /** What this credential may hold at present, given what others hold. */
  const wholeBytes = () => budget.usedBytes + budget.freeBytes;
  const pinned = createShares((taken) => wholeBytes() * PINNED_PART - taken, PINNED_TIMES);
  let departedBytes = 0;

  function reserve(sender: Sender, bytes: number, besides = 0): boolean {
    let droppedBytes = 0;
    while (!budget.reserve(bytes)) {
      const yields = waiting.whoYields(sender, besides + bytes);
      const more = yields
        ? drop(yields.sender, Math.min(Math.max(yields.amount, bytes * STEP), bytes - droppedBytes))
        : 0;
      droppedBytes += more;
      if (more === 0) return false;
      if (droppedBytes < bytes) continue;
      // In place of what was dropped, even if others have grown meanwhile and this credential is above its share.
      budget.hold(bytes);
      break;
    }
    return true;
  }

  return {
    waiting,
    reserve,
    reserveFree: budget.reserve,
    reserveSpare(bytes) {
      if (bytes <= budget.freeBytes / 2) return budget.reserve(bytes);
      if (budget.usedBytes > 0) return false;
      budget.hold(bytes);
      return true;
    },
    release: budget.release,
    pin(name, bytes) {
      const sender = { name, isSuspect: false };
      if (!pinned.fits([name], bytes) || !reserve(sender, bytes, pinned.heldBy(name))) return false;
      pinned.take([name], bytes);
      return true;
    },
    unpin(name, bytes) {
      pinned.giveBack([name], bytes);
      budget.release(bytes);
    },
    departing(isOnly) {
      const whole = wholeBytes();
      const forAnyone = whole * DEPARTED_PART - departedBytes;
      if (forAnyone > 0 || departedBytes === 0) return { maxBytes: Math.max(forAnyone, 1), anyBatch: true };
      if (!isOnly) return { maxBytes: 0, anyBatch: false };
      const left = forAnyone + whole * DEPARTED_PART_OF_ONLY_ONES;
      return { maxBytes: Math.max(left * ONLY_ONES_PART, whole * LEAST_PART), anyBatch: false };
    },
    depart(bytes) {
      departedBytes += bytes;
    },
    land(bytes) {
      departedBytes -= bytes;
      budget.release(bytes);
    },
  };
}
