import type { Item } from '../../lib/flag-table/index.ts';
import { prerequisitesFirst, prerequisitesOf } from '../common/prerequisites.ts';
import type { ItemView } from '../ports.ts';
import type { Need, Write } from './database.ts';
import type { Planner, Waiting } from './planner.ts';
import { idOf } from './same-item.ts';

/**
 * A batch of writes in an order in which a reader never sees a flag before what it names: segments, then flags after their
 * prerequisites, then deletions of flags, then those of segments. Deletions come last because the flags of the batch may be the
 * ones that stop naming what is deleted. The order is made once, of memory as it is then.
 */
export interface WriteOrder {
  readonly writes: readonly Write[];
  /** Why an item is written. */
  waitingOf(write: Write): Waiting;
  /** The same writes, a part of the batch in its order, each with what it needs of them. */
  link(part: readonly Write[]): Write[];
  /** These keys of flags, and those of the flags that depend on them. */
  withDependents(keys: Iterable<string>): ReadonlySet<string>;
}

/** Prerequisites that the database is known to lack, or to have in an older version, are written with the flags that name them. */
export function orderWrites(
  work: ReadonlyMap<string, Waiting>,
  view: Pick<ItemView, 'get'>,
  planner: Pick<Planner, 'plan'>,
): WriteOrder {
  const waiting = new Map(work);
  const plan = (one: Waiting) => planner.plan(one) ?? [];
  const named = new Map<string, readonly string[]>();
  const namesOf = (key: string) => {
    const flag = view.get('features', key);
    const names = flag ? prerequisitesOf(flag) : [];
    if (names.length > 0) named.set(key, names);
    return names;
  };
  /** The batch's flag, or a live one that is reached through them. */
  const find = (key: string): Waiting | undefined => {
    const flag = { kind: 'features', key } as const;
    const known = waiting.get(idOf(flag));
    if (known || !isLive(view.get('features', key))) return known;
    const reached: Waiting = { ...flag, mode: 'newer' };
    waiting.set(idOf(flag), reached);
    return reached;
  };

  const segments = [...work.values()].filter(({ kind }) => kind === 'segments').flatMap(plan);
  const keys = [...work.values()].filter(({ kind }) => kind === 'features').map(({ key }) => key);
  const sorted = prerequisitesFirst(keys, namesOf);
  const flags = [...sorted].flatMap((key) => find(key) ?? []).flatMap(plan);
  const puts = (writes: readonly Write[]) => writes.filter(({ item }) => isLive(item));
  const deletions = (writes: readonly Write[]) => writes.filter(({ item }) => !isLive(item));

  /** Live flags, each after `first` and after its prerequisites among them. */
  function linkFlags(part: readonly Write[], first: readonly Need[]): Write[] {
    if (named.size === 0) return part.map((write) => ({ ...write, needs: first }));
    const byKey = new Map(part.map((write) => [write.key, write]));
    const needs = new Map<string, Need>();
    const linked: Write[] = [];
    for (const key of sorted) {
      // Only what comes before is found, so that cycles are cut where the order cuts them.
      const its = (named.get(key) ?? []).flatMap((name) => needs.get(name) ?? []);
      const write = byKey.get(key);
      if (write) {
        const one = { ...write, needs: [...first, ...its] };
        linked.push(one);
        needs.set(key, one);
      } else if (its.length > 0) needs.set(key, { needs: its });
    }
    return linked;
  }

  return {
    writes: [...puts(segments), ...puts(flags), ...deletions(flags), ...deletions(segments)],
    waitingOf: (write) => waiting.get(idOf(write)) ?? { kind: write.kind, key: write.key, mode: 'newer' },
    link(part) {
      const of = (wanted: Write['kind']) => part.filter(({ kind }) => kind === wanted);
      const linked: Write[] = [];
      let before: readonly Need[] = [];
      const add = (writes: readonly Write[]) => {
        linked.push(...writes);
        if (writes.length > 0) before = [{ needs: writes }];
      };
      const after = (writes: readonly Write[]) => writes.map((write) => ({ ...write, needs: before }));
      add(after(puts(of('segments'))));
      add(linkFlags(puts(of('features')), before));
      add(after(deletions(of('features'))));
      add(after(deletions(of('segments'))));
      return linked;
    },
    withDependents(keysOfFlags) {
      const found = new Set(keysOfFlags);
      const passed = new Set<string>();
      for (const key of sorted) {
        if ((named.get(key) ?? []).some((name) => passed.has(name) && found.has(name))) found.add(key);
        passed.add(key);
      }
      return found;
    },
  };
}

function isLive(item: Item | undefined): boolean {
  return item !== undefined && !item.deleted;
}
