/** The OpenFeature provider on the reader, in OpenFeature's SDK and beside LaunchDarkly's provider for Node. */
import { integrations } from '@launchdarkly/node-server-sdk';
import { LaunchDarklyProvider } from '@launchdarkly/openfeature-node-server';
import { type EvaluationContext, OpenFeature, ProviderEvents } from '@openfeature/server-sdk';
import { createOfflineReader, createReader, type ReaderOptions } from '../../../lambda/edge-reader/index.ts';
import { createOpenFeatureProvider } from '../../../lambda/edge-reader/open-feature.ts';
import { startTable, type TestTable } from '../../support/dynalite.ts';
import { eventually } from '../../support/eventually.ts';
import { exampleContexts, exampleEnvironment, exampleFile } from '../../support/example-environment.ts';
import { silentLog } from '../../support/logs.ts';
import { type Replica, startReplica } from './replica.ts';
import { item, putDelta, putSnapshot } from './table-writer.ts';

afterAll(() => OpenFeature.close());

const odd: readonly EvaluationContext[] = [
  {},
  { targetingKey: '' },
  { targetingKey: 'alice', key: 'bob' },
  { targetingKey: 'carol', email: 'carol@example.com', joined: new Date('2026-06-01T12:00:00Z') },
  { kind: 'multi', user: { targetingKey: 'frank' }, organization: { key: 'initech' } },
  { targetingKey: 'alice', kind: 'no such kind!' },
];

test("gives the answers of LaunchDarkly's provider for every flag, context and type @heavy", async () => {
  const factory = new integrations.FileDataSourceFactory({ paths: [exampleFile] }).getFactory();
  const theirs = new LaunchDarklyProvider('sdk-test', {
    ...{ updateProcessor: factory, sendEvents: false, diagnosticOptOut: true, logger: silentLog },
  });
  await theirs.initialize();
  const ours = createOpenFeatureProvider(createOfflineReader(exampleEnvironment()));
  await ours.initialize?.();
  const contexts = [...exampleContexts, ...odd] as readonly EvaluationContext[];
  for (const flag of [...Object.keys(exampleEnvironment().flags), 'no-such-flag']) {
    for (const context of contexts) {
      const [mine, its] = await Promise.all(
        [ours, theirs].map((provider) =>
          Promise.all([
            provider.resolveBooleanEvaluation(flag, true, context, silentLog),
            provider.resolveStringEvaluation(flag, 'other', context, silentLog),
            provider.resolveNumberEvaluation(flag, 7, context, silentLog),
            provider.resolveObjectEvaluation(flag, { other: 1 }, context, silentLog),
          ]),
        ),
      );
      expect([flag, context, mine]).toEqual([flag, context, its]);
    }
  }
  await theirs.onClose();
});

describe('in OpenFeature’s SDK', () => {
  const env = { AWS_REGION: 'eu-west-1', AWS_ACCESS_KEY_ID: 'test', AWS_SECRET_ACCESS_KEY: 'test' };
  let table: TestTable;
  let replica: Replica;
  let prefix: string;
  let prefixes = 0;
  let skew: number;
  const flag = (variation: number, version: number) =>
    item('features', {
      ...{ key: 'checkout', version, on: true, fallthrough: { variation }, variations: ['old', 'new'], salt: '' },
    });

  beforeAll(async () => {
    table = await startTable();
  });
  beforeEach(async () => {
    skew = 0;
    prefix = `p${++prefixes}`;
    replica = await startReplica(table.endpoint);
    await putSnapshot(table, prefix, [flag(0, 1)], { epoch: 1, seq: 1 });
  });
  afterEach(() => replica.close());
  afterAll(() => table.close());

  /** A client of the provider, and what it hears, in order. Each has a domain of its own, so that it hears of no other provider. */
  async function use(more: ReaderOptions = {}) {
    await OpenFeature.setProviderAndWait(prefix, provider(more));
    const client = OpenFeature.getClient(prefix);
    const heard: string[] = [];
    for (const event of Object.values(ProviderEvents)) client.addHandler(event, () => void heard.push(event));
    return { client, heard };
  }

  function provider(more: ReaderOptions = {}, coldDeadlineMs = 60_000) {
    const { tableName } = table;
    const where = { tableName, prefix, endpoint: replica.endpoint, replicas: { default: ['eu-west-1'] } };
    const around = { env, now: () => Date.now() + skew, random: () => 0.5 };
    return createOpenFeatureProvider(
      createReader({ ...where, coldDeadlineMs, maxWaitMs: 60_000 }, { ...around, ...more }),
    );
  }

  const context = { targetingKey: 'alice' };

  test('is ready once flags were read, and tells a change with the evaluation that finds it', async () => {
    const { client, heard } = await use();
    expect(client.metadata.providerMetadata?.name).toBe('edge-flag-reader');
    expect(await client.getStringDetails('checkout', 'none', context)).toMatchObject({
      ...{ value: 'old', variant: '0', reason: 'FALLTHROUGH' },
    });
    expect(heard).toEqual(['PROVIDER_READY']);
    await putDelta(table, prefix, [flag(1, 2)], { epoch: 1, seq: 2 }, { epoch: 1, seq: 1 });
    skew += 20_000;
    const changed: unknown[] = [];
    client.addHandler(ProviderEvents.ConfigurationChanged, (details) => void changed.push(details?.flagsChanged));
    await eventually(async () => expect(await client.getStringValue('checkout', 'none', context)).toBe('new'));
    await eventually(() => expect(heard).toEqual(['PROVIDER_READY', 'PROVIDER_CONFIGURATION_CHANGED']));
    expect(changed).toEqual([['checkout']]);
  });

  test('says that flags are out of date, and that they are current again', async () => {
    const { client, heard } = await use();
    replica.behave('denied');
    skew += 120_000;
    expect(await client.getStringValue('checkout', 'none', context)).toBe('old');
    await eventually(() => expect(heard).toEqual(['PROVIDER_READY', 'PROVIDER_STALE']));
    expect(client.providerStatus).toBe('STALE');
    replica.behave('pass');
    skew += 20_000;
    await eventually(async () => {
      expect(await client.getStringValue('checkout', 'none', context)).toBe('old');
      expect(heard).toEqual(['PROVIDER_READY', 'PROVIDER_STALE', 'PROVIDER_READY']);
    });
    expect(client.providerStatus).toBe('READY');
  });

  test('fails with the reason while there are no flags', async () => {
    replica.behave('denied');
    await expect(use()).rejects.toThrow('AccessDenied');
    const client = OpenFeature.getClient(prefix);
    expect(client.providerStatus).toBe('ERROR');
    expect(await client.getStringDetails('checkout', 'none', context)).toMatchObject({
      ...{ value: 'none', reason: 'ERROR' },
    });
  });

  test('with a bootstrap it answers at once, out of date until the table was read', async () => {
    replica.behave('denied');
    const { client, heard } = await use({ bootstrap: { flagValues: { checkout: 'held' } } });
    expect(await client.getStringValue('checkout', 'none', context)).toBe('held');
    await eventually(() => expect(heard).toEqual(['PROVIDER_READY', 'PROVIDER_STALE']));
    replica.behave('pass');
    await eventually(async () => expect(await client.getStringValue('checkout', 'none', context)).toBe('old'));
    await eventually(() => expect(heard).toEqual(['PROVIDER_READY', 'PROVIDER_STALE', 'PROVIDER_READY']));
  });

  test('a handler that throws harms no evaluation, and those taken away hear nothing', async () => {
    const told = jest.spyOn(console, 'error').mockImplementation(() => {});
    const { events, initialize, resolveStringEvaluation } = provider();
    await initialize?.();
    const heard: string[] = [];
    const gone = () => void heard.push('gone');
    events.addHandler(ProviderEvents.Stale, gone);
    events.addHandler(ProviderEvents.Stale, () => {
      throw new Error('mine');
    });
    events.addHandler(ProviderEvents.Stale, () => void heard.push('kept'));
    events.removeHandler(ProviderEvents.Stale, gone);
    expect(events.getHandlers(ProviderEvents.Stale)).toHaveLength(2);
    replica.behave('denied');
    skew += 120_000;
    expect(await resolveStringEvaluation('checkout', 'none', context, silentLog)).toMatchObject({ value: 'old' });
    await eventually(() => expect(heard).toEqual(['kept']));
    const failed = ['edge reader: a handler of PROVIDER_STALE failed', new Error('mine')] as const;
    expect(told).toHaveBeenCalledWith(...failed);
    told.mockClear();
    const error = jest.fn();
    events.setLogger({ ...silentLog, error });
    events.emit(ProviderEvents.Stale, {});
    await eventually(() => expect(error).toHaveBeenCalledWith(...failed));
    expect(told).not.toHaveBeenCalled();
    told.mockRestore();
    events.removeAllHandlers();
    expect(events.getHandlers(ProviderEvents.Stale)).toEqual([]);
  });
});
