import type { Flag } from '../../lib/evaluation/index.ts';
import type { CredentialKind } from '../ports.ts';

/** An environment's flags in lists that are made when they are first needed, and then follow changes at the cost of what changed. */
export interface FlagLists {
  /** The flag was replaced, or counts in another version. */
  changed(key: string): void;
  /** Those that the audience may see, sorted by key. A list that was returned does not change. */
  flags(audience: CredentialKind): readonly Flag[];
  /** Those that others name as prerequisites, for any audience. Follows later changes. */
  prerequisites(): ReadonlySet<Flag>;
}

export interface FlagListsOptions {
  /** All keys that there are, tombstones included: more and more, never fewer. */
  keys(): Iterable<string>;
  flag(key: string): Flag | undefined;
  mayBeSeen(flag: Flag, audience: CredentialKind): boolean;
}

/** If more have changed, making the lists again costs less: to insert one flag, those behind it are moved. */
const MOST_CHANGES = 250;

export function createFlagLists({ keys, flag, mayBeSeen }: FlagListsOptions): FlagLists {
  const lists = new Map<CredentialKind, SortedList>();
  let prerequisites: Prerequisites | undefined;
  const changed = new Set<string>();
  let sorted: readonly string[] = [];

  function sortedKeys(): readonly string[] {
    const present = [...keys()];
    if (present.length !== sorted.length) sorted = present.sort();
    return sorted;
  }

  function follow(): void {
    if (changed.size > MOST_CHANGES) {
      lists.clear();
      prerequisites = undefined;
    }
    // Looking a flag up may compile it, which changes it: what is added to a set meanwhile is visited, too.
    for (const key of changed) {
      const held = flag(key);
      for (const [audience, list] of lists) list.set(key, held && mayBeSeen(held, audience) ? held : undefined);
      prerequisites?.set(key, held);
    }
    changed.clear();
  }

  return {
    changed(key) {
      if (lists.size > 0 || prerequisites) changed.add(key);
    },
    flags(audience) {
      follow();
      let list = lists.get(audience);
      if (list === undefined) {
        list = new SortedList();
        for (const key of sortedKeys()) {
          const held = flag(key);
          if (held && mayBeSeen(held, audience)) list.append(key, held);
        }
        lists.set(audience, list);
      }
      return list.present();
    },
    prerequisites() {
      follow();
      if (prerequisites === undefined) {
        prerequisites = new Prerequisites(flag);
        for (const key of keys()) prerequisites.set(key, flag(key));
      }
      return prerequisites.flags;
    },
  };
}

/** Flags by key. */
class SortedList {
  private readonly keys: string[] = [];
  private flags: Flag[] = [];
  private isShown = false;

  present(): readonly Flag[] {
    this.isShown = true;
    return this.flags;
  }

  /** Behind all others. */
  append(key: string, flag: Flag): void {
    this.keys.push(key);
    this.flags.push(flag);
  }

  /** Undefined: it is not one of them. */
  set(key: string, flag: Flag | undefined): void {
    const at = this.placeOf(key);
    const isIn = this.keys[at] === key;
    if (flag === (isIn ? this.flags[at] : undefined)) return;
    // Whoever evaluates a list goes on with it in later turns.
    if (this.isShown) this.flags = [...this.flags];
    this.isShown = false;
    const inserted = flag ? [flag] : [];
    this.flags.splice(at, isIn ? 1 : 0, ...inserted);
    if (!isIn) this.keys.splice(at, 0, key);
    else if (!flag) this.keys.splice(at, 1);
  }

  /** Where the key is, or would be. */
  private placeOf(key: string): number {
    let from = 0;
    let to = this.keys.length;
    while (from < to) {
      const middle = (from + to) >> 1;
      if ((this.keys[middle] ?? '') < key) from = middle + 1;
      else to = middle;
    }
    return from;
  }
}

/** Flags that others name. */
class Prerequisites {
  readonly flags = new Set<Flag>();
  private readonly flag: (key: string) => Flag | undefined;
  /** Those among `flags`, by key. */
  private readonly byKey = new Map<string, Flag>();
  /** By the key of a flag: what it names, if it names any. */
  private readonly named = new Map<string, readonly string[]>();
  /** How many flags name a key. */
  private readonly counts = new Map<string, number>();

  constructor(flag: (key: string) => Flag | undefined) {
    this.flag = flag;
  }

  set(key: string, held: Flag | undefined): void {
    const before = this.named.get(key) ?? [];
    const after = held?.prerequisiteKeys ?? [];
    for (const name of after) this.count(name, 1);
    for (const name of before) this.count(name, -1);
    if (after.length > 0) this.named.set(key, after);
    else this.named.delete(key);
    if (this.counts.has(key)) this.replace(key, held);
  }

  private count(name: string, difference: number): void {
    const before = this.counts.get(name) ?? 0;
    const count = before + difference;
    if (count > 0) this.counts.set(name, count);
    else this.counts.delete(name);
    if (count === 0) this.replace(name, undefined);
    else if (before === 0) this.replace(name, this.flag(name));
  }

  private replace(key: string, flag: Flag | undefined): void {
    const before = this.byKey.get(key);
    if (before === flag) return;
    if (before) this.flags.delete(before);
    if (flag) {
      this.flags.add(flag);
      this.byKey.set(key, flag);
    } else this.byKey.delete(key);
  }
}
