import type { Moment } from './ssm-drafts.ts';

export type Confirmations = ReturnType<typeof createConfirmations>;

/**
 * Changes that count once a complete reading, `confirmMs` after the first that saw them, still shows them: SSM has no snapshot of several
 * parameters, so that a reading during a rotation may see only half of it.
 */
export function createConfirmations(confirmMs: number) {
  let before = new Map<string, number>();
  /** When each was first seen, Unix ms. */
  let waiting = new Map<string, number>();
  let pending = false;
  return {
    /** A reading begins: what it does not make wait again is forgotten. */
    begin(): void {
      before = waiting;
      waiting = new Map();
      pending = false;
    },
    isConfirmed: (change: string, { now, partial }: Moment): boolean =>
      !partial && now - (before.get(change) ?? now) >= confirmMs,
    /** The change does not count yet. `isHeldUp`: for another reason too, so that reading again soon does not help. */
    wait(change: string, now: number, isHeldUp: boolean): void {
      waiting.set(change, before.get(change) ?? now);
      pending ||= !isHeldUp;
    },
    /** Whether reading again soon helps a change. */
    pending: (): boolean => pending,
  };
}
