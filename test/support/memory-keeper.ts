import type { Keeper } from '../../relay-task/ports.ts';

/** A store for one value, in memory. */
export function createMemoryKeeper(): Keeper & { bytes: Uint8Array | undefined } {
  const keeper = {
    bytes: undefined as Uint8Array | undefined,
    read: async () => keeper.bytes,
    async write(bytes: Uint8Array) {
      keeper.bytes = bytes;
    },
  };
  return keeper;
}
