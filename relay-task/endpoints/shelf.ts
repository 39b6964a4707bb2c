/**
 * Bytes that many answers share: they count once, for as long as an answer with them is on its way or they are kept for the next one. Of the budget, what is only kept takes an eighth at most,
 * and makes room for others: that which was not used for the longest time first.
 */
import type { Budget } from '../common/budget.ts';
import { createShares } from '../common/shares.ts';
import { Refusal, retryLater } from './reply.ts';

export interface Shelf {
  /**
   * Makes room for more bytes of a lane, which is an environment. `wholeBytes`: about what its answer takes as a whole. Throws Refusal 503
   * if there is none.
   */
  makeRoom(lane: string, bytes: number, wholeBytes: number): void;
  /** Counts them until the function that it returns is called, once however many hold them. */
  hold(lane: string, buffers: readonly Buffer[]): () => void;
  /** Keeps them until there is need of their memory: then `drop` is called. `moreBytes`: what is kept beside them. */
  keep(lane: string, buffers: readonly Buffer[], drop: () => void, moreBytes?: number): Kept;
}

export interface Kept {
  used(): void;
  /** They are of no more use. Does nothing once they were dropped. */
  remove(): void;
}

/** One environment may take as much as is free beside it, so that two get a third each, and so on. */
const TIMES_FREE = 1;
/** Of the budget, for what is kept and no answer needs at present; and not more than is free. */
const PART_FOR_IDLE = 1 / 8;
/** What is kept of something takes so much at least. */
const LEAST_BYTES = 1_024;

/** How many have a buffer. */
interface Uses {
  kept: number;
  /** Answers on their way, and work in progress. */
  held: number;
}

interface Holder {
  readonly buffers: readonly Buffer[];
  readonly drop: () => void;
  readonly kept: Kept;
}

export function createShelf(budget: Budget): Shelf {
  const shares = createShares(() => budget.freeBytes, TIMES_FREE);
  const mostIdleBytes = budget.maxBytes * PART_FOR_IDLE;
  const uses = new Map<Buffer, Uses>();
  let idleBytes = 0;
  /** That which was not used for the longest time first. */
  const all = new Set<Holder>();

  const take = (lane: string, bytes: number) => {
    budget.hold(bytes);
    shares.take([lane], bytes);
  };
  const giveBack = (lane: string, bytes: number) => {
    budget.release(bytes);
    shares.giveBack([lane], bytes);
  };
  const use = (lane: string, buffer: Buffer, how: keyof Uses, more: 1 | -1) => {
    const found = uses.get(buffer) ?? { kept: 0, held: 0 };
    const isIdle = () => found.kept > 0 && found.held === 0;
    const wasIdle = isIdle();
    if (!uses.has(buffer)) take(lane, buffer.length);
    uses.set(buffer, found);
    found[how] += more;
    idleBytes += (Number(isIdle()) - Number(wasIdle)) * buffer.length;
    if (found.kept > 0 || found.held > 0) return;
    uses.delete(buffer);
    giveBack(lane, buffer.length);
  };
  const useAll = (lane: string, buffers: readonly Buffer[], how: keyof Uses): (() => void) => {
    let isUsed = true;
    for (const buffer of buffers) use(lane, buffer, how, 1);
    return () => {
      if (isUsed) for (const buffer of buffers) use(lane, buffer, how, -1);
      isUsed = false;
    };
  };
  const isOnItsWay = ({ buffers }: Holder) =>
    buffers.length > 0 && buffers.every((buffer) => (uses.get(buffer)?.held ?? 0) > 0);
  /** Drops something that no answer needs at present. False: there is nothing. */
  const dropOne = (spared?: Holder): boolean => {
    for (const holder of all) {
      if (holder === spared || isOnItsWay(holder)) continue;
      holder.drop();
      holder.kept.remove();
      return true;
    }
    return false;
  };
  const trim = (spared?: Holder) => {
    while (idleBytes > Math.min(mostIdleBytes, budget.freeBytes) && dropOne(spared));
  };
  /** So that its flags can be served, however many they are and if little else is held. */
  const mayExceed = (lane: string, bytes: number, wholeBytes: number) =>
    shares.heldBy(lane) + bytes <= 2 * wholeBytes && shares.taken - shares.heldBy(lane) <= budget.maxBytes / 2;

  return {
    makeRoom(lane, bytes, wholeBytes) {
      while (!shares.fits([lane], bytes)) {
        if (dropOne()) continue;
        if (mayExceed(lane, bytes, wholeBytes)) return;
        throw new Refusal(503, 'too many large answers are waiting for their clients', retryLater());
      }
    },
    hold(lane, buffers) {
      const release = useAll(lane, buffers, 'held');
      return () => {
        release();
        trim();
      };
    },
    keep(lane, buffers, drop, moreBytes = 0) {
      const release = useAll(lane, buffers, 'kept');
      const bytes = LEAST_BYTES + moreBytes;
      take(lane, bytes);
      idleBytes += bytes;
      const kept: Kept = {
        used() {
          if (all.delete(holder)) all.add(holder);
        },
        remove() {
          if (!all.delete(holder)) return;
          idleBytes -= bytes;
          giveBack(lane, bytes);
          release();
        },
      };
      const holder: Holder = { buffers, drop, kept };
      all.add(holder);
      trim(holder);
      return kept;
    },
  };
}
