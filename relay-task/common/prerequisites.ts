/**
 * The order in which items are written and sent: an item comes after the items that it refers to. LaunchDarkly's SDKs sort a flag
 * set in this way before they fill a persistent store.
 */
import type { Item, Kind } from '../../lib/flag-table/index.ts';
import { isObject } from './json.ts';

const none: readonly string[] = [];
const known = new WeakMap<Item, readonly string[]>();

/** Keys of the flags that a flag names as its prerequisites, each once; what is malformed names none. */
export function prerequisitesOf(item: Item): readonly string[] {
  if (item.kind !== 'features' || item.deleted) return none;
  let keys = known.get(item);
  if (keys === undefined) {
    // Checking the text first avoids parsing the many flags that have none.
    keys = /"prerequisites"\s*:\s*\[\s*\{/.test(item.json) ? readKeys(item.json) : none;
    known.set(item, keys);
  }
  return keys;
}

/** For callers that have parsed a large flag already: `data` is what its JSON parses to. */
export function rememberPrerequisites(item: Item, data: unknown): void {
  if (item.kind === 'features') known.set(item, keysIn(data));
}

function readKeys(json: string): readonly string[] {
  try {
    return keysIn(JSON.parse(json));
  } catch {
    return none;
  }
}

function keysIn(data: unknown): readonly string[] {
  const list = isObject(data) && Array.isArray(data.prerequisites) ? data.prerequisites : none;
  const keys = list.flatMap((one: unknown) => (isObject(one) && typeof one.key === 'string' ? one.key : []));
  return [...new Set(keys)];
}

/**
 * These keys and all that they name, directly or not, each once and after what it names; otherwise in the order given. Of a
 * cycle, the key that is reached first comes last. Takes time in proportion to keys and names, and no stack.
 */
export function prerequisitesFirst(
  keys: Iterable<string>,
  namesOf: (key: string) => readonly string[],
): ReadonlySet<string> {
  const sorted = new Set<string>();
  const entered = new Set<string>();
  const path: { readonly key: string; readonly names: readonly string[]; next: number }[] = [];
  const enter = (key: string) => {
    if (entered.has(key)) return;
    entered.add(key);
    const names = namesOf(key);
    if (names.length === 0) sorted.add(key);
    else path.push({ key, names, next: 0 });
  };
  for (const root of keys) {
    enter(root);
    for (let last = path.at(-1); last !== undefined; last = path.at(-1)) {
      const name = last.names[last.next++];
      if (name !== undefined) enter(name);
      else {
        sorted.add(last.key);
        path.pop();
      }
    }
  }
  return sorted;
}

type GetItem = (kind: Kind, key: string) => Item | undefined;

/** As `prerequisitesFirst`, for flags in a set that `get` reads, with the prerequisites that the set has. */
export function flagsInOrder(flags: Iterable<Item>, get: GetItem): Item[] {
  const list = [...flags];
  if (!list.some((flag) => prerequisitesOf(flag).length > 0)) return list;
  const given = new Map(list.map((flag) => [flag.key, flag]));
  const find = (key: string) => given.get(key) ?? get('features', key);
  const sorted = prerequisitesFirst(given.keys(), (key) => {
    const flag = find(key);
    return flag ? prerequisitesOf(flag) : none;
  });
  return [...sorted].flatMap((key) => given.get(key) ?? []);
}

/**
 * Segments before the flags that use them, prerequisites before the flags that name them, and deletions after both, so that
 * no reader sees a flag without what it names. `get` reads the set that the items are part of: an item may depend on another
 * one through some that are not among them.
 */
export function inSendingOrder(items: readonly Item[], get: GetItem): Item[] {
  const of = (kind: Kind, deleted: boolean) => items.filter((item) => item.kind === kind && item.deleted === deleted);
  return [
    ...of('segments', false),
    ...flagsInOrder(of('features', false), get),
    ...of('features', true),
    ...of('segments', true),
  ];
}
