import type { Store } from '../../../relay-task/ports.ts';
import { createConsulStore } from '../../../relay-task/store/consul-store.ts';
import { describeFlagStore, type StoreDatabase } from '../../contract/flag-store.ts';
import { hasConsul, startConsul, startConsulAgent } from '../../support/consul-server.ts';
import { quickReplica } from './open-replicas.ts';
import { silent } from './open-stores.ts';

async function openOn(server: { address: string; close(): Promise<void> }): Promise<StoreDatabase> {
  const opened: Store[] = [];
  return {
    async open(memory, writer) {
      const store = createConsulStore({
        ...{ address: server.address, prefix: 'env', writer, view: memory, log: silent, timings: quickReplica },
        source: () => memory.source,
      });
      opened.push(store);
      memory.listen(store);
      return store;
    },
    async close() {
      await Promise.all(opened.map((store) => store.close()));
      await server.close();
    },
  };
}

describeFlagStore('the Consul store, on a fake server', async () => openOn(await startConsul()));
if (hasConsul) describeFlagStore('the Consul store, on a real agent', async () => openOn(await startConsulAgent()));
else test.skip('the Consul store, on a real agent (needs consul)', () => {});
