/** A reader's data: one complete revision of an environment. */
import { type Block, findItem, type ItemsByKind, noItems, openBlock } from './blocks.ts';
import type { Item, Kind } from './item.ts';
import { compareRev, type Rev } from './rev.ts';

/** One complete, immutable revision. A block is inflated when one of its items is first needed. */
export interface Snapshot {
  readonly rev: Rev;
  /** Whose data the revision is, as its writer named it in the body or delta that brought it; undefined: it gave no name. */
  readonly source: string | undefined;
  /** A delta must be based on this revision or on `rev`. */
  readonly base: Rev;
  /** The bank of the body's parts; undefined if the body of revision `base` was never read (only deltas were). */
  readonly bank: 0 | 1 | undefined;
  readonly complete: true;
  /**
   * Set when a block does not match its header although the hash was right, which means that the writer was faulty.
   * Items of that block are then missing from `get` and `items`, so undefined no longer means "no such flag".
   */
  readonly problem: string | undefined;
  /** Returns tombstones, too. Returns the same object every time, and usually in later snapshots while the item is unchanged. */
  get(kind: Kind, key: string): Item | undefined;
  /** All items, tombstones included, in no particular order. */
  items(): Iterable<Item>;
}

export interface Delta {
  readonly rev: Rev;
  readonly source: string | undefined;
  readonly base: Rev;
  readonly items: ItemsByKind;
}

export class AssembledSnapshot implements Snapshot {
  readonly complete = true;
  readonly rev: Rev;
  readonly base: Rev;
  readonly source: string | undefined;
  readonly bank: 0 | 1 | undefined;
  readonly blocks: readonly Block[];
  /** The differences between the blocks and `base`: empty unless deltas led to it. */
  readonly changedAtBase: ItemsByKind;
  /** The differences between the blocks and `rev`. */
  readonly changed: ItemsByKind;
  problem: string | undefined;

  constructor(
    rev: Rev,
    base: Rev,
    source: string | undefined,
    bank: 0 | 1 | undefined,
    blocks: readonly Block[],
    changedAtBase: ItemsByKind = noItems(),
    changed: ItemsByKind = changedAtBase,
  ) {
    this.rev = rev;
    this.base = base;
    this.source = source;
    this.bank = bank;
    this.blocks = blocks;
    this.changedAtBase = changedAtBase;
    this.changed = changed;
  }

  get(kind: Kind, key: string): Item | undefined {
    const changed = this.changed[kind].get(key);
    if (changed) return changed;
    const found = findItem(this.blocks, kind, key);
    if (!found) this.#fail();
    return found?.item;
  }

  *items(): Iterable<Item> {
    for (const block of this.blocks) {
      const items = openBlock(block);
      if (!items) this.#fail();
      else {
        for (const item of both(items)) if (!this.changed[item.kind].has(item.key)) yield item;
      }
    }
    yield* both(this.changed);
  }

  /**
   * The snapshot after a delta; undefined if the delta has another base. A delta based on the held revision applies, too, so a
   * body that only rewrites that revision need not be read.
   */
  apply(delta: Delta): AssembledSnapshot | undefined {
    const overBase = compareRev(delta.base, this.base) === 0;
    if (!overBase && compareRev(delta.base, this.rev) !== 0) return undefined;
    const start = overBase ? this.changedAtBase : this.changed;
    const bank = overBase ? this.bank : undefined;
    return new AssembledSnapshot(delta.rev, delta.base, delta.source, bank, this.blocks, start, {
      features: new Map([...start.features, ...delta.items.features]),
      segments: new Map([...start.segments, ...delta.items.segments]),
    });
  }

  #fail(): void {
    this.problem = `body: a block of epoch ${this.base.epoch}, seq ${this.base.seq} cannot be read`;
  }
}

/** The revision `base`, without later changes. A writer that takes over computes its delta against this. */
export function atBase(snapshot: Snapshot): Snapshot {
  const { base, bank, blocks, changed, changedAtBase } = snapshot as AssembledSnapshot;
  return changed === changedAtBase
    ? snapshot
    : new AssembledSnapshot(base, base, undefined, bank, blocks, changedAtBase);
}

function* both(items: ItemsByKind): Iterable<Item> {
  yield* items.features.values();
  yield* items.segments.values();
}
