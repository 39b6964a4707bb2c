/** Memory of request bodies, counted while they arrive, are decompressed and are read. */
import { type Budget, createShare } from '../common/budget.ts';
import { createTurnstile, type Turnstile } from '../common/turnstile.ts';
import { Refusal, retryLater } from './reply.ts';

/** One body's memory. */
export interface Holding {
  /** False: there is no room for so many more bytes. */
  take(bytes: number): boolean;
  /** Of the request that could not take so many more bytes: 503, or 413 if it never could. */
  refusal(bytes: number): Refusal;
  /** Runs a job that takes memory when no other one of this user does: together, none of them might get enough. */
  inTurn: Turnstile['run'];
  /** The request is answered: gives everything back. */
  release(): void;
}

export interface BodyMemory {
  /** `user`: who must not take the room of all others. */
  open(user: string): Holding;
}

interface Shares {
  readonly small: Budget;
  readonly large: Budget;
  readonly turns: Turnstile;
}

/** What a body holds up to here counts as small, so that large bodies leave room for small ones of the same user. */
const SMALL_BYTES = 64 * 1024;
/** Of what is free, for one user's large bodies: a single one may take a third of the whole. */
const LARGE_PART = 0.5;

export function createBodyMemory(whole: Budget): BodyMemory {
  /** Of those who hold something. */
  const shares = new Map<string, Shares>();

  const sharesOf = (user: string): Shares => {
    const known = shares.get(user) ?? {
      small: createShare(whole),
      large: createShare(whole, LARGE_PART),
      turns: createTurnstile({ maxInside: 1 }),
    };
    shares.set(user, known);
    return known;
  };

  return {
    open(user) {
      let small = 0;
      let large = 0;
      return {
        inTurn: (job) => sharesOf(user).turns.run(job),
        take(bytes) {
          const own = sharesOf(user);
          const size = small + bytes <= SMALL_BYTES ? 'small' : 'large';
          if (!own[size].reserve(bytes)) return false;
          if (size === 'small') small += bytes;
          else large += bytes;
          return true;
        },
        refusal(bytes) {
          const mostBytes = Math.floor((whole.maxBytes * LARGE_PART) / (1 + LARGE_PART));
          if (large + bytes <= mostBytes) return new Refusal(503, 'no memory is free for this request', retryLater());
          return new Refusal(
            413,
            `the body takes more than the ${mostBytes} bytes of memory that one may take (MEMORY_BUDGET)`,
          );
        },
        release() {
          const own = shares.get(user);
          if (!own) return;
          own.small.release(small);
          own.large.release(large);
          small = 0;
          large = 0;
          if (own.small.usedBytes === 0 && own.large.usedBytes === 0) shares.delete(user);
        },
      };
    },
  };
}
