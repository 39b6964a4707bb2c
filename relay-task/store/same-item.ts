import { sameFlag, sameSegment } from '../../lib/evaluation/index.ts';
import type { Item } from '../../lib/flag-table/index.ts';
import { isComplete } from '../common/item-text.ts';
import type { ItemView } from '../ports.ts';

/** Identifies an item within an environment. */
export function idOf({ kind, key }: Pick<Item, 'kind' | 'key'>): string {
  return `${kind}/${key}`;
}

/**
 * Whether a stored item needs no write: it has the version and the meaning of memory's, in whatever text, since other writers
 * re-serialise items; and it lacks no field, which some SDKs would not survive.
 */
export function sameItem(stored: Item | undefined, ours: Item): boolean {
  if (stored === ours) return true;
  if (stored === undefined || stored.version !== ours.version || stored.deleted !== ours.deleted) return false;
  if (stored.json === ours.json) return true;
  if (stored.deleted) return isWhole(stored);
  try {
    const [a, b]: unknown[] = [JSON.parse(stored.json), JSON.parse(ours.json)];
    const same = stored.kind === 'features' ? sameFlag : sameSegment;
    return isComplete(stored.kind, a) && same(a, b);
  } catch {
    return false;
  }
}

/** Whether an item lacks no field. */
export function isWhole({ kind, json }: Item): boolean {
  try {
    return isComplete(kind, JSON.parse(json));
  } catch {
    return false;
  }
}

/** Everything in memory, segments first: flags name them. */
export function* everything(view: ItemView): Generator<Item> {
  yield* view.items('segments');
  yield* view.items('features');
}
