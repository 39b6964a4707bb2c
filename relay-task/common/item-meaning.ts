/** Whether two items of equal version mean the same, although their bytes differ: ld-relay re-serialises items. */
import { sameFlagInSteps, sameSegmentInSteps } from '../../lib/evaluation/index.ts';
import type { Item } from '../../lib/flag-table/index.ts';
import { parseTextInSlices } from './sliced-text.ts';
import { resultOf } from './slices.ts';

interface Comparison {
  /** The remembered result must not keep the earlier item, whose JSON may be large. */
  readonly held: WeakRef<Item>;
  readonly isSame: boolean;
}

/** By the item that arrived. */
const compared = new WeakMap<Item, Comparison>();

/** In one turn of the event loop, unless `compareInSlices` has found it before. */
export function meansSame(held: Item, arrived: Item): boolean {
  return resultOf(compareInSlices(held, arrived));
}

/** The same, with a yield after each part. Memory, which applies a whole set in one turn, then finds the result. */
export function* compareInSlices(held: Item, arrived: Item): Generator<void, boolean> {
  if (held.deleted || arrived.deleted) return held.deleted === arrived.deleted;
  if (held.json === arrived.json) return true;
  const known = compared.get(arrived);
  if (known?.held.deref() === held) return known.isSame;
  const same = held.kind === 'features' ? sameFlagInSteps : sameSegmentInSteps;
  const isSame = yield* same(yield* parseTextInSlices(held.json), yield* parseTextInSlices(arrived.json));
  compared.set(arrived, { held: new WeakRef(held), isSame });
  return isSame;
}
