/** What requests hold in memory: bodies while they arrive and are worked on, answers while they are made and sent. */
import type { Budget } from '../common/budget.ts';
import type { Lanes } from '../common/fair-queue.ts';
import { createShares } from '../common/shares.ts';
import { Refusal, retryLater } from './reply.ts';

/** One request's part. */
export interface Holding {
  /** False: there is no room for so many more bytes. */
  take(bytes: number): boolean;
  giveBack(bytes: number): void;
  /** Of the request that could not take so many more bytes: 503, or 413 if it never could. */
  refusal(bytes: number): Refusal;
  /** Gives everything back. */
  release(): void;
}

export interface Holdings {
  /** `lanes`: the credential and the address that must not take the room of all others. */
  open(lanes: Lanes): Holding;
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

/** Bytes of one size, as lanes hold them. */
interface Part {
  take(lanes: Lanes, bytes: number): boolean;
  giveBack(lanes: Lanes, bytes: number): void;
}

function createPart(budget: Budget, addressTimes: number): Part {
  const credentials = createShares(() => budget.freeBytes, CREDENTIAL_TIMES);
  const addresses = createShares(() => budget.freeBytes, addressTimes);
  return {
    take([credential, address], bytes) {
      const fits = credentials.fits([credential], bytes) && addresses.fits([address], bytes);
      if (!fits || !budget.reserve(bytes)) return false;
      credentials.take([credential], bytes);
      addresses.take([address], bytes);
      return true;
    },
    giveBack([credential, address], bytes) {
      credentials.giveBack([credential], bytes);
      addresses.giveBack([address], bytes);
      budget.release(bytes);
    },
  };
}

export function createHoldings(budget: Budget): Holdings {
  const small = createPart(budget, SMALL_TIMES);
  const large = createPart(budget, LARGE_TIMES);
  return {
    open(lanes) {
      let smallBytes = 0;
      let largeBytes = 0;
      const holding: Holding = {
        take(bytes) {
          const isSmall = smallBytes + bytes <= SMALL_BYTES;
          if (!(isSmall ? small : large).take(lanes, bytes)) return false;
          if (isSmall) smallBytes += bytes;
          else largeBytes += bytes;
          return true;
        },
        giveBack(bytes) {
          const ofLarge = Math.min(bytes, largeBytes);
          const ofSmall = Math.min(bytes - ofLarge, smallBytes);
          largeBytes -= ofLarge;
          smallBytes -= ofSmall;
          large.giveBack(lanes, ofLarge);
          small.giveBack(lanes, ofSmall);
        },
        refusal(bytes) {
          const mostBytes = Math.floor(budget.maxBytes * LARGEST_PART);
          if (largeBytes + bytes <= mostBytes) {
            return new Refusal(503, 'no memory is free for this request', retryLater());
          }
          return new Refusal(
            413,
            `the body takes more than the ${mostBytes} bytes of memory that one may take (MEMORY_BUDGET)`,
          );
        },
        release: () => holding.giveBack(smallBytes + largeBytes),
      };
      return holding;
    },
  };
}
