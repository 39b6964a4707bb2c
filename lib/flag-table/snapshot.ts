/** A reader's data: one complete revision of an environment. */
import { type Block, findItem, type ItemsByKind, letGo, noItems, openBlock } from './blocks.ts';
import { type Item, KINDS, type Kind } from './item.ts';
import { compareRev, formatRev, type Rev } from './rev.ts';

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
  /**
   * Returns tombstones, too. Returns the same object every time until a refresh gives a later snapshot, and usually in that one as well
   * while the item is unchanged.
   */
  get(kind: Kind, key: string): Item | undefined;
  /** All items, tombstones included, in no particular order. */
  items(): Iterable<Item>;
}

export interface Delta {
  readonly rev: Rev;
  readonly source: string | undefined;
  readonly base: Rev;
  readonly items: ItemsByKind;
  /** Its stored size. */
  readonly deltaBytes: number;
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
  /** The stored size of the delta that is in the table, as far as this reader has seen; 0: none. */
  deltaBytes = 0;

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
    for (const kind of KINDS) {
      for (const block of this.blocks) {
        for (const [key, held] of openBlock(block)?.[kind] ?? this.#fail()) {
          const item = this.changed[kind].has(key) ? undefined : (held ?? this.get(kind, key));
          if (item) yield item;
        }
      }
      yield* this.changed[kind].values();
    }
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
    const changed = noItems();
    for (const kind of KINDS) {
      for (const [key, item] of [...start[kind], ...delta.items[kind]]) {
        changed[kind].set(key, item);
        letGo(this.blocks, kind, key);
      }
    }
    const next = new AssembledSnapshot(delta.rev, delta.base, delta.source, bank, this.blocks, start, changed);
    next.deltaBytes = delta.deltaBytes;
    return next;
  }

  #fail(): [] {
    this.problem = `body: a block of ${formatRev(this.base)} cannot be read`;
    return [];
  }
}

/** The revision `base`, without later changes. A writer that takes over computes its delta against this. */
export function atBase(snapshot: Snapshot): Snapshot {
  const { base, bank, blocks, changed, changedAtBase } = snapshot as AssembledSnapshot;
  return changed === changedAtBase
    ? snapshot
    : new AssembledSnapshot(base, base, undefined, bank, blocks, changedAtBase);
}
