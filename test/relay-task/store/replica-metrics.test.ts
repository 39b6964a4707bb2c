import { createMeasures } from '../../../relay-task/common/measures.ts';
import { createReplicaStore } from '../../../relay-task/store/replica-store.ts';
import { eventually } from '../../support/eventually.ts';
import { createMemory, type Memory } from '../../support/memory.ts';
import { createFakeDatabase } from './fake-database.ts';
import { flag } from './items.ts';
import { listenToLog, quickReplica } from './open-replicas.ts';

test('stores of several environments share one metrics registry and remove their series when closed', async () => {
  const measures = createMeasures();
  const databases = [createFakeDatabase(), createFakeDatabase()];
  const open = async (memory: Memory, index: number) => {
    const store = createReplicaStore(
      {
        env: `shop ${index}`,
        prefix: `env${index}`,
        view: memory,
        writer: 'auto',
        log: listenToLog(),
        timings: quickReplica,
        measures,
      },
      () => databases[index]!,
    );
    memory.listen(store);
    store.setEligible(true);
    await store.flush(60_000);
    return store;
  };
  const memories = [createMemory(flag('a', 1), flag('b', 1)), createMemory(flag('a', 1))];
  const stores = await Promise.all(memories.map(open));
  memories[0]?.set(flag('a', 2), flag('large', 1, { description: 'x'.repeat(20_000) }));
  await stores[0]?.flush(60_000);
  const value = async (line: string) =>
    (await measures.registry.metrics()).split('\n').find((one) => one.startsWith(`launchdarkly_relay_${line} `));
  const labels = (prefix: string, more = '') =>
    `{env="${prefix.replace('env', 'shop ')}",database="redis",prefix="${prefix}"${more}}`;
  expect(await value(`store_replica_writes_total${labels('env0', ',outcome="written"')}`)).toMatch(/ 3$/);
  expect(await value(`store_replica_writes_total${labels('env1', ',outcome="written"')}`)).toMatch(/ 1$/);
  expect(await value(`store_replica_publication_seconds_count${labels('env0')}`)).toMatch(/ 1$/);
  expect(await value(`store_replica_oversized_items${labels('env0')}`)).toMatch(/ 1$/);
  expect(await value(`store_replica_differing_items_total${labels('env1')}`)).toMatch(/ 1$/);
  databases[1]!.before = () => {
    throw new Error('down');
  };
  await eventually(async () => expect(await value(`store_replica_up${labels('env1')}`)).toMatch(/ 0$/));
  expect(await value(`store_replica_up${labels('env0')}`)).toMatch(/ 1$/);
  expect(await value(`store_replica_failures_total${labels('env1')}`)).toMatch(/ [1-9]\d*$/);
  await Promise.all(stores.map((store) => store.close()));
  expect(await value(`store_replica_up${labels('env0')}`)).toBeUndefined();
});
