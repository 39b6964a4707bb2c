import { sameFlagInSteps, sameSegmentInSteps } from '../../lib/evaluation/index.ts';
import type { Item } from '../../lib/flag-table/index.ts';
import { completeTextInSlices } from '../common/item-text.ts';
import { parseTextInSlices } from '../common/sliced-text.ts';
import { resultOf } from '../common/slices.ts';
import type { ItemView } from '../ports.ts';

/** Identifies an item within an environment. */
export function idOf({ kind, key }: Pick<Item, 'kind' | 'key'>): string {
  return `${kind}/${key}`;
}

/** By the stored item, as long as it is held. */
const compared = new WeakMap<Item, { readonly ours: Item; readonly isSame: boolean }>();
const wholes = new WeakMap<Item, boolean>();

/**
 * Whether a stored item needs no write: it has the version and the meaning of memory's, in whatever text, since other writers
 * re-serialise items; and it lacks no field, which some SDKs would not survive. In one turn of the event loop, unless
 * `compareInSlices` has found it before.
 */
export function sameItem(stored: Item | undefined, ours: Item): boolean {
  return resultOf(compareInSlices(stored, ours));
}

/** The same, with a yield after each part. */
export function* compareInSlices(stored: Item | undefined, ours: Item): Generator<void, boolean> {
  if (stored === ours) return true;
  if (stored === undefined || stored.version !== ours.version || stored.deleted !== ours.deleted) return false;
  if (stored.json === ours.json) return true;
  if (stored.deleted) return yield* findWhole(stored);
  const known = compared.get(stored);
  if (known?.ours === ours) return known.isSame;
  const isSame = yield* meansSame(stored, ours);
  compared.set(stored, { ours, isSame });
  return isSame;
}

function* meansSame({ kind, json }: Item, ours: Item): Generator<void, boolean> {
  try {
    const data = yield* parseTextInSlices(json);
    if ((yield* completeTextInSlices(kind, data, json)) !== json) return false;
    const same = kind === 'features' ? sameFlagInSteps : sameSegmentInSteps;
    return yield* same(data, yield* parseTextInSlices(ours.json));
  } catch {
    return false;
  }
}

/** Whether an item lacks no field. */
export function isWhole(item: Item): boolean {
  return resultOf(findWhole(item));
}

/** The same, with a yield after each part of the item. */
export function* findWhole(item: Item): Generator<void, boolean> {
  let whole = wholes.get(item);
  if (whole === undefined) {
    try {
      whole = (yield* completeTextInSlices(item.kind, yield* parseTextInSlices(item.json), item.json)) === item.json;
    } catch {
      whole = false;
    }
    wholes.set(item, whole);
  }
  return whole;
}

/** Everything in memory, segments first: flags name them. */
export function* everything(view: ItemView): Generator<Item> {
  yield* view.items('segments');
  yield* view.items('features');
}
