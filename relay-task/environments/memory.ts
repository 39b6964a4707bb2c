import { type Item, KINDS, type Kind } from '../../lib/flag-table/index.ts';
import type { Budget } from '../common/budget.ts';
import { meansSame } from '../common/item-meaning.ts';
import { inSendingOrder } from '../common/prerequisites.ts';
import { createTombstone } from '../common/tombstone.ts';

/** What an update did. */
export interface Outcome {
  /** Items to send to readers, in sending order. */
  readonly items: readonly Item[];
  /** A version fell, or content changed without a new version: readers need the whole set. */
  readonly whole: boolean;
}

interface Table {
  readonly items: Map<string, Item>;
  /**
   * For tombstones whose version we chose, or that upstream has forgotten. Their version cannot be compared with
   * upstream's, so any version above this floor is accepted.
   */
  readonly floors: Map<string, number>;
}

/** What an item takes beside its text: its place in maps, its fingerprint, and the least that it is compiled to. */
const ITEM_BYTES = 500;

const bytesOf = ({ key, json }: Item): number => ITEM_BYTES + key.length + json.length;

const NO_FLOOR = Number.NEGATIVE_INFINITY;

/**
 * The items of one environment and the rules by which they change. Readers apply what is sent as SDKs do (a `put`
 * replaces everything, a patch or delete needs a higher version), so they end up with the same items.
 */
export function createMemory(options: {
  /** Called for each item whose bytes were replaced, even if the change is not sent to readers. */
  onReplaced(item: Item, before: Item | undefined): void;
  /** For the items of all environments, tombstones included, in characters of their texts. */
  readonly room?: Budget | undefined;
  /** Called for each newer item for which there is no room: it is not applied. */
  onNoRoom(item: Item): void;
}) {
  const holding = createHolding(options.room);
  const tables: Readonly<Record<Kind, Table>> = {
    features: { items: new Map(), floors: new Map() },
    segments: { items: new Map(), floors: new Map() },
  };

  function set(item: Item, floor?: number) {
    const { items, floors } = tables[item.kind];
    if (floor === undefined) floors.delete(item.key);
    else floors.set(item.key, floor);
    const before = items.get(item.key);
    if (before === item) return;
    items.set(item.key, item);
    holding.replaced(item, before);
    options.onReplaced(item, before);
  }

  /** Applies one item of a whole set, whatever its version. */
  function adopt(item: Item): 'same' | 'newer' | 'other' {
    const held = tables[item.kind].items.get(item.key);
    if (!held || item.version > held.version) {
      set(item);
      return 'newer';
    }
    if (held.deleted && item.deleted) {
      // Readers may hold the higher tombstone: a lower one here would let patches through that they ignore.
      set(held, item.version < held.version ? item.version : undefined);
      return 'same';
    }
    if (item.version === held.version && meansSame(held, item)) {
      if (item.json !== held.json) set(item);
      return 'same';
    }
    set(item);
    return 'other';
  }

  const get = (kind: Kind, key: string): Item | undefined => tables[kind].items.get(key);

  return {
    get,

    items: (kind: Kind): Iterable<Item> => tables[kind].items.values(),

    /** Makes the live items exactly these; `spared` items stay as they are. */
    replace(offered: readonly Item[], spared: (kind: Kind, key: string) => boolean): Outcome {
      const present = { features: new Set<string>(), segments: new Set<string>() };
      const changed: Item[] = [];
      let whole = false;
      for (const item of offered) {
        present[item.kind].add(item.key);
        const result = adopt(item);
        if (result === 'same') continue;
        changed.push(item);
        if (result === 'other') whole = true;
      }
      for (const kind of KINDS) {
        for (const held of tables[kind].items.values()) {
          if (present[kind].has(held.key) || spared(kind, held.key)) continue;
          if (held.deleted) {
            tables[kind].floors.set(held.key, NO_FLOOR);
            continue;
          }
          const gone = createTombstone(kind, held.key, held.version + 1);
          set(gone, NO_FLOOR);
          changed.push(gone);
        }
      }
      return { items: inSendingOrder(changed, get), whole };
    },

    /** Applies an item if it is newer than the held one and there is room for it; undefined if not. */
    upsert(item: Item): Outcome | undefined {
      const { items, floors } = tables[item.kind];
      const held = items.get(item.key);
      const isNewer = !held || item.version > held.version;
      if (!isNewer) {
        const floor = floors.get(item.key);
        if (floor === undefined || item.version <= floor) return undefined;
        if (item.deleted) {
          floors.set(item.key, item.version);
          return undefined;
        }
      }
      if (!holding.fits(item, held)) {
        options.onNoRoom(item);
        return undefined;
      }
      set(item);
      return { items: [item], whole: !isNewer };
    },

    /** Gives the room back. Nothing may be applied any more. */
    leave: holding.leave,
  };
}

/** What the items of one environment take of the room for those of all. */
function createHolding(room: Budget | undefined) {
  let heldBytes = 0;
  const bytesMore = (item: Item, held: Item | undefined) => bytesOf(item) - (held ? bytesOf(held) : 0);
  return {
    /** An item that is no larger than the one it replaces always fits. */
    fits(item: Item, held: Item | undefined): boolean {
      const more = bytesMore(item, held);
      return room === undefined || more <= 0 || more <= room.freeBytes;
    },
    replaced(item: Item, before: Item | undefined): void {
      const more = bytesMore(item, before);
      heldBytes += more;
      room?.hold(more);
    },
    leave(): void {
      room?.release(heldBytes);
      heldBytes = 0;
    },
  };
}
