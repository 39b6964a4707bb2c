import type { Item } from '../../../lib/flag-table/index.ts';
import type { UnreadableItem, UpstreamSink } from '../../../relay-task/ports.ts';

export { flagData, segmentData } from '../../support/items.ts';

/** Settings that a stream of FDv1 does not look at. */
export const fdv1 = { protocol: 'fdv1', baseUri: 'http://127.0.0.1:9', pollIntervalMs: 30_000 } as const;

export interface Put {
  readonly items: readonly Item[];
  readonly unreadable: readonly UnreadableItem[];
}

/** A sink that records what it gets. */
export function createSinkRecorder() {
  const puts: Put[] = [];
  const upserts: Item[] = [];
  const skipped: UnreadableItem[] = [];
  const sink: UpstreamSink = {
    put: (items, unreadable) => void puts.push({ items, unreadable }),
    upsert: (item) => void upserts.push(item),
    skip: (item) => void skipped.push(item),
  };
  return { sink, puts, upserts, skipped };
}
