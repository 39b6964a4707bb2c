import type { Item } from '../../../lib/flag-table/index.ts';
import type { UnreadableItem, UpstreamSink } from '../../../relay-task/ports.ts';

export { flagData, segmentData } from '../../support/items.ts';

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
