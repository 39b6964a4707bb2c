/** Who waits, on two levels, such as environment and address. */
export type Lanes = readonly [string, string];

/**
 * A queue whose lanes take turns, on both levels: however many wait in one lane, the first of another lane is next but one. In
 * a lane, the first comes first.
 */
export function createFairQueue<T>() {
  const outer = new Map<string, Map<string, T[]>>();
  let size = 0;
  return {
    get size(): number {
      return size;
    },
    push([first, second]: Lanes, item: T): void {
      size++;
      const inner = outer.get(first) ?? new Map<string, T[]>();
      outer.set(first, inner);
      const items = inner.get(second);
      if (items) items.push(item);
      else inner.set(second, [item]);
    },
    shift(): T | undefined {
      for (const [first, inner] of outer) {
        outer.delete(first);
        for (const [second, items] of inner) {
          size--;
          inner.delete(second);
          const item = items.shift();
          if (items.length > 0) inner.set(second, items);
          if (inner.size > 0) outer.set(first, inner);
          return item;
        }
      }
      return undefined;
    },
    /** False: it does not wait. */
    remove([first, second]: Lanes, item: T): boolean {
      const inner = outer.get(first);
      const items = inner?.get(second) ?? [];
      const index = items.indexOf(item);
      if (!inner || index < 0) return false;
      size--;
      items.splice(index, 1);
      if (items.length === 0) inner.delete(second);
      if (inner.size === 0) outer.delete(first);
      return true;
    },
  };
}
