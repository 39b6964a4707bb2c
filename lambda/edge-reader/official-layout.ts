import {
  type Attributes,
  type Item,
  inNamespace,
  isSame,
  type Key,
  KINDS,
  type Kind,
  readOfficialItem,
} from '../../lib/flag-table/index.ts';
import { isItemKey } from './item-key.ts';
import type { createModels, Model } from './model.ts';
import type { Flight, Table } from './table.ts';

/** Items read from LaunchDarkly's own layout; undefined: the item does not exist. */
export interface Holding {
  readonly items: Map<string, Item | undefined>;
  /** Keys of flags whose prerequisites and segments are all in `items`. */
  readonly whole: Set<string>;
  /** Whether `items` contains every flag and segment of the table. */
  readonly everything: boolean;
  readonly model: Model;
}

/** Reading this many flags one by one costs about as much as querying a table that has three times as many. */
const MOST_SINGLE = 100;

interface OfficialLayout {
  empty(): Holding;
  /** Adds flags and their dependencies, with one batch per level of dependencies. All or nothing. */
  add(holding: Holding, flagKeys: readonly string[], flight: Flight): Promise<void>;
  /** Reads the same flags again. Unchanged items stay the same objects. */
  again(holding: Holding, flight: Flight): Promise<Holding>;
  everything(holding: Holding, flight: Flight): Promise<Holding>;
}

/**
 * Reads single items rather than the whole table: querying a table of 2,000 flags costs 400 read units, one flag with its
 * dependencies about two, and every container in every edge location refreshes its data.
 */
export function createOfficialLayout(
  prefix: string,
  table: Table,
  model: ReturnType<typeof createModels>,
): OfficialLayout {
  const hold = (items: Holding['items'], everything: boolean): Holding => ({
    items,
    everything,
    whole: new Set(),
    model: model((kind, key) => items.get(id(kind, key))),
  });

  const accept = (kind: Kind, attributes: Attributes | undefined, before?: Item): Item | undefined => {
    const item = attributes && readOfficialItem(kind, attributes);
    // LaunchDarkly's SDKs treat an unreadable item as deleted.
    if (!item || typeof item === 'string') return undefined;
    return isSame(before, item) ? before : item;
  };

  async function add(holding: Holding, flagKeys: readonly string[], flight: Flight, before?: Holding['items']) {
    // Collected in a copy, so that no evaluation sees a flag before its dependencies.
    const side = hold(new Map(holding.items), false);
    const wanted = new Map<string, Key & { kind: Kind }>();
    const want = (kind: Kind, key: string) => {
      if (side.items.has(id(kind, key))) return;
      if (isItemKey(key)) wanted.set(id(kind, key), { kind, namespace: inNamespace(prefix, kind), key });
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
    for (const [name, item] of side.items) if (!holding.items.has(name)) holding.items.set(name, item);
    for (const key of flagKeys) holding.whole.add(key);
  }

  async function everything(holding: Holding, flight: Flight): Promise<Holding> {
    const items: Holding['items'] = new Map();
    const found = await Promise.all(
      KINDS.map((kind) => table.query(wholeNamespace(inNamespace(prefix, kind)), flight)),
    );
    for (const [i, kind] of KINDS.entries()) {
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
      const isKnown = (key: string) => holding.items.get(id('features', key)) !== undefined;
      const known = [...holding.whole].filter(isKnown);
      if (holding.everything || known.length > MOST_SINGLE) return everything(holding, flight);
      // A flag that does not exist may be created. Those that were asked for last are looked up again, the others when they are asked for.
      const unknown = [...holding.whole].filter((key) => !isKnown(key)).slice(-MOST_SINGLE);
      const next = hold(new Map(), false);
      await add(next, [...known, ...unknown], flight, holding.items);
      return next;
    },
  };
}

const wholeNamespace = (namespace: string) => ({
  KeyConditionExpression: '#n = :n',
  ExpressionAttributeNames: { '#n': 'namespace' },
  ExpressionAttributeValues: { ':n': { S: namespace } },
});

const id = (kind: Kind, key: string) => `${kind}/${key}`;
