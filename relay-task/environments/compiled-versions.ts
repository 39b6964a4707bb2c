import { type Item, KINDS, type Kind } from '../../lib/flag-table/index.ts';
import { type CompiledItem, isLong, LITTLE, MOST_ROUNDS } from './compilers.ts';

export type Name = Pick<Item, 'kind' | 'key'>;

type Tables = { readonly [K in Kind]: Map<string, CompiledItem[K]> };

const nameOf = (kind: Kind, key: string) => `${kind}/${key}`;

/**
 * Which compiled version of an item counts: the present one, or, until that is compiled, the latest one of a large item that was.
 * `onMoved`: another version of an item counts now.
 */
export function createCompiledVersions(onMoved: (kind: Kind, key: string) => void) {
  const present: Tables = { features: new Map(), segments: new Map() };
  const earlier: Tables = { features: new Map(), segments: new Map() };
  /** Items whose present version is not compiled. */
  const uncompiled = { features: new Map<string, Item>(), segments: new Map<string, Item>() };
  /** How often in a row an item was replaced before it was compiled. */
  const overtaken = new Map<string, number>();
  /** Items that have only just been replaced: evaluations wait for them, and listeners get the change itself. */
  const fresh = new Set<string>();
  /** What listeners have not been told yet. */
  const late = new Map<string, Name>();
  let wholeSets = 0;
  let isWholeSet = false;

  function moved(kind: Kind, key: string): void {
    late.set(nameOf(kind, key), { kind, key });
    onMoved(kind, key);
  }

  function keepEarlier<K extends Kind>(kind: K, key: string, made: CompiledItem[K]): void {
    earlier[kind].set(key, made);
  }

  function forgetEarlier(kind: Kind, key: string): void {
    overtaken.delete(nameOf(kind, key));
    if (!earlier[kind].delete(key)) return;
    if (fresh.delete(nameOf(kind, key))) onMoved(kind, key);
    else moved(kind, key);
  }

  return {
    /** Whether an earlier version of an item counts. */
    isBehind: () => earlier.features.size + earlier.segments.size > 0,
    isCompiled: (kind: Kind, key: string) => present[kind].has(key),
    /** The version that counts, if there is one. */
    inUse: <K extends Kind>(kind: K, key: string) => present[kind].get(key) ?? earlier[kind].get(key),
    uncompiled: (): Item[] => [...uncompiled.features.values(), ...uncompiled.segments.values()],
    /** Of the uncompiled ones, those that evaluations wait for. */
    *awaited(): Generator<Item, void> {
      for (const kind of KINDS) {
        for (const [key, item] of uncompiled[kind]) {
          if (!earlier[kind].has(key) || fresh.has(nameOf(kind, key))) yield item;
        }
      }
    },
    /** The present version was compiled. */
    keep<K extends Kind>(kind: K, key: string, made: CompiledItem[K]): void {
      present[kind].set(key, made);
      uncompiled[kind].delete(key);
      forgetEarlier(kind, key);
    },
    /** A version that was replaced meanwhile was compiled. */
    keepLate<K extends Kind>(kind: K, key: string, made: CompiledItem[K]): void {
      keepEarlier(kind, key, made);
      fresh.delete(nameOf(kind, key));
      moved(kind, key);
    },
    replaced(item: Item): void {
      const { kind, key } = item;
      const before = present[kind].get(key);
      if (!isLong(item)) forgetEarlier(kind, key);
      else if (before !== undefined && !isWholeSet && item.json.length > LITTLE) {
        keepEarlier(kind, key, before);
        fresh.add(nameOf(kind, key));
      }
      uncompiled[kind].set(key, item);
      present[kind].delete(key);
    },
    /** Replaces items by a whole set, which may be another environment's: earlier versions no longer count. */
    replacingAll<T>(replace: () => T): T {
      wholeSets += 1;
      overtaken.clear();
      fresh.clear();
      for (const kind of KINDS) for (const key of earlier[kind].keys()) forgetEarlier(kind, key);
      isWholeSet = true;
      try {
        return replace();
      } finally {
        isWholeSet = false;
      }
    },
    /** The item is being compiled. Returns whether to continue although it was replaced. */
    begin(kind: Kind, key: string): (replacement: Item | undefined) => boolean {
      const isPatient = (overtaken.get(nameOf(kind, key)) ?? 0) >= MOST_ROUNDS - 1;
      const begunIn = wholeSets;
      return (replacement) => isPatient && begunIn === wholeSets && replacement !== undefined && isLong(replacement);
    },
    /** The item was replaced before it was compiled. */
    overtaken(kind: Kind, key: string): void {
      const name = nameOf(kind, key);
      overtaken.set(name, (overtaken.get(name) ?? 0) + 1);
    },
    /** Later versions of these items count now than when the listener was last called. */
    tell(listen: (items: readonly Name[]) => void): void {
      if (late.size === 0) return;
      const items = [...late.values()];
      late.clear();
      listen(items);
    },
  };
}
