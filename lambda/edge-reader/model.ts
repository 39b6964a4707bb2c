import { compileFlag, compileSegment, type Dialect, type Flag, type Segment } from '../../lib/evaluation/index.ts';
import type { Item, Kind } from '../../lib/flag-table/index.ts';
import { edgeDialect } from './pattern.ts';

/** Looks up an item; undefined if it does not exist. */
type Find = (kind: Kind, key: string) => Item | undefined;

/** One state of the table. Each item is compiled when it is first needed. */
export interface Model {
  flag(key: string): Flag | undefined;
  segment(key: string): Segment | undefined;
}

/**
 * Models made by one call share their compiled items: an unchanged item is the same object in the next state and is not
 * parsed again.
 */
export function createModels(): (find: Find) => Model {
  const compiled = new WeakMap<Item, Flag | Segment>();

  const lookUp = <T extends Flag | Segment>(
    kind: Kind,
    find: Find,
    compile: (data: unknown, dialect: Dialect) => T,
  ) => {
    const known = new Map<string, T | undefined>();
    return (key: string): T | undefined => {
      const ready = known.get(key);
      if (ready) return ready;
      const item = find(kind, key);
      if (!item) return undefined;
      let made = compiled.get(item) as T | undefined;
      if (!made) {
        made = compile(parse(item), edgeDialect);
        compiled.set(item, made);
      }
      known.set(key, made);
      return made;
    };
  };

  return (find) => ({
    flag: lookUp('features', find, compileFlag),
    segment: lookUp('segments', find, compileSegment),
  });
}

/** An unreadable item counts as deleted, as in LaunchDarkly's SDKs. */
function parse(item: Item): unknown {
  if (!item.deleted) {
    try {
      return JSON.parse(item.json);
    } catch {}
  }
  return { key: item.key, version: item.version, deleted: true };
}
