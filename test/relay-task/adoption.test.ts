/** A whole relay starts on a table that another writer filled; it does not rewrite equal items. */
import { PutItemCommand } from '@aws-sdk/client-dynamodb';
import type { Kind } from '../../lib/flag-table/index.ts';
import { normalText } from '../../relay-task/common/item-text.ts';
import { startTable, type TestTable } from '../support/dynalite.ts';
import { describeWithDynamoDBLocal } from '../support/dynamodb-local.ts';
import { eventually } from '../support/eventually.ts';
import { type Environment, exampleEnvironment } from '../support/example-environment.ts';
import { startFakeUpstream } from '../support/fake-upstream.ts';
import { startFaultyProxy } from '../support/faulty-proxy.ts';
import { closeAfterEach } from '../support/opened.ts';
import { startTestRelay } from '../support/start-relay.ts';

type Json = Record<string, unknown>;

const prefix = 'production';
const { opened } = closeAfterEach();

/** Puts all items as given, then the marker. */
async function put(table: TestTable, { flags, segments }: Environment): Promise<void> {
  const write = (Item: Json) =>
    table.client.send(new PutItemCommand({ TableName: table.tableName, Item: Item as never }));
  for (const [kind, items] of Object.entries({ segments, features: flags })) {
    for (const [key, item] of Object.entries(items)) {
      const version = { N: String(item.version) };
      const text = JSON.stringify(item);
      await write({ namespace: { S: `${prefix}:${kind}` }, key: { S: key }, version, item: { S: text } });
    }
  }
  const marker = { S: `${prefix}:$inited` };
  await write({ namespace: marker, key: marker });
}

/** With every default field, as LaunchDarkly sends items. */
function complete({ flags, segments }: Environment): Environment {
  const all = (kind: Kind, items: Record<string, Json>) =>
    Object.fromEntries(
      Object.entries(items).map(([key, item]) => [key, JSON.parse(normalText(kind, JSON.stringify(item)))]),
    );
  return { flags: all('features', flags), segments: all('segments', segments) } as Environment;
}

/** LaunchDarkly's own store for its older Node SDK. */
async function fillAsNodeSdk(table: TestTable, { flags, segments }: Environment): Promise<void> {
  process.env.AWS_SDK_JS_SUPPRESS_MAINTENANCE_MODE_MESSAGE = '1';
  const { DynamoDBFeatureStore } = await import('launchdarkly-node-server-sdk-dynamodb');
  const logger = { error: fail, warn() {}, info() {}, debug() {} };
  const credentials = { accessKeyId: 'local', secretAccessKey: 'local' } as never;
  const clientOptions = { endpoint: table.endpoint, region: 'us-east-1', credentials };
  const store = DynamoDBFeatureStore(table.tableName, { prefix, cacheTTL: 0, clientOptions })({ logger } as never);
  await new Promise<void>((resolve) => store.init({ features: flags, segments } as never, resolve));
  store.close();
}

function fail(message: string): never {
  throw new Error(message);
}

/** As ld-relay serialises: its own field order, every array present, missing values as null or false. */
function fillAsLdRelay(table: TestTable, { flags, segments }: Environment): Promise<void> {
  const flag = (given: Json): Json => {
    const { key, on, prerequisites, targets, contextTargets, rules, fallthrough, offVariation, variations } = given;
    const { clientSideAvailability, salt, trackEvents, debugEventsUntilDate, version } = given;
    return {
      ...{ key, on: on ?? false, prerequisites: prerequisites ?? [], targets: targets ?? [] },
      ...{ contextTargets: contextTargets ?? [], rules: rules ?? [], fallthrough: fallthrough ?? {} },
      ...{ offVariation: offVariation ?? null, variations: variations ?? [], clientSideAvailability },
      ...{ clientSide: given.clientSide ?? false, salt: salt ?? '', trackEvents: trackEvents ?? false },
      ...{ trackEventsFallthrough: given.trackEventsFallthrough ?? false },
      ...{ debugEventsUntilDate: debugEventsUntilDate ?? null, version, deleted: false },
    };
  };
  const segment = (given: Json): Json => {
    const { key, included, excluded, includedContexts, excludedContexts, salt, rules, version, generation } = given;
    return {
      ...{ key, included: included ?? [], excluded: excluded ?? [], includedContexts: includedContexts ?? [] },
      ...{ excludedContexts: excludedContexts ?? [], salt: salt ?? '', rules: rules ?? [] },
      ...{ version, generation: generation ?? null, deleted: false },
    };
  };
  const all = (items: Record<string, Json>, write: (item: Json) => Json) =>
    Object.fromEntries(Object.entries(items).map(([key, item]) => [key, write(item)]));
  return put(table, { flags: all(flags, flag), segments: all(segments, segment) });
}

function adopts(start: () => Promise<TestTable>): void {
  test.each([
    ['ld-relay', fillAsLdRelay],
    ['LaunchDarkly’s store for the older Node SDK', fillAsNodeSdk],
  ])('writes only newer items and the snapshot to a table filled by %s', async (_, fill) => {
    const environment = complete(exampleEnvironment());
    const table = opened(await start());
    const proxy = opened(await startFaultyProxy(table.endpoint));
    await fill(table, environment);
    const [[key, flag]] = Object.entries(environment.flags) as [[string, Json]];
    const newer = { ...flag, version: Number(flag.version) + 1 };
    const flags = { ...environment.flags, [key]: newer };
    const upstream = opened(await startFakeUpstream({ ...environment, flags }));
    const relay = opened(
      await startTestRelay({
        ...{ LD_ENV_production: 'sdk-of-adoption', LD_PREFIX_production: prefix, STREAM_URI: upstream.uri },
        ...{ USE_DYNAMODB: 'true', DYNAMODB_TABLE: table.tableName, DYNAMODB_URL: proxy.endpoint },
      }),
    );
    const isHead = (one: { namespace: string; key: string }) =>
      one.namespace === `${prefix}:$snapshot` && one.key === 'head';
    const published = () =>
      proxy.passed.filter((one) => isHead(one) && /rev </.test(one.condition) && one.status === 200);
    await eventually(() => expect(published().length).toBeGreaterThan(0));
    await relay.stored(10_000);
    const writes = proxy.passed.filter((one) => one.writeUnits > 0 && !isHead(one));
    expect(writes.map((one) => `${one.namespace} ${one.key}`).sort()).toEqual([
      `${prefix}:$snapshot body`,
      `${prefix}:features ${key}`,
    ]);
  });
}

describe('a starting relay', () => adopts(startTable));

describeWithDynamoDBLocal('a starting relay, on DynamoDB Local', adopts);
