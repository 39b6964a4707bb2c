import {
  type Attributes,
  decodeHead,
  encodeHead,
  type Head,
  type Key,
  namespaces,
  type Rev,
  SNAPSHOT_FORMAT,
} from '../../lib/flag-table/index.ts';
import type { Log } from '../ports.ts';
import { absent, absentOrOlderRev, both, type Condition, equal, exactly } from './conditions.ts';
import type { Table } from './dynamodb-client.ts';
import { backoffMs, type Clock, createAlarm, sleep, type Timings } from './timings.ts';

export interface LeaseOptions {
  table: Table;
  prefix: string;
  /** Names this process; no two processes may share it. */
  owner: string;
  clock: Clock;
  timings: Timings;
  log: Log;
  /** Unix ms to be written with every renewal; undefined leaves what stands there. */
  checkedAt(): number | undefined;
  /** The lease was gained, regained or lost, or turned out to be somebody else's. */
  onChange(): void;
  /** Resolves, soon in any case, when no write is under way; asked after `held` turned false, before a release. */
  quiesce(): Promise<void>;
  /** What the last look at the head ended with; undefined when it went well. */
  onOutcome(error: unknown): void;
}

export interface Publication {
  readonly rev: Rev;
  readonly base: Rev;
  readonly counts: NonNullable<Head['counts']>;
  /** Unix ms: when upstream was last known to have nothing newer than this. */
  readonly checkedAt: number;
}

/** How a term began. After `expired` the previous holder may still have had a request under way. */
export type TermStart = 'created' | 'released' | 'expired';

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
  /** True when somebody else is known to hold it, or this task may not take it: nothing to wait for. */
  elsewhere(): boolean;
  setEligible(eligible: boolean): void;
  /** Points the head at a publication, on condition that the lease is ours and the revision newer; false: it was refused. */
  publish(publication: Publication): Promise<boolean>;
  /** Renews now: something in the table suggests that the lease is gone. */
  check(): Promise<void>;
  /** Raises the epoch of the present term above revisions that stand in the table; false: the lease is gone. */
  raise(epoch: number): Promise<boolean>;
  /** Gives the lease up at once and takes no new one. */
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

interface Sighting {
  readonly mark: string;
  /** Monotonic ms at which this mark was first seen. */
  readonly since: number;
  readonly owner: string;
}

/** Attributes of the head that are the lease's own: readers of flags ignore them. */
const yieldingName = 'yielding';
const claimName = 'claim';

export function startLease(options: LeaseOptions): Lease {
  const { table, prefix, owner, clock, timings, log } = options;
  const key: Key = { namespace: namespaces(prefix).snapshot, key: 'head' };
  let eligible = false;
  let closed = false;
  let holding: Holding | undefined;
  let sighting: Sighting | undefined;
  /** The epoch of a takeover whose answer may have been lost. */
  let attempted: { epoch: number; start: TermStart } | undefined;
  /** This process gave the lease up for a task that promised to take it. */
  let relieved = false;
  let claims = 0;
  let failures = 0;
  let hurry = false;
  const alarm = createAlarm();

  const held = () => holding !== undefined && !closed && clock.now() - holding.sentAt < timings.stopMs;

  function mine(epoch: number): Condition {
    return equal({ owner: { S: owner }, epoch: { N: String(epoch) } });
  }

  function lose(why: string): void {
    if (!holding) return;
    log.warn('the lease of the flag table is lost', { prefix, why });
    holding = undefined;
    sighting = undefined;
    options.onChange();
  }

  /** Every write of a holder to the head is a renewal, too. */
  async function renew(extra: { set?: Attributes; condition?: Condition } = {}): Promise<boolean> {
    const now = holding;
    if (!now) return false;
    const sentAt = clock.now();
    now.beat += 1;
    const checkedAt = options.checkedAt();
    const yielding = !eligible;
    const turned = yielding !== now.yielding;
    const set: Attributes = { ...extra.set, beat: { N: String(now.beat) } };
    if (checkedAt !== undefined) set.checkedAt ??= { N: String(checkedAt) };
    if (turned && yielding) set[yieldingName] = { BOOL: true };
    const condition = extra.condition ? both(mine(now.epoch), extra.condition) : mine(now.epoch);
    const remove = turned ? (yielding ? [claimName] : [yieldingName, claimName]) : [];
    const head = await table.update('head', key, { set, remove, condition, retry: false });
    if (!head || holding !== now) return false;
    // Asked when the answer is here: the time may have run out while it was on its way, and whoever noticed sleeps.
    const lapsed = !held();
    now.sentAt = Math.max(now.sentAt, sentAt);
    now.yielding = yielding;
    if (lapsed) options.onChange();
    // A claim seen now was written since the previous renewal, so an eligible task is alive.
    if (now.yielding && !turned && claimName in head && !eligible) {
      relieved = true;
      log.info('the lease of the flag table is handed to a task whose upstream is current', { prefix });
      await release(now);
    }
    return true;
  }

  async function release(term: Holding): Promise<void> {
    holding = undefined;
    sighting = undefined;
    options.onChange();
    await options.quiesce();
    const set: Attributes = { owner: { S: '' }, beat: { N: String(term.beat + 1) } };
    const remove = [yieldingName, claimName];
    await table.update('head', key, { set, remove, condition: mine(term.epoch), retry: false });
  }

  function begin(epoch: number, beat: number, start: TermStart, sentAt: number, yielding: boolean): void {
    holding = { epoch, start, beat, sentAt, yielding };
    attempted = undefined;
    relieved = false;
    sighting = undefined;
    log.info('this task now writes the flag table', { prefix, epoch, after: start });
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
    const beat = head.beat + 1;
    const sentAt = clock.now();
    const set: Attributes = { owner: { S: owner }, epoch: { N: String(epoch) }, beat: { N: String(beat) } };
    const seen = equal({
      owner: { S: head.owner },
      epoch: { N: String(head.epoch) },
      beat: { N: String(head.beat) },
    });
    const remove = [yieldingName, claimName];
    const taken = await table.update('head', key, { set, remove, condition: seen, retry: false });
    if (taken) begin(epoch, beat, start, sentAt, false);
  }

  /** Looks at the head of somebody else, and takes the lease if the rules allow it. */
  async function look(): Promise<void> {
    const attributes = await table.get(key, { consistent: false });
    if (closed) return;
    if (!attributes) {
      sighting = undefined;
      if (eligible) await create();
      return;
    }
    const head = decodeHead(attributes);
    const readable = !('problem' in head);
    const mark = readable ? `${head.owner} ${head.epoch} ${head.beat}` : JSON.stringify(attributes);
    if (sighting?.mark !== mark) {
      if (!readable) log.warn('the head of the flag table cannot be read', { prefix, problem: head.problem });
      sighting = { mark, since: clock.now(), owner: readable ? head.owner : '?' };
      options.onChange();
    }
    const stoodStill = clock.now() - sighting.since >= timings.expireMs;
    if (!readable) {
      // A newer relay's head is left to newer relays; anything else is nobody's once nothing renews it.
      if (eligible && stoodStill && hasOurFormat(attributes)) await create(attributes);
      return;
    }
    if (attempted && head.owner === owner && head.epoch === attempted.epoch) {
      // The takeover went through, and only its answer was lost: a renewal proves it.
      const { epoch, start } = attempted;
      begin(epoch, head.beat, start, clock.now() - timings.stopMs, false);
      await renew();
      return;
    }
    const released = head.owner === '';
    if (eligible && released) return take(head, 'released');
    if ((eligible || (relieved && released)) && stoodStill) return take(head, 'expired');
    if (eligible && yieldingName in attributes) await claim(head);
  }

  /** Tells a holder that would rather be relieved that somebody is ready. */
  async function claim(head: Head): Promise<void> {
    const condition = both(equal({ owner: { S: head.owner }, epoch: { N: String(head.epoch) } }), stillYielding);
    claims += 1;
    const set: Attributes = { [claimName]: { S: `${owner} ${claims}` } };
    await table.update('head', key, { set, condition, retry: false });
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
    if (failures > 0) return timings.pollMs + backoffMs(failures, timings);
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
      if (!closed) await alarm.wait(delayMs());
    }
    // A takeover may have gone through while `close` was called.
    if (holding) await releaseQuietly(holding);
  }

  async function releaseQuietly(term: Holding): Promise<void> {
    await release(term).catch((error: unknown) => {
      log.warn('the lease of the flag table could not be released; it runs out by itself', {
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
      return sighting !== undefined && sighting.owner !== '' && clock.now() - sighting.since < timings.expireMs;
    },
    setEligible(next) {
      if (next === eligible) return;
      eligible = next;
      hurry = holding !== undefined;
      alarm.wake();
      options.onChange();
    },
    async publish(publication) {
      const { rev } = publication;
      const encoded = encodeHead(prefix, { format: SNAPSHOT_FORMAT, owner, epoch: rev.epoch, beat: 0, ...publication });
      const { namespace: _, key: __, owner: ___, epoch: ____, beat: _____, ...set } = encoded;
      if (await renew({ set, condition: absentOrOlderRev(rev) })) return true;
      // The lease is gone, or (a lost answer, a foreign hand) the revision is there already.
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
      alarm.wake();
      if (holding) await releaseQuietly(holding);
      else await Promise.race([loop, sleep(timings.closeGraceMs)]);
    },
  };
}

const stillYielding: Condition = {
  expression: 'attribute_exists(#cYielding)',
  names: { '#cYielding': yieldingName },
  values: {},
};

function hasOurFormat(attributes: Attributes): boolean {
  const { format } = attributes;
  return !format || !('N' in format) || !(Number(format.N) > SNAPSHOT_FORMAT);
}
