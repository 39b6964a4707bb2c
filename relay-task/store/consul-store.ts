import type { Store } from '../ports.ts';
import { type ConsulConnection, createConsulClient } from './consul-client.ts';
import { createConsulDatabase } from './consul-database.ts';
import { createReplicaStore, DEFAULT_PREFIX, type ReplicaStoreOptions } from './replica-store.ts';

export interface ConsulStoreOptions extends ReplicaStoreOptions, ConsulConnection {}

/**
 * Consul's KV store as a replica of one environment's memory, in the layout that official SDKs in daemon mode read.
 * Nothing rejects but `read`, with `STORE_UNAVAILABLE`. `flush` resolves at once on a task that may not write. An item
 * above Consul's 512 KB keeps its old copy and is named in `status().oversized`.
 */
export function createConsulStore(options: ConsulStoreOptions): Store {
  return createReplicaStore(options, () =>
    createConsulDatabase({ client: createConsulClient(options), prefix: options.prefix || DEFAULT_PREFIX }),
  );
}
