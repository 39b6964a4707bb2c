/** Relays that keep the Big Segments of one environment in step in one real table, each behind a proxy of its own. */
import { DynamoDBClient } from '@aws-sdk/client-dynamodb';
import { createDynamoDBBigSegments } from '../../../relay-task/store/big-segments-dynamodb.ts';
import type { Timings } from '../../../relay-task/store/timings.ts';
import { createBigSegmentSynchronizer } from '../../../relay-task/upstream/big-segments.ts';
import { testCredentials, testRegion } from '../../support/dynalite.ts';
import type { FakeBigSegments } from '../../support/fake-big-segments.ts';
import { type FaultyProxy, startFaultyProxy } from '../../support/faulty-proxy.ts';
import { silentLog } from '../../support/logs.ts';
import { quick, type Stores } from './open-stores.ts';

/** These relays write a patch in groups of this size: small, so that a patch of two groups is written soon. */
export const GROUP_SIZE = 64;

export interface BigSegmentRelay {
  /** Between the relay and the table. */
  readonly proxy: FaultyProxy;
  /** How often it was told that the content changed. */
  readonly batches: number;
  /** Like a SIGTERM. */
  close(): Promise<void>;
}

const syncTimings = {
  ...{ backoff: { firstMs: 5, maxMs: 50 }, pollBackoff: { firstMs: 5, maxMs: 50 } },
  ...{ checkMs: 30, confirmMs: 50, askGapMs: 10, askMs: 10_000 },
};

export async function startBigSegmentRelay(options: {
  readonly stores: Stores;
  readonly launchDarkly: FakeBigSegments;
  /** Of the store. */
  readonly timings?: Partial<Timings>;
  readonly confirmMs?: number;
  readonly checkMs?: number;
  readonly random?: () => number;
}): Promise<BigSegmentRelay> {
  const { stores, launchDarkly, confirmMs = syncTimings.confirmMs, checkMs = syncTimings.checkMs } = options;
  const proxy = await startFaultyProxy(stores.table.endpoint, options.random);
  const access = { region: testRegion, credentials: testCredentials, maxAttempts: 1 };
  const client = new DynamoDBClient({ endpoint: proxy.endpoint, ...access });
  const store = createDynamoDBBigSegments({
    ...{ client, tableName: stores.table.tableName, prefix: '', log: silentLog, hashesAtOnce: GROUP_SIZE },
    timings: { ...quick, ...options.timings },
  });
  let batches = 0;
  const { uri } = launchDarkly;
  const synchronizer = createBigSegmentSynchronizer({
    ...{ streamUri: uri, baseUri: uri, sdkKey: 'sdk', userAgent: 'u', store, log: silentLog },
    timings: { ...syncTimings, confirmMs, checkMs },
    onBatch() {
      batches += 1;
    },
  });
  synchronizer.start();
  return {
    proxy,
    get batches() {
      return batches;
    },
    async close() {
      await Promise.all([synchronizer.close(), store.close()]);
      client.destroy();
      await proxy.close();
    },
  };
}
