/** What requests hold in memory: bodies while they arrive and are worked on, answers while they are made and sent. */
import type { Budget } from '../common/budget.ts';
import type { Lanes } from '../common/fair-queue.ts';
import { createSharedBudget } from '../common/shared-budget.ts';
import { Refusal, retryLater } from './reply.ts';
import { createWaitingBodies, type WaitingBody } from './waiting-bodies.ts';

/** One request's part. */
export interface Holding {
  /** False: there is no room for so many more bytes. */
  take(bytes: number): boolean;
  /** The same for a piece of a body that arrives. A large one may wait for room: read on when the promise resolves. */
  takePiece(bytes: number): boolean | Promise<boolean>;
  /** The body is there. */
  arrived(): void;
  giveBack(bytes: number): void;
  /**
   * Counts bytes that are held until everything is given back, or until the function that it returns is called. Throws Refusal if there is
   * no room for them.
   */
  hold(bytes: number): () => void;
  /** Of the request that could not take so many more bytes: 503, or 413 if it never could. */
  refusal(bytes: number): Refusal;
  /** Gives everything back. */
  release(): void;
}

interface Holdings {
  /** `lanes`: the credential and the address that must not take the room of all others. */
  open(lanes: Lanes): Holding;
  /** Nothing waits for room any more. */
  close(): void;
}

/** What a request holds up to here counts as small, so that large ones leave room for small ones of the same address. */
const SMALL_BYTES = 64 * 1024;
/**
 * One address takes half of the memory at most, so there is room for others with its credential, which take four fifths: anyone
 * has a client-side ID. Of large parts, a single one may take a third of the whole.
 */
const CREDENTIAL_TIMES = 4;
const SMALL_TIMES = 1;
const LARGE_TIMES = 0.5;
const LARGEST_PART = 1 / 3;
/** While the large bodies of an address take less than this, all of them are read at once. */
const ALL_AT_ONCE_TIMES = 0.25;
const WAIT_MS = 7_000;

/** `waitMs`: how long a large body may wait for room, 7,000 by default. SDKs give up after 10 s. */
export function createHoldings(
  budget: Budget,
  { waitMs = WAIT_MS }: { readonly waitMs?: number | undefined } = {},
): Holdings {
  const small = createSharedBudget(budget, [CREDENTIAL_TIMES, SMALL_TIMES]);
  const large = createSharedBudget(budget, [CREDENTIAL_TIMES, LARGE_TIMES]);
  const waiting = createWaitingBodies({
    waitMs,
    hands: createSharedBudget(budget, [CREDENTIAL_TIMES, SMALL_TIMES]),
    take(lanes, bytes, isNext) {
      const fits = isNext || large.heldBy(lanes[1]) + bytes <= ALL_AT_ONCE_TIMES * budget.freeBytes;
      return fits && large.reserve(lanes, bytes);
    },
  });
  const mostBytes = Math.floor(budget.maxBytes * LARGEST_PART);
  return {
    open(lanes) {
      let smallBytes = 0;
      let largeBytes = 0;
      let body: WaitingBody | undefined;
      const isSmall = (bytes: number) => smallBytes + bytes <= SMALL_BYTES;
      const isTooMuch = (bytes: number) => largeBytes + bytes > mostBytes;
      const takeSmall = (bytes: number): boolean => {
        const isTaken = small.reserve(lanes, bytes);
        if (isTaken) smallBytes += bytes;
        return isTaken;
      };
      const holding: Holding = {
        take(bytes) {
          if (isSmall(bytes)) return takeSmall(bytes);
          const isTaken = large.reserve(lanes, bytes);
          if (isTaken) largeBytes += bytes;
          return isTaken;
        },
        takePiece(bytes) {
          if (isSmall(bytes)) return takeSmall(bytes);
          if (isTooMuch(bytes)) return false;
          const counted = (isTaken: boolean) => {
            if (isTaken) largeBytes += bytes;
            return isTaken;
          };
          body ??= waiting.open(lanes);
          const isTaken = body.take(bytes);
          return typeof isTaken === 'boolean' ? counted(isTaken) : isTaken.then(counted);
        },
        arrived: () => body?.leave(),
        giveBack(bytes) {
          const ofLarge = Math.min(bytes, largeBytes);
          const ofSmall = Math.min(bytes - ofLarge, smallBytes);
          largeBytes -= ofLarge;
          smallBytes -= ofSmall;
          large.release(lanes, ofLarge);
          small.release(lanes, ofSmall);
          waiting.proceed();
        },
        hold(bytes) {
          if (!holding.take(bytes)) throw holding.refusal(bytes);
          return () => holding.giveBack(bytes);
        },
        refusal(bytes) {
          if (!isTooMuch(bytes)) return new Refusal(503, 'no memory is free for this request', retryLater());
          return new Refusal(
            413,
            `the body takes more than the ${mostBytes} bytes of memory that one may take (MEMORY_BUDGET)`,
          );
        },
        release() {
          body?.leave();
          holding.giveBack(smallBytes + largeBytes);
        },
      };
      return holding;
    },
    close: waiting.close,
  };
}
