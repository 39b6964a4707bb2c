import type { Kind } from '../../lib/flag-table/index.ts';
import type { ItemView, Log } from '../ports.ts';
import type { Content, Database, Glance, Held, Outcome, Write } from './database.ts';
import type { Ledger } from './ledger.ts';
import { parseManifest, statedCounts } from './manifest.ts';
import type { Planner, Waiting } from './planner.ts';
import { everything, idOf } from './same-item.ts';

/**
 * Brings the rows of a database to memory's items, and its marks (manifest and `$inited`) to its rows. The marker is taken
 * away from a set that lost rows, and comes back last.
 */
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

export function createApplier(options: {
  readonly database: Database;
  readonly view: ItemView;
  readonly ledger: Ledger;
  readonly planner: Planner;
  /** Names where the data in memory comes from; the manifest keeps it. */
  readonly source?: (() => string | undefined) | undefined;
  readonly log: Log;
  /** For log lines: which store of which environment. */
  readonly where: Readonly<Record<string, unknown>>;
  /** One compare-and-set was answered. */
  readonly wroteItem?: ((written: boolean) => void) | undefined;
}): Applier {
  const { database, view, ledger, planner, log, where } = options;
  /** Whether the database is known to have the marker. */
  let inited = false;
  /** The marker is there, but rows are missing that were there before. */
  let lostRows = false;
  /** The manifest that the database is known to have ('' where it keeps none); undefined: none, or no marker either. */
  let manifest: string | undefined;
  /** Whose data the manifest says it is. */
  let owner: string | undefined;
  /** The last glance found a manifest that is not ours. */
  let wasOdd = false;

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

  /** The database is known to have this manifest now, and the marker. */
  function marked(text: string | undefined): void {
    manifest = text;
    owner = text === undefined ? undefined : parseManifest(text)?.source;
  }

  /** The manifest to write after these writes, the last ones; undefined: the database has it already. */
  function finishOf(chunk: readonly Write[]): string | undefined {
    const wanted = database.keepsManifest ? ledger.manifest(chunk, nextOwner(chunk)) : '';
    return wanted === manifest ? undefined : wanted;
  }

  /** A set becomes a source's own once it holds nothing else, and stays so while other relays write newer items. */
  function nextOwner(chunk: readonly Write[]): string | undefined {
    const source = options.source?.();
    return source === owner || source === undefined || ledger.equalsMemory(chunk) ? source : '';
  }

  /** From the first item of another source to the last one, the set is nobody's. */
  async function disown(): Promise<void> {
    if (!owner || owner === options.source?.()) return;
    const text = ledger.manifest([], '');
    await database.apply([], { inited, ...ledger.held([]) }, text);
    marked(text);
  }

  /** Whether items are missing, and there were more rows before: as the manifest says, or as this process has seen. */
  function hasLost({ rows, manifest }: Content, before: Held['counts']): boolean {
    const stated = statedCounts(manifest);
    // Without either, a hash or folder that is gone altogether is a loss.
    const isShort = (kind: Kind) => rows[kind].size < Math.max(1, stated[kind], before[kind]);
    for (const item of everything(view)) {
      if (!item.deleted && !rows[item.kind].has(item.key) && isShort(item.kind)) return true;
    }
    return false;
  }

  /** Takes the marker away from what is no longer a complete set. */
  async function unmark(): Promise<void> {
    await database.unmark();
    [inited, lostRows] = [false, false];
    marked(undefined);
    log.warn('The store lost items; it is not marked complete until it is filled again', where);
  }

  return {
    adopt(content) {
      const { counts } = ledger.held([]);
      lostRows = content.inited && hasLost(content, counts);
      ledger.adopt(content);
      inited = content.inited;
      const kept = database.keepsManifest ? content.manifest : '';
      marked(inited ? kept : undefined);
      wasOdd = false;
      return inited && !lostRows;
    },
    async apply(work, demandPermission) {
      if (lostRows) {
        demandPermission();
        await unmark();
      }
      const queue = inOrder(work).flatMap((one) => planner.plan(one) ?? []);
      const rounds = new Map<string, number>();
      for (;;) {
        demandPermission();
        if (queue.length > 0) await disown();
        const chunk = takeChunk(queue, database.limits);
        const finish = queue.length === 0 ? finishOf(chunk) : undefined;
        if (chunk.length === 0 && finish === undefined) return;
        const outcomes = await database.apply(chunk, { inited, ...ledger.held(chunk) }, finish);
        for (const [index, write] of chunk.entries()) {
          const id = idOf(write);
          const [outcome, one] = [outcomes[index], work.get(id)];
          const again = outcome && one && learn(write, outcome, one);
          const round = (rounds.get(id) ?? 0) + 1;
          rounds.set(id, round);
          if (again && round < maxRounds) queue.push(again);
          else if (again) log.warn('Others keep changing an item; leaving it for later', { ...where, item: id });
        }
        if (finish !== undefined && outcomes.every(({ written }) => written)) {
          inited = true;
          marked(finish);
        }
      }
    },
    isSuspicious({ inited: isMarked, manifest: found, counts }) {
      const fewer = counts.features < ledger.count('features') || counts.segments < ledger.count('segments');
      const isGone = !isMarked || found === undefined || fewer;
      const isOdd = found !== manifest;
      // Another relay may be a moment ahead or behind: a manifest that is not ours counts when it is seen twice.
      const suspicious = isGone || (isOdd && wasOdd);
      wasOdd = isOdd;
      return suspicious;
    },
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
