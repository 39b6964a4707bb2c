/**
 * Which tombstones are spent. A tombstone in a store keeps out older versions of its item, which a relay may write that has
 * not heard of the deletion. A relay writes only while its stream is current, and notices within minutes that it is not. So
 * a tombstone is spent `tombstoneMs` after it was first seen, once LaunchDarkly has confirmed the set since; and when another
 * relay has removed it. Readers need none: an item without a row is as deleted as one with a tombstone.
 */
import type { Item, Kind } from '../../lib/flag-table/index.ts';
import type { ItemView } from '../ports.ts';
import { everything, idOf } from './same-item.ts';
import type { Clock, EngineTimings } from './timings.ts';

type Tombstone = Pick<Item, 'kind' | 'key'> & { readonly version: number | undefined };

export interface Graves {
  /** Memory without spent tombstones: the store holds what this view has. */
  readonly view: ItemView;
  isSpent(tombstone: Tombstone): boolean;
  /** Takes note of the tombstones in memory, and of those in the store, which was just read and is whole. */
  look(stored: Iterable<Tombstone>): void;
}

interface Grave {
  /** Monotonic ms of the first sight. */
  readonly since: number;
  wasStored: boolean;
  spent: boolean;
}

export function createGraves(options: {
  readonly view: ItemView;
  /** Monotonic ms when memory was last known to equal upstream; absent: always. */
  readonly checkedNow?: (() => number) | undefined;
  readonly clock: Clock;
  readonly timings: Pick<EngineTimings, 'tombstoneMs'>;
}): Graves {
  const { view, checkedNow = () => Infinity, clock, timings } = options;
  let graves = new Map<string, Grave>();
  const nameOf = (one: Tombstone) => `${idOf(one)} ${one.version}`;
  const isSpent = (one: Tombstone) => graves.get(nameOf(one))?.spent ?? false;
  const isVisible = (item: Item) => !item.deleted || !isSpent(item);

  return {
    isSpent,
    look(stored) {
      const now = clock.now();
      const next = new Map<string, Grave>();
      const note = (one: Tombstone): Grave => {
        const name = nameOf(one);
        const grave = graves.get(name) ?? { since: now, wasStored: false, spent: false };
        next.set(name, grave);
        return grave;
      };
      const inMemory = [...everything(view)].filter(({ deleted }) => deleted);
      const tombstones = [...stored];
      const keys = new Set(tombstones.map(idOf));
      for (const one of inMemory) {
        const grave = note(one);
        // One of another version was put in its place, which is no removal.
        if (grave.wasStored && !keys.has(idOf(one))) grave.spent = true;
      }
      const inStore = new Set(tombstones.map(note));
      for (const grave of next.values()) {
        grave.wasStored = inStore.has(grave);
        if (now - grave.since >= timings.tombstoneMs && checkedNow() >= grave.since) grave.spent = true;
      }
      graves = next;
    },
    view: {
      get initialized() {
        return view.initialized;
      },
      get generation() {
        return view.generation;
      },
      get(kind: Kind, key: string) {
        const item = view.get(kind, key);
        return item && isVisible(item) ? item : undefined;
      },
      *items(kind: Kind) {
        for (const item of view.items(kind)) if (isVisible(item)) yield item;
      },
    },
  };
}
