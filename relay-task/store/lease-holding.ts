/** What a task does with the lease while it holds it. */
import type { Attributes } from '../../lib/flag-table/index.ts';
import type { Log } from '../ports.ts';
import { absentOrOlderRev, type Condition } from './conditions.ts';
import type { Table } from './dynamodb-client.ts';
import type { Knowledge, Term } from './lease-decision.ts';
import { headKey, isClaimed, type Publication, publicationOf, releaseOf, renewal } from './lease-head.ts';
import type { Sightings } from './lease-sight.ts';
import type { Clock, Timings } from './timings.ts';

interface Holding extends Term {
  epoch: number;
  beat: number;
  /** Monotonic ms at which the last successful renewal was sent. */
  sentAt: number;
  /** The head says that this holder would rather be relieved. */
  yielding: boolean;
}

/** What a task knows of its own part in the lease. */
interface LeaseState extends Knowledge {
  closed: boolean;
  holding: Holding | undefined;
}

export interface HoldingOptions {
  readonly table: Table;
  readonly prefix: string;
  readonly owner: string;
  readonly clock: Clock;
  readonly timings: Timings;
  readonly log: Log;
  /** Unix ms to write with every renewal; undefined keeps the present value. */
  checkedAt(): number | undefined;
  /** The lease was gained, regained or lost, or another task turned out to hold it. */
  onChange(): void;
  /** Resolves when no write is in progress, soon in any case; called after `held` turned false, before a release. */
  quiesce(): Promise<void>;
}

/** Whether this process may write now: until `stopMs` after the last successful renewal was sent. */
export function mayWrite({ holding, closed }: LeaseState, now: number, { stopMs }: Pick<Timings, 'stopMs'>): boolean {
  return holding !== undefined && !closed && now - holding.sentAt < stopMs;
}

export type LeaseHolding = ReturnType<typeof createLeaseHolding>;

export function createLeaseHolding(options: HoldingOptions, sightings: Sightings) {
  const { table, prefix, owner, clock, timings, log } = options;
  const key = headKey(prefix);
  const idle: Knowledge = { owner, eligible: false, attempted: undefined, relieved: false };
  const state: LeaseState = { ...idle, closed: false, holding: undefined };

  function end(): void {
    state.holding = undefined;
    sightings.forget();
    options.onChange();
  }

  function lose(): void {
    if (!state.holding) return;
    log.warn('Lost the write lease of the flag table', {
      prefix,
      reason: 'another task took it over',
      runbook: 'operations.md#no-writer',
    });
    end();
  }

  async function release(term: Holding): Promise<void> {
    end();
    await options.quiesce();
    await table.update('head', key, releaseOf({ ...term, owner }));
  }

  /** Renews the lease; every other write of a holder to the head does so, too. False: the lease is gone. */
  async function renew(extra: { set?: Attributes; condition?: Condition } = {}): Promise<boolean> {
    const now = state.holding;
    if (!now) return false;
    const sentAt = clock.now();
    now.beat += 1;
    const yielding = !state.eligible;
    const turned = yielding !== now.yielding;
    const change = { ...extra, checkedAt: options.checkedAt(), yielding: turned ? yielding : undefined };
    const head = await table.update('head', key, renewal({ ...now, owner }, change));
    if (!head || state.holding !== now) return false;
    // The lease may have lapsed while the answer was on its way, and the engine then sleeps until it is woken.
    const lapsed = !mayWrite(state, clock.now(), timings);
    now.sentAt = Math.max(now.sentAt, sentAt);
    now.yielding = yielding;
    if (lapsed) options.onChange();
    // A claim seen now was written since the previous renewal, so an eligible task is alive.
    if (now.yielding && !turned && isClaimed(head) && !state.eligible) {
      state.relieved = true;
      log.info('Handing the write lease to a task whose upstream is current', { prefix });
      await release(now);
    }
    return true;
  }

  async function check(): Promise<void> {
    const now = state.holding;
    const epoch = now?.epoch;
    // A refusal says nothing if `raise` changed the epoch meanwhile.
    if (now && !(await renew()) && state.holding === now && now.epoch === epoch) lose();
  }

  return {
    state,
    begin(term: Term, beat: number, sentAt: number): void {
      state.holding = { ...term, beat, sentAt, yielding: false };
      state.attempted = undefined;
      state.relieved = false;
      sightings.forget();
      log.info('Acquired the write lease of the flag table', { prefix, epoch: term.epoch, after: term.start });
      options.onChange();
    },
    renew,
    check,
    async publish(publication: Publication): Promise<boolean> {
      const set = publicationOf(prefix, publication);
      if (await renew({ set, condition: absentOrOlderRev(publication.rev) })) return true;
      // The lease is gone, or the revision is there already (a lost answer, another writer).
      await check();
      return false;
    },
    async raise(epoch: number): Promise<boolean> {
      const now = state.holding;
      if (!now) return false;
      if (!(await renew({ set: { epoch: { N: String(epoch) } } }))) {
        lose();
        return false;
      }
      now.epoch = epoch;
      return true;
    },
    /** Gives the lease up if this task holds it. Never rejects. */
    async releaseQuietly(): Promise<void> {
      if (!state.holding) return;
      await release(state.holding).catch((error: unknown) => {
        const why = { prefix, error: String(error) };
        log.warn('Could not release the write lease; it will expire on its own', {
          ...why,
          runbook: 'operations.md#no-writer',
        });
      });
    },
  };
}
