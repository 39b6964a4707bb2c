/** End to end: LaunchDarkly's two endpoints, our synchroniser, a real database, an official SDK in daemon mode. */
import { PutItemCommand } from '@aws-sdk/client-dynamodb';
import { init } from '@launchdarkly/node-server-sdk';
import { RedisBigSegmentStore, RedisFeatureStore } from '@launchdarkly/node-server-sdk-redis';
import { init as initOlder } from 'launchdarkly-node-server-sdk';
import { DynamoDBBigSegmentStore, DynamoDBFeatureStore } from 'launchdarkly-node-server-sdk-dynamodb';
import { hashOf } from '../../../relay-task/store/big-segments.ts';
import { createDynamoDBBigSegments } from '../../../relay-task/store/big-segments-dynamodb.ts';
import { createRedisBigSegments } from '../../../relay-task/store/big-segments-redis.ts';
import { createBigSegmentSynchronizer } from '../../../relay-task/upstream/big-segments.ts';
import { startTable, testCredentials, testRegion } from '../../support/dynalite.ts';
import { eventually } from '../../support/eventually.ts';
import { startFakeBigSegments, wirePatch } from '../../support/fake-big-segments.ts';
import { silentLog } from '../../support/logs.ts';
import { closeAfterEach } from '../../support/opened.ts';
import { describeWithRedis, redisAt, startRedis } from '../../support/redis.ts';

const { behind } = closeAfterEach();

const prefix = 'env';
const segment = { key: 'vip', version: 1, unbounded: true, generation: 3, salt: 's', included: [], excluded: [] };
const clause = { attribute: '', op: 'segmentMatch', values: ['vip'], negate: false };
const items = {
  features: {
    ...{
      key: 'f',
      version: 1,
      on: true,
      salt: 's',
      variations: ['in', 'out'],
      offVariation: 1,
      fallthrough: { variation: 1 },
    },
    rules: [{ id: 'r', clauses: [clause], variation: 0, trackEvents: false }],
    ...{ targets: [], prerequisites: [] },
  },
  // This rule matches Ruth if she is in neither list of the Big Segment.
  segments: {
    ...segment,
    rules: [{ id: 'q', clauses: [{ ...clause, attribute: 'name', op: 'in', values: ['Ruth'] }] }],
  },
};
const daemon = { useLdd: true, sendEvents: false, diagnosticOptOut: true, logger: silentLog };
// The SDKs poll at this interval even if the last poll has no answer yet: on a busy machine 20 ms pile up without end.
const times = { userCacheTime: 0.001, statusPollInterval: 0.25 };

/** What the test uses of both SDKs. */
interface Sdk {
  variationDetail(
    key: string,
    context: { kind: 'user'; key: string },
    fallback: string,
  ): Promise<{ value: unknown; reason: { bigSegmentsStatus?: string } }>;
  close(): void;
}

async function followed(store: ReturnType<typeof createRedisBigSegments>, sdk: Sdk): Promise<void> {
  behind(() => sdk.close());
  const answer = async (key: string, name = key) => {
    const context = { kind: 'user' as const, key, name };
    const { value, reason } = await sdk.variationDetail('f', context, 'FALLBACK');
    return [value, reason.bigSegmentsStatus];
  };
  expect(await answer('alice')).toEqual(['out', 'STALE']);

  const [alice, bob, ruth] = ['alice', 'bob', 'Ruth'].map(hashOf);
  const fake = await startFakeBigSegments(
    wirePatch('vip.g3', '', '', [`+${alice}`]),
    wirePatch('vip.g3', '', 'v1', [`+${bob}`], [`+${bob}`, `+${ruth}`]),
    // Memberships of another generation do not count.
    wirePatch('vip.g2', 'v1', 'v2', [`+${hashOf('carol')}`], []),
  );
  behind(() => fake.close());
  const synchronizer = createBigSegmentSynchronizer({
    ...{ streamUri: fake.uri, baseUri: fake.uri, sdkKey: 'sdk', userAgent: 'EdgeFlagRelay/1', store },
    ...{ log: silentLog, onBatch() {}, timings: { checkMs: 50 } },
  });
  behind(() => synchronizer.close());
  synchronizer.start();
  await eventually(async () => expect(await answer('alice')).toEqual(['in', 'HEALTHY']));
  expect(await answer('bob')).toEqual(['in', 'HEALTHY']);
  expect(await answer('carol')).toEqual(['out', 'HEALTHY']);
  expect(await answer('Ruth')).toEqual(['out', 'HEALTHY']);
  expect(await answer('other', 'Ruth')).toEqual(['in', 'HEALTHY']);

  fake.push(wirePatch('vip.g3', 'v2', 'v3', [`-${alice}`, `+${hashOf('carol')}`], [`-${ruth}`]));
  await eventually(async () => expect(await answer('alice')).toEqual(['out', 'HEALTHY']));
  await eventually(async () => expect(await answer('Ruth')).toEqual(['in', 'HEALTHY']));
  expect(await answer('carol')).toEqual(['in', 'HEALTHY']);
  await store.setSynchronizedOn(Date.now() - 121_000);
  await eventually(async () => expect(await answer('carol')).toEqual(['in', 'STALE']));
}

test('the older Node SDK reads and follows Big Segments in DynamoDB', async () => {
  const table = await startTable();
  behind(() => table.close());
  const { client, tableName, endpoint } = table;
  for (const [namespace, item] of Object.entries(items)) {
    const Item = { namespace: { S: `${prefix}:${namespace}` }, key: { S: item.key }, version: { N: '1' } };
    await client.send(
      new PutItemCommand({ TableName: tableName, Item: { ...Item, item: { S: JSON.stringify(item) } } }),
    );
  }
  const marker = { S: `${prefix}:$inited` };
  await client.send(new PutItemCommand({ TableName: tableName, Item: { namespace: marker, key: marker } }));
  // It would retry its poll only after the end of the test.
  const clientOptions = { endpoint, region: testRegion, credentials: testCredentials, maxRetries: 0 };
  const sdk = initOlder('sdk-daemon', {
    ...daemon,
    featureStore: DynamoDBFeatureStore(tableName, { clientOptions, prefix, cacheTTL: 0 }) as never,
    bigSegments: { store: DynamoDBBigSegmentStore(tableName, { clientOptions, prefix }), ...times },
  });
  await sdk.waitForInitialization();
  const store = createDynamoDBBigSegments({ client, tableName, prefix, log: silentLog });
  behind(() => store.close());
  await followed(store, sdk as unknown as Sdk);
});

describeWithRedis('the Node SDK with Big Segments in Redis', () => {
  test('reads and follows them', async () => {
    const server = await startRedis();
    behind(() => server.close());
    for (const [hash, item] of Object.entries(items)) {
      await server.client.hset(`${prefix}:${hash}`, item.key, JSON.stringify(item));
    }
    await server.client.set(`${prefix}:$inited`, '');
    const redisOpts = { host: '127.0.0.1', port: server.port };
    const sdk = init('sdk-daemon', {
      ...daemon,
      featureStore: RedisFeatureStore({ redisOpts, prefix, cacheTTL: 0 }),
      bigSegments: { store: RedisBigSegmentStore({ redisOpts, prefix }), ...times },
    });
    await sdk.waitForInitialization({ timeout: 60 });
    const store = createRedisBigSegments({ connection: redisAt(server.port), prefix, log: silentLog });
    behind(() => store.close());
    await followed(store, sdk as unknown as Sdk);
  });
});
