import type { Item, Kind } from '../../lib/flag-table/index.ts';
import { inSendingOrder } from '../common/prerequisites.ts';
import type { Change, ItemView } from '../ports.ts';
import { createDigest, hexOf } from './digest.ts';
import { createFDv2 } from './fdv2.ts';
import { createHistory } from './history.ts';

export type States = ReturnType<typeof createStates>;

/** Digests of the held items, and the changes from earlier states to the present one. `hasData`: whether there is a state at all. */
export function createStates(view: Pick<ItemView, 'get' | 'items'>, hasData: () => boolean) {
  const digests = {
    features: createDigest(() => view.items('features')),
    segments: createDigest(() => view.items('segments')),
  };
  const history = createHistory();
  /** Nothing is hashed until a state is requested for the first time. */
  let remembers = false;

  function digest(scope: Kind | 'all'): string {
    if (scope === 'all') return hexOf(digests.features.sum() + digests.segments.sum());
    return hexOf(digests[scope].sum());
  }

  function remember(kind: Change['kind'], items: readonly Item[]): string {
    const state = digest('all');
    if (state !== history.latest) history.record(state, kind, items);
    return state;
  }

  function state(): string {
    if (!hasData()) return '';
    remembers = true;
    // Bytes may have been replaced by equivalent ones, which readers are not told.
    return remember('patch', []);
  }

  function changesSince(basis: string): readonly Item[] | undefined {
    if (state() === '') return undefined;
    const names = history.since(basis);
    return (
      names &&
      inSendingOrder(
        names.flatMap(({ kind, key }) => view.get(kind, key) ?? []),
        view.get,
      )
    );
  }

  return {
    /** An item was replaced, whether or not readers are told. */
    replaced: (item: Item, before: Item | undefined): void => digests[item.kind].replaced(before, item),
    /** Readers are about to be told of a change. */
    changed(kind: Change['kind'], items: readonly Item[]): void {
      if (remembers) remember(kind, items);
    },
    /** To be awaited before the first call of `digest` or `state`: all items are hashed, in slices. Undefined: they were. */
    hashed(): Promise<void> | undefined {
      const [flags, segments] = [digests.features.prepare(), digests.segments.prepare()];
      return flags && segments ? Promise.all([flags, segments]).then(() => {}) : (flags ?? segments);
    },
    /** A fingerprint of the live items, equal in every relay that holds the same; for ETags. */
    digest,
    /** FDv2's state: the fingerprint of everything; '' before there is data. */
    state,
    /** The events for clients that speak FDv2. States are remembered from the first call of `state` or of `fdv2` on. */
    fdv2: createFDv2({
      items: () => inSendingOrder([...view.items('segments'), ...view.items('features')], view.get),
      state,
      changesSince,
    }),
  };
}
