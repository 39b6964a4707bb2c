import { inSlices } from '../common/slices.ts';
import type { Database, Outcome, Write } from './database.ts';
import { createMarks, type MarksOptions } from './marks.ts';
import type { Planner, Waiting } from './planner.ts';
import { idOf } from './same-item.ts';
import { orderWrites, type WriteOrder } from './write-order.ts';

/** What a batch did not write. */
interface Leftover {
  /**
   * To be written with the next batch: items that others and memory changed meanwhile, whose prerequisites may have changed, too,
   * and the flags that depend on them.
   */
  readonly later: ReadonlyMap<string, Waiting>;
  /** Others kept changing some item: the next comparison finds what is left. */
  readonly isContested: boolean;
}

/** An item that others keep changing is left to the next comparison after this many tries, with the flags that depend on it. */
const maxRounds = 5;

/** Brings the rows of a database to memory's items, and its marks (manifest and `$inited`) to its rows. */
export function createApplier(
  options: MarksOptions & {
    readonly planner: Planner;
    /** One compare-and-set was answered. */
    readonly wroteItem?: ((written: boolean) => void) | undefined;
  },
) {
  const { database, ledger, planner, view, log, where } = options;
  const marks = createMarks(options);

  /** Takes over one outcome; returns what to write instead of a write that was not done. */
  function learn(write: Write, outcome: Outcome, work: Waiting): Write | undefined {
    if ('held' in outcome) return write;
    options.wroteItem?.(outcome.written);
    if (outcome.written) ledger.wrote(write, outcome.token);
    else if ('problem' in outcome) {
      if (write.item) planner.refused(write.item, outcome.problem);
    } else {
      ledger.found(write.kind, write.key, outcome.row);
      return planner.plan(work);
    }
    return undefined;
  }

  return {
    adopt: marks.adopt,
    /**
     * Writes these items, each after what it names, then the marks. Before each write it calls `demandPermission`, which throws to
     * end it.
     */
    async apply(work: ReadonlyMap<string, Waiting>, demandPermission: () => void): Promise<Leftover> {
      if (marks.lostRows()) {
        demandPermission();
        await marks.unmark();
      }
      const order = orderWrites(work, view, planner);
      const leftovers = createLeftovers(order, { view, log, where, areSet: marks.areSet });
      let queue = order.writes;
      for (;;) {
        demandPermission();
        if (queue.length > 0) await marks.disown();
        const chunk = order.link(queue.slice(0, countChunk(queue, database.limits)));
        queue = queue.slice(chunk.length);
        const areLast = queue.length === 0 && leftovers.later.size === 0;
        if (chunk.length === 0 && !(areLast && marks.areDue())) return leftovers.all();
        const outcomes = await marks.write(chunk, areLast);
        const again: Write[] = [];
        for (const [index, write] of chunk.entries()) {
          const outcome = outcomes[index];
          if (outcome && 'row' in outcome && outcome.row) await inSlices(ledger.prepare([outcome.row]));
          const next = outcome && learn(write, outcome, order.waitingOf(write));
          if (next && (next === write || leftovers.triesAgain(write, next))) again.push(next);
        }
        queue = leftovers.without([...again, ...queue]);
      }
    },
    isSuspicious: marks.isSuspicious,
  };
}

/** What was not written of a batch, and is not tried again in it. */
function createLeftovers(
  order: WriteOrder,
  { view, log, where, areSet }: Pick<MarksOptions, 'view' | 'log' | 'where'> & { areSet(): boolean },
) {
  const rounds = new Map<string, number>();
  const later = new Map<string, Waiting>();
  let stuck: string[] = [];
  let changed: string[] = [];
  let isContested = false;
  const postpone = (write: Write) => later.set(idOf(write), order.waitingOf(write));
  return {
    later,
    all: (): Leftover => ({ later, isContested }),
    /** Whether to try this instead of a write that was refused. */
    triesAgain(write: Write, again: Write): boolean {
      const id = idOf(write);
      if (again.item !== write.item && view.get(write.kind, write.key)) {
        // The order was made for the former one.
        postpone(write);
        if (write.kind === 'features') changed.push(write.key);
        return false;
      }
      const round = (rounds.get(id) ?? 0) + 1;
      rounds.set(id, round);
      if (round < maxRounds) return true;
      isContested = true;
      log.warn('Others keep changing an item; leaving it for later', {
        ...where,
        item: id,
        runbook: 'operations.md#store-differs',
      });
      // No reader opens a set without the marker, and it must not get the marker without these.
      if (write.kind === 'features' && areSet()) stuck.push(write.key);
      return false;
    },
    /** Leaves out what depends on what was not written, since no reader may see it earlier. */
    without(queue: readonly Write[]): readonly Write[] {
      if (stuck.length + changed.length === 0) return queue;
      const [withStuck, withChanged] = [order.withDependents(stuck), order.withDependents(changed)];
      const isIn = (keys: ReadonlySet<string>, { kind, key }: Write) => kind === 'features' && keys.has(key);
      const left = queue.filter((write) => !isIn(withStuck, write) && !isIn(withChanged, write));
      for (const write of queue) {
        if (isIn(withChanged, write)) postpone(write);
        else if (isIn(withStuck, write)) {
          log.warn('A prerequisite was not written; leaving the flag for later', {
            ...where,
            item: idOf(write),
            runbook: 'operations.md#store-write-errors',
          });
        }
      }
      [stuck, changed] = [[], []];
      return left;
    },
  };
}

/** How many of the first writes go together. */
function countChunk(queue: readonly Write[], limits: Database['limits']): number {
  let bytes = 0;
  let count = 0;
  for (const { item } of queue) {
    bytes += item === undefined ? 0 : Buffer.byteLength(item.json);
    if (count === limits.writes || (count > 0 && bytes > limits.bytes)) break;
    count += 1;
  }
  return count;
}
