import { decodeOfficialItem, type Item, type Kind } from '../../lib/flag-table/index.ts';
import type { ItemView } from '../ports.ts';
import type { Content, Held, Replaced, Row, Write } from './database.ts';
import { encodeManifest, type Listed } from './manifest.ts';
import { compareInSlices, everything, findWhole, idOf, isWhole, sameItem } from './same-item.ts';

/** What is known about the row under one key. */
export interface Known extends Replaced {
  readonly kind: Kind;
  readonly key: string;
  readonly deleted: boolean;
  /** A tombstone that lacks fields, so that some SDKs cannot read it. */
  readonly isShort: boolean;
  readonly staleFor: number | undefined;
  /** Memory's item, while the row says the same; or the tombstone that replaced a short one. */
  readonly item: Item | undefined;
}

/** Reads what any official writer left under a key: ld-relay names its tombstones `$deleted`. */
export function decodeRow(kind: Kind, key: string, text: string): ReturnType<typeof decodeOfficialItem> {
  return decodeOfficialItem(kind, { key: { S: key }, item: { S: text } });
}

export type Ledger = ReturnType<typeof createLedger>;

/** Remembers what a database holds, without holding its text. */
export function createLedger(view: ItemView) {
  let known = new Map<string, Known>();

  function learn(kind: Kind, key: string, { item, token, staleFor }: Row): Known {
    const row = { kind, key, token, staleFor };
    if ('problem' in item) return { ...row, version: undefined, deleted: false, isShort: false, item: undefined };
    const { version, deleted } = item;
    const ours = view.get(kind, key);
    const same = ours !== undefined && staleFor === undefined && sameItem(item, ours);
    return { ...row, version, deleted, isShort: deleted && !isWhole(item), item: same ? ours : undefined };
  }

  return {
    get: (id: string) => known.get(id),
    all: (): Iterable<Known> => known.values(),
    /**
     * Finds for these rows what `adopt` and `found` need, with a yield after each and within large ones. Memory may change meanwhile:
     * what did is found in their turn.
     */
    *prepare(rows: Iterable<Row>): Generator<void, void> {
      for (const { item, staleFor } of rows) {
        yield;
        if ('problem' in item) continue;
        const ours = view.get(item.kind, item.key);
        if (ours && staleFor === undefined) yield* compareInSlices(item, ours);
        if (item.deleted) yield* findWhole(item);
      }
    },
    /** Forgets everything and takes over what was read. */
    adopt({ rows }: Content): void {
      known = new Map();
      for (const kind of ['segments', 'features'] as const) {
        for (const [key, row] of rows[kind]) known.set(idOf({ kind, key }), learn(kind, key, row));
      }
    },
    /** One row as it was found. */
    found(kind: Kind, key: string, row: Row | undefined): void {
      if (row) known.set(idOf({ kind, key }), learn(kind, key, row));
      else known.delete(idOf({ kind, key }));
    },
    /** One write that was done. */
    wrote({ kind, key, action, item }: Write, token: string | undefined): void {
      const id = idOf({ kind, key });
      const before = known.get(id);
      if (!item || token === undefined) known.delete(id);
      else if (action === 'mark-stale') {
        if (before) known.set(id, { ...before, token, staleFor: item.version });
      } else {
        const { version, deleted } = item;
        known.set(id, { kind, key, token, staleFor: undefined, version, deleted, isShort: false, item });
      }
    },
    /** How many rows are known. */
    count(wanted: Kind): number {
      let count = 0;
      for (const { kind } of known.values()) if (kind === wanted) count += 1;
      return count;
    },
    /** Whether the database holds exactly what memory holds once `pending` is written, tombstones apart. */
    equalsMemory(pending: readonly Write[]): boolean {
      const written = new Map(pending.map(({ kind, key, item }) => [idOf({ kind, key }), item]));
      const holds = (item: Item) => {
        const id = idOf(item);
        return sameItem(written.has(id) ? written.get(id) : known.get(id)?.item, item);
      };
      for (const item of everything(view)) if (!item.deleted && !holds(item)) return false;
      for (const { kind, key, deleted } of known.values()) {
        if (!deleted && !view.get(kind, key) && !written.has(idOf({ kind, key }))) return false;
      }
      return true;
    },
    /** What is known to be there, with witnesses that `writes` leave alone. */
    held(writes: readonly Write[]): Omit<Held, 'inited'> {
      const counts = { features: 0, segments: 0 };
      const touched = new Set(writes.map(idOf));
      const witnesses = new Map<Kind, Pick<Write, 'kind' | 'key'>>();
      // A tombstone, or an item that memory does not know, may be removed by another writer.
      const stays = ({ kind, key, deleted }: Known) => !deleted && view.get(kind, key) !== undefined;
      for (const [id, row] of known) {
        if (!stays(row)) continue;
        const { kind, key } = row;
        counts[kind] += 1;
        if (!witnesses.has(kind) && !touched.has(id)) witnesses.set(kind, { kind, key });
      }
      return {
        counts,
        witnesses: [...witnesses.values()],
        keysOf: (wanted) => [...known.values()].flatMap((row) => (row.kind === wanted && stays(row) ? row.key : [])),
      };
    },
    /** The manifest of what the database holds once `pending` is written, as data of `source`. */
    manifest(pending: readonly Write[], source: string | undefined): string {
      const listed = new Map<string, Listed>();
      for (const [id, { kind, key, version, deleted }] of known) {
        if (version !== undefined) listed.set(id, { kind, key, version, deleted });
      }
      for (const { kind, key, action, item } of pending) {
        if (action === 'put' && item) listed.set(idOf(item), item);
        else if (action === 'remove') listed.delete(idOf({ kind, key }));
      }
      let missing = 0;
      for (const item of everything(view)) if (!item.deleted && !listed.has(idOf(item))) missing += 1;
      return encodeManifest(listed.values(), missing, source);
    },
  };
}
