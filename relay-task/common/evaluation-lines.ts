/**
 * Evaluations of all flags for a context, of requests and for streams. Each holds memory from its first slice to its last, so few are in
 * progress at once, and those that have begun come to their end before others begin.
 */
import type { CredentialKind } from '../ports.ts';
import { createFairLine, type FairLine } from './fair-line.ts';
import type { Lanes } from './fair-queue.ts';

/** By who asks, so that none waits behind those of another kind. */
export type EvaluationLines = Readonly<Record<CredentialKind, FairLine>>;

/** Of each kind. More than one, since one of them may take long. */
const AT_ONCE = 4;
/** Of each kind, requests that wait; how many streams may wait is limited where they are accepted. */
const MAX_WAITING = 4_096;

export function createEvaluationLines(): EvaluationLines {
  const line = () => createFairLine({ maxInside: AT_ONCE, maxSize: MAX_WAITING });
  return { sdkKey: line(), mobileKey: line(), environmentId: line() };
}

/** In a line. */
export function evaluationLanes(environment: string, address: string): Lanes {
  return [environment, address];
}

/** Among all that takes turns, for one that has begun: however many of its environment wait to begin, it has its turn between two of them. */
export function begunLanes(environment: string): Lanes {
  return ['begun evaluations', environment];
}
