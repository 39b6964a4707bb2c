import { sameFlag, sameSegment } from '../../lib/evaluation/index.ts';
import type { Item } from '../../lib/flag-table/index.ts';
import type { ItemView } from '../ports.ts';

/** Identifies an item within an environment. */
export function idOf({ kind, key }: Pick<Item, 'kind' | 'key'>): string {
  return `${kind}/${key}`;
}

/** Of equal version, and of the same meaning to an evaluator: other writers re-serialise what we keep byte for byte. */
export function sameItem(a: Item | undefined, b: Item): boolean {
  if (a === b) return true;
  if (a === undefined || a.version !== b.version || a.deleted !== b.deleted) return false;
  if (a.deleted || a.json === b.json) return true;
  try {
    const same = a.kind === 'features' ? sameFlag : sameSegment;
    return same(JSON.parse(a.json), JSON.parse(b.json));
  } catch {
    return false;
  }
}

/** Everything in memory, segments first: flags name them. */
export function* everything(view: ItemView): Generator<Item> {
  yield* view.items('segments');
  yield* view.items('features');
}
