/** How flags are stored in DynamoDB: keys, encodings and the snapshot. Used by the relay to write and by the edge reader to read. */
export type { Attributes, AttributeValue, Key } from './attributes.ts';
export { isSame } from './blocks.ts';
export { changesBetween, type ItemChange, itemsAside } from './changes.ts';
export {
  BODY_DATA_LIMIT_BYTES,
  DELTA_LIMIT_BYTES,
  type EncodedBody,
  encodeBody,
  encodeDelta,
} from './encode-snapshot.ts';
export {
  decodeCounts,
  decodeHead,
  decodeHeadPointer,
  encodeHead,
  type Head,
  type HeadPointer,
  SNAPSHOT_FORMAT,
} from './head.ts';
export { type Heartbeat, heartbeatOf } from './heartbeat.ts';
export { type Item, KINDS, type Kind } from './item.ts';
export { filteredPrefix, inNamespace, namespaces } from './namespaces.ts';
export {
  decodeOfficialItem,
  decodeStale,
  encodeInited,
  encodeOfficialItem,
  encodeStale,
  initedKey,
  OFFICIAL_ITEM_LIMIT_BYTES,
  officialItemBytes,
  readOfficialItem,
} from './official.ts';
export { compareRev, formatRev, parseRev, type Rev } from './rev.ts';
export { tableSchema } from './schema.ts';
export { atBase, type Snapshot } from './snapshot.ts';
export {
  createSnapshotReader,
  type Reading,
  type SnapshotQuery,
  type SnapshotReaderOptions,
} from './snapshot-reader.ts';
