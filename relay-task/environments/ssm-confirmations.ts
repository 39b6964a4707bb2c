import type { Moment } from './ssm-drafts.ts';

/**
 * Changes that count once a complete reading, `confirmMs` after the first that saw them, still shows them: SSM has no snapshot of several
 * parameters, so that a reading during a rotation may see only half of it.
 */
export interface Confirmations {
  /** A reading begins: what it does not make wait again is forgotten. */
  begin(): void;
  isConfirmed(change: string, moment: Moment): boolean;
  /** The change does not count yet. `isHeldUp`: for another reason too, so that reading again soon does not help. */
  wait(change: string, now: number, isHeldUp: boolean): void;
  /** Whether reading again soon helps a change. */
  pending(): boolean;
}

export function createConfirmations(confirmMs: number): Confirmations {
  let before = new Map<string, number>();
  /** When each was first seen, Unix ms. */
  let waiting = new Map<string, number>();
  let pending = false;
  return {
    begin() {
      before = waiting;
      waiting = new Map();
      pending = false;
    },
    isConfirmed: (change, { now, partial }) => !partial && now - (before.get(change) ?? now) >= confirmMs,
    wait(change, now, isHeldUp) {
      waiting.set(change, before.get(change) ?? now);
      pending ||= !isHeldUp;
    },
    pending: () => pending,
  };
}
