/** Answers from when they are made until clients have taken them: what they hold in memory, and how many are compressed at once. */
import { availableParallelism } from 'node:os';
import type { Budget } from '../common/budget.ts';
import { createFairLine, type FairLine } from '../common/fair-line.ts';
import type { Lanes } from '../common/fair-queue.ts';
import { createHoldings, type Holding } from './holdings.ts';
import { Refusal, retryLater } from './reply.ts';

export interface Answer {
  /** It takes so many bytes, whatever was counted before. Throws Refusal 503 if there is no room for them. */
  count(bytes: number): void;
  /** What it shares with other answers, until `release` is called; in the place of what it shared before. */
  share(release: () => void): void;
  readonly compress: Compress;
  /** It has been sent, or never will be. */
  release(): void;
}

/**
 * Compresses when its turn comes. Undefined: so much is being compressed that the answer is better sent as it is; never for shared
 * bodies, which are compressed once.
 */
export type Compress = (
  body: { readonly raw: { readonly length: number }; readonly isShared: boolean },
  job: () => Promise<Buffer>,
) => Promise<Buffer> | undefined;

/** Smaller answers count as part of their connection. */
const LARGE_BYTES = 8 * 1024;
/**
 * Of the four threads that Node.js has for compression, files and names, one is left. Compressions for browsers also leave a
 * processor to the event loop.
 */
const SERVERS_AT_ONCE = 1;
const CLIENTS_AT_ONCE = Math.max(1, Math.min(2, availableParallelism() - 1));
/** What waits for its compression takes memory, so beyond this answers are sent as they are. */
const MAX_COMPRESSING_BYTES = 8 * 1024 * 1024;

export function createAnswers(budget: Budget) {
  const holdings = createHoldings(budget);
  const lines = {
    server: createFairLine({ maxInside: SERVERS_AT_ONCE, maxSize: MAX_COMPRESSING_BYTES }),
    client: createFairLine({ maxInside: CLIENTS_AT_ONCE, maxSize: MAX_COMPRESSING_BYTES }),
  };
  return {
    /** `lanes`: the credential and the address that must not take the room of all others. */
    open: (kind: 'server' | 'client', lanes: Lanes): Answer => new HeldAnswer(holdings.open(lanes), lines[kind], lanes),
  };
}

/** A class for the same reason as `RequestHolding`. */
class HeldAnswer implements Answer {
  readonly #holding: Holding;
  readonly #line: FairLine;
  readonly #lanes: Lanes;
  #countedBytes = 0;
  #releaseShared: (() => void) | undefined;

  constructor(holding: Holding, line: FairLine, lanes: Lanes) {
    this.#holding = holding;
    this.#line = line;
    this.#lanes = lanes;
  }

  count(bytes: number): void {
    const more = (bytes > LARGE_BYTES ? bytes : 0) - this.#countedBytes;
    if (more > 0 && !this.#holding.take(more)) {
      throw new Refusal(503, 'too many large answers are waiting for their clients', retryLater());
    }
    if (more < 0) this.#holding.giveBack(-more);
    this.#countedBytes += more;
  }

  share(release: () => void): void {
    this.#releaseShared?.();
    this.#releaseShared = release;
  }

  compress: Compress = ({ raw, isShared }, job) =>
    isShared || this.#line.fits(this.#lanes, raw.length) ? this.#line.run(this.#lanes, job, raw.length) : undefined;

  release(): void {
    this.#holding.release();
    this.#countedBytes = 0;
    this.#releaseShared?.();
    this.#releaseShared = undefined;
  }
}
