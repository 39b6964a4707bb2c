import { inFlight } from '../../../relay-task/store/in-parallel.ts';
import { describeFlagStore, type StoreDatabase } from '../../contract/flag-store.ts';
import { startTable, type TestTable } from '../../support/dynalite.ts';
import { describeWithDynamoDBLocal } from '../../support/dynamodb-local.ts';
import { eventually } from '../../support/eventually.ts';
import { createMemory } from '../../support/memory.ts';
import { flag, flags, segment, tombstone } from './items.ts';
import { expectTableToEqual, hasty, openTable, type Stores } from './open-stores.ts';

async function openOn(table: TestTable): Promise<StoreDatabase> {
  const stores = await openTable(table);
  return {
    atOnce: inFlight,
    open: (memory, writer) => stores.open(memory, { writer }),
    async lose(what) {
      // The head goes last: a holder that misses it fills the table again.
      const rest = what === 'everything' ? ['segments', '$inited', '$snapshot'] : [];
      for (const namespace of ['features', ...rest]) await stores.clear(namespace);
    },
    async look() {
      const marked = Object.keys(await stores.rows('$inited')).length > 0;
      return { marked, flags: Object.keys(await stores.rows('features')).length };
    },
    async texts() {
      const texts: Record<string, string> = {};
      for (const kind of ['features', 'segments']) {
        for (const [key, { item }] of Object.entries(await stores.rows(kind))) texts[`${kind}/${key}`] = String(item);
      }
      return texts;
    },
    close: () => stores.close(),
  };
}

describeFlagStore('the DynamoDB store', async () => openOn(await startTable()));

describeWithDynamoDBLocal('the DynamoDB store, on DynamoDB Local', (startLocalTable) => {
  describeFlagStore('(shared tests)', async () => openOn(await startLocalTable()));

  describe('with two stores', () => {
    let stores: Stores;
    beforeEach(async () => {
      stores = await openTable(await startLocalTable());
    });
    afterEach(() => stores.close());

    test('replaces a holder that dies with a higher epoch and completes its work @heavy', async () => {
      const memory = createMemory(...flags(200), segment('s', 1));
      const holder = await stores.open(memory, { timings: hasty });
      holder.setEligible(true);
      await holder.flush(60_000);
      const heir = await stores.open(memory, { timings: hasty });
      heir.setEligible(true);
      const before = (await stores.rows('$snapshot')).head;
      expect(before?.owner).toBe(holder.owner);
      holder.proxy.cut();
      memory.set(flag('flag-1', 2), tombstone('features', 'flag-2', 2));
      await eventually(() => expect(heir.status().writer).toBe(true));
      await heir.flush(60_000);
      const after = (await stores.rows('$snapshot')).head;
      expect(after?.owner).toBe(heir.owner);
      expect(Number(after?.epoch)).toBeGreaterThan(Number(before?.epoch));
      await expectTableToEqual(stores, memory);
    });
  });
});
