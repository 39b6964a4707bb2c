/**
 * Evaluations of all flags for a context, of requests and for streams. Each holds memory from its first slice to its last, so few are in
 * progress at once, and those that have begun come to their end before others begin. One that takes long gives its place to others, and
 * takes turns with the other long ones.
 */
import type { CredentialKind } from '../ports.ts';
import { createFairLine } from './fair-line.ts';
import type { Lanes } from './fair-queue.ts';

/** By kind of credential, so that none waits behind those of another kind. */
export type EvaluationLines = Readonly<Record<CredentialKind, EvaluationLine>>;

/** Lanes take turns, and of the same lanes one evaluation is in progress at a time. */
export interface EvaluationLine {
  /** Whether one more may wait. */
  fits(lanes: Lanes): boolean;
  /**
   * Calls `begin` when its turn comes, at once if there is a place. `begin` must not throw. Returns the function that gives up waiting,
   * which does nothing once `begin` was called. `size`: 0 if how many may wait is limited elsewhere.
   */
  enter(lanes: Lanes, begin: (place: EvaluationPlace) => void, size?: 0 | 1): () => void;
}

/** Of an evaluation in progress. */
export interface EvaluationPlace {
  /** Whether it is one of the long ones. */
  readonly isLong: boolean;
  /**
   * To be called after each slice. Undefined: it may go on. Otherwise it has to wait: the function calls `begin` when it may go on,
   * maybe at once, and returns the function that gives up waiting.
   */
  after(sliceMs: number): ((begin: () => void) => () => void) | undefined;
  leave(): void;
}

interface EvaluationLinesOptions {
  /** An evaluation that takes more of the event loop's time is a long one; also the length of a long one's turn. */
  readonly longMs?: number;
}

/** Of each kind. More than one, since one of them may take long. */
const AT_ONCE = 4;
/** Of each kind, requests that wait; how many streams may wait is limited where they are accepted. */
const MAX_WAITING = 4_096;
/** More than what ten thousand ordinary flags take. */
const LONG_MS = 40;
const LONG_AT_ONCE = 2;
/** Of each kind, long ones that have begun and wait for their turn. Others keep their places. */
const MAX_LONG_WAITING = 32;

export function createEvaluationLines({ longMs = LONG_MS }: EvaluationLinesOptions = {}): EvaluationLines {
  const line = () => createEvaluationLine(longMs);
  return { sdkKey: line(), mobileKey: line(), environmentId: line() };
}

function createEvaluationLine(longMs: number): EvaluationLine {
  const all = createFairLine({ maxInside: AT_ONCE, maxSize: MAX_WAITING });
  const long = createFairLine({ maxInside: LONG_AT_ONCE });
  let waiting = 0;

  function createPlace(lanes: Lanes, leave: () => void, stepAside: () => void): EvaluationPlace {
    let spentMs = 0;
    let isLong = false;
    let leaveLong = () => {};
    const move = (begin: () => void): (() => void) => {
      let waits = true;
      const over = () => {
        if (waits) waiting--;
        waits = false;
      };
      waiting++;
      stepAside();
      leaveLong();
      const giveUp = long.enter(lanes, (leaveAgain) => {
        over();
        leaveLong = leaveAgain;
        begin();
      });
      return () => {
        over();
        giveUp();
      };
    };
    return {
      get isLong() {
        return isLong;
      },
      after(sliceMs) {
        spentMs += sliceMs;
        const mayGoOn = isLong ? waiting === 0 : waiting >= MAX_LONG_WAITING;
        if (spentMs < longMs || mayGoOn) return undefined;
        spentMs = 0;
        isLong = true;
        return move;
      },
      leave() {
        leaveLong();
        leave();
      },
    };
  }

  return {
    fits: (lanes) => all.fits(lanes, 1),
    enter: (lanes, begin, size = 1) =>
      all.enter(lanes, (leave, stepAside) => begin(createPlace(lanes, leave, stepAside)), size),
  };
}

/** In a line. */
export function evaluationLanes(environment: string, address: string): Lanes {
  return [environment, address];
}

/**
 * Among all that takes turns, for one that has begun: however many of its environment wait to begin, it has its turn between two of them.
 * However many long ones there are, others have theirs between two of these.
 */
export function begunLanes(environment: string, { isLong }: Pick<EvaluationPlace, 'isLong'>): Lanes {
  return [isLong ? 'long evaluations' : 'begun evaluations', environment];
}
