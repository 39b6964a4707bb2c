/** LaunchDarkly's Node server SDK 9.13.7 in daemon mode, reading a table's official layout as its DynamoDB store does. */
import { type AttributeValue, GetItemCommand, QueryCommand } from '@aws-sdk/client-dynamodb';
import { init, type interfaces, type LDClient, PersistentDataStoreWrapper } from '@launchdarkly/node-server-sdk';
import type { TestTable } from '../../support/dynalite.ts';
import { silentLog } from '../../support/logs.ts';

export async function startOfficialSdk(
  table: Pick<TestTable, 'client' | 'tableName'>,
  prefix: string,
  cacheSeconds = 60,
): Promise<LDClient> {
  const namespaceOf = ({ namespace }: { namespace: string }) => (prefix ? `${prefix}:${namespace}` : namespace);
  const descriptorOf = (found: Record<string, AttributeValue>) => ({
    version: Number(found.version?.N),
    deleted: false,
    serializedItem: found.item?.S,
  });
  const keyed = (one: Record<string, AttributeValue>) => ({ key: one.key?.S, item: descriptorOf(one) });
  const core = {
    get(kind: { namespace: string }, key: string, callback: (found: unknown) => void) {
      const Key = { namespace: { S: namespaceOf(kind) }, key: { S: key } };
      const get = new GetItemCommand({ TableName: table.tableName, Key });
      table.client.send(get).then(({ Item }) => callback(Item && descriptorOf(Item)));
    },
    getAll(kind: { namespace: string }, callback: (found: unknown) => void) {
      const query = new QueryCommand({
        TableName: table.tableName,
        KeyConditionExpression: '#n = :n',
        ExpressionAttributeNames: { '#n': 'namespace' },
        ExpressionAttributeValues: { ':n': { S: namespaceOf(kind) } },
      });
      table.client.send(query).then(({ Items = [] }) => callback(Items.map(keyed)));
    },
    initialized: (callback: (yes: boolean) => void) => callback(true),
    init: () => {},
    upsert: () => {},
    close() {},
    getDescription: () => 'test',
  } as unknown as interfaces.PersistentDataStore;
  const client = init('sdk-test', {
    featureStore: () => new PersistentDataStoreWrapper(core, cacheSeconds),
    useLdd: true,
    sendEvents: false,
    diagnosticOptOut: true,
    logger: silentLog,
  });
  await client.waitForInitialization({ timeout: 60 });
  return client;
}
