/**
 * LaunchDarkly's own layout, which every official SDK in daemon mode reads and ld-relay writes:
 * one item for each flag and segment, `version` (N) and `item` (S: its JSON).
 */
import { type Attributes, type Key, readNumber, readText } from './attributes.ts';
import type { Item, Kind } from './item.ts';
import { inNamespace, namespaces } from './namespaces.ts';

/** What official writers hold to; DynamoDB itself ends at 409,600 bytes. */
export const OFFICIAL_ITEM_LIMIT_BYTES = 400_000;

/** An item as the official SDKs and ld-relay write it. Check `officialItemBytes` before it is put. */
export function encodeOfficialItem(prefix: string, item: Item): Attributes {
  return {
    namespace: { S: inNamespace(prefix, item.kind) },
    key: { S: item.key },
    version: { N: String(item.version) },
    item: { S: item.json },
  };
}

/**
 * Reads what any writer left: ld-relay, an SDK, this project. The `version` attribute wins over the JSON's, since conditional
 * writes compare it. Tombstones are known by the JSON's `deleted`, or by a `deleted` attribute; their JSON may name another
 * key (ld-relay writes `$deleted`) or be missing.
 */
export function decodeOfficialItem(kind: Kind, attributes: Attributes): Item | { problem: string; key: string } {
  const key = readText(attributes, 'key');
  if (key === undefined || key === '') return { problem: 'an item without a key', key: '' };
  const refuse = (problem: string) => ({ problem: `${kind} "${key}": ${problem}`, key });
  const stored = readNumber(attributes, 'version');
  if (stored === undefined && attributes.version !== undefined) return refuse('`version` is no number');
  const marked = (attributes.deleted as { BOOL?: unknown } | undefined)?.BOOL === true;
  const json = readText(attributes, 'item');
  if (json === undefined) {
    if (marked && stored !== undefined) return tombstone(kind, key, stored);
    return refuse('`item` is no string');
  }
  const data = parseObject(json);
  if (data === undefined) return refuse('`item` is no JSON object');
  const version = stored ?? data.version;
  if (typeof version !== 'number') return refuse('no `version`');
  const deleted = data.deleted === true;
  if (marked && !deleted) return tombstone(kind, key, version);
  return { kind, key, version, deleted, json };
}

function tombstone(kind: Kind, key: string, version: number): Item {
  return { kind, key, version, deleted: true, json: JSON.stringify({ key, version, deleted: true }) };
}

function parseObject(json: string): Record<string, unknown> | undefined {
  try {
    const data: unknown = JSON.parse(json);
    return typeof data === 'object' && data !== null && !Array.isArray(data)
      ? (data as Record<string, unknown>)
      : undefined;
  } catch {
    return undefined;
  }
}

/** Key of the marker: partition and sort key are the same text. */
export function initedKey(prefix: string): Key {
  const { inited } = namespaces(prefix);
  return { namespace: inited, key: inited };
}

/** The marker that the layout is complete. It is written after everything else. */
export function encodeInited(prefix: string): Attributes {
  const { namespace, key } = initedKey(prefix);
  return { namespace: { S: namespace }, key: { S: key } };
}

/**
 * Size by ld-relay's rule: 100, and for each attribute the UTF-8 length of its name and of its value's text.
 * Above `OFFICIAL_ITEM_LIMIT_BYTES` official writers skip the item.
 */
export function officialItemBytes(attributes: Attributes): number {
  let bytes = 100;
  for (const [name, value] of Object.entries(attributes)) {
    bytes += Buffer.byteLength(name);
    for (const part of Object.values(value))
      bytes += Buffer.byteLength(part instanceof Uint8Array ? part : String(part));
  }
  return bytes;
}

/**
 * What the old copy of an item gains when the new one is too big for this layout. Official readers do not look at either.
 * `since` in Unix ms. To be set by `UpdateItem`; a later `PutItem` that fits takes both away by replacing the item.
 */
export function encodeStale(since: number, currentVersion: number): Attributes {
  return { staleSince: { N: String(since) }, currentVersion: { N: String(currentVersion) } };
}

/** The marking, undefined when the copy is current. `since` in Unix ms. */
export function decodeStale(attributes: Attributes): { since: number; currentVersion: number } | undefined {
  const since = readNumber(attributes, 'staleSince');
  const currentVersion = readNumber(attributes, 'currentVersion');
  return since === undefined || currentVersion === undefined ? undefined : { since, currentVersion };
}
