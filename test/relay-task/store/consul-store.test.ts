import type { Store } from '../../../relay-task/ports.ts';
import { transactionLimits } from '../../../relay-task/store/consul-compare-and-set.ts';
import { createConsulStore } from '../../../relay-task/store/consul-store.ts';
import { describeFlagStore, type StoreDatabase } from '../../contract/flag-store.ts';
import { hasConsul, startConsul, startConsulAgent } from '../../support/consul-server.ts';
import { silentLog } from '../../support/logs.ts';
import { quickReplica } from './open-replicas.ts';

async function openOn(server: { address: string; close(): Promise<void> }): Promise<StoreDatabase> {
  const opened: Store[] = [];
  const folder = `${server.address}/v1/kv/env/`;
  return {
    atOnce: transactionLimits.writes,
    async open(memory, writer) {
      const store = createConsulStore({
        ...{ address: server.address, prefix: 'env', writer, view: memory, log: silentLog, timings: quickReplica },
        source: () => memory.source,
      });
      opened.push(store);
      memory.listen(store);
      return store;
    },
    async lose(what) {
      await fetch(`${folder}${what === 'flags' ? 'features/' : ''}?recurse`, { method: 'DELETE' });
    },
    async look() {
      const answer = await fetch(`${folder}?keys&consistent`);
      const keys = answer.ok ? ((await answer.json()) as string[]) : [];
      return {
        marked: keys.includes('env/$inited'),
        flags: keys.filter((key) => key.startsWith('env/features/')).length,
      };
    },
    async texts() {
      const pairs = (await (await fetch(`${folder}?recurse&consistent`)).json()) as { Key: string; Value: string }[];
      const items = pairs.filter(({ Key }) => /^env\/(?:features|segments)\/./.test(Key));
      return Object.fromEntries(items.map(({ Key, Value }) => [Key.slice(4), Buffer.from(Value, 'base64').toString()]));
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
