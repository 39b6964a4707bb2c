/** What requests hold in memory: bodies while they arrive and are worked on, answers while they are made and sent. */
import type { Budget } from '../common/budget.ts';
import type { Lanes } from '../common/fair-queue.ts';
import { createSharedBudget, type SharedBudget } from '../common/shared-budget.ts';
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
  const shared: Shared = { small, large, waiting, mostBytes: Math.floor(budget.maxBytes * LARGEST_PART) };
  return { open: (lanes) => new RequestHolding(shared, lanes), close: waiting.close };
}

/** What all requests share. */
interface Shared {
  readonly small: SharedBudget;
  readonly large: SharedBudget;
  readonly waiting: ReturnType<typeof createWaitingBodies>;
  /** What the large part of one request takes at most. */
  readonly mostBytes: number;
}

/** A class, since every request has two of them, and ten functions each would take longer to make than all that they do. */
class RequestHolding implements Holding {
  readonly #shared: Shared;
  readonly #lanes: Lanes;
  #smallBytes = 0;
  #largeBytes = 0;
  #body: WaitingBody | undefined;

  constructor(shared: Shared, lanes: Lanes) {
    this.#shared = shared;
    this.#lanes = lanes;
  }

  take(bytes: number): boolean {
    if (this.#isSmall(bytes)) return this.#takeSmall(bytes);
    return this.#counted(bytes, this.#shared.large.reserve(this.#lanes, bytes));
  }

  takePiece(bytes: number): boolean | Promise<boolean> {
    if (this.#isSmall(bytes)) return this.#takeSmall(bytes);
    if (this.#isTooMuch(bytes)) return false;
    this.#body ??= this.#shared.waiting.open(this.#lanes);
    const isTaken = this.#body.take(bytes);
    return typeof isTaken === 'boolean'
      ? this.#counted(bytes, isTaken)
      : isTaken.then((isTakenNow) => this.#counted(bytes, isTakenNow));
  }

  arrived(): void {
    this.#body?.leave();
  }

  giveBack(bytes: number): void {
    const { small, large, waiting } = this.#shared;
    const ofLarge = Math.min(bytes, this.#largeBytes);
    const ofSmall = Math.min(bytes - ofLarge, this.#smallBytes);
    this.#largeBytes -= ofLarge;
    this.#smallBytes -= ofSmall;
    if (ofLarge > 0) large.release(this.#lanes, ofLarge);
    if (ofSmall > 0) small.release(this.#lanes, ofSmall);
    waiting.proceed();
  }

  hold(bytes: number): () => void {
    if (!this.take(bytes)) throw this.refusal(bytes);
    return () => this.giveBack(bytes);
  }

  refusal(bytes: number): Refusal {
    if (!this.#isTooMuch(bytes)) return new Refusal(503, 'no memory is free for this request', retryLater());
    return new Refusal(
      413,
      `the body takes more than the ${this.#shared.mostBytes} bytes of memory that one may take (MEMORY_BUDGET)`,
    );
  }

  release(): void {
    this.#body?.leave();
    this.giveBack(this.#smallBytes + this.#largeBytes);
  }

  #isSmall(bytes: number): boolean {
    return this.#smallBytes + bytes <= SMALL_BYTES;
  }

  #isTooMuch(bytes: number): boolean {
    return this.#largeBytes + bytes > this.#shared.mostBytes;
  }

  #takeSmall(bytes: number): boolean {
    const isTaken = this.#shared.small.reserve(this.#lanes, bytes);
    if (isTaken) this.#smallBytes += bytes;
    return isTaken;
  }

  #counted(bytes: number, isTaken: boolean): boolean {
    if (isTaken) this.#largeBytes += bytes;
    return isTaken;
  }
}
