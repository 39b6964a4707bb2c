/** How much each of many holds of something, and who holds most. A heap, so that a change is cheap however many there are. */
export interface Ranking {
  heldBy(name: string): number;
  /** A negative amount reduces it. Holders of nothing are forgotten. */
  change(name: string, amount: number): void;
  /** If several hold the most, any of them. `next`: what the second holds. */
  heaviest(): { readonly name: string; readonly held: number; readonly next: number } | undefined;
}

interface Entry {
  readonly name: string;
  held: number;
  /** In the heap. */
  at: number;
}

export function createRanking(): Ranking {
  const entries = new Map<string, Entry>();
  /** No entry holds more than the one at half its place. */
  const heap: Entry[] = [];

  const heldAt = (at: number) => heap[at]?.held ?? 0;
  const place = (entry: Entry, at: number) => {
    heap[at] = entry;
    entry.at = at;
  };
  const rise = (entry: Entry) => {
    for (let parent = heap[above(entry.at)]; parent && parent.held < entry.held; parent = heap[above(entry.at)]) {
      const { at } = parent;
      place(parent, entry.at);
      place(entry, at);
    }
  };
  const sink = (entry: Entry) => {
    for (;;) {
      const left = 2 * entry.at + 1;
      const child = heap[heldAt(left + 1) > heldAt(left) ? left + 1 : left];
      if (!child || child.held <= entry.held) return;
      const { at } = child;
      place(child, entry.at);
      place(entry, at);
    }
  };
  const forget = (entry: Entry) => {
    entries.delete(entry.name);
    const last = heap.pop();
    if (!last || last === entry) return;
    place(last, entry.at);
    rise(last);
    sink(last);
  };

  return {
    heldBy: (name) => entries.get(name)?.held ?? 0,
    change(name, amount) {
      let entry = entries.get(name);
      if (!entry) {
        entry = { name, held: 0, at: heap.length };
        entries.set(name, entry);
        heap.push(entry);
      }
      entry.held += amount;
      if (entry.held <= 0) forget(entry);
      else if (amount > 0) rise(entry);
      else sink(entry);
    },
    heaviest() {
      const first = heap[0];
      return first && { name: first.name, held: first.held, next: Math.max(heldAt(1), heldAt(2)) };
    },
  };
}

const above = (at: number) => (at - 1) >> 1;
