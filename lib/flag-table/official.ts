/**
 * LaunchDarkly's own layout, which every official SDK in daemon mode reads and ld-relay writes:
 * one item for each flag and segment, `version` (N) and `item` (S: its JSON).
 */
import { type Attributes, type Key, readNumber, readText } from './attributes.ts';
import type { Item, Kind } from './item.ts';
import { inNamespace } from './namespaces.ts';

/** The limit of official writers; DynamoDB's own is 409,600 bytes. */
export const OFFICIAL_ITEM_LIMIT_BYTES = 400_000;

/** Encodes an item like the official SDKs and ld-relay. Check `officialItemBytes` before putting it. */
export function encodeOfficialItem(prefix: string, item: Item): Attributes {
  return {
    namespace: { S: inNamespace(prefix, item.kind) },
    key: { S: item.key },
    version: { N: String(item.version) },
    item: { S: item.json },
  };
}

/**
 * Decodes items of any writer: ld-relay, an SDK, this project. The `version` attribute takes precedence over the JSON's, since
 * conditional writes compare it. A tombstone has `deleted` in its JSON or as an attribute; its JSON may contain another key
 * (ld-relay writes `$deleted`) or be missing.
 */
export function decodeOfficialItem(kind: Kind, attributes: Attributes): Item | { problem: string; key: string } {
  const item = readOfficialItem(kind, attributes);
  if (typeof item !== 'string') return item;
  const key = readText(attributes, 'key');
  return key ? { problem: `${kind} "${key}": ${PROBLEMS[item]}`, key } : { problem: 'item without a key', key: '' };
}

const PROBLEMS = {
  key: '`key` is missing',
  number: '`version` is not a number',
  text: '`item` is not a string',
  object: '`item` is not a JSON object',
  version: '`version` is missing',
};

/** The same without a description of the problem, which a reader at the edge cannot report to anybody. */
export function readOfficialItem(kind: Kind, attributes: Attributes): Item | keyof typeof PROBLEMS {
  const key = readText(attributes, 'key');
  if (!key) return 'key';
  const stored = readNumber(attributes, 'version');
  if (stored === undefined && attributes.version !== undefined) return 'number';
  const marked = (attributes.deleted as { BOOL?: unknown } | undefined)?.BOOL === true;
  const json = readText(attributes, 'item');
  if (json === undefined) return marked && stored !== undefined ? tombstone(kind, key, stored) : 'text';
  const data = parseObject(json);
  if (data === undefined) return 'object';
  const version = stored ?? data.version;
  if (typeof version !== 'number') return 'version';
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

/** Key of the marker: partition and sort key are the same string. */
export function initedKey(prefix: string): Key {
  const inited = inNamespace(prefix, '$inited');
  return { namespace: inited, key: inited };
}

/** The marker that the layout is complete. Written last. */
export function encodeInited(prefix: string): Attributes {
  const { namespace, key } = initedKey(prefix);
  return { namespace: { S: namespace }, key: { S: key } };
}

/**
 * Size by ld-relay's formula: 100, plus the UTF-8 length of each attribute's name and value.
 * Official writers skip items above `OFFICIAL_ITEM_LIMIT_BYTES`.
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
 * Attributes added to the old copy of an item when the new one is too big for this layout. Official readers ignore them.
 * `since` in Unix ms. Set them with `UpdateItem`; a later `PutItem` of a version that fits removes both.
 */
export function encodeStale(since: number, currentVersion: number): Attributes {
  return { staleSince: { N: String(since) }, currentVersion: { N: String(currentVersion) } };
}

/** The attributes of `encodeStale`; undefined if the copy is current. `since` in Unix ms. */
export function decodeStale(attributes: Attributes): { since: number; currentVersion: number } | undefined {
  const since = readNumber(attributes, 'staleSince');
  const currentVersion = readNumber(attributes, 'currentVersion');
  return since === undefined || currentVersion === undefined ? undefined : { since, currentVersion };
}
