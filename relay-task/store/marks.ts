import type { Kind } from '../../lib/flag-table/index.ts';
import type { ItemView, Log, LogFields } from '../ports.ts';
import type { Content, Database, Glance, Held, Outcome, Write } from './database.ts';
import type { Ledger } from './ledger.ts';
import { parseManifest, statedCounts } from './manifest.ts';
import { everything } from './same-item.ts';

export interface MarksOptions {
  readonly database: Database;
  readonly view: ItemView;
  readonly ledger: Ledger;
  /** Names where the data in memory comes from; the manifest keeps it. */
  readonly source?: (() => string | undefined) | undefined;
  readonly log: Log;
  /** For log lines: which store of which environment. */
  readonly where: LogFields;
}

/**
 * The marks of a set: the marker `$inited`, and the manifest, which also says whose data it is. The marker is taken away from
 * a set that lost rows, and comes back last.
 */
export function createMarks({ database, view, ledger, source = () => undefined, log, where }: MarksOptions) {
  /** Whether the database is known to have the marker. */
  let inited = false;
  let lostRows = false;
  /** The manifest that the database is known to have ('' where it keeps none); undefined: none, or no marker either. */
  let manifest: string | undefined;
  /** Whose data the manifest says it is. */
  let owner: string | undefined;
  /** The last glance found a manifest that is not ours. */
  let wasOdd = false;

  /** The database is known to have these marks now. */
  function know(isMarked: boolean, text: string | undefined): void {
    inited = isMarked;
    manifest = isMarked ? text : undefined;
    owner = manifest === undefined ? undefined : parseManifest(manifest)?.source;
  }

  /** The manifest to write after these writes, the last ones; undefined: the database has it already. */
  function finishOf(writes: readonly Write[]): string | undefined {
    const wanted = database.keepsManifest ? ledger.manifest(writes, nextOwner(writes)) : '';
    return wanted === manifest ? undefined : wanted;
  }

  /** A set becomes a source's own once it holds nothing else, and stays so while other relays write newer items. */
  function nextOwner(writes: readonly Write[]): string | undefined {
    const name = source();
    return name === owner || name === undefined || ledger.equalsMemory(writes) ? name : '';
  }

  /** Whether items are missing, and there were more rows before: as the manifest says, or as this process has seen. */
  function hasLost({ rows, manifest: found }: Content, before: Held['counts']): boolean {
    const stated = statedCounts(found);
    // Without either, a hash or folder that is gone altogether is a loss.
    const isShort = (kind: Kind) => rows[kind].size < Math.max(1, stated[kind], before[kind]);
    for (const item of everything(view)) {
      if (!item.deleted && !rows[item.kind].has(item.key) && isShort(item.kind)) return true;
    }
    return false;
  }

  const heldBeside = (writes: readonly Write[]): Held => ({ inited, ...ledger.held(writes) });

  return {
    /** Takes over what was read. True: it is marked as a complete set, and has lost nothing. */
    adopt(content: Content): boolean {
      const { counts } = ledger.held([]);
      lostRows = content.inited && hasLost(content, counts);
      ledger.adopt(content);
      know(content.inited, database.keepsManifest ? content.manifest : '');
      wasOdd = false;
      return inited && !lostRows;
    },
    /** The marker is there, but rows are missing that were there before. */
    lostRows: () => lostRows,
    /** Whether the database is known to have the marker. */
    areSet: () => inited,
    /** Takes the marker away from what is no longer a complete set. */
    async unmark(): Promise<void> {
      await database.unmark();
      lostRows = false;
      know(false, undefined);
      log.warn('The store lost items; it is not marked complete until it is filled again', {
        ...where,
        runbook: 'operations.md#store-lost-items',
      });
    },
    /** Call it before items are written: from the first item of another source to the last one, the set has no owner. */
    async disown(): Promise<void> {
      if (!owner || owner === source()) return;
      const text = ledger.manifest([], '');
      await database.apply([], heldBeside([]), text);
      know(true, text);
    },
    /** Writes, and the marks with them if these are the last writes and the database does not have the marks already. */
    async write(writes: readonly Write[], areLast: boolean): Promise<readonly Outcome[]> {
      const finish = areLast ? finishOf(writes) : undefined;
      const outcomes = await database.apply(writes, heldBeside(writes), finish);
      if (finish !== undefined && outcomes.every(({ written }) => written)) know(true, finish);
      return outcomes;
    },
    /** Whether `write` without writes would change the marks. */
    areDue: () => finishOf([]) !== undefined,
    /** Whether what was glanced at says that the database is not as it was left. */
    isSuspicious({ inited: isMarked, manifest: found, counts }: Glance): boolean {
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
