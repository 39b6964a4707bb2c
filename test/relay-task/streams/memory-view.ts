import { createHash } from 'node:crypto';
import type { Item, Kind } from '../../../lib/flag-table/index.ts';
import type { Change, ItemView } from '../../../relay-task/ports.ts';

/** A flag as LaunchDarkly sends it, complete enough for an official SDK: boolean, on, answering variation 0. */
export function flag(key: string, version: number, extra: Record<string, unknown> = {}): Item {
  const json = JSON.stringify({
    key,
    on: true,
    prerequisites: [],
    targets: [],
    contextTargets: [],
    rules: [],
    fallthrough: { variation: 0 },
    offVariation: 1,
    variations: [true, false],
    clientSideAvailability: { usingMobileKey: true, usingEnvironmentId: true },
    clientSide: true,
    salt: 'salt',
    trackEvents: false,
    trackEventsFallthrough: false,
    debugEventsUntilDate: null,
    version,
    deleted: false,
    ...extra,
  });
  return { kind: 'features', key, version, deleted: false, json };
}

export function segment(key: string, version: number, extra: Record<string, unknown> = {}): Item {
  const json = JSON.stringify({
    key,
    included: [],
    excluded: [],
    rules: [],
    salt: 's',
    version,
    deleted: false,
    ...extra,
  });
  return { kind: 'segments', key, version, deleted: false, json };
}

export function tombstone(kind: Kind, key: string, version: number): Item {
  return { kind, key, version, deleted: true, json: JSON.stringify({ key, version, deleted: true }) };
}

/** An environment's memory in small: it can be changed, and counts how often it was walked through. */
export interface MemoryView extends ItemView {
  digest(scope: Kind | 'all'): string;
  state(): string;
  /** It remembers nothing. */
  changesSince(state: string): readonly Item[] | undefined;
  /** How many times all items of a kind were asked for: what a serialisation has to do. */
  readonly walks: number;
  put(items: readonly Item[]): Change;
  patch(...items: readonly Item[]): Change;
}

/** Without items: not initialised. */
export function createMemoryView(items?: readonly Item[]): MemoryView {
  const held = { features: new Map<string, Item>(), segments: new Map<string, Item>() };
  let initialized = false;
  let generation = 0;
  let walks = 0;
  const set = (list: readonly Item[]) => {
    for (const item of list) held[item.kind].set(item.key, item);
    generation++;
  };
  const view: MemoryView = {
    get initialized() {
      return initialized;
    },
    get generation() {
      return generation;
    },
    get walks() {
      return walks;
    },
    get: (kind, key) => held[kind].get(key),
    items(kind) {
      walks++;
      return held[kind].values();
    },
    digest(scope) {
      const kinds = scope === 'all' ? (['features', 'segments'] as const) : [scope];
      const text = kinds.flatMap((kind) => [...held[kind].values()].map(({ json }) => json)).join();
      return createHash('sha256').update(text).digest('hex');
    },
    state: () => (initialized ? view.digest('all') : ''),
    changesSince: () => undefined,
    put(list) {
      held.features.clear();
      held.segments.clear();
      initialized = true;
      set(list);
      return { generation, kind: 'put', items: list, receivedAt: performance.now() };
    },
    patch(...list) {
      set(list);
      return { generation, kind: 'patch', items: list, receivedAt: performance.now() };
    },
  };
  if (items) view.put(items);
  return view;
}
