import type { Item, Kind } from '../../lib/flag-table/index.ts';
import { normalText } from './item-text.ts';

/** Stand for a key and a version in the patterns, which contain them nowhere else. */
const KEY = '"\\u0001"';
const VERSION = '1234567890123';

/** Made once: a set may lack thousands of the items before it. */
const patterns: Readonly<Record<Kind, string>> = {
  features: normalText('features', `{"key":${KEY},"version":${VERSION},"deleted":true}`),
  segments: normalText('segments', `{"key":${KEY},"version":${VERSION},"deleted":true}`),
};

/**
 * A deleted item: its version stays, so that readers can tell it from an older live one. It has every field of a live item, as
 * ld-relay's has, because PHP's SDK reads all of them before it looks at `deleted`.
 */
export function createTombstone(kind: Kind, key: string, version: number): Item {
  const json = patterns[kind].replace(VERSION, () => String(version)).replace(KEY, () => JSON.stringify(key));
  return { kind, key, version, deleted: true, json };
}
