import { decodeOfficialItem, type Item, type Kind } from '../../lib/flag-table/index.ts';
import type { ItemView } from '../ports.ts';
import { encodeManifest, type Listed } from './manifest.ts';
import type { Content, Row, Write } from './replica.ts';
import { everything, idOf, sameItem } from './same-item.ts';

/** What is known to stand in the database under one key. */
export interface Known {
  readonly kind: Kind;
  readonly key: string;
  readonly token: string;
  /** Undefined: it cannot be read. */
  readonly version: number | undefined;
  readonly deleted: boolean;
  /** Memory's item, while the row says the same. */
  readonly item: Item | undefined;
}

/** A write, and the item that it writes; undefined: a removal. */
export interface Planned {
  readonly write: Write;
  readonly item: Item | undefined;
}

/** Remembers what stands in a database, without holding its text. */
export interface Ledger {
  get(id: string): Known | undefined;
  all(): Iterable<Known>;
  /** Forgets everything and takes over what was read. */
  adopt(content: Content): void;
  /** One row as it was found. */
  found(kind: Kind, key: string, row: Row | undefined): void;
  /** One write that was done. */
  wrote(planned: Planned, token: string | undefined): void;
  /** How many rows are known. */
  count(kind: Kind): number;
  /** The manifest of what will stand there once `pending` is written. */
  manifest(pending: readonly Planned[]): string;
}

/** Reads what any official writer left under a key: ld-relay names its tombstones `$deleted`. */
export function decodeRow(kind: Kind, key: string, text: string): ReturnType<typeof decodeOfficialItem> {
  return decodeOfficialItem(kind, { key: { S: key }, item: { S: text } });
}

export function createLedger(view: ItemView): Ledger {
  let known = new Map<string, Known>();

  function learn(kind: Kind, key: string, { text, token }: Row): Known {
    const decoded = decodeRow(kind, key, text);
    const ours = view.get(kind, key);
    if ('problem' in decoded) return { kind, key, token, version: undefined, deleted: false, item: undefined };
    const { version, deleted } = decoded;
    return { kind, key, token, version, deleted, item: ours && sameItem(decoded, ours) ? ours : undefined };
  }

  return {
    get: (id) => known.get(id),
    all: () => known.values(),
    adopt({ rows }) {
      known = new Map();
      for (const kind of ['segments', 'features'] as const) {
        for (const [key, row] of rows[kind]) known.set(idOf({ kind, key }), learn(kind, key, row));
      }
    },
    found(kind, key, row) {
      if (row) known.set(idOf({ kind, key }), learn(kind, key, row));
      else known.delete(idOf({ kind, key }));
    },
    wrote({ write: { kind, key }, item }, token) {
      const id = idOf({ kind, key });
      if (!item || token === undefined) known.delete(id);
      else known.set(id, { kind, key, token, version: item.version, deleted: item.deleted, item });
    },
    count(wanted) {
      let count = 0;
      for (const { kind } of known.values()) if (kind === wanted) count += 1;
      return count;
    },
    manifest(pending) {
      const listed = new Map<string, Listed>();
      for (const [id, { kind, key, version, deleted }] of known) {
        if (version !== undefined) listed.set(id, { kind, key, version, deleted });
      }
      for (const { write, item } of pending) {
        if (item) listed.set(idOf(item), item);
        else listed.delete(idOf(write));
      }
      let missing = 0;
      for (const item of everything(view)) if (!item.deleted && !listed.has(idOf(item))) missing += 1;
      return encodeManifest(listed.values(), missing);
    },
  };
}
