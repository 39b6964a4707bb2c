/** Which flags' answers may differ after a refresh. A bundle that does not import it does not carry it. */
import { compileFlag, compileSegment, createDependencies, type Uses } from '../../lib/evaluation/index.ts';
import {
  changesBetween,
  type Item,
  type ItemChange,
  isSame,
  itemsAside,
  type Kind,
} from '../../lib/flag-table/index.ts';
import type { Data, OnData } from './freshness.ts';

export interface Changes {
  /** For a reader. */
  readonly onData: OnData;
  /**
   * Passes on the keys of flags whose answers may have changed, when a refresh finds them and before the evaluation that waited for it is
   * answered: those that LaunchDarkly's Node SDK emits as `update`, flags that changed and those that use a changed flag or segment, directly or
   * not. The first data does not count as a change. Listeners must not throw.
   */
  onChange(listener: (flagKeys: readonly string[]) => void): void;
}

/** In LaunchDarkly's own layout, only items that are held on both sides can be compared, and with a snapshot only by version. */
export function createChanges(): Changes {
  const listeners: ((flagKeys: readonly string[]) => void)[] = [];
  /** Follows snapshots from change to change; of the other layout, more is held from evaluation to evaluation. */
  let followed: Dependencies | undefined;

  function compare(before: Data, after: Data): readonly string[] {
    const isFollowed = before.snapshot && after.snapshot;
    if (!isFollowed) followed = undefined;
    const changes = isFollowed ? changesBetween(before.snapshot, after.snapshot) : officialChanges(before, after);
    if (changes.length === 0) return [];
    followed ??= createFollowed(after);
    const flagKeys = followed.usersOf(changes);
    if (!after.snapshot) followed = undefined;
    return [...flagKeys];
  }

  return {
    onData(before, after) {
      // Without listeners there is nothing to compare. A later listener gets the changes from then on.
      const flagKeys = listeners.length > 0 ? compare(before, after) : [];
      if (flagKeys.length > 0) for (const listener of listeners) listener(flagKeys);
    },
    onChange: (listener) => void listeners.push(listener),
  };
}

interface Dependencies {
  usersOf(changes: readonly ItemChange[]): Set<string>;
}

function createFollowed({ snapshot, official }: Data): Dependencies {
  // Held only until the dependencies are known.
  let all = snapshot ? itemsAside(snapshot) : itemsOf(official?.items.values() ?? []);
  const uses = (kind: Kind) => (key: string) => usesOf(all[kind].get(key));
  const dependencies = createDependencies({
    keys: (kind) => all[kind].keys(),
    flag: uses('features'),
    segment: uses('segments'),
  });
  return {
    usersOf(changes) {
      for (const { kind, key, item } of changes) {
        dependencies.replaced(kind, key);
        if (item) all[kind].set(key, item);
      }
      const flagKeys = dependencies.usersOf(changes);
      all = itemsOf([]);
      return flagKeys;
    },
  };
}

function itemsOf(list: Iterable<Item | undefined>): Record<Kind, Map<string, Item>> {
  const all = { features: new Map<string, Item>(), segments: new Map<string, Item>() };
  for (const item of list) if (item) all[item.kind].set(item.key, item);
  return all;
}

/** Most items use nothing, and need not be parsed to know it. */
const MAY_USE = /"prerequisites"\s*:\s*\[\s*\{|"segmentMatch"/;

function usesOf(item: Item | undefined): Uses | undefined {
  if (!item || item.deleted || !MAY_USE.test(item.json)) return undefined;
  try {
    return (item.kind === 'features' ? compileFlag : compileSegment)(JSON.parse(item.json));
  } catch {
    return undefined;
  }
}

/** Between states of which one at least is of LaunchDarkly's own layout. */
function officialChanges(before: Data, after: Data): ItemChange[] {
  const names = new Set([before, after].flatMap(({ official }) => [...(official?.items.keys() ?? [])]));
  const changes: ItemChange[] = [];
  for (const name of names) {
    const slash = name.indexOf('/');
    const [kind, key] = [name.slice(0, slash) as Kind, name.slice(slash + 1)];
    const find = ({ snapshot, official }: Data) => {
      if (snapshot) return snapshot.get(kind, key);
      return official?.items.has(name) || official?.everything ? official.items.get(name) : null;
    };
    const [old, item] = [find(before), find(after)];
    if (old === null || item === null || old === item || isSameIn(before, after, old, item)) continue;
    changes.push({ kind, key, item });
  }
  return changes;
}

function isSameIn(before: Data, after: Data, old: Item | undefined, item: Item | undefined): boolean {
  if (!old || !item) return !(old ?? item) || !!(old ?? item)?.deleted;
  if (!before.snapshot && !after.snapshot) return isSame(old, item);
  return old.version === item.version && old.deleted === item.deleted;
}
