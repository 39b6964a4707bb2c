import {
  type Attributes,
  encodeHead,
  type Head,
  type Key,
  namespaces,
  type Rev,
  SNAPSHOT_FORMAT,
} from '../../lib/flag-table/index.ts';
import { backoffMs } from '../common/backoff.ts';
import { createPause, sleep } from '../common/pause.ts';
import type { Log } from '../ports.ts';
import { absent, absentOrOlderRev, type Condition, exactly } from './conditions.ts';
import type { Table } from './dynamodb-client.ts';
import { decide, type TermStart } from './lease-decision.ts';
import { claimOn, isClaimed, releaseOf, renewal, takeover } from './lease-head.ts';
import { createSightings } from './lease-sight.ts';
import { type Clock, retryTimes, type Timings } from './timings.ts';

export interface LeaseOptions {
  table: Table;
  prefix: string;
  /** Names this process; no two processes may share it. */
  owner: string;
  clock: Clock;
  timings: Timings;
  log: Log;
  /** Unix ms to write with every renewal; undefined keeps the present value. */
  checkedAt(): number | undefined;
  /** The lease was gained, regained or lost, or another task turned out to hold it. */
  onChange(): void;
  /** Resolves when no write is in progress, soon in any case; called after `held` turned false, before a release. */
  quiesce(): Promise<void>;
  /** The error of the last look at the head; undefined when it went well. */
  onOutcome(error: unknown): void;
}

export interface Publication {
  readonly rev: Rev;
  readonly base: Rev;
  readonly counts: NonNullable<Head['counts']>;
  /** Unix ms: when upstream was last known to have nothing newer than this. */
  readonly checkedAt: number;
}

export interface Term {
  readonly epoch: number;
  readonly start: TermStart;
}

/** The right to write one environment: one holder at a time, known by the head of the snapshot. */
export interface Lease {
  /** The present term, whether or not it may be used at this moment. */
  term(): Term | undefined;
  /** May this process write now? False from `stopMs` after the last successful renewal was sent. */
  held(): boolean;
  /** True when another task is known to hold it, or this task may not take it: nothing to wait for. */
  elsewhere(): boolean;
  setEligible(eligible: boolean): void;
  /** Points the head at a publication, on condition that the lease is ours and the revision newer; false: refused. */
  publish(publication: Publication): Promise<boolean>;
  /** Renews now, because something in the table suggests that the lease is gone. */
  check(): Promise<void>;
  /** Raises the epoch of the present term above the revisions in the table; false: the lease is gone. */
  raise(epoch: number): Promise<boolean>;
  /** Releases the lease at once and takes no new one. */
  close(): Promise<void>;
}

interface Holding {
  epoch: number;
  readonly start: TermStart;
  beat: number;
  /** Monotonic ms at which the last successful renewal was sent. */
  sentAt: number;
  /** The head says that this holder would rather be relieved. */
  yielding: boolean;
}

export function startLease(options: LeaseOptions): Lease {
  const { table, prefix, owner, clock, timings, log } = options;
  const key: Key = { namespace: namespaces(prefix).snapshot, key: 'head' };
  let eligible = false;
  let closed = false;
  let holding: Holding | undefined;
  /** The epoch of a takeover whose answer may have been lost. */
  let attempted: { epoch: number; start: TermStart } | undefined;
  /** This process gave the lease up for a task that promised to take it. */
  let relieved = false;
  let claims = 0;
  let failures = 0;
  let hurry = false;
  const pause = createPause();

  const sightings = createSightings({ prefix, clock, timings, log, onChange: options.onChange });

  const held = () => holding !== undefined && !closed && clock.now() - holding.sentAt < timings.stopMs;

  function lose(why: string): void {
    if (!holding) return;
    log.warn('Lost the write lease of the flag table', { prefix, why });
    holding = undefined;
    sightings.forget();
    options.onChange();
  }

  /** Renews the lease; every other write of a holder to the head does so, too. */
  async function renew(extra: { set?: Attributes; condition?: Condition } = {}): Promise<boolean> {
    const now = holding;
    if (!now) return false;
    const sentAt = clock.now();
    now.beat += 1;
    const yielding = !eligible;
    const turned = yielding !== now.yielding;
    const change = { ...extra, checkedAt: options.checkedAt(), yielding: turned ? yielding : undefined };
    const head = await table.update('head', key, renewal({ ...now, owner }, change));
    if (!head || holding !== now) return false;
    // The lease may have lapsed while the answer was on its way, and the engine then sleeps until it is woken.
    const lapsed = !held();
    now.sentAt = Math.max(now.sentAt, sentAt);
    now.yielding = yielding;
    if (lapsed) options.onChange();
    // A claim seen now was written since the previous renewal, so an eligible task is alive.
    if (now.yielding && !turned && isClaimed(head) && !eligible) {
      relieved = true;
      log.info('Handing the write lease to a task whose upstream is current', { prefix });
      await release(now);
    }
    return true;
  }

  async function release(term: Holding): Promise<void> {
    holding = undefined;
    sightings.forget();
    options.onChange();
    await options.quiesce();
    await table.update('head', key, releaseOf({ ...term, owner }));
  }

  function begin(epoch: number, beat: number, start: TermStart, sentAt: number, yielding: boolean): void {
    holding = { epoch, start, beat, sentAt, yielding };
    attempted = undefined;
    relieved = false;
    sightings.forget();
    log.info('Acquired the write lease of the flag table', { prefix, epoch, after: start });
    options.onChange();
  }

  async function create(replacing?: Attributes): Promise<void> {
    const epoch = clock.wall();
    attempted = { epoch, start: replacing ? 'expired' : 'created' };
    const sentAt = clock.now();
    const head = encodeHead(prefix, {
      format: SNAPSHOT_FORMAT,
      owner,
      epoch,
      beat: 1,
      checkedAt: options.checkedAt() ?? 0,
    });
    const condition = replacing ? exactly(replacing) : absent;
    if (await table.put('head', head, condition)) begin(epoch, 1, attempted.start, sentAt, false);
  }

  async function take(head: Head, start: TermStart): Promise<void> {
    const epoch = Math.max(head.epoch + 1, clock.wall());
    attempted = { epoch, start };
    const sentAt = clock.now();
    const taken = await table.update('head', key, takeover(head, { owner, epoch }));
    if (taken) begin(epoch, head.beat + 1, start, sentAt, false);
  }

  /** Without the lease: reads the head and does what `decide` says. */
  async function look(): Promise<void> {
    const attributes = await table.get(key, { consistent: false });
    if (closed) return;
    const action = decide(sightings.see(attributes), { owner, eligible, attempted, relieved }, clock.now(), timings);
    switch (action.kind) {
      case 'wait':
        return;
      case 'create':
        return create(action.replacing ? attributes : undefined);
      case 'take':
        return take(action.head, action.start);
      case 'claim':
        claims += 1;
        await table.update('head', key, claimOn(action.head, `${owner} ${claims}`));
        return;
      case 'resume': {
        // Its first renewal proves that the takeover went through.
        const { epoch, beat } = action.head;
        begin(epoch, beat, attempted?.start ?? 'expired', clock.now() - timings.stopMs, false);
        await renew();
      }
    }
  }

  async function step(): Promise<void> {
    if (!holding) return look();
    const { epoch } = holding;
    const due = hurry || clock.now() - holding.sentAt >= timings.renewMs;
    hurry = false;
    if (due && !(await renew()) && holding?.epoch === epoch) lose('another task took it over');
  }

  function delayMs(): number {
    if (hurry) return 0;
    if (failures > 0) return timings.pollMs + backoffMs(failures, retryTimes(timings));
    if (!holding) return timings.pollMs;
    return Math.max(0, holding.sentAt + timings.renewMs - clock.now());
  }

  async function run(): Promise<void> {
    while (!closed) {
      try {
        await step();
        failures = 0;
        options.onOutcome(undefined);
      } catch (error) {
        failures += 1;
        if (!closed) options.onOutcome(error);
      }
      if (!closed) await pause.wait(delayMs());
    }
    // A takeover may have gone through while `close` was called.
    if (holding) await releaseQuietly(holding);
  }

  async function releaseQuietly(term: Holding): Promise<void> {
    await release(term).catch((error: unknown) => {
      log.warn('Could not release the write lease; it will expire on its own', {
        prefix,
        error: String(error),
      });
    });
  }

  const loop = run();

  async function check(): Promise<void> {
    const now = holding;
    if (now && !(await renew()) && holding === now) lose('another task took it over');
  }

  return {
    term: () => holding,
    check,
    held,
    elsewhere() {
      if (holding) return false;
      if (!eligible) return true;
      return sightings.isHeldByOther();
    },
    setEligible(next) {
      if (next === eligible) return;
      eligible = next;
      hurry = holding !== undefined;
      pause.wake();
      options.onChange();
    },
    async publish(publication) {
      const { rev } = publication;
      const encoded = encodeHead(prefix, { format: SNAPSHOT_FORMAT, owner, epoch: rev.epoch, beat: 0, ...publication });
      const { namespace: _, key: __, owner: ___, epoch: ____, beat: _____, ...set } = encoded;
      if (await renew({ set, condition: absentOrOlderRev(rev) })) return true;
      // The lease is gone, or the revision is there already (a lost answer, another writer).
      await check();
      return false;
    },
    async raise(epoch) {
      const now = holding;
      if (!now) return false;
      if (!(await renew({ set: { epoch: { N: String(epoch) } } }))) {
        lose('another task took it over');
        return false;
      }
      now.epoch = epoch;
      return true;
    },
    async close() {
      if (closed) return;
      closed = true;
      pause.wake();
      if (holding) await releaseQuietly(holding);
      else await Promise.race([loop, sleep(timings.closeGraceMs)]);
    },
  };
}
