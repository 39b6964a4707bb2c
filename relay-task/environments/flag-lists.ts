import type { Flag } from '../../lib/evaluation/index.ts';
import { byCodeUnits } from '../common/sliced-sort.ts';
import type { CredentialKind } from '../ports.ts';

interface FlagListsOptions {
  /** All keys, tombstones included; keys are added and never removed. */
  keys(): Iterable<string>;
  flag(key: string): Flag | undefined;
  mayBeSeen(flag: Flag, audience: CredentialKind): boolean;
}

/** Flags visited between two yields: some tenths of a millisecond of work. */
const FLAGS_AT_ONCE = 100;

/** An environment's flags in lists that are made when they are first needed, and then follow changes at the cost of what changed. */
export function createFlagLists({ keys, flag, mayBeSeen }: FlagListsOptions) {
  const lists = new Map<CredentialKind, SortedList>();
  let prerequisites: Prerequisites | undefined;

  function listFor(audience: CredentialKind): SortedList {
    const list = lists.get(audience) ?? new SortedList(keys());
    lists.set(audience, list);
    return list;
  }

  function allPrerequisites(): Prerequisites {
    prerequisites ??= new Prerequisites(flag, keys());
    return prerequisites;
  }

  /** Applies up to `most` of the changes that the list does not include yet. */
  function followSome(list: SortedList, audience: CredentialKind, most: number): void {
    const changes = new Map<string, Flag | undefined>();
    // Looking a flag up may compile it, which changes it: then it is visited twice.
    for (const key of list.changed) {
      if (changes.size >= most) break;
      list.changed.delete(key);
      const held = flag(key);
      changes.set(key, held && mayBeSeen(held, audience) ? held : undefined);
    }
    list.merge(changes);
  }

  return {
    /** The flag was replaced, or counts in another version. */
    changed(key: string): void {
      for (const { changed } of lists.values()) changed.add(key);
      prerequisites?.changed.add(key);
    },
    /** The flags that the audience may see, sorted by key. A returned list does not change. */
    flags(audience: CredentialKind): readonly Flag[] {
      const list = listFor(audience);
      while (list.changed.size > 0) followSome(list, audience, Infinity);
      return list.flags;
    },
    /** Makes `flags` and `prerequisites` follow the changes, also those that come meanwhile. Yields after some flags. */
    *follow(audience: CredentialKind): Generator<void, void> {
      const list = listFor(audience);
      const named = allPrerequisites();
      for (;;) {
        followSome(list, audience, FLAGS_AT_ONCE);
        named.follow(FLAGS_AT_ONCE);
        if (list.changed.size + named.changed.size === 0) return;
        yield;
      }
    },
    /** The flags that others name as prerequisites, for any audience. The set follows later changes. */
    prerequisites(): ReadonlySet<Flag> {
      const named = allPrerequisites();
      while (named.changed.size > 0) named.follow(Infinity);
      return named.flags;
    },
  };
}

/** Flags, sorted by key. */
class SortedList {
  /** Keys whose flags may be out of date here. */
  readonly changed: Set<string>;
  /** Replaced, never changed: evaluations in progress keep using it in later turns. */
  flags: readonly Flag[] = [];
  private keys: readonly string[] = [];

  constructor(all: Iterable<string>) {
    this.changed = new Set(all);
  }

  /** Undefined: the flag is not one of them. */
  merge(changes: ReadonlyMap<string, Flag | undefined>): void {
    const keys: string[][] = [];
    const flags: Flag[][] = [];
    let from = 0;
    const keepUntil = (to: number) => {
      if (to > from) {
        keys.push(this.keys.slice(from, to));
        flags.push(this.flags.slice(from, to));
      }
      from = to;
    };
    for (const [key, flag] of [...changes].sort(([a], [b]) => byCodeUnits(a, b))) {
      const at = this.placeOf(key);
      const isIn = this.keys[at] === key;
      if (flag === (isIn ? this.flags[at] : undefined)) continue;
      keepUntil(at);
      if (flag) {
        keys.push([key]);
        flags.push([flag]);
      }
      if (isIn) from += 1;
    }
    if (flags.length === 0 && from === 0) return;
    keepUntil(this.keys.length);
    this.keys = keys.flat();
    this.flags = flags.flat();
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
  /** Keys whose flags may be out of date here. */
  readonly changed: Set<string>;
  readonly flags = new Set<Flag>();
  private readonly flag: (key: string) => Flag | undefined;
  /** Those among `flags`, by key. */
  private readonly byKey = new Map<string, Flag>();
  /** By the key of a flag: what it names, if it names any. */
  private readonly named = new Map<string, readonly string[]>();
  /** How many flags name a key. */
  private readonly counts = new Map<string, number>();

  constructor(flag: (key: string) => Flag | undefined, all: Iterable<string>) {
    this.flag = flag;
    this.changed = new Set(all);
  }

  follow(most: number): void {
    let followed = 0;
    for (const key of this.changed) {
      if (followed >= most) return;
      this.changed.delete(key);
      this.set(key, this.flag(key));
      followed += 1;
    }
  }

  private set(key: string, held: Flag | undefined): void {
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
