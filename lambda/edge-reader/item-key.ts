/** DynamoDB's limit for the key of an item, in bytes; a flag's key is one. */
export const MOST_KEY_BYTES = 1_024;

/** Whether a flag or segment can have this key. */
export function isItemKey(key: string): boolean {
  return key !== '' && Buffer.byteLength(key) <= MOST_KEY_BYTES;
}
