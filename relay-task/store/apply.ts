import type { Kind } from '../../lib/flag-table/index.ts';
import type { Content, Database, Glance, Outcome, Write } from './database.ts';
import { createMarks, type MarksOptions } from './marks.ts';
import type { Planner, Waiting } from './planner.ts';
import { idOf } from './same-item.ts';

/** Brings the rows of a database to memory's items, and its marks (manifest and `$inited`) to its rows. */
export interface Applier {
  /** Takes over what was read. True: it is marked as a complete set, and has lost nothing. */
  adopt(content: Content): boolean;
  /** Writes these items, then the marks. Before each write it calls `demandPermission`, which throws to end it. */
  apply(work: ReadonlyMap<string, Waiting>, demandPermission: () => void): Promise<void>;
  /** Whether what was glanced at says that the database is not as it was left. */
  isSuspicious(glance: Glance): boolean;
}

/** An item that others keep changing is left to the next comparison after this many tries. */
const maxRounds = 5;

export function createApplier(
  options: MarksOptions & {
    readonly planner: Planner;
    /** One compare-and-set was answered. */
    readonly wroteItem?: ((written: boolean) => void) | undefined;
  },
): Applier {
  const { database, ledger, planner, log, where } = options;
  const marks = createMarks(options);

  /** Takes over one outcome; returns what to write instead of a write that was not done. */
  function learn(write: Write, outcome: Outcome, work: Waiting): Write | undefined {
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
    async apply(work, demandPermission) {
      if (marks.lostRows()) {
        demandPermission();
        await marks.unmark();
      }
      const queue = inOrder(work).flatMap((one) => planner.plan(one) ?? []);
      const rounds = new Map<string, number>();
      for (;;) {
        demandPermission();
        if (queue.length > 0) await marks.disown();
        const chunk = takeChunk(queue, database.limits);
        if (chunk.length === 0 && !marks.areDue()) return;
        const outcomes = await marks.write(chunk, queue.length === 0);
        for (const [index, write] of chunk.entries()) {
          const id = idOf(write);
          const [outcome, one] = [outcomes[index], work.get(id)];
          const again = outcome && one && learn(write, outcome, one);
          const round = (rounds.get(id) ?? 0) + 1;
          rounds.set(id, round);
          if (again && round < maxRounds) queue.push(again);
          else if (again) log.warn('Others keep changing an item; leaving it for later', { ...where, item: id });
        }
      }
    },
    isSuspicious: marks.isSuspicious,
  };
}

/** Segments before flags, which name them. */
function inOrder(work: ReadonlyMap<string, Waiting>): Waiting[] {
  const ofKind = (kind: Kind) => [...work.values()].filter((one) => one.kind === kind);
  return [...ofKind('segments'), ...ofKind('features')];
}

/** Takes the writes off the queue that go together. */
function takeChunk(queue: Write[], limits: Database['limits']): Write[] {
  let bytes = 0;
  let count = 0;
  for (const { item } of queue) {
    bytes += item === undefined ? 0 : Buffer.byteLength(item.json);
    if (count === limits.writes || (count > 0 && bytes > limits.bytes)) break;
    count += 1;
  }
  return queue.splice(0, count);
}
