import type { Flag, Segment } from '../../lib/evaluation/index.ts';
import type { Kind } from '../../lib/flag-table/index.ts';

/** Who uses whom: flags their prerequisites and segments, segments other segments. */
export interface Dependencies {
  /** An item was replaced. */
  replaced(kind: Kind, key: string): void;
  /** Keys of flags whose answers these items can change: themselves, and whatever uses them, at any distance. */
  usersOf(items: Iterable<{ readonly kind: Kind; readonly key: string }>): Set<string>;
}

export interface DependenciesOptions {
  /** Keys held at present, tombstones included; walked once, when users are asked for the first time. */
  keys(kind: Kind): Iterable<string>;
  flag(key: string): Flag | undefined;
  segment(key: string): Segment | undefined;
}

type Node = `${Kind}/${string}`;
const nodeOf = (kind: Kind, key: string): Node => `${kind}/${key}`;

/** An index that is made when it is needed and then follows every change. */
export function createDependencies({ keys, flag, segment }: DependenciesOptions): Dependencies {
  const uses = new Map<Node, readonly Node[]>();
  const usedBy = new Map<Node, Set<Node>>();
  const stale = new Set<Node>();
  let made = false;

  const named = (node: Node): readonly Node[] => {
    const [kind, key] = parts(node);
    const item = kind === 'features' ? flag(key) : segment(key);
    if (item === undefined || item.deleted) return [];
    const segments = item.segmentKeys.map((name) => nodeOf('segments', name));
    return 'prerequisiteKeys' in item
      ? [...segments, ...item.prerequisiteKeys.map((name) => nodeOf('features', name))]
      : segments;
  };
  const refresh = () => {
    if (!made) {
      for (const kind of ['features', 'segments'] as const) {
        for (const key of keys(kind)) stale.add(nodeOf(kind, key));
      }
      made = true;
    }
    for (const node of stale) {
      for (const used of uses.get(node) ?? []) usedBy.get(used)?.delete(node);
      const now = named(node);
      uses.set(node, now);
      for (const used of now) {
        const users = usedBy.get(used) ?? new Set();
        usedBy.set(used, users.add(node));
      }
    }
    stale.clear();
  };

  return {
    replaced(kind, key) {
      if (made) stale.add(nodeOf(kind, key));
    },
    usersOf(items) {
      refresh();
      const found = new Set<Node>();
      for (const { kind, key } of items) found.add(nodeOf(kind, key));
      // A set is walked in order of insertion, what is added meanwhile included; cycles end by themselves.
      for (const node of found) for (const user of usedBy.get(node) ?? []) found.add(user);
      const flags = new Set<string>();
      for (const node of found) {
        const [kind, key] = parts(node);
        if (kind === 'features') flags.add(key);
      }
      return flags;
    },
  };
}

function parts(node: Node): readonly [Kind, string] {
  const slash = node.indexOf('/');
  return [node.slice(0, slash) as Kind, node.slice(slash + 1)];
}
