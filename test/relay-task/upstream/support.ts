import type { Item } from '../../../lib/flag-table/index.ts';
import type { UnreadableItem, UpstreamSink } from '../../../relay-task/ports.ts';

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

/** A complete flag as LaunchDarkly sends it. */
export function flagData(key: string, version: number, more: Record<string, unknown> = {}) {
  return {
    key,
    on: true,
    prerequisites: [],
    targets: [],
    contextTargets: [],
    rules: [],
    fallthrough: { variation: 0 },
    offVariation: 1,
    variations: [true, false],
    clientSide: false,
    salt: 'salt',
    trackEvents: false,
    trackEventsFallthrough: false,
    debugEventsUntilDate: null,
    version,
    deleted: false,
    ...more,
  };
}

/** A complete segment as LaunchDarkly sends it. */
export function segmentData(key: string, version: number, more: Record<string, unknown> = {}) {
  return {
    key,
    included: [],
    excluded: [],
    includedContexts: [],
    excludedContexts: [],
    salt: 'salt',
    rules: [],
    version,
    deleted: false,
    ...more,
  };
}
