/** An environment's memory as stores see it, driven by hand: what changes is told to every store that listens. */
import type { Item, Kind } from '../../../lib/flag-table/index.ts';
import type { Change, ItemView, Store } from '../../../relay-task/ports.ts';

export interface Memory extends ItemView {
  /** Sets items as they are given and tells the listeners: `put` if a version fell or content changed under a version. */
  set(...items: Item[]): void;
  /** The same, without a word to anybody. */
  setQuietly(...items: Item[]): void;
  all(): Item[];
  listen(store: Pick<Store, 'notify'>): void;
}

export function createMemory(...initial: Item[]): Memory {
  const held = new Map<string, Item>();
  const listeners: Pick<Store, 'notify'>[] = [];
  let generation = 0;
  const memory: Memory = {
    get initialized() {
      return held.size > 0;
    },
    get generation() {
      return generation;
    },
    get: (kind, key) => held.get(`${kind} ${key}`),
    *items(kind) {
      for (const item of held.values()) if (item.kind === kind) yield item;
    },
    set(...items) {
      const risen = items.every((item) => (memory.get(item.kind, item.key)?.version ?? -1) < item.version);
      memory.setQuietly(...items);
      const change: Change = { generation, kind: risen ? 'patch' : 'put', items, receivedAt: performance.now() };
      for (const store of listeners) store.notify(change);
    },
    setQuietly(...items) {
      for (const item of items) held.set(`${item.kind} ${item.key}`, item);
      generation += 1;
    },
    all: () => [...held.values()],
    listen: (store) => void listeners.push(store),
  };
  if (initial.length > 0) memory.setQuietly(...initial);
  return memory;
}

export function flag(key: string, version: number, more: Record<string, unknown> = {}): Item {
  return item('features', key, version, {
    on: true,
    variations: [true, false],
    fallthrough: { variation: 0 },
    ...more,
  });
}

export function segment(key: string, version: number, more: Record<string, unknown> = {}): Item {
  return item('segments', key, version, { included: [], excluded: [], rules: [], salt: 's', ...more });
}

export function tombstone(kind: Kind, key: string, version: number): Item {
  return { kind, key, version, deleted: true, json: JSON.stringify({ key, version, deleted: true }) };
}

function item(kind: Kind, key: string, version: number, more: Record<string, unknown>): Item {
  return { kind, key, version, deleted: false, json: JSON.stringify({ key, version, deleted: false, ...more }) };
}

export function flags(count: number, version = 1): Item[] {
  return Array.from({ length: count }, (_, index) => flag(`flag-${index}`, version, { salt: `salt-${index}` }));
}
