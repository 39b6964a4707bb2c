import type { Kind } from '../../lib/flag-table/index.ts';
import { errorText } from '../common/error-text.ts';
import type { ConsulClient } from './consul-client.ts';
import { consulKeys, createCompareAndSet, removeMarker, rowOf, transactionLimits } from './consul-compare-and-set.ts';
import { getPair, listBelow, readFolder, textOf } from './consul-kv.ts';
import type { Content, Row } from './database.ts';
import { rowBytes, type TakeRead } from './read-memory.ts';
import type { ReplicaDatabase } from './replica-store.ts';

/** Consul's `kv_max_value_size`, and `txn_max_req_len` beside it. */
const valueLimitBytes = 512 * 1024;

/**
 * LaunchDarkly's layout in Consul's KV store: `PFX/features/KEY`, `PFX/segments/KEY`, `PFX/$inited`. Every request names
 * its folder with the slash, so that `app1` never touches what is `app10`'s.
 */
export function createConsulDatabase({ client, prefix }: { client: ConsulClient; prefix: string }): ReplicaDatabase {
  const keys = consulKeys(prefix);

  async function readRows(kind: Kind, take: TakeRead): Promise<Map<string, Row>> {
    const folder = keys.folder(kind);
    const rows = new Map<string, Row>();
    await readFolder(client, folder, (pair) => {
      // The folder itself may be a key, too.
      const key = pair.Key.slice(folder.length);
      if (key === '') return;
      take(rowBytes(key, textOf(pair)));
      rows.set(key, rowOf(kind, key, pair));
    });
    return rows;
  }

  return {
    name: 'consul',
    server: client.server,
    limits: transactionLimits,
    keepsManifest: true,
    marksStale: false,
    async readAll(take): Promise<Content> {
      const [inited, manifest] = [await getPair(client, keys.inited), await getPair(client, keys.manifest)];
      const [segments, features] = await Promise.all([readRows('segments', take), readRows('features', take)]);
      return { rows: { features, segments }, inited: inited !== undefined, manifest: manifest && textOf(manifest) };
    },
    async glance() {
      const [top, manifest] = await Promise.all([listBelow(client, `${prefix}/`), getPair(client, keys.manifest)]);
      // Counting means listing every key: a folder that is gone is seen here, a single item at the next comparison.
      const atLeast = (kind: Kind) => (top.has(`${kind}/`) ? Infinity : 0);
      const counts = { features: atLeast('features'), segments: atLeast('segments') };
      return { inited: top.has('$inited'), manifest: manifest && textOf(manifest), counts };
    },
    apply: createCompareAndSet(client, prefix),
    unmark: () => removeMarker(client, prefix),
    misfit({ json }) {
      const bytes = Buffer.byteLength(json);
      return bytes > valueLimitBytes ? `it has ${bytes} bytes, Consul takes ${valueLimitBytes}` : undefined;
    },
    describe: errorText,
    close: async () => client.close(),
  };
}
