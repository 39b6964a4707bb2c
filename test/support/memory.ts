import { createHash } from 'node:crypto';
import type { Item, Kind } from '../../lib/flag-table/index.ts';
import { createFDv2 } from '../../relay-task/environments/fdv2.ts';
import type { Change, ItemView, Store } from '../../relay-task/ports.ts';

/** An environment's memory that a test changes by hand. It tells stores of changes, and returns them for streams. */
export interface Memory extends ItemView {
  /** Where its data comes from, for stores. */
  source: string | undefined;
  /** Replaces everything. */
  put(items: readonly Item[]): Change;
  /** Sets these items. The change is a `put` if a version fell or content changed under a version. */
  set(...items: readonly Item[]): Change;
  /** Sets these items without telling anyone. */
  setQuietly(...items: readonly Item[]): void;
  listen(store: Pick<Store, 'notify'>): void;
  all(): Item[];
  hashed(): undefined;
  digest(scope: Kind | 'all'): string;
  state(): string;
  /** Remembers no state. */
  readonly fdv2: ReturnType<typeof createFDv2>;
  /** How often all items of a kind were read, which serialising needs. */
  readonly walks: number;
}

/** Without items it is not initialized. */
export function createMemory(...initial: readonly Item[]): Memory {
  const held = new Map<string, Item>();
  const listeners: Pick<Store, 'notify'>[] = [];
  let initialized = false;
  let generation = 0;
  let walks = 0;
  const ofKind = (kind: Kind) => [...held.values()].filter((item) => item.kind === kind);
  const announce = (kind: Change['kind'], items: readonly Item[]): Change => {
    const change: Change = { generation, kind, items, receivedAt: performance.now() };
    for (const store of listeners) store.notify(change);
    return change;
  };
  const memory: Memory = {
    source: undefined,
    get initialized() {
      return initialized;
    },
    get generation() {
      return generation;
    },
    get walks() {
      return walks;
    },
    get: (kind, key) => held.get(`${kind} ${key}`),
    *items(kind) {
      walks++;
      for (const item of held.values()) if (item.kind === kind) yield item;
    },
    put(items) {
      held.clear();
      memory.setQuietly(...items);
      return announce('put', items);
    },
    set(...items) {
      const risen = items.every((item) => (memory.get(item.kind, item.key)?.version ?? -1) < item.version);
      memory.setQuietly(...items);
      return announce(risen ? 'patch' : 'put', items);
    },
    setQuietly(...items) {
      for (const item of items) held.set(`${item.kind} ${item.key}`, item);
      initialized = true;
      generation++;
    },
    listen: (store) => void listeners.push(store),
    all: () => [...held.values()],
    digest(scope) {
      const items = scope === 'all' ? [...ofKind('features'), ...ofKind('segments')] : ofKind(scope);
      return createHash('sha256')
        .update(items.map(({ json }) => json).join())
        .digest('hex');
    },
    hashed: () => undefined,
    state: () => (initialized ? memory.digest('all') : ''),
    fdv2: createFDv2({
      items: () => held.values(),
      state: () => memory.state(),
      changesSince: () => undefined,
    }),
  };
  if (initial.length > 0) memory.setQuietly(...initial);
  return memory;
}

/** It is initialized, but has no items. */
export function createEmptyMemory(): Memory {
  const memory = createMemory();
  memory.put([]);
  return memory;
}
