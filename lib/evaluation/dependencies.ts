import type { Flag, Segment } from './model.ts';

type Kind = 'features' | 'segments';
/** What one item uses. */
export type Uses = Pick<Segment, 'deleted' | 'segmentKeys'> & Partial<Pick<Flag, 'prerequisiteKeys'>>;

/** Which items use which: flags use prerequisites and segments, segments use other segments. */
interface Dependencies {
  /** An item was replaced. */
  replaced(kind: Kind, key: string): void;
  /** Keys of the flags among these items and of all flags that use them, directly or not. */
  usersOf(items: Iterable<{ readonly kind: Kind; readonly key: string }>): Set<string>;
}

interface DependenciesOptions {
  /** The held keys, tombstones included; read once, at the first call of `usersOf`. */
  keys(kind: Kind): Iterable<string>;
  flag(key: string): Uses | undefined;
  segment(key: string): Uses | undefined;
}

type Node = `${Kind}/${string}`;
const nodeOf = (kind: Kind, key: string): Node => `${kind}/${key}`;

/** An index that is built when it is first needed and then follows every change. */
export function createDependencies({ keys, flag, segment }: DependenciesOptions): Dependencies {
  const uses = new Map<Node, readonly Node[]>();
  const usedBy = new Map<Node, Set<Node>>();
  const stale = new Set<Node>();
  let built = false;

  const named = (node: Node): readonly Node[] => {
    const [kind, key] = parts(node);
    const item = kind === 'features' ? flag(key) : segment(key);
    if (item === undefined || item.deleted) return [];
    const segments = item.segmentKeys.map((name) => nodeOf('segments', name));
    return [...segments, ...(item.prerequisiteKeys ?? []).map((name) => nodeOf('features', name))];
  };
  const refresh = () => {
    if (!built) {
      for (const kind of ['features', 'segments'] as const) {
        for (const key of keys(kind)) stale.add(nodeOf(kind, key));
      }
      built = true;
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
      if (built) stale.add(nodeOf(kind, key));
    },
    usersOf(items) {
      refresh();
      const found = new Set<Node>();
      for (const { kind, key } of items) found.add(nodeOf(kind, key));
      // Iterating over a set also visits what is added meanwhile, and each node once, so cycles end.
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
