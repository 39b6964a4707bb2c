import { setTimeout as sleep } from 'node:timers/promises';
import type { Item } from '../../../lib/flag-table/index.ts';
import type { Log, UnreadableItem, UpstreamSink } from '../../../relay-task/ports.ts';

/** A log that only remembers, so that a test can look for what must never stand in one. */
export function createLogRecorder() {
  const lines: string[] = [];
  const note = (message: string, fields?: Record<string, unknown>) =>
    void lines.push(`${message} ${JSON.stringify(fields ?? {})}`);
  const log: Log = { debug: note, info: note, warn: note, error: note };
  return { log, lines };
}

export interface Put {
  readonly items: readonly Item[];
  readonly unreadable: readonly UnreadableItem[];
}

/** A sink that only remembers. */
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

/** Polls until `holds`; fails after 10 s. */
export async function until(what: string, holds: () => boolean): Promise<void> {
  const deadline = Date.now() + 10_000;
  while (!holds()) {
    if (Date.now() > deadline) throw new Error(`waited 10 s for ${what}`);
    await sleep(5);
  }
}

/** A flag as LaunchDarkly sends it, complete. */
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

/** A segment as LaunchDarkly sends it, complete. */
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
