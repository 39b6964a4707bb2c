import { randomBytes } from 'node:crypto';
import { DynamoDBClient } from '@aws-sdk/client-dynamodb';
import type { Keeper } from '../../../relay-task/ports.ts';
import { createConsulKeeper, createDynamoDBKeeper, createRedisKeeper } from '../../../relay-task/store/keeper.ts';
import { createRedisClient } from '../../../relay-task/store/redis-client.ts';
import { startConsul } from '../../support/consul-server.ts';
import { startTable, type TestTable, testCredentials, testRegion } from '../../support/dynalite.ts';
import { describeWithDynamoDBLocal } from '../../support/dynamodb-local.ts';
import { hasRedis, redisAt, startRedis } from '../../support/redis.ts';

interface KeptIn {
  open(prefix: string, name: string): Keeper;
  /** The keys in the database. */
  keys(): Promise<string[]>;
  /** Stops the database. */
  stop(): Promise<void>;
  limitBytes: number;
}

/** Keepers with the same name share one value. */
function describeKeeper(title: string, start: () => Promise<KeptIn>, expectedKeys: readonly string[]): void {
  describe(title, () => {
    let kept: KeptIn;
    beforeEach(async () => {
      kept = await start();
    });
    afterEach(() => kept.stop());

    test('holds nothing at first', async () => {
      expect(await kept.open('env', 'state').read()).toBeUndefined();
    });

    test('returns the last bytes that any keeper of the same name wrote @heavy', async () => {
      const bytes = randomBytes(100_000);
      await kept.open('env', 'state').write(randomBytes(200_000));
      await kept.open('env', 'state').write(bytes);
      expect(Buffer.from((await kept.open('env', 'state').read()) ?? []).equals(bytes)).toBe(true);
    });

    test('keeps names and prefixes apart', async () => {
      for (const [prefix, name] of [
        ['env', 'a'],
        ['env', 'b'],
        ['', 'a'],
      ] as const) {
        await kept.open(prefix, name).write(Buffer.from(`${prefix} ${name}`));
      }
      expect(Buffer.from((await kept.open('', 'a').read()) ?? []).toString()).toBe(' a');
      expect(Buffer.from((await kept.open('env', 'b').read()) ?? []).toString()).toBe('env b');
      expect((await kept.keys()).sort()).toEqual([...expectedKeys].sort());
    });

    test('rejects a value that is too large by name and keeps the last one', async () => {
      if (kept.limitBytes === Infinity) return;
      const keeper = kept.open('env', 'state');
      await keeper.write(Buffer.from('small'));
      const refusal = {
        code: 'STORE_UNAVAILABLE',
        message: expect.stringMatching(/^state could not be written .*the limit is/),
      };
      await expect(keeper.write(randomBytes(kept.limitBytes + 1))).rejects.toMatchObject(refusal);
      await keeper.write(randomBytes(kept.limitBytes));
      expect(await keeper.read()).toHaveLength(kept.limitBytes);
    });

    test('reports a database that does not answer', async () => {
      const keeper = kept.open('env', 'state');
      await kept.stop();
      await expect(keeper.read()).rejects.toMatchObject({ code: 'STORE_UNAVAILABLE' });
      await expect(keeper.write(randomBytes(3))).rejects.toMatchObject({ code: 'STORE_UNAVAILABLE' });
    });
  });
}

async function inDynamoDB(table: TestTable): Promise<KeptIn> {
  const client = new DynamoDBClient({
    ...{ endpoint: table.endpoint, region: testRegion, credentials: testCredentials, maxAttempts: 1 },
  });
  let stopped: Promise<void> | undefined;
  return {
    open: (prefix, name) => createDynamoDBKeeper({ client, tableName: table.tableName, prefix, name }),
    async keys() {
      const { ScanCommand } = await import('@aws-sdk/client-dynamodb');
      const { Items = [] } = await client.send(new ScanCommand({ TableName: table.tableName }));
      return Items.map(({ namespace, key }) => `${namespace?.S} ${key?.S}`);
    },
    stop() {
      stopped ??= table.close();
      return stopped;
    },
    limitBytes: 405_504,
  };
}
const rows = ['env:$keeper a', 'env:$keeper b', '$keeper a'];

describeKeeper('the keeper in DynamoDB', async () => inDynamoDB(await startTable()), rows);

describeWithDynamoDBLocal('the keeper in DynamoDB, on DynamoDB Local', (startLocalTable) => {
  describeKeeper('(shared tests)', async () => inDynamoDB(await startLocalTable()), rows);
});

if (hasRedis) {
  describeKeeper('the keeper in Redis', async () => {
    const server = await startRedis();
    const client = createRedisClient(redisAt(server.port, { commandTimeoutMs: 5_000 }));
    return {
      open: (prefix, name) => createRedisKeeper({ client, prefix, name }),
      keys: () => server.client.keys('*'),
      async stop() {
        await server.close();
        await client.close();
      },
      limitBytes: Infinity,
    };
  }, ['env:$keeper:a', 'env:$keeper:b', 'launchdarkly:$keeper:a']);
} else test.skip('the keeper in Redis (needs redis-server)', () => {});

describeKeeper('the keeper in Consul, on a fake server', async () => {
  const consul = await startConsul();
  let stopped: Promise<void> | undefined;
  return {
    open: (prefix, name) => createConsulKeeper({ address: consul.address, prefix, name }),
    keys: async () => Object.keys(consul.entries()),
    stop() {
      stopped ??= consul.close();
      return stopped;
    },
    limitBytes: 524_288,
  };
}, ['env/$keeper/a', 'env/$keeper/b', 'launchdarkly/$keeper/a']);
