import { describeFlagStore } from '../../contract/flag-store.ts';
import { openTable } from './open-stores.ts';

describeFlagStore('the DynamoDB store', async () => {
  const stores = await openTable();
  return {
    open: (memory, writer) => stores.open(memory, { writer }),
    close: () => stores.close(),
  };
});
