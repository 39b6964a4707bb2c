import {
  type Attributes,
  decodeOfficialItem,
  type Item,
  type Key,
  type Kind,
  namespaces,
} from '../../lib/flag-table/index.ts';
import type { createModels, Model } from './model.ts';
import type { Flight, Table } from './table.ts';

/** What was read of LaunchDarkly's own layout; undefined stands for an item that is not there. */
export interface Holding {
  readonly items: Map<string, Item | undefined>;
  /** Flags whose prerequisites and segments are all in `items`. */
  readonly whole: Set<string>;
  /** Whether every flag and segment of the table is in `items`. */
  readonly everything: boolean;
  readonly model: Model;
}

/** So many flags in use cost about as many read units one by one as a table of three times as many costs to query. */
const MOST_SINGLE = 100;

export interface OfficialLayout {
  empty(): Holding;
  /** Adds flags with all that they refer to: one batch for each level of dependencies. All or nothing. */
  add(holding: Holding, flagKeys: readonly string[], flight: Flight): Promise<void>;
  /** The same flags, read again. Items that did not change keep their identity. */
  again(holding: Holding, flight: Flight): Promise<Holding>;
  everything(holding: Holding, flight: Flight): Promise<Holding>;
}

/**
 * Reads single items rather than the whole table: a table of 2,000 flags costs 400 read units to query, one flag with
 * its dependencies about two, and every container of every edge location refreshes what it holds.
 */
export function createOfficialLayout(
  prefix: string,
  table: Table,
  model: ReturnType<typeof createModels>,
): OfficialLayout {
  const names = namespaces(prefix);

  const hold = (items: Holding['items'], everything: boolean): Holding => ({
    items,
    everything,
    whole: new Set(),
    model: model((kind, key) => items.get(id(kind, key))),
  });

  const accept = (kind: Kind, attributes: Attributes | undefined, before?: Item): Item | undefined => {
    const item = attributes && decodeOfficialItem(kind, attributes);
    // LaunchDarkly's SDKs take an item that cannot be read for a deleted one.
    if (!item || 'problem' in item) return undefined;
    return before?.json === item.json && before.version === item.version && before.deleted === item.deleted
      ? before
      : item;
  };

  async function add(holding: Holding, flagKeys: readonly string[], flight: Flight, before?: Holding['items']) {
    // Read into the side, so that nobody sees a flag before what it refers to.
    const side = hold(new Map(holding.items), false);
    const wanted = new Map<string, Key & { kind: Kind }>();
    const want = (kind: Kind, key: string) => {
      if (!side.items.has(id(kind, key))) wanted.set(id(kind, key), { kind, namespace: names[kind], key });
    };
    const follow = (kind: Kind, key: string) => {
      if (kind === 'features') for (const next of side.model.flag(key)?.prerequisiteKeys ?? []) want('features', next);
      for (const next of side.model[kind === 'features' ? 'flag' : 'segment'](key)?.segmentKeys ?? [])
        want('segments', next);
    };
    for (const key of flagKeys) want('features', key);
    while (wanted.size > 0) {
      const level = [...wanted.values()];
      wanted.clear();
      const found = await table.get(level, flight);
      for (const [i, { kind, key }] of level.entries()) {
        side.items.set(id(kind, key), accept(kind, found[i], before?.get(id(kind, key))));
      }
      for (const { kind, key } of level) follow(kind, key);
    }
    if (flight.dropped) return;
    for (const [name, item] of side.items) if (!holding.items.has(name)) holding.items.set(name, item);
    for (const key of flagKeys) holding.whole.add(key);
  }

  async function everything(holding: Holding, flight: Flight): Promise<Holding> {
    const items: Holding['items'] = new Map();
    const kinds = ['features', 'segments'] as const;
    const found = await Promise.all(kinds.map((kind) => table.query(names[kind], flight)));
    for (const [i, kind] of kinds.entries()) {
      for (const attributes of found[i] ?? []) {
        const key: string = Object(attributes.key).S;
        items.set(id(kind, key), accept(kind, attributes, holding.items.get(id(kind, key))));
      }
    }
    return hold(items, true);
  }

  return {
    empty: () => hold(new Map(), false),
    add,
    everything,
    async again(holding, flight) {
      if (holding.everything || holding.whole.size > MOST_SINGLE) return everything(holding, flight);
      const next = hold(new Map(), false);
      await add(next, [...holding.whole], flight, holding.items);
      return next;
    },
  };
}

const id = (kind: Kind, key: string) => `${kind}/${key}`;
