import {
  type Attributes,
  decodeOfficialItem,
  type Item,
  initedKey,
  type Kind,
  namespaces,
} from '../../lib/flag-table/index.ts';
import type { ItemView, Log } from '../ports.ts';
import { exactly } from './conditions.ts';
import { type Table, textOf } from './dynamodb-client.ts';
import { inFlight, inParallel } from './in-parallel.ts';
import { keyOf, type OfficialWriter, type Work } from './official-writer.ts';
import { everything, idOf } from './same-item.ts';
import type { Clock, Timings } from './timings.ts';

/** All rows of one environment, both layouts. */
export interface Content {
  readonly rows: Readonly<Record<Kind, readonly Attributes[]>>;
  readonly inited: boolean;
  readonly snapshot: readonly Attributes[];
}

export async function readContent(table: Table, prefix: string): Promise<Content> {
  const names = namespaces(prefix);
  const [features, segments, snapshot, marker] = await Promise.all([
    table.query(names.features),
    table.query(names.segments),
    table.query(names.snapshot),
    table.get(initedKey(prefix)),
  ]);
  return { rows: { features, segments }, inited: marker !== undefined, snapshot };
}

/** Finds out what in the official layout is not as memory has it, and what is to be done about it. */
export interface Reconciler {
  /** Compares everything; tells the writer what stands there; answers what is to be written now. */
  compare(content: Content): readonly Work[];
  /** Monotonic ms at which a second look is due; Infinity: none. */
  nextLookAt(): number;
  /** Takes the second looks that are due: removes what memory never knew, answers what is to be written. */
  lookAgain(): Promise<readonly Work[]>;
}

interface Suspect {
  readonly kind: Kind;
  readonly row: Attributes;
  /** Monotonic ms of the first look. */
  readonly since: number;
}

export function createReconciler(options: {
  table: Table;
  prefix: string;
  view: ItemView;
  official: OfficialWriter;
  clock: Clock;
  timings: Timings;
  log: Log;
}): Reconciler {
  const { table, prefix, view, official, clock, timings, log } = options;
  /** Newer than memory, or unknown to it: perhaps memory is about to hear of them. */
  const suspects = new Map<string, Suspect>();

  /** What to do about one row; undefined: nothing now. */
  function examine(kind: Kind, row: Attributes): Work | undefined {
    const key = textOf(row, 'key');
    const item = view.get(kind, key);
    const decoded = decodeOfficialItem(kind, row);
    const readable = !('problem' in decoded);
    if (item && official.isSettled(row, item)) return undefined;
    if (!item && readable && decoded.deleted) return undefined;
    if (!item || (readable && decoded.version > item.version)) {
      const id = idOf({ kind, key });
      const known = suspects.get(id);
      if (!known || !sameRow(known.row, row)) suspects.set(id, { kind, row, since: clock.now() });
      return undefined;
    }
    return { kind, key, mode: 'repair', read: row };
  }

  function compare({ rows, inited }: Content): readonly Work[] {
    const work: Work[] = [];
    const settled: Item[] = [];
    const seen = new Set<string>();
    for (const kind of ['segments', 'features'] as const) {
      for (const row of rows[kind]) {
        const key = textOf(row, 'key');
        seen.add(idOf({ kind, key }));
        const item = view.get(kind, key);
        if (item && official.isSettled(row, item)) settled.push(item);
        const one = examine(kind, row);
        if (one) work.push(one);
      }
    }
    for (const item of everything(view)) {
      if (seen.has(idOf(item))) continue;
      if (official.isSettled(undefined, item)) settled.push(item);
      else work.push({ kind: item.kind, key: item.key, mode: 'newer' });
    }
    official.adopt(settled, inited);
    return work;
  }

  async function secondLook([id, suspect]: readonly [string, Suspect]): Promise<Work | undefined> {
    const { kind, row } = suspect;
    const key = keyOf(row);
    const now = await table.get(key);
    suspects.delete(id);
    const item = view.get(kind, key.key);
    if (!now) return item && { kind, key: key.key, mode: 'newer' };
    if (!sameRow(now, row)) return examine(kind, now);
    if (item) {
      if (official.isSettled(now, item)) return undefined;
      log.warn('an item of the flag table is not what LaunchDarkly sent; it is replaced', { prefix, item: id });
      return { kind, key: key.key, mode: 'repair', read: now };
    }
    const decoded = decodeOfficialItem(kind, now);
    if (!('problem' in decoded) && decoded.deleted) return undefined;
    // Removed rather than buried: a tombstone of our invention would keep out a flag of this name that is made later.
    log.warn('an item of the flag table is unknown to LaunchDarkly; it is removed', { prefix, item: id });
    await table.remove(kind === 'features' ? 'flag' : 'segment', key, exactly(now));
    return undefined;
  }

  return {
    compare,
    nextLookAt: () => Math.min(Infinity, ...[...suspects.values()].map(({ since }) => since + timings.secondLookMs)),
    async lookAgain() {
      const due = [...suspects].filter(([, { since }]) => clock.now() - since >= timings.secondLookMs);
      const work: Work[] = [];
      await inParallel(inFlight, due, async (entry) => {
        const one = await secondLook(entry);
        if (one) work.push(one);
      });
      return work;
    },
  };
}

/** Attributes come in any order. */
function sameRow(a: Attributes, b: Attributes): boolean {
  const text = (row: Attributes) => JSON.stringify(Object.entries(row).sort(([x], [y]) => (x < y ? -1 : 1)));
  return text(a) === text(b);
}
