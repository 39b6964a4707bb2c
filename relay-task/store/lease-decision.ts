/** What a task does about the lease of an environment, as a pure function of what it knows. */
import type { Head } from '../../lib/flag-table/index.ts';
import type { Timings } from './timings.ts';

/** How a term began. After `expired` the previous holder may still have had a request in progress. */
type TermStart = 'created' | 'released' | 'expired';

export interface Term {
  readonly epoch: number;
  readonly start: TermStart;
}

/** The head as it was just read by a task without the lease. */
export type Sight =
  | { readonly kind: 'absent' }
  /** `foreign`: written by a newer relay, to which it is left. */
  | { readonly kind: 'unreadable'; readonly foreign: boolean; readonly seenSince: number }
  | {
      readonly kind: 'readable';
      readonly head: Head;
      /** The holder would rather be relieved. */
      readonly yielding: boolean;
      /** Monotonic ms since which owner, epoch and beat have not changed. */
      readonly seenSince: number;
    };

export interface Knowledge {
  /** Names this process; no two processes may share it. */
  readonly owner: string;
  /** Whether this task's data is current, so that it may take the lease. */
  eligible: boolean;
  /** A takeover whose answer may have been lost. */
  attempted: Term | undefined;
  /** This task gave the lease up for one that promised to take it. */
  relieved: boolean;
}

export type LeaseAction =
  | { readonly kind: 'wait' }
  /** Write a new head: none exists, or only an unreadable one that nothing renews. */
  | { readonly kind: 'create'; readonly replacing: boolean }
  | { readonly kind: 'take'; readonly head: Head; readonly start: TermStart }
  /** The takeover went through and only its answer was lost. */
  | { readonly kind: 'resume'; readonly head: Head }
  /** Tell a holder that would rather be relieved that this task is ready. */
  | { readonly kind: 'claim'; readonly head: Head };

const wait: LeaseAction = { kind: 'wait' };

/** What a task without the lease does after it looked at the head; `now` in monotonic ms. */
export function decide(
  sight: Sight,
  knowledge: Readonly<Knowledge>,
  now: number,
  timings: Pick<Timings, 'expireMs'>,
): LeaseAction {
  const { owner, eligible, attempted, relieved } = knowledge;
  if (sight.kind === 'absent') return eligible ? { kind: 'create', replacing: false } : wait;
  const stoodStill = now - sight.seenSince >= timings.expireMs;
  if (sight.kind === 'unreadable') {
    return eligible && stoodStill && !sight.foreign ? { kind: 'create', replacing: true } : wait;
  }
  const { head, yielding } = sight;
  if (attempted && head.owner === owner && head.epoch === attempted.epoch) return { kind: 'resume', head };
  const released = head.owner === '';
  if (eligible && released) return { kind: 'take', head, start: 'released' };
  // The task that promised to take it over did not: the one that gave it up takes it back.
  if ((eligible || (relieved && released)) && stoodStill) return { kind: 'take', head, start: 'expired' };
  return eligible && yielding ? { kind: 'claim', head } : wait;
}
