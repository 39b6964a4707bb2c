import { GetItemCommand, PutItemCommand, QueryCommand } from '@aws-sdk/client-dynamodb';
import { DynamoDBFeatureStore } from 'launchdarkly-node-server-sdk-dynamodb';
import {
  type Attributes,
  decodeOfficialItem,
  decodeStale,
  encodeInited,
  encodeOfficialItem,
  encodeStale,
  type Item,
  initedKey,
  namespaces,
  OFFICIAL_ITEM_LIMIT_BYTES,
  officialItemBytes,
} from '../../../lib/flag-table/index.ts';
import { startTable, type TestTable, testCredentials, testRegion } from '../../support/dynalite.ts';
import { silentLog } from '../../support/logs.ts';
import { generateEnvironment } from './generate.ts';

const banner: Item = {
  kind: 'features',
  key: 'banner',
  version: 7,
  deleted: false,
  json: '{"key":"banner","version":7}',
};

describe("LaunchDarkly's own layout", () => {
  it('has the namespaces that SDKs use, with a colon only after a prefix', () => {
    expect(namespaces('prod')).toEqual({
      features: 'prod:features',
      segments: 'prod:segments',
      inited: 'prod:$inited',
      snapshot: 'prod:$snapshot',
      bigSegmentsMetadata: 'prod:big_segments_metadata',
      bigSegmentsUser: 'prod:big_segments_user',
    });
    expect(namespaces('').features).toBe('features');
    expect(namespaces('').inited).toBe('$inited');
  });

  it('has the attributes that ld-relay writes: namespace, key, version and item; the marker has only its key', () => {
    expect(encodeOfficialItem('prod', banner)).toEqual({
      namespace: { S: 'prod:features' },
      key: { S: 'banner' },
      version: { N: '7' },
      item: { S: '{"key":"banner","version":7}' },
    });
    expect(encodeInited('prod')).toEqual({ namespace: { S: 'prod:$inited' }, key: { S: 'prod:$inited' } });
    expect(initedKey('')).toEqual({ namespace: '$inited', key: '$inited' });
  });

  it('measures items by the formula of official writers: 100 plus the UTF-8 bytes of names and values', () => {
    // namespace 9 + 8, key 3 + 6, version 7 + 1, item 4 + 4
    const attributes = encodeOfficialItem('', {
      kind: 'features',
      key: 'größe'.slice(0, 5),
      version: 1,
      deleted: false,
      json: '"é"',
    });
    expect(officialItemBytes(attributes)).toBe(100 + (9 + 8) + (3 + 7) + (7 + 1) + (4 + 4));
    expect(OFFICIAL_ITEM_LIMIT_BYTES).toBe(400_000);
  });

  it('marks an old copy of an item that has become too large, in attributes that official readers ignore', () => {
    const marked = { ...encodeOfficialItem('', banner), ...encodeStale(1_760_000_000_000, 9) };
    expect(marked).toMatchObject({ staleSince: { N: '1760000000000' }, currentVersion: { N: '9' } });
    expect(decodeStale(marked)).toEqual({ since: 1_760_000_000_000, currentVersion: 9 });
    expect(decodeOfficialItem('features', marked)).toEqual(banner);
    expect(decodeStale(encodeOfficialItem('', banner))).toBeUndefined();
  });
});

describe('a decoded item', () => {
  const stored = (more: Attributes): Attributes => ({ namespace: { S: 'features' }, key: { S: 'k' }, ...more });
  const read = (more: Record<string, unknown>) => decodeOfficialItem('features', stored(more as Attributes));

  it.each([
    ['ld-relay', { version: { N: '3' }, item: { S: '{"key":"$deleted","version":3,"deleted":true}' } }, 3],
    ['an SDK', { version: { N: '4' }, item: { S: '{"version":4,"deleted":true}' } }, 4],
    ['this project', { version: { N: '5' }, item: { S: '{"key":"k","version":5,"deleted":true}' } }, 5],
    ['a writer that sets the deleted attribute', { version: { N: '6' }, deleted: { BOOL: true } }, 6],
    [
      'a writer that does both',
      { version: { N: '7' }, deleted: { BOOL: true }, item: { S: '{"version":7,"on":true}' } },
      7,
    ],
  ])('is a tombstone if it was deleted by %s', (_writer, more, version) => {
    expect(read(more)).toMatchObject({ kind: 'features', key: 'k', version, deleted: true });
  });

  it('has the version of its attribute, or of its JSON if there is no attribute', () => {
    expect(read({ version: { N: '9' }, item: { S: '{"version":3}' } })).toMatchObject({
      version: 9,
      json: '{"version":3}',
    });
    expect(read({ item: { S: '{"version":3}' } })).toMatchObject({ version: 3 });
  });

  it.each([
    ['no item', { version: { N: '1' } }, '`item`'],
    ['an item of another type', { version: { N: '1' }, item: { N: '5' } }, '`item`'],
    ['truncated JSON', { version: { N: '1' }, item: { S: '{"key":"k"' } }, 'JSON object'],
    ['JSON that is not an object', { version: { N: '1' }, item: { S: '[1]' } }, 'JSON object'],
    ['null', { version: { N: '1' }, item: { S: 'null' } }, 'JSON object'],
    ['a version that is text', { version: { S: '1' }, item: { S: '{}' } }, '`version`'],
    ['no version anywhere', { item: { S: '{}' } }, '`version`'],
    ['null attributes', { version: null, item: null }, '`version`'],
    ['a deleted attribute without a version', { deleted: { BOOL: true } }, '`item`'],
  ])('is a problem that names key and attribute, not an exception, for %s', (_what, more, named) => {
    const problem = read(more);
    expect(problem).toEqual({ key: 'k', problem: expect.stringContaining(named) });
    expect(problem).toEqual({ key: 'k', problem: expect.stringContaining('"k"') });
  });

  it('is a problem if it has no key', () => {
    expect(decodeOfficialItem('features', {})).toEqual({ key: '', problem: expect.stringContaining('key') });
  });
});

describe("the Node SDK's official DynamoDB store", () => {
  const features = { namespace: 'features', streamApiPath: '/flags/', getDependencyKeys: () => [] };
  const segments = { namespace: 'segments', streamApiPath: '/segments/' };
  type Store = {
    get(kind: object, key: string, done: (data: unknown) => void): void;
    all(kind: object, done: (data: Record<string, unknown>) => void): void;
    upsert(kind: object, data: object, done: (error: unknown) => void): void;
    delete(kind: object, key: string, version: number, done: (error: unknown) => void): void;
    initialized(done: (yes: boolean) => void): void;
    close(): void;
  };
  const ask = <T>(call: (done: (value: T) => void) => void) => new Promise<T>((resolve) => call(resolve));
  let table: TestTable;

  beforeAll(async () => {
    table = await startTable();
  });
  afterAll(() => table.close());

  function openStore(prefix: string): Store {
    const make = DynamoDBFeatureStore(table.tableName, {
      clientOptions: { endpoint: table.endpoint, region: testRegion, credentials: testCredentials },
      prefix,
      cacheTTL: 0,
    }) as unknown as (config: object) => Store;
    return make({ logger: silentLog });
  }

  const put = (attributes: Attributes) =>
    table.client.send(new PutItemCommand({ TableName: table.tableName, Item: attributes as never }));

  it.each(['', 'prod'])('reads every item that we write, with the prefix "%s" @heavy', async (prefix) => {
    const store = openStore(prefix);
    expect(await ask((done) => store.initialized(done))).toBe(false);
    const all = generateEnvironment(10);
    for (const item of all) await put({ ...encodeOfficialItem(prefix, item), ...encodeStale(1, 2) });
    await put(
      encodeOfficialItem(prefix, {
        kind: 'features',
        key: 'gone',
        version: 5,
        deleted: true,
        json: '{"key":"gone","version":5,"deleted":true}',
      }),
    );
    await put(encodeInited(prefix));
    for (const [kind, namespace] of [
      ['features', features],
      ['segments', segments],
    ] as const) {
      const expected = all.filter((item) => item.kind === kind);
      const read = await ask((done) => store.all(namespace, done));
      expect(read).toEqual(Object.fromEntries(expected.map(({ key, json }) => [key, JSON.parse(json)])));
    }
    expect(await ask((done) => store.get(features, 'gone', done))).toBeNull();
    expect(await openStoreInitialized(prefix)).toBe(true);
    store.close();
  });

  async function openStoreInitialized(prefix: string): Promise<boolean> {
    const store = openStore(prefix);
    const yes = await ask<boolean>((done) => store.initialized(done));
    store.close();
    return yes;
  }

  it('writes items, tombstones included, that we can read', async () => {
    const store = openStore('theirs');
    await ask((done) => store.upsert(features, { key: 'a', version: 3, on: true, salt: '' }, done));
    await ask((done) => store.upsert(features, { key: 'b', version: 1, on: true }, done));
    await ask((done) => store.delete(features, 'b', 2, done));
    store.close();
    const { Items } = await table.client.send(
      new QueryCommand({
        TableName: table.tableName,
        KeyConditionExpression: '#n = :n',
        ExpressionAttributeNames: { '#n': 'namespace' },
        ExpressionAttributeValues: { ':n': { S: 'theirs:features' } },
      }),
    );
    const read = Items!.map((attributes) => decodeOfficialItem('features', attributes as unknown as Attributes));
    expect(read).toEqual([
      { kind: 'features', key: 'a', version: 3, deleted: false, json: expect.stringContaining('"salt":""') },
      { kind: 'features', key: 'b', version: 2, deleted: true, json: expect.any(String) },
    ]);
  });

  it('writes an item with the same attributes as we do', async () => {
    const store = openStore('same');
    await ask((done) => store.upsert(features, { key: 'a', version: 3, on: true }, done));
    store.close();
    const { Item: theirs } = await table.client.send(
      new GetItemCommand({ TableName: table.tableName, Key: { namespace: { S: 'same:features' }, key: { S: 'a' } } }),
    );
    const ours = encodeOfficialItem('same', {
      kind: 'features',
      key: 'a',
      version: 3,
      deleted: false,
      json: '{"key":"a","version":3,"on":true}',
    });
    expect(theirs).toEqual(ours);
  });
});
